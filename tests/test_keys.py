"""The file of keys and the ring that a running server has of them."""

import json
import logging
import os
import re
import threading
from pathlib import Path

import pytest

from molva.errors import OptionError, SettingsError
from molva.keys import KeyFile, KeyRing, Quota


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


@pytest.fixture
def file(path: Path) -> KeyFile:
    return KeyFile(path)


DAMAGED = [
    b"",
    b"not json",
    b"\xff\xfe",
    b"[]",
    b'{"keys": [{"name": "a"}]}',
    b'{"keys": [{"name": "a b", "sha256": "%s", "created": "2026-01-01T00:00:00Z"}]}' % (b"0" * 64),
    b'{"keys": [{"name": "a", "sha256": "0", "created": "2026-01-01T00:00:00Z"}]}',
    b'{"keys": [{"name": "a", "sha256": "%s", "created": "2026-01-01T00:00:00Z", "until": 0}]}' % (b"0" * 64),
    b'{"keys": [{"name": "a", "sha256": "%s", "created": "2026-01-01T00:00:00Z", "quota": {"concurrent": 0}}]}'
    % (b"0" * 64),
]


class TestFile:
    def test_a_key_has_a_prefix_and_256_random_bits(self, file: KeyFile) -> None:
        made = {file.create(f"key-{i}") for i in range(20)}
        assert len(made) == 20
        assert all(re.fullmatch(r"molva_[A-Za-z0-9_-]{43}", key) for key in made)

    def test_a_key_is_kept_as_its_hash_with_name_and_time(self, file: KeyFile, path: Path) -> None:
        key = file.create("laptop")
        text = path.read_text()
        assert key not in text
        assert key[1:] not in text
        [entry] = json.loads(text)["keys"]
        assert entry.keys() == {"name", "sha256", "created"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["created"])

    def test_a_quota_is_kept_with_it_and_followed(self, file: KeyFile, path: Path) -> None:
        quota = Quota(requests_per_minute=60, audio_seconds_per_day=3600)
        file.create("tight", quota)
        file.create("free")
        assert json.loads(path.read_text())["keys"][0]["quota"] == {
            "requests_per_minute": 60,
            "audio_seconds_per_day": 3600,
        }
        ring = KeyRing(path, {"MOLVA_API_KEY": "given"})
        assert (ring.quota("tight"), ring.quota("free"), ring.quota("MOLVA_API_KEY")) == (quota, Quota(), Quota())
        file.revoke("tight")
        file.create("tight", Quota(concurrent=1))
        assert ring.quota("tight") == Quota(concurrent=1)

    def test_nobody_else_may_read_it_whatever_the_mask(self, file: KeyFile, path: Path) -> None:
        before = os.umask(0)
        try:
            file.create("one")
            file.create("two")
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_only_the_file_and_its_lock_are_left(self, file: KeyFile, path: Path) -> None:
        file.create("one")
        file.revoke("one")
        assert {entry.name for entry in path.parent.iterdir()} == {"keys.json", ".keys.json.lock"}

    @pytest.mark.parametrize("name", ["", "a" * 65, "two words", "ключ", "a/b", "a\n", "a\0"])
    def test_a_bad_name_is_refused(self, file: KeyFile, path: Path, name: str) -> None:
        with pytest.raises(OptionError):
            file.create(name)
        assert not path.exists()

    @pytest.mark.parametrize("name", ["a", "a" * 64, "Anna.B_c-9", "..", "-"])
    def test_letters_digits_and_three_signs_make_a_name(self, file: KeyFile, name: str) -> None:
        file.create(name)
        assert [key.name for key in file.read()] == [name]

    def test_a_name_that_is_taken_is_refused_and_its_key_goes_on(self, file: KeyFile, path: Path) -> None:
        key = file.create("laptop")
        with pytest.raises(OptionError, match="laptop"):
            file.create("laptop")
        assert KeyRing(path).check(key) == "laptop"

    def test_a_key_that_is_not_there_cannot_be_revoked(self, file: KeyFile) -> None:
        with pytest.raises(OptionError, match="nobody"):
            file.revoke("nobody")

    def test_none_is_lost_where_many_are_made_at_once(self, path: Path) -> None:
        def make(number: int) -> None:
            KeyFile(path).create(f"key-{number}")

        threads = [threading.Thread(target=make, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {key.name for key in KeyFile(path).read()} == {f"key-{i}" for i in range(16)}

    @pytest.mark.parametrize("content", DAMAGED)
    def test_a_damaged_file_is_named_and_left_as_it_is(self, file: KeyFile, path: Path, content: bytes) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        for action in (file.read, lambda: file.create("new"), lambda: file.revoke("a")):
            with pytest.raises(SettingsError, match=re.escape(str(path))):
                action()
        assert path.read_bytes() == content

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "keys.json"
        with pytest.raises(SettingsError, match=re.escape(str(path))):
            KeyFile(path).create("one")


def near_misses(key: str) -> list[str]:
    flipped = [key[:i] + ("x" if key[i] != "x" else "y") + key[i + 1 :] for i in range(len(key))]
    return [
        *flipped,
        "",
        key[:-1],
        key + "x",
        f" {key}",
        f"{key} ",
        key.swapcase(),
        key[1:],
        "ключ",
    ]


class TestRing:
    def test_without_any_key_none_is_asked_for(self, path: Path) -> None:
        ring = KeyRing(path)
        assert not ring.asks
        assert ring.check("anything") is None

    def test_every_key_opens_by_its_name_and_near_misses_do_not(self, file: KeyFile, path: Path) -> None:
        keys = {f"key-{i}": file.create(f"key-{i}") for i in range(5)}
        ring = KeyRing(path, {"MOLVA_API_KEY": "given"})
        assert ring.asks
        assert {name: ring.check(key) for name, key in keys.items()} == {name: name for name in keys}
        assert ring.check("given") == "MOLVA_API_KEY"
        for wrong in near_misses(keys["key-2"]) + near_misses("given"):
            assert ring.check(wrong) is None

    def test_neither_a_hash_nor_a_name_is_a_key(self, file: KeyFile, path: Path) -> None:
        file.create("laptop")
        ring = KeyRing(path)
        assert ring.check(file.read()[0].sha256) is None
        assert ring.check("laptop") is None

    def test_it_follows_the_file(self, file: KeyFile, path: Path) -> None:
        ring = KeyRing(path)
        first = file.create("first")
        assert ring.asks
        assert ring.check(first) == "first"
        second = file.create("second")
        file.revoke("first")
        assert (ring.check(first), ring.check(second)) == (None, "second")

    def test_given_keys_can_become_others_and_their_loss_opens_nothing(self, path: Path) -> None:
        ring = KeyRing(path)
        ring.change_extra({"given": "one"})
        assert ring.asks
        ring.change_extra({"given": "two"})
        assert (ring.check("one"), ring.check("two")) == (None, "given")
        ring.change_extra({})
        assert ring.asks
        assert (ring.check("two"), ring.knows("given")) == (None, False)

    def test_revoking_the_last_key_does_not_open_a_running_server(self, file: KeyFile, path: Path) -> None:
        key = file.create("only")
        ring = KeyRing(path)
        file.revoke("only")
        assert ring.asks
        assert ring.check(key) is None
        assert not KeyRing(path).asks

    def test_a_file_that_vanishes_does_not_open_a_running_server(self, file: KeyFile, path: Path) -> None:
        key = file.create("only")
        ring = KeyRing(path)
        path.unlink()
        assert ring.asks
        assert ring.check(key) is None

    @pytest.mark.parametrize("content", DAMAGED)
    def test_a_damaged_file_lets_nobody_in_and_the_log_names_it(
        self, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        ring = KeyRing(path)
        assert ring.asks
        assert ring.check("anything") is None
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert str(path) in record.getMessage()

    def test_damage_shuts_a_running_server_and_mending_opens_it(self, file: KeyFile, path: Path) -> None:
        key = file.create("laptop")
        ring = KeyRing(path)
        sound = path.read_bytes()
        path.write_bytes(sound[:-20])
        assert ring.asks
        assert ring.check(key) is None
        path.write_bytes(sound)
        assert ring.check(key) == "laptop"

    def test_a_file_that_cannot_be_read_lets_nobody_in(self, path: Path) -> None:
        path.mkdir(parents=True)
        assert KeyRing(path).asks
        blocked = path.parent / "file"
        blocked.touch()
        assert KeyRing(blocked / "keys.json").asks

    def test_the_operators_own_key_needs_no_file(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"damaged")
        assert KeyRing(path, {"MOLVA_API_KEY": "given"}).check("given") == "MOLVA_API_KEY"
