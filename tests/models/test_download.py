"""A model arrives whole and as it must be, or not at all, whatever the hub and the network do."""

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molva.errors import DiskFull, DownloadError, HashMismatch, HubUnreachable, ModelError
from molva.models import disk
from molva.models import hub as hub_module
from molva.models.catalog import ModelFile, ModelSpec
from molva.models.download import RETRIES, Progress, pull
from molva.models.store import InstalledModel, ModelStore
from tests.models.fake_hub import COMMIT, FakeHub, Manners
from tests.models.small_model import CONFIG, SPEC, WEIGHTS, served

HALF = len(WEIGHTS) // 2


class Puller:
    """Pulls the small model into `store`, without ever waiting."""

    def __init__(self, store: ModelStore, endpoint: str) -> None:
        self.store = store
        self.endpoint = endpoint
        self.folder = store.folder(SPEC)
        self.pauses: list[float] = []
        self.seen: list[Progress] = []

    def __call__(self, spec: ModelSpec = SPEC, *, token: str | None = None) -> InstalledModel:
        return pull(
            spec,
            self.store,
            endpoint=self.endpoint,
            token=token,
            progress=self.seen.append,
            sleep=self.pauses.append,
        )

    def arrived(self) -> dict[str, bytes]:
        """What is in the model's folder, but for the record."""
        return {file.name: file.read_bytes() for file in self.folder.iterdir() if file.name != ".molva.json"}

    def weights_are_absent(self) -> bool:
        return "model.bin" not in self.arrived()


WHOLE = {"config.json": CONFIG, "model.bin": WEIGHTS}


@pytest.fixture
def puller(tmp_path: Path, hub: FakeHub) -> Puller:
    return Puller(ModelStore(tmp_path / "models"), hub.endpoint)


def with_weights(**facts: object) -> ModelSpec:
    """The small model with something pinned about its weights."""
    config, weights = SPEC.files
    return replace(SPEC, files=(config, replace(weights, **facts)))  # type: ignore[arg-type]


# --- the good case


def test_the_files_arrive(puller: Puller) -> None:
    assert puller() == InstalledModel(SPEC, puller.folder)
    assert puller.arrived() == WHOLE


def test_what_arrived_is_recorded(puller: Puller) -> None:
    puller()
    record = json.loads((puller.folder / ".molva.json").read_text())
    assert record["revision"] == COMMIT
    assert record["files"]["model.bin"] == {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}
    assert {check.outcome for check in puller.store.verify(SPEC)} == {"ok"}


def test_an_installed_model_is_not_asked_for(puller: Puller, hub: FakeHub) -> None:
    puller()
    hub.requests.clear()
    puller()
    assert hub.requests == []


def test_a_file_that_is_there_is_not_downloaded_again(puller: Puller, hub: FakeHub) -> None:
    puller()
    (puller.folder / "config.json").unlink()
    hub.requests.clear()
    puller()
    assert hub.asked("model.bin") == []
    assert puller.arrived() == WHOLE


def test_all_files_come_from_one_commit_of_a_branch(puller: Puller, hub: FakeHub) -> None:
    puller()
    assert hub.asked("config.json")[0].path.endswith("/resolve/main/config.json")
    assert hub.asked("model.bin")[0].path.endswith(f"/resolve/{COMMIT}/model.bin")


def test_progress_runs_from_nothing_to_everything(puller: Puller) -> None:
    puller()
    weights = [now for now in puller.seen if now.file == "model.bin"]
    assert weights[0] == Progress("model.bin", 0, len(WEIGHTS))
    assert weights[-1] == Progress("model.bin", len(WEIGHTS), len(WEIGHTS))
    assert [now.done for now in weights] == sorted(now.done for now in weights)


def test_a_hub_below_a_path_is_a_hub(puller: Puller, hub: FakeHub) -> None:
    puller.endpoint = f"{hub.endpoint}/api/mirror/"
    puller()
    assert hub.requests[0].path.startswith("/api/mirror/somebody/small-fake/resolve/")


def test_an_optional_file_that_the_hub_lacks_is_left_out(puller: Puller) -> None:
    spec = replace(SPEC, files=(ModelFile("extra.json", optional=True), *SPEC.files))
    puller(spec)
    assert puller.arrived() == WHOLE


# --- interruptions


