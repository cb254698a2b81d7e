"""Which addresses molva may connect to when a client names them. Pure: no names are looked up here."""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from molva.errors import AddressRefused
from molva.outbound.url import Target, parse_url

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

GLOBAL_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is handed out to the public; whatever lies outside is for something else, or for nothing yet."""
LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

# IANA's registries of special addresses. The standard library's lists differ between versions of Python.
NOT_PUBLIC: tuple[IPNetwork, ...] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by customers of one provider
        "127.0.0.0/8",
        "168.63.129.16/32",  # what Azure tells its machines about themselves
        "169.254.0.0/16",  # link-local; what other clouds tell theirs
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved and broadcast
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4, which embeds addresses of IPv4
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Public addresses, and those of `allowed` networks; `hosts`: whose they may be, None for anybody's."""

    allowed: tuple[IPNetwork, ...] = ()
    hosts: Collection[str] | None = None
    """In the form that `Target.host` has."""

    def permits(self, address: IPAddress) -> bool:
        """Whether a connection to this very address may be made."""
        if any(address in network for network in self.allowed):
            return True
        real = embedded(address)
        return is_public(real) or any(real in network for network in self.allowed)

    def check_url(self, url: str) -> Target:
        """The parts of a URL that may be asked, as far as that shows without looking its name up.

        A name that passes may yet have addresses that do not: those are checked when a connection is made. Raises
        AddressRefused.
        """
        target = parse_url(url)
        if self.hosts is not None and target.host not in self.hosts:
            raise AddressRefused(
                f"This server does not fetch from {target.host}. Its operator can allow it with --job-url-host."
            )
        addresses = literal_addresses(target.host)
        if addresses and not any(self.permits(address) for address in addresses):
            raise refusal(target.host)
        return target


def refusal(host: str) -> AddressRefused:
    """For a host without a permitted address. It tells nothing of the addresses that the host has."""
    return AddressRefused(
        f"The server may not connect to {host}: that is no public address. "
        "Name another one, or let the server's operator allow its network with --allow-network."
    )


def is_public(address: IPAddress) -> bool:
    """Whether anybody on the internet may have this address."""
    if address.version == 6 and address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in NOT_PUBLIC)


def embedded(address: IPAddress) -> IPAddress:
    """The IPv4 address that a mapped or translated (NAT64) one stands for; any other address as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def literal_addresses(host: str) -> tuple[IPAddress, ...]:
    """The addresses that a host stands for without a look-up; none for a name.

    IPv4 also in the spellings that the operating system takes, such as 0x7f.1, 2130706433 and 127.1.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return LOOPBACK
    try:
        return (ip_address(host),)
    except ValueError:
        pass
    try:
        return (IPv4Address(socket.inet_aton(host)),)
    except OSError:
        return ()
