"""Which web pages may talk to the server. Pages of other hosts may not, unless the operator names them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])([:/][^@]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class OriginPolicy:
    """The native door's rule, used on every path but /health and /ready."""

    allowed: Sequence[str] = ()
    allow_any: bool = False

    def permits(self, origin: str | None) -> bool:
        """Whether a request with this Origin header may pass; programs send none and always may."""
        if origin is None or origin.lower() == "null" or self.allow_any:
            return True
        return bool(LOOPBACK_ORIGIN.fullmatch(origin)) or origin.lower() in (known.lower() for known in self.allowed)

    def cors_headers(
        self, origin: str | None, *, may_send_key: bool = False, may_delete: bool = False
    ) -> dict[str, str]:
        """Response headers for a permitted request; `may_send_key` where pages need the Authorization header."""
        if origin is None or origin.lower() == "null":
            return {}
        return {
            "access-control-allow-origin": "*" if self.allow_any else origin,
            "access-control-allow-methods": "GET, POST, DELETE, OPTIONS" if may_delete else "GET, POST, OPTIONS",
            # The asterisk stands for every header but Authorization.
            "access-control-allow-headers": "*, Authorization, Content-Type" if may_send_key else "*",
            "vary": "origin",
        }
