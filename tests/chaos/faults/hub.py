"""A hub that lies while models are brought to a folder that a server serves from."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import httpx2

from molva.models.catalog import find
from molva.models.store import ModelStore
from tests.chaos.scene import Fault, Scene
from tests.chaos.server import DIRECT, free_port
from tests.e2e.conftest import MOLVA, environment
from tests.models.fake_hub import FakeHub, Manners

FILE = "config.json"
"""The first that is asked for; all the models below have it with a known hash."""
TOKEN = "hf_secret"
ENDS_S = 120.0
WATCHED_S = 5.0
"""How long a user watches a download that gets nowhere."""
PAGE = b"<!doctype html><title>Please log in</title>"
AT_ONCE = 4


@dataclass(frozen=True)
class Lie:
    """What the hub says to those who want one model."""

    model: str
    name: str
    tell: Callable[[FakeHub, int, str], None]
    """Have a hub tell it of `FILE`, whose true size in bytes and hash are given."""
    said: Sequence[str]
    """One of these is in what the user reads, who is told with a status that is not 0."""
    resumes: bool = False
    """Whether what has arrived is kept for the next try."""
    stopped: bool = False
    """Whether the user has enough of it after some time."""


def always(hub: FakeHub, manners: Manners) -> None:
    hub.script(FILE, *[manners] * 50)


def wrong_content(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, b"{}")


def wrong_hash(hub: FakeHub, size: int, digest: str) -> None:
    """It claims the right one."""
    hub.put(FILE, os.urandom(size))
    always(hub, Manners(headers={"X-Linked-Etag": f'"{digest}"'}))


def login_page(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, PAGE)
    always(hub, Manners(headers={"X-Linked-Etag": "", "X-Linked-Size": "", "Content-Type": "text/html"}))


def truncated(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, bytes(size))
    always(hub, Manners(break_after=size // 2, headers={"X-Linked-Etag": f'"{digest}"'}))


def without_end(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, bytes(2**26))
    always(hub, Manners(chunked=True, headers={"X-Linked-Etag": "", "X-Linked-Size": ""}))


def busy(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, bytes(size))
    always(hub, Manners(status=429, headers={"Retry-After": "1"}))


def drip(hub: FakeHub, size: int, digest: str) -> None:
    hub.put(FILE, bytes(size))
    always(hub, Manners(drip_s=0.5, headers={"X-Linked-Etag": f'"{digest}"'}))


def elsewhere(hub: FakeHub, size: int, digest: str) -> None:
    """To a file of this machine."""
    hub.put(FILE, bytes(size))
    always(hub, Manners(location="file:///etc/passwd"))


LIES = (
    Lie("whisper-tiny", "another file", wrong_content, ["another"]),
    Lie("whisper-small", "the right length and another hash", wrong_hash, ["another hash"]),
    Lie("whisper-medium", "a login page with status 200", login_page, ["another"]),
    Lie("whisper-large-v3", "truncated, and another file in the end", truncated, ["another hash"]),
    Lie("whisper-large-v3-turbo", "bytes without end", without_end, ["More than"]),
    Lie("gigaam-v3-e2e-rnnt", "429 for ever", busy, ["HTTP 429"]),
    Lie("gigaam-v3-ctc", "a byte now and then, until the user has enough", drip, [""], resumes=True, stopped=True),
    Lie("gigaam-v3-e2e-ctc", "a redirect to a file", elsewhere, ["no web address", "not a web address"]),
)


def lies(scene: Scene) -> None:
    """Each to one who pulls a model, and one to a server that starts."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda lie: pull(scene, lie), LIES))
        told += [redirected_to_ourselves(scene), start(scene)]
    for problem in filter(None, told):
        scene.notes.append(problem)
    scene.struck = len(told)
    answer = httpx2.get(f"{scene.server.url}/ready", **DIRECT)
    scene.expect(answer.status_code == 200, "the main model is not ready any more")


