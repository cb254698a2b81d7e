"""One request and its answer, on a connection of its own.

Proxies of the environment are not used: they would connect to addresses that nobody checked.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore2

from molva.outbound.connection import CheckedBackend, Deadline, Network
from molva.outbound.policy import AddressPolicy
from molva.outbound.url import Target

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Unanswered(Exception):
    """No whole answer came. The text says why, for people; it tells no address that a name stands for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of an answer, and the way to its rest."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case; of a repeated one, the last."""
    chunks: Iterator[bytes]
    """Raises Unanswered, and what the deadline's check raises."""

    @property
    def redirect(self) -> str | None:
        """Where it says that the answer is to be had."""
        return self.headers.get("location") if self.status in REDIRECTS else None


@contextmanager
def exchange(
    method: str,
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    policy: AddressPolicy,
    deadline: Deadline,
    network: Network,
) -> Iterator[Answer]:
    """Sends a request; the connection is closed when the context ends.

    Raises AddressRefused where the host has no permitted address, Unanswered, and what the deadline's check raises.
    """
    url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    sent = {"Host": target.authority, **headers, "Connection": "close"}
    if body:
        sent["Content-Length"] = str(len(body))
    connection = httpcore2.HTTPConnection(
        url.origin,
        ssl_context=network.context() if target.scheme == "https" else None,
        network_backend=CheckedBackend(policy, network, deadline),
    )
    try:
        with _plain_problems():
            response = connection.handle_request(
                httpcore2.Request(method, url, headers=list(sent.items()), content=body)
            )
        received = {
            name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in response.headers
        }
        yield Answer(response.status, received, _chunks(response))
    finally:
        connection.close()


def _chunks(response: httpcore2.Response) -> Iterator[bytes]:
    with _plain_problems():
        yield from response.iter_stream()


@contextmanager
def _plain_problems() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unanswered("it did not answer in time") from error
    except ssl.SSLCertVerificationError as error:
        raise Unanswered(f"its TLS certificate is not valid: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unanswered("it does not speak TLS as it should") from error
    except socket.gaierror as error:
        raise Unanswered("its name has no address") from error
    except OSError as error:
        reason = error.strerror or "the network failed"
        raise Unanswered(f"no connection: {reason[:1].lower()}{reason[1:]}") from error
    except (httpcore2.ProtocolError, httpcore2.NetworkError) as error:
        raise Unanswered("it closed the connection too early, or does not speak HTTP") from error
