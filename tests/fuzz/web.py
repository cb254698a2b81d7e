"""What stands in requests around their bodies, and the addresses in them."""

import asyncio
from ipaddress import ip_address, ip_network
from urllib.parse import parse_qsl

import h11
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers

from molva.errors import AddressRefused, MolvaError
from molva.http.connection import MAX_HEAD_BYTES, StrictConnection
from molva.http.hosts import HostPolicy
from molva.http.origin import OriginPolicy
from molva.http.proxies import TrustedProxies
from molva.http.rendering import Rendering
from molva.http.speakers import SpeakerWish
from molva.outbound.policy import AddressPolicy
from molva.outbound.url import follow
from molva.transcript import Coverage, Segment, Transcript, Word

WORDS = (Word("Раз", 0.1, 0.4, 0.98765), Word("два.", 0.5, 0.9, 0.5))
TRANSCRIPT = Transcript((Segment(0.1, 0.9, "Раз два.", WORDS),), 4.0, "ru", Coverage(0.8, 0.8))
RENDERING, WISH = TypeAdapter(Rendering), TypeAdapter(SpeakerWish)
LOOP = asyncio.new_event_loop()

PROXIES = TrustedProxies([ip_network("127.0.0.0/8"), ip_network("fd00::/8")])
HOSTS = HostPolicy(("molva.example", "[fd00::1]"))
ORIGINS = OriginPolicy(("https://app.example",), own_names=("molva.example",))
POLICY = AddressPolicy((ip_network("10.0.0.0/8"),))


def query(data: bytes) -> None:
    """A query, as the routes with a transcript for an answer take it."""
    given = dict(parse_qsl(data.decode("latin-1"), keep_blank_values=True))
    try:
        rendering = RENDERING.validate_python(given)
        WISH.validate_python(given).count(by_default=False)
        answer = LOOP.run_until_complete(rendering.answer(TRANSCRIPT))
    except (ValidationError, MolvaError):
        return
    h11.Response(status_code=200, headers=answer.raw_headers)  # refuses what no header may hold


def framing(data: bytes) -> None:
    """Bytes of a connection: a byte for how they are cut, then all requests of it."""
    size = data[0] * 8 + 1 if data else 1
    connection = StrictConnection(h11.SERVER, MAX_HEAD_BYTES)
    try:
        for start in range(1, len(data), size):
            connection.receive_data(data[start : start + size])
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.EndOfMessage):
                    if connection.our_state is h11.SEND_RESPONSE:
                        connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                        connection.send(h11.EndOfMessage())
                    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                        return
                    connection.start_next_cycle()
    except h11.RemoteProtocolError:
        assert 400 <= connection.refusal < 600


def outbound_url(data: bytes) -> None:
    """A URL that a client names, and where it redirects to."""
    url, _, location = data.decode("utf-8", "replace").partition("\n")
    try:
        target = POLICY.check_url(url)
        assert target.url.isascii()
        assert POLICY.check_url(target.url).authority == target.authority
        follow(target, location.encode("utf-8").decode("latin-1"))
    except AddressRefused:
        pass


def addresses(data: bytes) -> None:
    """Headers that tell who asks, and whom: X-Forwarded-For, X-Real-IP, Host, Origin, a line each."""
    lines = data.split(b"\n")[:4]
    forwarded, real_ip, host, origin = [*lines, *[b""] * (4 - len(lines))]
    headers = Headers(raw=[(b"x-forwarded-for", forwarded), (b"x-real-ip", real_ip)])
    for peer in (None, ip_address("127.0.0.1"), ip_address("8.8.8.8")):
        assert PROXIES.client(peer, headers) is not None or peer is None
    HOSTS.permits(host.decode("latin-1"))
    ORIGINS.permits(origin.decode("latin-1"), host.decode("latin-1"))
    ORIGINS.cors_headers(origin.decode("latin-1"))