def pull(scene: Scene, lie: Lie) -> str:
    """What is wrong with how it ends; empty for nothing."""
    file = next(file for file in find(lie.model).files if file.name == FILE)
    assert file.sha256 is not None
    assert file.size is not None
    with closing(FakeHub()) as hub:
        lie.tell(hub, file.size, file.sha256)
        command = ("models", "pull", "--model-dir", str(scene.server.model_dir), lie.model)
        status, said = run(scene, hub, *command, stopped=lie.stopped)
        if not hub.requests:
            return f"{lie.name}: the hub was not asked: {said}"
    if status == 0 or not any(words in said for words in lie.said) or "Traceback" in said:
        return f"{lie.name}: ended with {status}: {said}"
    return left(scene, lie)


def left(scene: Scene, lie: Lie) -> str:
    """What is there after a pull that failed and should not be."""
    folder = ModelStore(scene.server.model_dir).folder(find(lie.model))
    found = [path.name for path in folder.iterdir()] if folder.exists() else []
    wrong = [name for name in found if ".partial" not in name or not lie.resumes]
    if wrong:
        return f"{lie.name}: {', '.join(wrong)} is left"
    answer = httpx2.post(f"{scene.server.url}/model/load?model={lie.model}", **DIRECT, timeout=30)
    if (answer.status_code, answer.json().get("code")) != (404, "model_not_installed"):
        return f"{lie.name}: to be loaded: {answer.status_code} {answer.text}"
    return ""


def redirected_to_ourselves(scene: Scene) -> str:
    """A hub may send its clients wherever it likes: they bring no token there, and keep nothing but the file."""
    lie = Lie("whisper-tiny", "a redirect to another host", wrong_content, ["another", "More than"])
    with closing(FakeHub()) as other, closing(FakeHub()) as hub:
        other.put("secret", b"x" * 10_000)
        hub.put(FILE, b"{}")
        always(
            hub,
            Manners(location=f"{other.other_host}/secret", headers={"X-Linked-Etag": "", "X-Linked-Size": ""}),
        )
        status, said = run(scene, hub, "models", "pull", "--model-dir", str(scene.server.model_dir), lie.model)
        followed = [request for request in other.requests if request.path == "/secret"]
        if status == 0 or not followed or any(TOKEN in str(request.headers) for request in followed):
            return f"{lie.name}: ended with {status}, {followed}: {said}"
    return left(scene, lie)


def start(scene: Scene) -> str:
    """A server whose model does not come ends, and says why; meanwhile it is alive and not ready."""
    home = scene.server.home / "hopeless"
    home.mkdir()
    port = free_port()
    with closing(FakeHub()) as hub:
        hub.put(FILE, bytes(135))
        always(hub, Manners(status=429, headers={"Retry-After": "1"}))
        flags = ("--port", str(port), "--model", "gigaam-v3-e2e-ctc", "--data-dir", str(home))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, scene, hub, "serve", *flags)
            answers: list[tuple[int, int]] = []
            while not running.done():
                try:
                    codes = [httpx2.get(f"http://127.0.0.1:{port}{path}", **DIRECT) for path in ("/health", "/ready")]
                    answers.append((codes[0].status_code, codes[1].status_code))
                except httpx2.TransportError:
                    pass
                time.sleep(0.2)
            status, said = running.result()
    if status in (0, None) or "HTTP 429" not in said or "Traceback" in said:
        return f"a server without its model ended with {status}: {said}"
    if set(answers) != {(200, 503)}:
        return f"a server that waits for its model told {answers}"
    return ""


def run(scene: Scene, hub: FakeHub, *command: str, stopped: bool = False) -> tuple[int | None, str]:
    """Exit status and output of molva with this hub; where it is to be stopped, by Ctrl-C."""
    variables = environment(scene.server.home, HF_ENDPOINT=hub.endpoint, HF_TOKEN=TOKEN)
    popen = subprocess.Popen(
        [*MOLVA, *command], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if stopped:
        scene.wait_until(lambda: bool(hub.requests), "the hub is asked", ENDS_S)
        time.sleep(WATCHED_S)
        popen.send_signal(signal.SIGINT)
    try:
        said, _ = popen.communicate(timeout=ENDS_S)
    except subprocess.TimeoutExpired:
        popen.kill()
        said, _ = popen.communicate()
    return popen.returncode, " ".join(said.split())


HUB = (Fault("a hub that lies", "nine lies to those who pull models, one to a server that starts", lies),)