def test_a_broken_connection_is_gone_on_with_where_it_broke(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(break_after=HALF))
    puller()
    assert puller.arrived() == WHOLE
    assert hub.asked("model.bin", at_hub=False)[-1].headers["Range"] == f"bytes={HALF}-"
    assert len(puller.pauses) == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, len(WEIGHTS) // 3), max_size=4))
def test_any_breaks_still_make_a_whole_file(breaks: list[int]) -> None:
    with served() as hub, TemporaryDirectory() as folder:
        hub.script("model.bin", *(Manners(break_after=after) for after in breaks))
        puller = Puller(ModelStore(Path(folder)), hub.endpoint)
        puller()
        assert puller.arrived() == WHOLE


def test_breaks_that_bring_nothing_new_end_it(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", *[Manners(break_after=0)] * (RETRIES + 1))
    with pytest.raises(DownloadError, match="again later"):
        puller()
    assert puller.pauses == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert puller.weights_are_absent()


def test_breaks_that_bring_something_new_do_not_end_it(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", *[Manners(break_after=20_000)] * (2 * RETRIES))
    puller()
    assert puller.arrived() == WHOLE
    assert set(puller.pauses) == {1.0}


def test_what_arrived_before_giving_up_is_gone_on_with_by_the_next_try(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(break_after=HALF), *[Manners(break_after=0)] * RETRIES)
    with pytest.raises(DownloadError):
        puller()
    hub.requests.clear()
    puller()
    assert hub.asked("model.bin", at_hub=False)[0].headers["Range"] == f"bytes={HALF}-"
    assert puller.arrived() == WHOLE


def test_a_hub_that_ignores_ranges_starts_again(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(break_after=HALF), Manners(ignore_range=True))
    puller()
    assert puller.arrived() == WHOLE


def test_a_range_that_starts_elsewhere_is_not_joined(puller: Puller, hub: FakeHub) -> None:
    wrong = f"bytes {HALF + 1}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    hub.script("model.bin", Manners(break_after=HALF), Manners(content_range=wrong))
    puller()
    assert puller.arrived() == WHOLE


def test_a_file_that_changed_in_between_starts_again(puller: Puller, hub: FakeHub) -> None:
    """Another file stands at the hub when the second half is asked for."""
    hub.script("model.bin", Manners(break_after=HALF), *[Manners(break_after=0)] * RETRIES)
    with pytest.raises(DownloadError):
        puller()
    changed = bytes(reversed(WEIGHTS))
    hub.put("model.bin", changed)
    puller()
    assert puller.arrived()["model.bin"] == changed


def test_a_changed_etag_starts_again(puller: Puller, hub: FakeHub) -> None:
    """The same on a plain server, which has no X-Linked-Etag."""
    plain = {"X-Linked-Etag": "", "X-Linked-Size": "", "X-Repo-Commit": ""}
    old, new = bytes(len(WEIGHTS)), WEIGHTS
    hub.script(
        "model.bin",
        Manners(headers=plain, body=old, etag="old", break_after=HALF),
        Manners(headers=plain, body=new, etag="new"),
        Manners(headers=plain, body=new, etag="new"),
    )
    puller()
    assert puller.arrived()["model.bin"] == new


def test_bytes_nobody_can_tell_apart_are_not_joined(puller: Puller, hub: FakeHub) -> None:
    """A weak ETag does not stand for the exact bytes."""
    plain = {"X-Linked-Etag": 'W/"v1"', "X-Linked-Size": "", "X-Repo-Commit": ""}
    hub.script("model.bin", Manners(headers=plain, break_after=HALF), Manners(headers=plain))
    puller()
    assert "Range" not in hub.asked("model.bin", at_hub=False)[-1].headers
    assert puller.arrived() == WHOLE


def test_a_complete_partial_is_only_checked(puller: Puller, hub: FakeHub) -> None:
    """The process ended between the last byte and the new name: the hub answers 416, there is nothing after it."""
    puller()
    (puller.folder / "model.bin").rename(puller.folder / "model.bin.partial")
    note = {"etag": hashlib.sha256(WEIGHTS).hexdigest()}
    (puller.folder / "model.bin.partial.json").write_text(json.dumps(note))
    puller()
    assert puller.arrived() == WHOLE
    assert hub.asked("model.bin", at_hub=False)[-1].headers["Range"] == f"bytes={len(WEIGHTS)}-"


def test_a_partial_longer_than_the_file_starts_again(puller: Puller, hub: FakeHub) -> None:
    puller.folder.mkdir(parents=True)
    (puller.folder / "model.bin.partial").write_bytes(WEIGHTS + b"more")
    note = {"etag": hashlib.sha256(WEIGHTS).hexdigest()}
    (puller.folder / "model.bin.partial.json").write_text(json.dumps(note))
    puller()
    assert puller.arrived() == WHOLE


def test_a_partial_without_its_note_starts_again(puller: Puller, hub: FakeHub) -> None:
    puller.folder.mkdir(parents=True)
    (puller.folder / "model.bin.partial").write_bytes(b"what is this")
    puller()
    assert puller.arrived() == WHOLE


@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_a_hub_out_of_order_is_asked_again(puller: Puller, hub: FakeHub, status: int) -> None:
    hub.script("model.bin", Manners(status=status), Manners(status=status))
    puller()
    assert puller.pauses == [1.0, 2.0]
    assert puller.arrived() == WHOLE


def test_a_hub_that_asks_for_patience_gets_it(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(status=429, headers={"Retry-After": "7"}))
    puller()
    assert puller.pauses == [7.0]


def test_patience_has_a_bound(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(status=429, headers={"Retry-After": "86400"}))
    puller()
    assert puller.pauses == [60.0]


def test_a_pause_is_explained(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(status=503))
    puller()
    notes = [now.note for now in puller.seen if now.note]
    assert notes == ["127.0.0.1 is busy or out of order (HTTP 503); trying again in 1 s"]


def test_a_hub_that_falls_silent_is_asked_again(puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molva.models.hub.READ_TIMEOUT_S", 0.2)
    hub.script("model.bin", Manners(stall_after=HALF))
    puller()
    assert puller.arrived() == WHOLE


# --- refusals


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "does not have"), (410, "410")]
)
def test_a_refusal_is_final_and_told_plainly(puller: Puller, hub: FakeHub, status: int, advice: str) -> None:
    hub.script("config.json", Manners(status=status))
    with pytest.raises(DownloadError, match=advice):
        puller()
    assert len(hub.requests) == 1
    assert puller.pauses == []


