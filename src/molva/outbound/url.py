"""A URL that a client names, taken apart once: whoever checks it and whoever connects see the same host."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin, urlsplit

from molva.errors import AddressRefused

MAX_LENGTH = 2048
"""Characters."""
PORTS = {"http": 80, "https": 443}

_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\\]")
# Underscores are in no host name by the book, but in many by use.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_KEPT = "/?:@!$&'()*+,;=%~-._[]{}|^`\"<>"
"""What a path and a query keep; anything else, letters of other alphabets above all, is percent-encoded."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to and what to ask for."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name in lower case and ASCII, or an address; IPv6 without brackets."""
    port: int
    path: str
    """Path and query, ASCII."""

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(url: str) -> Target:
    """Raises AddressRefused for all but plain http and https URLs with a host and without credentials."""
    if len(url) > MAX_LENGTH:
        raise AddressRefused(f"The URL is longer than {MAX_LENGTH} characters.")
    if _NOT_IN_URLS.search(url):
        raise AddressRefused("The URL has a space, a backslash or a control character; percent-encode it.")
    if not url.lower().startswith(("http://", "https://")):
        raise AddressRefused("The URL has to begin with http:// or https://.")
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise AddressRefused("The URL has a user name or password in it; leave them out.")
        host, port = _host(parts.hostname or "", bracketed="[" in parts.netloc), parts.port
    except ValueError:
        raise AddressRefused("The URL's host or port is not valid.") from None
    if port == 0:
        raise AddressRefused("The URL's port is 0, which nobody can be reached at.")
    path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
    return Target(parts.scheme, host, PORTS[parts.scheme] if port is None else port, path)


def follow(target: Target, location: str) -> Target:
    """Where a redirect leads. Raises AddressRefused."""
    try:
        return parse_url(urljoin(target.url, location))
    except ValueError:
        raise AddressRefused("It redirects to something that is no URL.") from None


def _host(host: str, *, bracketed: bool) -> str:
    """Raises ValueError (of which UnicodeError is one)."""
    if bracketed:
        return str(IPv6Address(_without_zone(host)))
    name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError
    return name


def _without_zone(host: str) -> str:
    """Zones name a network interface of this machine: nothing for strangers to choose."""
    if "%" in host:
        raise ValueError
    return host
