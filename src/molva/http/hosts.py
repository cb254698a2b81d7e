"""For which hosts the server answers. Against DNS rebinding: a page of evil.example, whose name is made to lead to
127.0.0.1, is of the same origin as what it asks then, but its requests say `Host: evil.example`."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from molva.loopback import is_loopback

ANY = "*"

HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")


@dataclass(frozen=True)
class HostPolicy:
    """Loopback names and those that are allowed; every host where `allowed` has `*`."""

    allowed: Collection[str] = (ANY,)

    def permits(self, header: str | None) -> bool:
        """Whether a request with this Host header may pass. Browsers always send one; some programs send none."""
        if not header or ANY in self.allowed:
            return True
        name = host_name(header)
        return name is not None and (is_loopback(name) or name in map(same_name, self.allowed))


def host_name(authority: str) -> str | None:
    """The name or address of `name:port`, by `same_name`; None for what is neither."""
    match = HOST.fullmatch(authority)
    return same_name(match["name"]) if match is not None else None


def same_name(name: str) -> str:
    """As it is compared: in small letters, without brackets and the dot at its end, addresses in their usual form."""
    name = name.strip("[]").lower().removesuffix(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def is_address(name: str) -> bool:
    """Whether a name as `same_name` gives it is an address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
