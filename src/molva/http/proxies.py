"""Whose request it is where proxies stand between: they are believed if the operator names them, nobody else is."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class TrustedProxies:
    """The networks that the operator's proxies are in.

    `Forwarded` (RFC 7239) is not read: a proxy that manages one of the two headers passes the other on as the client
    wrote it, and nothing tells which of them is the proxy's.
    """

    networks: Sequence[IPv4Network | IPv6Network] = ()

    def trusts(self, address: Address | None) -> bool:
        """Whether this is a proxy of the operator's."""
        return address is not None and any(address in network for network in self.networks)

    def client(self, peer: Address | None, headers: Headers) -> Address | None:
        """The client's address: the right-most in X-Forwarded-For that is no trusted proxy's, else X-Real-IP, else the
        peer's.

        gigastt takes the left-most. But proxies append: whatever stands left of the first stranger, the stranger wrote.
        """
        if not self.trusts(peer):
            return peer
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        nearest = None
        for element in reversed(forwarded.split(",")):
            nearest, before = parse_address(element), nearest
            if nearest is None:  # nothing left of it can be relied on
                nearest = before
                break
            if not self.trusts(nearest):
                return nearest
        return nearest or parse_address(headers.get("x-real-ip", "")) or peer


def parse_address(text: str) -> Address | None:
    """An address with or without a port, IPv6 with or without brackets; None for all else."""
    host = text.strip()
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port.removeprefix(":"))):
            return None
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not _is_port(port):
            return None
    if "%" in host:  # a zone means nothing on another machine
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    # A socket for both families shows IPv4 clients so.
    return getattr(address, "ipv4_mapped", None) or address


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
