"""Connections to checked addresses only, all of whose waiting has one end.

A name is looked up once, here, and the address that passed the check is the one that is connected to: a name server
that gives another answer the next time changes nothing. TLS and the Host header keep the name.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore2

from molva.outbound.policy import AddressPolicy, refusal
from molva.outbound.resolver import GetAddrInfo, resolve

CONNECT_TIMEOUT_S = 10.0
"""For one address; a host may have several."""
IDLE_TIMEOUT_S = 30.0
"""Longest wait for the next byte."""
POLL_S = 0.25
"""How often a wait looks whether anybody still wants what it waits for."""


@dataclass(frozen=True, slots=True)
class Network:
    """What connections are made with: the machine's own, but in tests."""

    getaddrinfo: GetAddrInfo = socket.getaddrinfo
    tls: ssl.SSLContext | None = None
    """None: the authorities that the system trusts."""

    def context(self) -> ssl.SSLContext:
        return self.tls or _system_trust()


@cache
def _system_trust() -> ssl.SSLContext:
    """Once: reading the authorities takes longer than most requests."""
    return httpcore2.default_ssl_context()


class Deadline:
    """When all of a request has to be over, and whether it is still wanted."""

    def __init__(self, timeout_s: float, check: Callable[[], None] = lambda: None) -> None:
        """`check`: called during every wait; what it raises ends the request."""
        self._at = time.monotonic() + timeout_s
        self.check = check

    def sooner(self, timeout_s: float) -> None:
        """Not later than in `timeout_s` seconds."""
        self._at = min(self._at, time.monotonic() + timeout_s)

    def left(self, at_most: float) -> float:
        """Seconds, more than 0. Raises TimeoutError."""
        self.check()
        left = min(self._at - time.monotonic(), at_most)
        if left <= 0:
            raise TimeoutError
        return left


class CheckedBackend(httpcore2.NetworkBackend):
    """Resolves, checks, connects. For one request: it takes the request's deadline, and no other timeout."""

    def __init__(self, policy: AddressPolicy, network: Network, deadline: Deadline) -> None:
        self._policy = policy
        self._network = network
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # httpcore2's interface
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        """Tries the permitted ones of a host's addresses in turn. Raises AddressRefused where none is, and OSError."""
        addresses = resolve(host, port, self._deadline.left(CONNECT_TIMEOUT_S), self._network.getaddrinfo)
        permitted = [address for address in addresses if self._policy.permits(address)]
        if not permitted:
            raise refusal(host)
        problem: OSError = OSError("no address")
        for address in permitted:
            try:
                # An address as text is looked up nowhere.
                connected = socket.create_connection((str(address), port), self._deadline.left(CONNECT_TIMEOUT_S))
            except OSError as error:
                problem = error
                continue
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Stream(connected, self._deadline)
        raise problem


class _Stream(httpcore2.NetworkStream):
    """A socket under a deadline. Raises OSError, of which TimeoutError is one."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        idle = Deadline(IDLE_TIMEOUT_S)
        while True:
            self._socket.settimeout(self._deadline.left(idle.left(POLL_S)))
            try:
                return self._socket.recv(max_bytes)
            except TimeoutError:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        view = memoryview(buffer)
        while view:
            self._socket.settimeout(self._deadline.left(IDLE_TIMEOUT_S))
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                raise
            except OSError as error:
                # Some answer and close before they have read everything: httpcore2 then goes on to read the answer.
                raise httpcore2.WriteError from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        try:
            self._socket.settimeout(self._deadline.left(IDLE_TIMEOUT_S))
            return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002  # plain HTTP/1.1 asks for nothing that matters
        return None
