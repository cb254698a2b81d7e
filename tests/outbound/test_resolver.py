"""Looking names up, with an end."""

import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from molva.outbound.resolver import MAX_HANGING, resolve


def entry(address: str) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))


def test_each_address_comes_once_and_in_order() -> None:
    found = [entry("2.2.2.2"), entry("1.1.1.1"), entry("2.2.2.2")]
    addresses = resolve("example.com", 80, 5, lambda *_, **__: found)
    assert addresses == [ip_address("2.2.2.2"), ip_address("1.1.1.1")]


def test_a_name_without_an_address_is_an_error_of_the_system() -> None:
    def nothing(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(socket.gaierror):
        resolve("example.com", 80, 5, nothing)


def test_look_ups_that_hang_hold_nobody_and_are_not_without_number() -> None:
    over, begun = threading.Event(), []

    def hanging(*_: object, **__: object) -> list[tuple[Any, ...]]:
        begun.append(1)
        over.wait()
        return []

    try:
        for _ in range(MAX_HANGING + 3):
            with pytest.raises(TimeoutError):
                resolve("example.com", 80, 0.01, hanging)
        assert len(begun) == MAX_HANGING
    finally:
        over.set()
    assert resolve("example.com", 80, 5, lambda *_, **__: [entry("1.1.1.1")])