def test_a_compressed_answer_is_refused(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(DownloadError, match="compressed"):
        puller()


def test_no_connection_is_told_at_once(puller: Puller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        puller.endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(HubUnreachable, match="HF_ENDPOINT"):
        puller()
    assert puller.pauses == []


def test_a_hub_only_the_proxy_can_reach_is_reached(
    puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", hub.endpoint)
    puller.endpoint = "http://hub.invalid"
    puller()
    assert puller.arrived() == WHOLE


def test_a_hub_that_goes_away_half_way_is_tried_again(puller: Puller, hub: FakeHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}/model.bin"
    hub.script("model.bin", Manners(location=gone))
    puller()
    assert len(puller.pauses) == 1
    hub.script("config.json", *[Manners(location=gone)] * (RETRIES + 1))
    shutil.rmtree(puller.folder)
    with pytest.raises(HubUnreachable):
        puller()


@pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example", "http://", ""])
def test_an_endpoint_that_is_no_address_says_so(puller: Puller, endpoint: str) -> None:
    puller.endpoint = endpoint
    with pytest.raises(DownloadError, match="address"):
        puller()


# --- redirects


def test_the_token_stays_with_the_hub(puller: Puller, hub: FakeHub) -> None:
    puller(token="secret")
    for seen in hub.requests:
        expected = "Bearer secret" if seen.host.startswith("127.0.0.1") else None
        assert seen.headers.get("Authorization") == expected
    assert {seen.host.split(":")[0] for seen in hub.requests} == {"127.0.0.1", "localhost"}


def test_the_token_follows_a_redirect_to_the_hub_itself(puller: Puller, hub: FakeHub) -> None:
    """Which is what a renamed repository answers."""
    hub.script("config.json", Manners(location="/bytes/config.json"))
    puller(token="secret")
    assert hub.asked("config.json", at_hub=False)[0].headers["Authorization"] == "Bearer secret"


def test_redirects_without_end_are_given_up(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", *[Manners(location="config.json")] * 100)
    with pytest.raises(DownloadError, match="without end"):
        puller()
    assert len(hub.requests) == 11


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/model.bin", "gopher:x"])
def test_a_redirect_off_the_web_is_not_followed(puller: Puller, hub: FakeHub, location: str) -> None:
    hub.script("config.json", Manners(location=location))
    with pytest.raises(DownloadError, match="not a web address"):
        puller()


# --- wrong content


def test_a_body_with_another_hash_is_thrown_away(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(body=bytes(len(WEIGHTS))))
    with pytest.raises(HashMismatch, match="another hash"):
        puller()
    assert puller.arrived() == {"config.json": CONFIG}


def test_a_file_outside_lfs_is_held_to_its_git_id(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(body=b"x" * len(CONFIG)))
    with pytest.raises(HashMismatch, match=r"config\.json"):
        puller()
    assert puller.arrived() == {}


def test_a_pinned_hash_counts_more_than_the_hubs(puller: Puller, hub: FakeHub) -> None:
    """The hub has another file: that is known before a byte of it arrives."""
    with pytest.raises(HashMismatch, match=r"another model\.bin"):
        puller(with_weights(sha256="0" * 64))
    assert puller.weights_are_absent()
    assert puller.seen[-1].file == "config.json"


def test_a_pinned_hash_is_checked_where_the_hub_names_none(puller: Puller, hub: FakeHub) -> None:
    plain = {"X-Linked-Etag": "", "X-Repo-Commit": ""}
    hub.script("model.bin", Manners(headers=plain))
    with pytest.raises(HashMismatch, match="another hash"):
        puller(with_weights(sha256="0" * 64))
    assert puller.arrived() == {"config.json": CONFIG}


def test_a_plain_server_may_put_anything_into_its_etag(puller: Puller, hub: FakeHub) -> None:
    plain = {"X-Linked-Etag": "", "X-Repo-Commit": ""}
    hub.script("model.bin", Manners(headers=plain, etag="0" * 64))
    hub.script("config.json", Manners(headers={"X-Repo-Commit": ""}, etag="0" * 40))
    puller()
    assert puller.arrived() == WHOLE


def test_a_pinned_size_counts_more_than_the_hubs(puller: Puller) -> None:
    with pytest.raises(HashMismatch):
        puller(with_weights(size=len(WEIGHTS) + 1))
    assert puller.weights_are_absent()


@pytest.mark.parametrize("chunked", [True, False])
def test_more_than_was_promised_is_refused_as_it_arrives(puller: Puller, hub: FakeHub, chunked: bool) -> None:
    hub.script("model.bin", Manners(body=WEIGHTS * 20, chunked=chunked))
    with pytest.raises(HashMismatch, match="More than the promised"):
        puller()
    assert puller.arrived() == {"config.json": CONFIG}


def test_less_than_was_promised_is_asked_for_again(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(body=WEIGHTS[:HALF]))
    puller()
    assert puller.arrived() == WHOLE


def test_a_hub_that_always_sends_less_is_given_up(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", *[Manners(body=WEIGHTS[:HALF])] * (3 * RETRIES))
    with pytest.raises(DownloadError, match="only 150,000 of 300,000 bytes"):
        puller()
    assert puller.weights_are_absent()


def test_a_length_nobody_promised_is_taken_as_it_comes(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(headers={"X-Linked-Size": ""}, chunked=True))
    puller()
    assert puller.arrived() == WHOLE


# --- the disk


def limited(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))


def test_a_model_that_does_not_fit_is_not_begun(puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, free=len(WEIGHTS) - 1)
    with pytest.raises(DiskFull, match="300,000 more bytes"):
        puller(with_weights(size=len(WEIGHTS)))
    assert hub.requests == []


def test_a_size_only_the_hub_knows_is_held_against_the_disk_too(
    puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, free=len(WEIGHTS) - 1)
    with pytest.raises(DiskFull, match="300,000 more bytes"):
        puller()
    assert puller.arrived() == {"config.json": CONFIG}


def test_what_has_arrived_needs_no_room_again(puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.script("model.bin", Manners(break_after=HALF), *[Manners(break_after=0)] * RETRIES)
    with pytest.raises(DownloadError):
        puller()
    limited(monkeypatch, free=HALF)
    puller(with_weights(size=len(WEIGHTS)))
    assert puller.arrived() == WHOLE


SMALL_DISK = """
    import shutil, sys
    from pathlib import Path
    from types import SimpleNamespace
    from molva.errors import DiskFull
    from molva.models.download import pull
    from molva.models.store import ModelStore
    from tests.models.small_model import SPEC
    shutil.disk_usage = lambda _path: SimpleNamespace(free=1 << 40)  # the disk fills up only later
    try:
        pull(SPEC, ModelStore(Path(sys.argv[1])), endpoint=sys.argv[2])
    except DiskFull as error:
        print(error)
"""


def test_a_disk_that_fills_up_on_the_way_says_what_is_needed(tmp_path: Path, hub: FakeHub) -> None:
    """On a real file system of 128 kB."""
    mount = 'mount -t tmpfs -o size=128k tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    isolated = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [*isolated, mount, "sh", str(tmp_path), sys.executable, textwrap.dedent(SMALL_DISK), hub.endpoint],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert "is full: 300,000 more bytes are needed" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, DiskFull, "7 more bytes"),
        (errno.EDQUOT, DiskFull, "7 more bytes"),
        (errno.EACCES, ModelError, "No permission"),
        (errno.EROFS, ModelError, "No permission"),
        (errno.EMFILE, ModelError, "try again later"),
    ],
)
def test_what_the_system_refuses_is_told_plainly(code: int, kind: type[ModelError], words: str) -> None:
    with pytest.raises(kind, match=words), disk.plain_errors(Path("models"), needed=7):
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_are_not_disguised() -> None:
    with pytest.raises(OSError, match="Input/output"), disk.plain_errors(Path("models")):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_folder_that_may_not_be_written_says_so(puller: Puller) -> None:
    puller.store.directory.mkdir(mode=0o500)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(ModelError, match="No permission"):
            puller()
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_file_in_the_place_of_the_folder_says_so(puller: Puller) -> None:
    puller.store.directory.write_text("not a folder")
    with pytest.raises(ModelError, match="not a folder"):
        puller()


# --- several processes


def pull_elsewhere(folder: str, endpoint: str) -> None:
    pull(SPEC, ModelStore(Path(folder)), endpoint=endpoint)


def start_elsewhere(puller: Puller) -> multiprocessing.process.BaseProcess:
    """The same pull in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(
        target=pull_elsewhere, args=(str(puller.store.directory), puller.endpoint)
    )
    process.start()
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_make_one_download(puller: Puller, hub: FakeHub) -> None:
    hub.script("config.json", Manners(delay_s=0.5))
    other = start_elsewhere(puller)
    wait_until(lambda: bool(hub.requests))
    puller()
    other.join()
    assert other.exitcode == 0
    assert puller.arrived() == WHOLE
    assert len(hub.asked("config.json")) == len(hub.asked("model.bin")) == 1
    assert [now.note for now in puller.seen] == ["another process is downloading this model; waiting for it"]


def test_a_killed_download_is_no_model_and_is_gone_on_with(puller: Puller, hub: FakeHub) -> None:
    hub.script("model.bin", Manners(stall_after=HALF))
    other = start_elsewhere(puller)
    partial = puller.folder / "model.bin.partial"
    # The bytes are written in blocks: not all that were sent need to be on the disk.
    wait_until(lambda: partial.exists() and partial.stat().st_size > HALF // 2)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert puller.store.locate(SPEC) is None
    kept = partial.stat().st_size
    puller()
    assert hub.asked("model.bin", at_hub=False)[-1].headers["Range"] == f"bytes={kept}-"
    assert puller.arrived() == WHOLE


def test_a_hub_that_takes_the_connection_and_says_nothing_is_as_good_as_none(
    puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a firewall: decided at the first answer, without trying again."""
    monkeypatch.setattr(hub_module, "FIRST_ANSWER_TIMEOUT_S", 0.2)
    hub.script("config.json", Manners(delay_s=1.0))
    with pytest.raises(HubUnreachable, match="does not answer"):
        puller()
    assert len(hub.requests) == 1


# --- files of several repositories


def test_each_file_comes_from_its_own_repository_and_gets_its_own_name(puller: Puller, hub: FakeHub) -> None:
    config, weights = SPEC.files
    spec = replace(SPEC, files=(config, replace(weights, repository="other/place", name_at_hub="onnx/model.onnx")))
    hub.put("model.onnx", WEIGHTS)
    puller(spec)
    assert puller.arrived() == WHOLE
    [seen] = hub.asked("model.onnx")
    assert seen.path == "/other/place/resolve/main/onnx/model.onnx"
