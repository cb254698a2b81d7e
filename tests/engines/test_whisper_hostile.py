"""Files of Whisper that are damaged or made to do harm: refused by name before, or by, CTranslate2."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from molva.engines import whisper
from molva.errors import ModelFilesInvalid
from tests.engines import hostile

OTHERS = ("config.json", "tokenizer.json", "vocabulary.txt")


@pytest.fixture
def folder(whisper_base_dir: Path, tmp_path: Path) -> Path:
    """A copy whose weights are the same file: tests replace it and never write into it."""
    target = tmp_path / "model"
    target.mkdir()
    for name in OTHERS:
        (target / name).write_bytes((whisper_base_dir / name).read_bytes())
    os.link(whisper_base_dir / "model.bin", target / "model.bin")
    return target


def replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def refused(folder: Path, named: str) -> None:
    with pytest.raises(ModelFilesInvalid) as caught:
        whisper.load(folder, model="whisper-base", variant="base")
    assert caught.value.file_name == named
    assert "`molva models verify`" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[" * 200_000),
        ("config.json", b'{"a":' * 200_000),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b" " * (17 << 20)),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"[" * 200_000),
        ("tokenizer.json", b" " * (17 << 20)),
        ("vocabulary.txt", b"a\n" * (9 << 20)),
        ("vocabulary.txt", bytes(range(256))),
        ("vocabulary.json", b"[" * 200_000),
        ("preprocessor_config.json", b"[]"),
        ("preprocessor_config.json", b"[" * 200_000),
        ("preprocessor_config.json", b'{"feature_size": "many"}'),
        ("preprocessor_config.json", b'{"feature_size": 100000000}'),
        ("preprocessor_config.json", b'{"feature_size": [80]}'),
        ("preprocessor_config.json", b'{"hop_length": 0}'),
        ("preprocessor_config.json", b'{"n_fft": -5}'),
        ("preprocessor_config.json", b'{"chunk_length": 1e300}'),
    ],
)
def test_small_files_of_nonsense_are_refused(folder: Path, name: str, content: bytes) -> None:
    replace(folder / name, content)
    refused(folder, name)


def test_a_vocabulary_of_another_model_is_refused(folder: Path) -> None:
    replace(folder / "vocabulary.txt", b"a\nb\n")
    refused(folder, "vocabulary")


def test_a_tokenizer_that_spells_otherwise_is_refused(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["\u4e00"] = vocabulary.pop("!")
    replace(folder / "tokenizer.json", json.dumps(content).encode())
    refused(folder, "tokenizer.json")


@pytest.mark.parametrize("name", [*OTHERS, "model.bin"])
def test_what_a_link_leads_to_outside_is_not_opened(folder: Path, name: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    with hostile.watched(elsewhere) as was_opened:
        refused(folder, name)
        assert not was_opened()


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "preprocessor_config.json")
    refused(folder, "preprocessor_config.json")


LOAD = """
import sys
from pathlib import Path
from molva.engines import whisper
from molva.errors import ModelFilesInvalid
try:
    whisper.load(Path(sys.argv[1]), model="whisper-base", variant="base")
except ModelFilesInvalid as error:
    print(error.file_name)
"""


def number(form: str, content: bytes, position: int) -> int:
    return int(struct.unpack_from(form, content, position)[0])


def first_matrix(content: bytes) -> int:
    """Where the dimensions of the first weights with two of them are, in CTranslate2's format, version 6."""
    name = number("<H", content, 4)
    position = 4 + 2 + name + 8
    while True:
        name = number("<H", content, position)
        rank = content[position + 2 + name]
        position += 3 + name
        if rank == 2:
            return position
        position += 4 * rank + 5 + number("<I", content, position + 4 * rank + 1)


def huge_dimensions(content: bytes) -> bytes:
    place = first_matrix(content)
    return content[:place] + struct.pack("<II", 0x7FFFFFFF, 0x7FFFFFFF) + content[place + 8 :]


def huge_size(content: bytes) -> bytes:
    place = first_matrix(content) + 9
    return content[:place] + struct.pack("<I", 0xFFFFFFF0) + content[place + 4 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"\x89PNG\r\n\x1a\n",
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: struct.pack("<I", 99) + content[4:],
        lambda content: content[:22] + b"\xff\xff\xff\xff" + content[26:],
        huge_dimensions,
        huge_size,
    ],
    ids=["empty", "picture", "head", "half", "all but a byte", "of the future", "variables", "dimensions", "size"],
)
def test_damaged_weights_are_refused_within_bounds(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    replace(folder / "model.bin", damage((folder / "model.bin").read_bytes()))
    assert hostile.run_bounded(LOAD, folder, gigabytes=6) == "model.bin\n"
