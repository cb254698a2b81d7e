"""The port, and who can reach it."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from molva.doctor.finding import Finding, ok, problem, warning
from molva.loopback import is_loopback

TIMEOUT_S = 3.0
"""For whatever holds the port to answer."""


def check_port(host: str, port: int) -> tuple[Finding, bool]:
    """Whether a server could listen there, and whether a molva does so already."""
    where = f"{host}:{port}"
    if port == 0:
        return ok("port", "a free one is taken at each start"), False
    reason = refusal(host, port)
    if reason is None:
        return ok("port", f"{where} is free"), False
    if reason == errno.EADDRINUSE:
        if health := ask_health(host, port):
            told = f"molva {health['version']} with {health['model']} listens on {where}, {health['model_state']}"
            return ok("port", told), True
        return problem("port", f"another program listens on {where}", "Stop it, or choose another --port."), False
    return problem("port", f"{where}: {os.strerror(reason)}", "Choose another --port or --host."), False


def refusal(host: str, port: int) -> int | None:
    """The system's reason against listening there, as errno; None where there is none. Nothing is left open."""
    address = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno
    return None


def ask_health(host: str, port: int) -> dict[str, Any] | None:
    """What a molva says of itself; None for any other program."""
    address = host.strip("[]")
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - it is looked for, not bound
    url = f"http://[{address}]:{port}/health" if ":" in address else f"http://{address}:{port}/health"
    try:
        # Its own address, never by way of a proxy that the environment names.
        document = httpx2.get(url, timeout=TIMEOUT_S, trust_env=False).json()
    except (httpx2.HTTPError, ValueError):
        return None
    known = isinstance(document, dict) and {"status", "version", "model", "model_state"} <= document.keys()
    return document if known else None


def check_exposure(host: str, origins: Sequence[str], *, any_origin: bool, asks_for_keys: bool) -> Iterator[Finding]:
    """Who can use the server: machines of the network, and web pages in the browsers of its users."""
    make_key = "Make a key: molva keys create NAME"
    if is_loopback(host):
        yield ok("exposure", f"{host} is reached from this machine only")
    elif asks_for_keys:
        yield ok("exposure", f"{host} is reached from the network, with a key")
    else:
        yield warning("exposure", f"everybody who can reach {host} may use this server", make_key)
    if any_origin and not asks_for_keys:
        yield warning("origins", "every web page may use this server through its visitors' browsers", make_key)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}".lower() != origin.lower():
            yield warning(
                "origins", f"no browser sends '{origin}'", "Write it as https://app.example: no path, no slash."
            )
        elif parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield warning("origins", f"{origin} can be forged by whoever is on its way", "Serve that page over https.")
