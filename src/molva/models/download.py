"""Brings a model's files from a hub: gone on with where it broke off, and under their names only when whole."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from molva.errors import DownloadError, HashMismatch, HubUnreachable
from molva.models.catalog import ModelFile, ModelSpec
from molva.models.disk import git_blob_sha1_of, plain_errors, require_space, sha256_of
from molva.models.hub import DEFAULT_ENDPOINT, Answer, Facts, Hub, Interrupted, NotAtHub
from molva.models.partial import Partial
from molva.models.store import InstalledModel, ModelStore, RecordedFile

RETRIES = 5
"""Failures in a row that bring no new byte, before giving up."""
MAIN = "main"
"""Revision of files that lie in another repository than their model's."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is."""

    file: str
    done: int
    """Bytes on the disk."""
    total: int | None
    """Bytes, when known."""
    note: str = ""
    """Why nothing arrives just now."""


OnProgress = Callable[[Progress], None]


def pull(
    spec: ModelSpec,
    store: ModelStore,
    *,
    endpoint: str = DEFAULT_ENDPOINT,
    token: str | None = None,
    progress: OnProgress = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> InstalledModel:
    """Brings the files of `spec` that are missing into `store`; nothing is asked of the hub when none is.

    Raises HubUnreachable, HashMismatch, DiskFull, DownloadError for any other refusal of the hub, and ModelError when
    the folder cannot be written. What has arrived until then is kept and gone on with by the next call.
    """
    if installed := store.locate(spec):
        return installed

    def tell_waiting() -> None:
        progress(Progress(spec.name, 0, None, note="another process is downloading this model; waiting for it"))

    with plain_errors(store.directory), store.exclusive(spec, on_wait=tell_waiting):
        if installed := store.locate(spec):
            return installed
        folder = store.folder(spec)
        folder.mkdir(exist_ok=True)
        missing = [file for file in spec.files if not (folder / file.name).exists()]
        require_space(folder, sum(_remaining(file, folder) for file in missing))
        revision = spec.revision
        with Hub(endpoint, token) as hub:
            for file in missing:
                partial = Partial(folder / file.name)
                at_home = file.repository in (None, spec.repository)
                try:
                    facts = _fetch(hub, spec, revision if at_home else MAIN, file, partial, progress, sleep)
                except NotAtHub:
                    if file.optional:
                        continue
                    raise
                # A branch may move on while its files are being fetched: the others are taken from the same commit.
                if at_home:
                    revision = facts.commit or revision
                # Before the file gets its name: it is never there without a record.
                store.record(spec, revision, file.name, _accept(partial, file, facts))
                partial.finish()
    return store.require(spec)


def _remaining(file: ModelFile, folder: Path) -> int:
    return max(0, (file.size or 0) - Partial(folder / file.name).size)


def _fetch(
    hub: Hub,
    spec: ModelSpec,
    revision: str,
    file: ModelFile,
    partial: Partial,
    progress: OnProgress,
    sleep: Callable[[float], None],
) -> Facts:
    """Fills `partial`, asking again after interruptions, with growing pauses while they bring nothing new."""
    failures, furthest = 0, partial.size
    while True:
        try:
            with hub.open(
                file.repository or spec.repository, revision, file.name_at_hub or file.name, partial.held()
            ) as answer:
                _receive(answer, file, partial, progress)
                return answer.facts
        except Interrupted as interruption:
            failures = 1 if partial.size > furthest else failures + 1
            furthest = max(furthest, partial.size)
            if failures > RETRIES:
                kind = HubUnreachable if interruption.unreachable else DownloadError
                raise kind(
                    f"{file.name} did not arrive: {interruption}. "
                    f"Run `molva models pull {spec.name}` again later: it goes on where it stopped."
                ) from interruption
            pause = interruption.retry_after_s
            if pause is None:
                pause = FIRST_PAUSE_S * 2 ** (failures - 1)
            pause = min(pause, LONGEST_PAUSE_S)
            progress(Progress(file.name, partial.size, file.size, f"{interruption}; trying again in {pause:.0f} s"))
            sleep(pause)


def _receive(answer: Answer, file: ModelFile, partial: Partial, progress: OnProgress) -> None:
    """Writes the bytes of one answer. Raises Interrupted when fewer come than were promised."""
    promised = answer.facts.size if file.size is None else file.size
    if answer.facts.size not in {None, promised} or (
        file.sha256 and answer.facts.sha256 and answer.facts.sha256 != file.sha256
    ):
        partial.discard()
        raise HashMismatch(f"The hub has another {file.name} than the one molva knows. {_ADVICE}")
    position = answer.start
    # What is there already is gone on with or overwritten.
    remaining = None if promised is None else promised - partial.size
    folder = partial.path.parent
    if remaining is not None:
        require_space(folder, remaining)
    with plain_errors(folder, remaining), partial.open(answer.start, answer.facts.etag) as output:
        progress(Progress(file.name, position, promised))
        for chunk in answer.chunks:
            position += len(chunk)
            if promised is not None and position > promised:
                break
            output.write(chunk)
            progress(Progress(file.name, position, promised))
    if promised is not None and position > promised:
        partial.discard()
        raise HashMismatch(f"More than the promised {promised:,} bytes of {file.name} arrived. {_ADVICE}")
    if promised is not None and position < promised:
        raise Interrupted(f"only {position:,} of {promised:,} bytes arrived")


def _accept(partial: Partial, file: ModelFile, facts: Facts) -> RecordedFile:
    """Holds what arrived to the best hash there is. Raises HashMismatch and deletes it when it is something else."""
    arrived = RecordedFile(sha256_of(partial.path), partial.size)
    expected = file.sha256 or facts.sha256
    if expected:
        agrees = arrived.sha256 == expected
    elif facts.git_sha1:
        agrees = git_blob_sha1_of(partial.path) == facts.git_sha1
    else:
        agrees = True
    if not agrees:
        partial.discard()
        raise HashMismatch(f"What arrived as {file.name} has another hash than it must have. {_ADVICE}")
    return arrived


_ADVICE = "It was not kept. Try again; if this repeats, the hub or mirror (HF_ENDPOINT) serves altered files."
