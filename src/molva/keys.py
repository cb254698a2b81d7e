"""Named keys to the server: in a file of their owner's, as hashes; a key itself is shown once and kept nowhere."""

import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from molva.errors import OptionError, SettingsError

log = logging.getLogger(__name__)

PREFIX = "molva_"
"""Lets people and scanners of leaked secrets see what a key is for."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


Limit = Annotated[int, Field(ge=1)]


class Quota(BaseModel):
    """How much a key may use; None has no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: Limit | None = None
    """WebSocket handshakes too. As many at once, if there were none for a minute."""
    audio_seconds_per_day: Limit | None = None
    """Decoded from midnight to midnight, UTC."""
    concurrent: Limit | None = None
    """Requests and live sessions at once."""


UNLIMITED = Quota()


class Key(BaseModel):
    """What is kept of a key. Unknown fields damage the file: one might say that the key no longer opens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the key's bytes, in hexadecimal. A key has 256 random bits, which nobody can guess however quick the hash is:
    the slow hashes that passwords need would only slow every request down."""
    created: AwareDatetime
    quota: Quota = UNLIMITED


class _Contents(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()


class KeyFile:
    """The file of keys, which several processes may change at once. It need not exist: then there are no keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Key, ...]:
        """All keys, oldest first. Raises SettingsError for a file that is damaged or may not be read."""
        try:
            return _Contents.model_validate_json(self.path.read_bytes()).keys
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SettingsError(f"The key file {self.path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            problem = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise SettingsError(
                f"The key file {self.path} is damaged: {f'{where}: ' if where else ''}{problem['msg']}. "
                "Mend it, or remove it and make new keys."
            ) from None

    def create(self, name: str, quota: Quota = UNLIMITED) -> str:
        """A new key, which nobody can show again. Raises OptionError for a bad name or one that is taken."""
        if not NAME.fullmatch(name):
            raise OptionError("name", f"'{name}' is no name for a key: 1 to 64 letters, digits, '.', '_' and '-'.")
        presented = PREFIX + secrets.token_urlsafe(32)
        with self._exclusive():
            keys = self.read()
            if any(key.name == name for key in keys):
                raise OptionError("name", f"There is a key '{name}' already. Revoke it first, or take another name.")
            created = datetime.now(UTC).replace(microsecond=0)
            self._write([*keys, Key(name=name, sha256=_digest(presented), created=created, quota=quota)])
        return presented

    def revoke(self, name: str) -> tuple[Key, ...]:
        """Forget a key; those that are left. Raises OptionError where there is none of this name."""
        with self._exclusive():
            keys = self.read()
            left = tuple(key for key in keys if key.name != name)
            if left == keys:
                raise OptionError("name", f"There is no key '{name}'. `molva keys list` shows what there is.")
            self._write(left)
        return left

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keeps other processes from changing the file between our reading and our writing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), mode=0o600):
                yield
        except OSError as error:
            raise SettingsError(f"The key file {self.path} cannot be written: {error.strerror}.") from error

    def _write(self, keys: Sequence[Key]) -> None:
        """Whole or not at all, and never readable by others: mkstemp makes files that only their owner may read."""
        descriptor, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_Contents(keys=tuple(keys)).model_dump_json(indent=2, exclude_defaults=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


class KeyRing:
    """The keys that open a running server: those of a file, as it is now, and `extra` ones by their names.

    Fails closed. While the file cannot be read or parsed, none of its keys opens, and nobody gets in without one. A
    server that has once asked for keys asks for them until its end: neither revoking the last one nor a file that
    vanishes opens it to everybody.
    """

    def __init__(self, path: Path, extra: Mapping[str, str] | None = None) -> None:
        self._file = KeyFile(path)
        self._extra = _digests(extra or {})
        self._filed: list[tuple[str, str]] = []
        self._quotas: dict[str, Quota] = {}
        self._seen: tuple[int, int, int] | None = None
        """What the file looked like when it was last read; None without a file."""
        self._complaint = ""
        self._asks = bool(self._extra)
        self._refresh()

    def change_extra(self, extra: Mapping[str, str]) -> None:
        """Others in the place of the `extra` ones. Those that are no longer there open nothing from now on."""
        if self._extra and not extra and not self._filed:
            log.warning("No key is left. This server goes on asking for one until it ends.")
        self._extra = _digests(extra)
        self._asks = self._asks or bool(extra)

    @property
    def asks(self) -> bool:
        """Whether a key is needed."""
        self._refresh()
        return self._asks

    def check(self, presented: str) -> str | None:
        """The name of a key, or None for what is no key."""
        self._refresh()
        digest, found = _digest(presented), None
        # All of them, each in constant time: how long it takes tells nothing about which one is nearly right.
        for name, known in [*self._extra, *self._filed]:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def knows(self, name: str) -> bool:
        """Whether there is a key of this name."""
        self._refresh()
        return any(known == name for known, _ in [*self._extra, *self._filed])

    def quota(self, name: str) -> Quota:
        """How much the key of this name may use."""
        self._refresh()
        return self._quotas.get(name, UNLIMITED)

    def _refresh(self) -> None:
        """Read the file if it is another one now. One system call where it is not."""
        try:
            seen = self._look()
            if seen == self._seen and not self._complaint:
                return
            keys = self._file.read()
        except SettingsError as error:
            self._fail(str(error))
            return
        # Looked at before it was read: what changed in between is seen to have changed the next time.
        self._seen, self._complaint = seen, ""
        if self._filed and not keys:
            log.warning("No key is left in %s. This server goes on asking for one until it ends.", self._file.path)
        self._filed = [(key.name, key.sha256) for key in keys]
        self._quotas = {key.name: key.quota for key in keys}
        self._asks = self._asks or bool(keys)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"The key file {self._file.path} cannot be read: {error.strerror}.") from error
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _fail(self, complaint: str) -> None:
        if complaint != self._complaint:  # once, not for every request
            log.error("%s Until then its keys open nothing.", complaint)
        self._filed, self._asks, self._complaint = [], True, complaint


def _digests(keys: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, _digest(key)) for name, key in keys.items()]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
