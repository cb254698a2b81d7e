"""SIGHUP: the configuration file is read again by a server that goes on serving."""

import re
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest
from websockets.sync.client import connect

from molva.runtime.loading import sample_speech
from tests.e2e.conftest import Process, molva_serve, run_molva
from tests.http.conftest import wav
from tests.http.wsclient import Client

RELOADS = 100
SHORT, LONG = (wav(sample_speech()[: length_s * 16_000 : 2], 8000) for length_s in (1, 4))
FIRST = """
body_limit_bytes = 50_000
max_audio_secs = 100
allow_origin = ["https://first.example"]
log_level = "info"
"""
SECOND = """
body_limit_bytes = 1_000_000
max_audio_secs = 2
allow_origin = ["https://second.example"]
log_level = "debug"
"""
"""The long clip is too many bytes for the first and too many seconds for the second; only a mixture would take it."""
BROKEN = [
    SECOND + "body_limit = 1\n",
    SECOND + "port = \n",
    SECOND.replace("2\n", "-2\n"),
    SECOND + 'alias = ["best=none"]\n',
    SECOND + 'host = "0.0.0.0"\n',
]


def write(file: Path, text: str) -> None:
    """Whole or not at all, as an operator's tools do."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def logged(process: Process, what: str, count: int) -> None:
    """Until the log has so many lines with it."""
    deadline = time.monotonic() + 60
    while (seen := sum(what in line for line in list(process.errors))) < count:
        assert process.popen.poll() is None
        assert time.monotonic() < deadline, f"{seen} of {count}: {''.join(process.errors)[-3000:]}"
        time.sleep(0.005)


class Operator:
    """Writes the file and has it read."""

    def __init__(self, process: Process, file: Path) -> None:
        self._process = process
        self._file = file
        self._read = 0
        self._refused = 0

    def apply(self, text: str) -> None:
        self._read += 1
        self._say(text)
        logged(self._process, f"read {self._file} again: ", self._read)

    def fail(self, text: str) -> None:
        self._refused += 1
        self._say(text)
        logged(self._process, "nothing is changed", self._refused)

    def _say(self, text: str) -> None:
        write(self._file, text)
        self._process.popen.send_signal(signal.SIGHUP)


def transcribe(url: str, clip: bytes, origin: str | None = None) -> int:
    headers = {"origin": f"https://{origin}.example"} if origin else {}
    return httpx2.post(f"{url}/v1/transcribe", content=clip, headers=headers, timeout=60).status_code


@pytest.mark.slow
def test_a_hundred_reloads_under_load_lose_no_request_and_mix_no_configurations(tmp_path: Path, tiny_dir: Path) -> None:
    file, done = tmp_path / "molva.toml", threading.Event()
    write(file, FIRST)
    seen = {name: Counter[int]() for name in ("short", "none", "first", "second")}
    lost: list[Exception] = []

    def ask(name: str) -> None:
        clip, origin = (SHORT, None) if name == "short" else (LONG, None if name == "none" else name)
        while not done.is_set():
            try:
                seen[name][transcribe(url, clip, origin)] += 1
            except httpx2.HTTPError as error:
                lost.append(error)

    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--config", file, home=tmp_path) as process:
        url, operator = process.url(), Operator(process, file)
        clients = [threading.Thread(target=ask, args=(name,)) for name in seen]
        for client in clients:
            client.start()
        try:
            for turn in range(RELOADS // 4):
                operator.apply(SECOND)
                assert [transcribe(url, LONG, "second"), transcribe(url, LONG, "first")] == [422, 403]
                operator.fail(BROKEN[turn % len(BROKEN)].replace("second", "third"))
                operator.apply(FIRST)
                assert [transcribe(url, LONG, "first"), transcribe(url, LONG, "second")] == [413, 403]
                operator.fail(BROKEN[turn % len(BROKEN)])
        finally:
            done.set()
            for client in clients:
                client.join(60)
        assert process.stop() == 0
    assert lost == []
    assert set(seen["short"]) == {200}
    assert set(seen["none"]) == {413, 422}
    assert set(seen["first"]) == {413, 403}
    assert set(seen["second"]) == {422, 403}
    assert "Traceback" not in "".join(process.errors)


def test_what_is_said_takes_effect_and_what_cannot_is_named(tmp_path: Path, tiny_dir: Path) -> None:
    """Limits down and up, a key, the level of the log; flags win again; a session keeps what it began with."""
    file = tmp_path / "molva.toml"
    write(file, "max_session_secs = 100\n")
    flags = ("--port", "0", "--model-dir", tiny_dir, "--config", file, "--max-audio-secs", "60")
    with molva_serve(*flags, home=tmp_path) as process:
        url, operator = process.url(), Operator(process, file)
        live = f"ws{url.removeprefix('http')}/v1/ws"
        assert transcribe(url, LONG) == 200

        operator.apply("body_limit_bytes = 20_000\nmax_audio_secs = 1\nport = 1\nworkers = 7\n")
        assert [transcribe(url, LONG), transcribe(url, SHORT)] == [413, 200]
        [named] = [line for line in process.errors if "cannot change in a running server" in line]
        assert "workers" in named
        assert "port" not in named  # the flag wins, so that nothing would change

        operator.apply("max_session_secs = 100\nws_frame_max_bytes = 20_000\n")
        assert transcribe(url, LONG) == 200
        with connect(live, proxy=None) as before:
            assert Client(before).read()["max_session_secs"] == 100
            operator.apply("max_session_secs = 200\nidle_timeout_secs = 20\nws_frame_max_bytes = 1024\n")
            before.send(bytes(20_000))
            before.send('{"type":"stop"}')
            with connect(live, proxy=None) as after:
                ready = Client(after).read()
                assert (ready["max_session_secs"], ready["idle_timeout_secs"]) == (200, 20)
                after.send(bytes(20_000))
                client = Client(after)
                client.rest()
                assert client.ended.code == 1009
            client = Client(before)
            client.rest()
            assert client.ended.code != 1009

        assert not any("DEBUG" in line for line in process.errors)
        operator.apply('log_level = "debug"\n')
        httpx2.get(f"{url}/health")
        logged(process, "DEBUG molva.http: GET /health", 1)

        operator.fail('api_key = "open sesame"\n')
        assert transcribe(url, SHORT) == 200
        operator.apply('api_key = "sesame"\n')
        assert httpx2.get(f"{url}/v1/models").status_code == 401
        assert httpx2.get(f"{url}/v1/models", headers={"authorization": "Bearer sesame"}).status_code == 200
        operator.apply("")
        # Whoever takes the last key away has not said that everybody may come in.
        assert httpx2.get(f"{url}/v1/models", headers={"authorization": "Bearer sesame"}).status_code == 401
        assert process.stop() == 0
    assert "sesame" not in "".join(process.errors)
    assert "Traceback" not in "".join(process.errors)


def test_without_a_file_there_is_nothing_to_read_until_there_is_one(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, home=tmp_path) as process:
        url = process.url()
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "there is no configuration file to read again", 1)
        assert transcribe(url, LONG) == 200
        Operator(process, tmp_path / ".molva" / "molva.toml").apply("body_limit_bytes = 20_000\n")
        assert transcribe(url, LONG) == 413
        assert process.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_signal_that_comes_while_the_server_starts_is_heard_later(tmp_path: Path, tiny_dir: Path) -> None:
    with molva_serve("--port", "0", "--model-dir", tiny_dir, home=tmp_path) as process:
        status = Path(f"/proc/{process.popen.pid}/status")
        # Bit 0 of what the process holds back or takes itself.
        while not any(int(mask, 16) & 1 for mask in re.findall(r"Sig(?:Blk|Cgt):\t(\w+)", status.read_text())):
            time.sleep(0.005)
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "there is no configuration file to read again", 1)
        process.url()
        assert process.stop() == 0


def test_a_file_that_is_wrong_at_the_start_is_a_line_for_each_problem(tmp_path: Path) -> None:
    file = tmp_path / "molva.toml"
    write(file, 'prot = 1\nbody_limit_bytes = "many"\n')
    result = run_molva("serve", "--config", file, home=tmp_path)
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == [
        f"molva: {file}: prot: there is no such setting. Did you mean port?",
        f"molva: {file}: body_limit_bytes: Input should be a valid integer, not a string",
    ]
    assert result.stdout == b""


def test_what_is_odd_about_the_settings_is_said_at_the_start(tmp_path: Path, tiny_dir: Path) -> None:
    file = tmp_path / "molva.toml"
    write(file, 'api_key = "sesame"\n')
    file.chmod(0o644)
    flags = ("--port", "0", "--model-dir", tiny_dir)
    with molva_serve(*flags, home=tmp_path, MOLVA_CONFIG=str(file), MOLVA_PRT="1", HOST="workstation") as process:
        process.url()
        assert process.stop() == 0
    warnings = [line for line in process.errors if "WARNING" in line]
    assert ["MOLVA_PRT" in warnings[0], "chmod 600" in warnings[1], len(warnings)] == [True, True, 2]


def test_the_rate_of_requests_and_the_number_of_connections_can_change(tmp_path: Path, tiny_dir: Path) -> None:
    file = tmp_path / "molva.toml"
    write(file, "")
    with molva_serve("--port", "0", "--model-dir", tiny_dir, "--config", file, home=tmp_path) as process:
        url, operator = process.url(), Operator(process, file)

        def models() -> int:
            return httpx2.get(f"{url}/v1/models").status_code

        assert {models() for _ in range(20)} == {200}
        operator.apply("rate_limit_per_minute = 1\nrate_limit_burst = 2\nmax_connections = 1\n")
        assert [models() for _ in range(3)] == [200, 200, 429]
        with httpx2.Client(base_url=url) as kept:  # an idle one makes room for the next
            assert kept.get("/health").status_code == 200
            assert models() == 429
        operator.apply("")
        assert {models() for _ in range(20)} == {200}
        assert process.stop() == 0
