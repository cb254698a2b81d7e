"""/v1/ws: rates, frames of every size, and what is recognised in them."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soxr
from websockets.exceptions import ConnectionClosed

from molva.engines.base import Options
from molva.engines.fake import FakeEngine
from molva.engines.gigaam.model import load_gigaam
from molva.samples import SAMPLE_RATE, Samples
from tests.conftest import SEEN, Clip
from tests.engines.gigaam.test_model import files_of
from tests.http.conftest import Running, serving
from tests.http.wsclient import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UTTERANCE,
    Ended,
    Message,
    codes,
    connected,
    frame,
    frame_head,
    in_session,
    kinds,
    of_type,
    pcm,
    raw,
    silence,
    speech,
    texts,
)

LIMIT = 524_288
"""Bytes of the largest frame and message."""


def fingerprint(window: Samples, _options: Options) -> str:
    """A script for the fake engine that tells windows apart to the last bit."""
    return f"{zlib.crc32(window.tobytes()):08x}"


@pytest.fixture(scope="module")
def fingerprints() -> Iterator[Running]:
    with serving(FakeEngine(fingerprint)) as server:
        yield server


def heard(server: Running, frames: Sequence[bytes]) -> list[Message]:
    """The finals with text of a session of these frames at 16 kHz."""
    with in_session(server) as client:
        for data in frames:
            client.connection.send(data)
        messages = client.stop()
        assert client.ended == Ended(1000, "")
    assert codes(messages) == []
    return [final for final in of_type("final", messages) if final["text"]]


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """`data` in pieces of these sizes, again and again."""
    pieces: list[bytes] = []
    start = 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[start : start + size])
        start += size
    return pieces


class TestFrames:
    DATA = pcm(np.concatenate([speech(1.2), silence(0.7), speech(1), silence(0.2)]))

    @pytest.mark.parametrize(
        "sizes",
        [
            [1] * 999 + [9_999],
            [3] * 99 + [999],
            [1, 2, 3, 4, 5] * 99 + [9_999],
            [640],
            [3_199, 1],
            [99_999],
            [0, 1001, 0, 0, 777],
        ],
        ids=lambda sizes: str(sizes[:5]),
    )
    def test_how_audio_is_cut_into_frames_changes_nothing(self, fingerprints: Running, sizes: list[int]) -> None:
        """To the last bit of every window, where a frame ends inside a sample too."""
        whole = heard(fingerprints, [self.DATA])
        assert len(whole) == 2
        pieces = heard(fingerprints, cut(self.DATA, sizes))
        assert [(final["text"], final["words"]) for final in pieces] == [
            (final["text"], final["words"]) for final in whole
        ]

    def test_half_a_sample_at_the_end_is_dropped(self, fingerprints: Running) -> None:
        assert [final["text"] for final in heard(fingerprints, [self.DATA + b"\x7f"])] == [
            final["text"] for final in heard(fingerprints, [self.DATA])
        ]

    def test_nothing_of_a_long_frame_is_lost(self, fingerprints: Running) -> None:
        """Sixteen seconds in one frame give what sixteen seconds in frames of 20 ms give."""
        data = pcm(np.concatenate([speech(2.5), silence(0.7)] * 5))
        assert len(data) == LIMIT - 12_288
        assert [final["text"] for final in heard(fingerprints, [data])] == [
            final["text"] for final in heard(fingerprints, cut(data, [640]))
        ]

    def test_the_thousandth_empty_frame_is_tolerated_and_the_next_ends_the_session(self, fake_server: Running) -> None:
        """However much audio lies between them, and without a final."""
        with in_session(fake_server) as client:
            for _ in range(500):
                client.connection.send(b"")
            client.say(UTTERANCE)
            for _ in range(500):
                client.connection.send(b"")
            assert texts(client.settled()) == ["слово0 слово1"]
            client.say(speech(1))
            client.connection.send(b"")
            messages = client.rest()
            assert client.ended == Ended(1008, "policy violation")
        assert of_type("final", messages) == []
        assert messages[-1] == {"type": "error", "message": "Empty frame limit exceeded", "code": "policy_violation"}


class TestSize:
    def test_a_message_of_exactly_the_limit_is_taken(self, fake_server: Running) -> None:
        with in_session(fake_server) as client:
            client.connection.send(bytes(LIMIT))
            client.connection.send([bytes(LIMIT // 4)] * 4)
            assert kinds(client.stop()) == ["final"]

    @pytest.mark.parametrize("message", [bytes(600 * 1024), [bytes(LIMIT // 8)] * 9], ids=["frame", "fragments"])
    def test_a_larger_message_ends_the_connection_and_nothing_else(
        self, fake_server: Running, message: bytes | list[bytes]
    ) -> None:
        """A client that still writes may meet the reset before the Close."""
        with connected(fake_server) as client:
            client.read()
            with suppress(ConnectionClosed):
                client.connection.send(message)
            assert client.rest() == []
            assert client.ended.code in {1009, 1006}
        assert fake_server.client.get("/health").status_code == 200
        fake_server.wait_until(lambda state: state.pool_available == 2)

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_the_head_of_a_larger_frame_is_enough(self, fake_server: Running, opcode: int) -> None:
        for length in (LIMIT + 1, 2**40):
            with raw(fake_server.url) as client:
                client.read()
                client.socket.sendall(frame_head(opcode, length))
                ((closed, payload),) = client.rest()
                assert (closed, payload[:2]) == (CLOSE, (1009).to_bytes(2))
        assert fake_server.client.get("/health").status_code == 200

    def test_the_fragment_that_is_too_much_ends_the_connection_with_1009(self, fake_server: Running) -> None:
        with raw(fake_server.url) as client:
            client.read()
            client.socket.sendall(frame(BINARY, bytes(LIMIT - 1), fin=False))
            client.send(PING)
            assert client.read() == (PONG, b"")
            client.socket.sendall(frame_head(CONTINUATION, 2))
            ((closed, payload),) = client.rest()
            assert (closed, payload[:2]) == (CLOSE, (1009).to_bytes(2))
        assert fake_server.client.get("/health").status_code == 200

    def test_fragments_make_one_message(self, fingerprints: Running) -> None:
        data = TestFrames.DATA
        with in_session(fingerprints) as client:
            client.connection.send(cut(data, [1, 0, 777]))
            client.connection.send(['{"type":', '"st', "", 'op"}'])
            finals = client.rest()
        assert texts(finals) == [final["text"] for final in heard(fingerprints, [data])]

    def test_a_fragment_without_a_beginning_is_a_protocol_error(self, fake_server: Running) -> None:
        with raw(fake_server.url) as client:
            client.read()
            client.send(CONTINUATION, b"x")
            ((opcode, payload),) = client.rest()
            assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2))
        assert fake_server.client.get("/health").status_code == 200

    def test_the_operator_sets_the_limit(self) -> None:
        with serving(FakeEngine(), ws_frame_max_bytes=1024) as server, raw(server.url) as client:
            client.read()
            client.send(BINARY, bytes(1024))
            client.socket.sendall(frame_head(BINARY, 1025))
            assert client.rest()[-1][1][:2] == (1009).to_bytes(2)


class TestRates:
    @pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
    def test_every_rate_has_the_same_times(self, fake_server: Running, rate: int) -> None:
        audio = soxr.resample(UTTERANCE, SAMPLE_RATE, rate)
        with connected(fake_server) as client:
            client.read()
            if rate != 48000:  # which is what a client that says nothing sends
                client.send(type="configure", sample_rate=rate)
            for data in cut(pcm(audio), [rate // 5]):
                client.connection.send(data)
            final = of_type("final", client.stop())[0]
        assert final["text"] == "слово0 слово1"
        assert final["words"][-1]["end"] == pytest.approx(2.5, abs=0.3)


@pytest.fixture(scope="module")
def real_server(tiny_dir: Path) -> Iterator[Running]:
    with serving(load_gigaam(files_of("rnnt", tiny_dir), model="tiny", variant="rnnt")) as running:
        yield running


class TestRealSpeech:
    CLIPS = tuple(clip for clip in SEEN if clip.path.stem in {"ru_0143", "ru_0149"})

    @pytest.mark.parametrize("frame_s", [0.02, 0.1, 1.0])
    def test_each_utterance_of_a_stream_has_its_exact_text(self, real_server: Running, frame_s: float) -> None:
        with in_session(real_server) as client:
            for clip in self.CLIPS:
                client.say(clip.samples, silence(1), frame_s=frame_s)
            finals = of_type("final", client.stop())
        assert texts(finals) == [clip.rnnt for clip in self.CLIPS]
        assert [final["endpoint_reason"] for final in finals] == ["vad", "vad", "stop"]
        starts = np.cumsum([0, *(clip.samples.size / SAMPLE_RATE + 1 for clip in self.CLIPS)])
        for final, start, end in zip(finals[:-1], starts[:-1], starts[1:], strict=True):
            words = final["words"]
            assert " ".join(word["word"] for word in words) == final["text"]
            assert start <= words[0]["start"] < words[-1]["end"] <= end
            assert 0 < final["confidence"] <= 1

    def test_the_last_words_before_stop_are_kept(self, real_server: Running) -> None:
        clip: Clip = self.CLIPS[0]
        with in_session(real_server) as client:
            client.say(clip.samples)
            finals = of_type("final", client.stop())
        assert " ".join(texts(finals)) == clip.rnnt
