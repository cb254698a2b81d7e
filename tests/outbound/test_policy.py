"""Which URLs and addresses molva may be sent to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molva.errors import AddressRefused
from molva.outbound.policy import AddressPolicy, is_public

PUBLIC = AddressPolicy()
HOME = AddressPolicy(allowed=(ip_network("127.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/hook?token=1&b=%20",
        "HTTPS://EXAMPLE.com.:8443/",
        "https://пример.рф/вебхук",
        "http://93.184.216.34/",
        "http://[2606:2800:220:1:248:1893:25c8:1946]:8080/",
        "http://my_service.example.com/",
    ],
)
def test_ordinary_urls_pass(url: str) -> None:
    assert PUBLIC.check_url(url).port > 0


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "begin with http"),
        ("example.com/hook", "begin with http"),
        ("ftp://example.com/", "begin with http"),
        ("file:///etc/passwd", "begin with http"),
        ("gopher://example.com/", "begin with http"),
        ("http:///hook", "host or port"),
        ("http://", "host or port"),
        ("http://exa mple.com/", "control character"),
        ("http://example.com/\r\nX: y", "control character"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://@example.com/", "user name or password"),
        ("http://example.com:0/", "port is 0"),
        ("http://example.com:99999/", "host or port"),
        ("http://example.com:x/", "host or port"),
        ("http://exa$mple.com/", "host or port"),
        ("http://a..b/", "host or port"),
        ("http://[::1/", "host or port"),
        ("http://[fe80::1%25eth0]/", "host or port"),
        ("http://" + "a" * 3000, "longer than"),
    ],
)
def test_other_urls_are_refused_with_what_is_wrong(url: str, told: str) -> None:
    with pytest.raises(AddressRefused, match=told):
        PUBLIC.check_url(url)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.0.0.1.",
        "１２７.0.0.1",
        "127。0。0。1",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[fec0::1]",
        "[::127.0.0.1]",
    ],
)
def test_literal_addresses_that_are_not_public_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(AddressRefused, match="no public address"):
        PUBLIC.check_url(f"http://{host}/hook")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "0x7f.1", "10.1.2.3", "[::ffff:10.1.0.1]", "[fd12::1]", "[64:ff9b::10.1.0.1]"]
)
def test_an_operator_can_allow_networks(host: str) -> None:
    assert HOME.check_url(f"http://{host}/hook")


def test_what_is_beside_an_allowed_network_stays_refused() -> None:
    for host in ("10.2.0.1", "192.168.0.1", "[::1]", "[::ffff:10.2.0.1]"):
        with pytest.raises(AddressRefused):
            HOME.check_url(f"http://{host}/")


def test_with_a_list_of_hosts_no_other_is_asked() -> None:
    policy = AddressPolicy(hosts=frozenset({"files.example.com", "93.184.216.34"}))
    for url in ("https://files.example.com/a", "https://FILES.example.com:444/a", "http://93.184.216.34/"):
        assert policy.check_url(url)
    for url in ("https://example.com/", "https://evil.files.example.com/", "http://93.184.216.35/"):
        with pytest.raises(AddressRefused, match="--job-url-host"):
            policy.check_url(url)


def test_a_refusal_does_not_tell_addresses() -> None:
    with pytest.raises(AddressRefused) as caught:
        PUBLIC.check_url("http://2130706433/")
    assert "127.0.0.1" not in str(caught.value)


def test_a_target_is_what_the_url_says() -> None:
    target = PUBLIC.check_url("https://Пример.рф:444/вебхук/%20?имя=а#часть")
    assert (target.scheme, target.host, target.port) == ("https", "xn--e1afmkfd.xn--p1ai", 444)
    assert target.authority == "xn--e1afmkfd.xn--p1ai:444"
    assert target.path.isascii()
    assert target.path.endswith("/%20?%D0%B8%D0%BC%D1%8F=%D0%B0")
    assert PUBLIC.check_url("http://example.com?a=1").path == "/?a=1"


NEWLY_SPECIAL = [ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")]
"""What the standard library calls public, in some of its versions."""


@given(st.ip_addresses(v=4) | st.sampled_from(NEWLY_SPECIAL).map(lambda network: network[0]))
def test_public_addresses_of_ipv4_are_those_of_the_standard_library(address: IPv4Address) -> None:
    special = any(address in network for network in NEWLY_SPECIAL)
    assert is_public(address) == (address.is_global and not address.is_multicast and not special)


@given(st.ip_addresses(v=6) | st.integers(0, 2**125 - 1).map(lambda rest: IPv6Address((1 << 125) + rest)))
def test_what_is_public_in_ipv6_is_so_in_the_standard_library(address: IPv6Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_link_local, address.is_private))
        assert address.sixtofour is None
        assert address.teredo is None
    elif address in ip_network("2000::/3") and address.is_global:
        assert any(address in ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_permitted_as_the_address_is(address: IPv4Address) -> None:
    permitted = PUBLIC.permits(address)
    assert PUBLIC.permits(ip_address(f"::ffff:{address}")) == permitted
    assert PUBLIC.permits(ip_address(f"64:ff9b::{address}")) == permitted


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "{:#x}", "0{:o}"]))
def test_a_spelling_changes_nothing(address: IPv4Address, spelling: str) -> None:
    host = spelling.format(int(address))
    try:
        PUBLIC.check_url(f"http://{host}/")
        passed = True
    except AddressRefused:
        passed = False
    assert passed == is_public(address)


@given(st.text())
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        try:
            target = PUBLIC.check_url(url)
        except AddressRefused:
            continue
        assert target.url.isascii()
        assert PUBLIC.check_url(target.url) == target
