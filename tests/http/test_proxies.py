"""Whose request it is, by what proxies say and by who says it."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from molva.http.proxies import TrustedProxies, parse_address

PROXIES = TrustedProxies((ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


def client(peer: str, forwarded: str | None = None, real: str | None = None) -> str:
    given = {"x-forwarded-for": forwarded, "x-real-ip": real}
    headers = Headers({name: value for name, value in given.items() if value is not None})
    return str(PROXIES.client(ip_address(peer), headers))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
    ],
)
def test_addresses_are_read_with_and_without_ports(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2.1:",
            "1:2",
            "::1]",
        ),
        *("[::1", "[::1]x", "[::1]:x", "[192.0.2.1:80", "192.0.2.1:999999", "192.0.2.1, 10.0.0.1", "fe80::1%eth0"),
        *("192.0.2.1/32", "0x7f000001", "2130706433", "١٩٢.0.2.1", "192.0.2.1:٣", '"192.0.2.1"', "for=192.0.2.1"),
    ],
)
def test_garbage_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text())
def test_nothing_at_all_breaks_it(text: str) -> None:
    parse_address(text)
    PROXIES.client(ip_address("127.0.0.1"), Headers({"x-real-ip": "x"}))


@given(st.ip_addresses(), st.lists(st.ip_addresses(), max_size=5))
def test_what_a_client_writes_itself_never_counts(true: object, forged: list[object]) -> None:
    """Proxies append: whatever came before the address that the first of them saw, is the client's own words."""
    address = parse_address(str(true))
    if PROXIES.trusts(address):
        return
    header = ", ".join([*map(str, forged), str(true), "10.1.1.1"])
    assert client("127.0.0.1", header) == str(address)
    assert client(str(address), header) == str(address)


@pytest.mark.parametrize(
    ("peer", "forwarded", "real", "expected"),
    [
        ("192.0.2.9", "203.0.113.1", "203.0.113.2", "192.0.2.9"),  # no proxy of ours
        ("127.0.0.2", "203.0.113.1", None, "127.0.0.2"),  # this machine, but not the address that was named
        ("127.0.0.1", None, None, "127.0.0.1"),
        ("127.0.0.1", "203.0.113.1", "203.0.113.2", "203.0.113.1"),
        ("127.0.0.1", None, "203.0.113.2", "203.0.113.2"),
        ("127.0.0.1", "203.0.113.1, 203.0.113.5", None, "203.0.113.5"),
        ("10.2.3.4", "203.0.113.1, 10.0.0.7, fd00::1", None, "203.0.113.1"),
        ("127.0.0.1", "10.0.0.9, 10.0.0.7", None, "10.0.0.9"),  # a client within: all are believed
        ("127.0.0.1", "203.0.113.1, rubbish", "203.0.113.2", "203.0.113.2"),
        ("127.0.0.1", "203.0.113.1, rubbish, 10.0.0.7", None, "10.0.0.7"),
        ("127.0.0.1", "203.0.113.1,", None, "127.0.0.1"),
        ("127.0.0.1", "rubbish", "rubbish", "127.0.0.1"),
        ("127.0.0.1", "", "", "127.0.0.1"),
        ("fd00::5", "[2001:db8::1]:4711", None, "2001:db8::1"),
        ("127.0.0.1", "::ffff:203.0.113.1", None, "203.0.113.1"),
    ],
)
def test_the_right_most_stranger_is_the_client(
    peer: str, forwarded: str | None, real: str | None, expected: str
) -> None:
    assert client(peer, forwarded, real) == expected


def test_several_headers_are_one_list() -> None:
    headers = Headers(raw=[(b"x-forwarded-for", b"203.0.113.1"), (b"x-forwarded-for", b"203.0.113.2")])
    assert str(PROXIES.client(ip_address("127.0.0.1"), headers)) == "203.0.113.2"


def test_without_a_name_nobody_is_believed() -> None:
    nobody = TrustedProxies()
    headers = Headers({"x-forwarded-for": "203.0.113.1"})
    assert str(nobody.client(ip_address("127.0.0.1"), headers)) == "127.0.0.1"
    assert not nobody.trusts(None)
    assert nobody.client(None, headers) is None
