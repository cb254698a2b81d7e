"""Which web pages may talk to the server. Pages of other hosts may not, unless the operator names them.

The server's own page may, but a name alone does not make a page its own: whoever owns `evil.example` can have it lead
to this machine (DNS rebinding), and pages from there look like its own. Addresses cannot be made to lead elsewhere, and
names that public DNS does not know belong to the network that the server is in.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from molva.http.hosts import ANY, host_name, is_address, same_name

LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])([:/][^@]*)?", re.IGNORECASE)

ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/@]+)")

PRIVATE_DOMAINS = (".local", ".lan", ".internal", ".home.arpa")
"""Nobody can have a name below these in public DNS (RFC 6762, RFC 8375; ICANN for `internal`), or gets one (`lan`)."""

PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class OriginPolicy:
    """The native door's rule, used on every path but /health and /ready."""

    allowed: Sequence[str] = ()
    allow_any: bool = False
    own_names: Collection[str] = ()
    """Names in public DNS that the operator has given the server; `*` stands for all."""

    def permits(self, origin: str | None, host: str | None = None) -> bool:
        """Whether a request with these headers, Origin and Host, may pass; programs send no Origin and always may."""
        if origin is None or origin.lower() == "null" or self.allow_any:
            return True
        if LOOPBACK_ORIGIN.fullmatch(origin) or origin.lower() in (known.lower() for known in self.allowed):
            return True
        return self._is_own(origin, host)

    def _is_own(self, origin: str, host: str | None) -> bool:
        match = ORIGIN.fullmatch(origin.lower())
        if match is None or host is None or _authority(match["scheme"], host.lower()) != _authority(*match.groups()):
            return False
        name = host_name(host)
        if name is None:
            return False
        private = "." not in name or name.endswith(PRIVATE_DOMAINS)
        return is_address(name) or private or ANY in self.own_names or name in map(same_name, self.own_names)

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


def _authority(scheme: str, authority: str) -> str:
    """Without the port that the scheme has anyway."""
    return authority.removesuffix(f":{PORTS[scheme]}")
