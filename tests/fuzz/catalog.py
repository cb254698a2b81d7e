"""Which targets there are: what each one feeds, with what, and how often."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target, with the inputs that every run begins with."""

MAX_FILES = 40
MAX_BYTES = 100_000
"""Of what is committed for one target."""

JSON = ("{", "}", '":', ',"', "null", "true", "1e9", "-1", "\\ud800", '{"type":"')


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that reads what strangers write."""

    name: str
    """Of the function, of its corpus and in reports."""
    group: str
    """Module of this package with the function."""
    modules: tuple[str, ...]
    """Of molva: what is under test, and guides the fuzzing by its coverage."""
    max_bytes: int = 4096
    words: tuple[str, ...] = ()
    """What inputs are put together from, beside bytes."""
    cost: int = 1
    """Runs of others in the time of one of these, in round numbers."""

    @property
    def corpus(self) -> Path:
        return CORPUS / self.name

    def load(self) -> Callable[[bytes], None]:
        """The function. It raises nothing but what is a finding. Imports what is under test."""
        module = importlib.import_module(f"tests.fuzz.{self.group}")
        return cast(Callable[[bytes], None], getattr(module, self.name))


_LIVE: tuple[str, ...] = (
    "molva.http.live_socket",
    "molva.http.outbox",
    "molva.runtime.live",
    "molva.speech.live",
    "molva.audio.pcm",
)
_REALTIME: tuple[str, ...] = (
    "molva.http.openai.realtime_events",
    "molva.http.openai.realtime_settings",
    "molva.audio.g711",
)
_CONFIGURE: tuple[str, ...] = (
    '{"type":"configure","',
    '{"type":"stop"}',
    "sample_rate",
    "diarization",
    "protocol_version",
)
_CONFIGURE += ("endpoint_mode", "min_silence_ms", "manual", "assistant", "16000", "8000", '"1.0"')
_UPDATE: tuple[str, ...] = (
    *('{"type":"session.update","session":{', '{"type":"transcription_session.update","session":{'),
    *('"audio":{"input":{', '"turn_detection":', '"server_vad"', '"semantic_vad"', '"format":{"type":"audio/pcmu"}'),
    *('"transcription":{"model":"', '"language":"ru"', '"languages":[', '"include":[', '"eagerness":"high"'),
    *('"silence_duration_ms":', '"threshold":0.5', '"prefix_padding_ms":', '"noise_reduction":{"type":"near_field"}'),
    *('"input_audio_format":"g711_alaw"', '"event_id":"', "gpt-realtime-whisper"),
    *('{"type":"input_audio_buffer.append","audio":"', '{"type":"input_audio_buffer.commit"}'),
    '{"type":"input_audio_buffer.clear"}',
)
_FORM: tuple[str, ...] = (
    "model",
    "language",
    "prompt",
    "temperature",
    "response_format",
    "stream",
    "chunking_strategy",
    "include[]",
)
_FORM += ("timestamp_granularities[]", "verbose_json", "diarized_json", "server_vad", "known_speaker_names[]", "word")
_FORM += ("known_speaker_references[]", "chunking_strategy[threshold]", "languages[]", "logprobs", "&", "=", "%00")
_QUERY: tuple[str, ...] = (
    "format=",
    "download=",
    "max_chars_per_line=",
    "max_words_per_line=",
    "word_timestamps=",
    "diarization=true",
)
_QUERY += ("num_speakers=", "min_speakers=", "max_speakers=", "channels=split", "&", "%0a", "%22", "srt", "md", "tsv")
_HEADERS: tuple[str, ...] = (
    "Content-Length: ",
    "Transfer-Encoding: chunked",
    "Host: ",
    "\r\n",
    "\r\n\r\n",
    " HTTP/1.1\r\n",
    "0\r\n\r\n",
)
_MULTIPART: tuple[str, ...] = (
    "--x\r\n",
    "\r\n--x\r\n",
    "\r\n--x--\r\n",
    'Content-Disposition: form-data; name="',
    '"; filename="',
)
_MULTIPART += ("\r\n\r\n", "filename*=utf-8''", "Content-Transfer-Encoding: ", "multipart/form-data; boundary=x\n")
_PATHS: tuple[str, ...] = (
    "/v1/transcribe",
    "/v1/transcribe/stream",
    "/v1/audio/transcriptions",
    "/v1/models/",
    "/jobs/",
    "/model/load",
)
_PATHS += ("/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions", "GET ", "POST ", "DELETE ", "OPTIONS ")

TARGETS = {
    target.name: target
    for target in (
        Target("pcm", "sound", ("molva.audio.pcm", "molva.audio.g711", "molva.audio.resample"), cost=4),
        Target(
            "decode",
            "sound",
            ("molva.audio.decode", "molva.audio.ffmpeg", "molva.audio.declared", "molva.audio.ogg"),
            words=(
                "RIFF",
                "WAVEfmt ",
                "data",
                "fLaC",
                "OggS\0",
                "ID3",
                "Xing",
                "ftyp",
                "moov",
                "FORM",
                ".snd",
                "#!AMR\n",
            ),
            cost=8,
        ),
        Target(
            "known_speakers",
            "sound",
            ("molva.http.openai.known_speakers",),
            max_bytes=8192,
            words=("data:", "audio/wav", ";base64,", ";charset=", "UklGR"),
            cost=8,
        ),
        Target("multipart", "forms", ("molva.http.multipart", "molva.http.filenames"), words=_MULTIPART, cost=2),
        Target(
            "file_names",
            "forms",
            ("molva.http.filenames",),
            words=("filename", "filename*", "filename*0*", "=utf-8''", "=iso-8859-1''", "%D1%8F", "/", "\\", "\n"),
        ),
        Target("openai_form", "forms", ("molva.http.openai.form",), max_bytes=6000, words=_FORM),
        Target(
            "jobs_form",
            "forms",
            ("molva.http.jobs.form", "molva.http.speakers", "molva.speech.clustering"),
            words=("task=", "translate", "channels=", "priority=high", "audio_url=", "webhook_url=", *_QUERY),
        ),
        Target("native_messages", "messages", ("molva.http.websocket",), words=(*JSON, *_CONFIGURE)),
        Target("realtime_events", "messages", _REALTIME, words=(*JSON, *_UPDATE)),
        Target(
            "native_session", "sessions", ("molva.http.websocket", *_LIVE), words=("\n", "s", "b", *_CONFIGURE), cost=40
        ),
        Target(
            "realtime_session",
            "sessions",
            ("molva.http.openai.realtime", *_REALTIME, *_LIVE),
            words=("\n", "s", *_UPDATE),
            cost=40,
        ),
        Target(
            "environment", "operator", ("molva.configuration", "molva.settings"), words=("\n", "=", "[", '"]'), cost=8
        ),
        Target(
            "toml",
            "operator",
            ("molva.configuration", "molva.settings", "molva.logs"),
            max_bytes=6000,
            words=(
                "=",
                "[",
                "[[",
                '"""',
                "true",
                "nan",
                "1979-05-27T07:32:00Z",
                "host",
                "port",
                "alias",
                "data_dir",
                "\n",
            ),
            cost=8,
        ),
        Target("key_file", "operator", ("molva.keys",), words=(*JSON, "keys", "name", "sha256", "created", "quota")),
        Target(
            "query",
            "web",
            ("molva.http.rendering", "molva.http.speakers", "molva.formats", "molva.speech.clustering"),
            words=_QUERY,
            cost=2,
        ),
        Target("framing", "web", ("molva.http.connection",), words=_HEADERS),
        Target(
            "outbound_url",
            "web",
            ("molva.outbound.url", "molva.outbound.policy"),
            words=("http://", "https://", "[::1]", "127.1", "0x7f", "@", "%", "xn--", "localhost", "..", "ß", "\n"),
        ),
        Target(
            "addresses",
            "web",
            ("molva.http.proxies", "molva.http.hosts", "molva.http.origin"),
            words=("127.0.0.1", "[::1]", ":80", "::ffff:", "%eth0", ",", "\n", "http://", "localhost", ".local"),
        ),
        Target(
            "requests",
            "server",
            (
                *("molva.http.native", "molva.http.auth", "molva.http.middleware", "molva.http.guard"),
                *("molva.http.dialects", "molva.http.jobs", "molva.http.openai", "molva.http.multipart"),
                *("molva.http.routes", "molva.http.rendering", "molva.http.speakers", "molva.http.problems"),
            ),
            words=(*_PATHS, *_FORM, *_QUERY, *_MULTIPART, "content-type: application/json\n", "host: ", "origin: "),
            cost=20,
        ),
    )
}
