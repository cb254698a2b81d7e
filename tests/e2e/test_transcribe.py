"""`molva transcribe`, in a pipe and for many files."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SEEN, TINY
from tests.e2e.conftest import run_molva
from tests.media import encode_channels

FIRST, SECOND = SEEN[0], SEEN[1]


@pytest.fixture
def args(tiny_dir: Path) -> list[str | Path]:
    return ["transcribe", "--model", "gigaam-v3-rnnt", "--model-dir", tiny_dir, "--precision", "fp32"]


def test_text_goes_to_standard_output_and_nothing_else_anywhere(args: list[str | Path], tmp_path: Path) -> None:
    result = run_molva(*args, FIRST.path, SECOND.path, home=tmp_path)
    assert result.returncode == 0
    assert result.stdout.decode() == f"{FIRST.rnnt}\n{SECOND.rnnt}\n"
    assert result.stderr == b""


def test_standard_input_is_a_file_too(args: list[str | Path], tmp_path: Path) -> None:
    result = run_molva(*args, "-", home=tmp_path, stdin=FIRST.path.read_bytes())
    assert result.stdout.decode() == f"{FIRST.rnnt}\n"


@pytest.mark.parametrize("name", ["json", "srt", "vtt", "md", "tsv"])
def test_each_format(args: list[str | Path], tmp_path: Path, name: str) -> None:
    result = run_molva(*args, "--format", name, FIRST.path, home=tmp_path)
    text = result.stdout.decode()
    assert result.returncode == 0
    if name == "json":
        assert json.loads(text)["text"] == FIRST.rnnt
    else:
        assert FIRST.rnnt.split()[0] in text


def test_channels_that_are_split_are_a_dialogue(args: list[str | Path], tmp_path: Path) -> None:
    pause = np.zeros(len(FIRST.samples) + 16_000, np.float32)
    left = np.concatenate([FIRST.samples, np.zeros(len(pause) - len(FIRST.samples) + len(SECOND.samples), np.float32)])
    right = np.concatenate([pause, SECOND.samples])
    call = tmp_path / "call.wav"
    call.write_bytes(encode_channels([left, right], "wav", "pcm_s16le"))
    result = run_molva(*args, "--channels", "split", "-f", "md", call, home=tmp_path)
    assert result.returncode == 0
    paragraphs = [line for line in result.stdout.decode().split("\n") if line.startswith("**")]
    assert [paragraph[: len("**SPEAKER_0:**")] for paragraph in paragraphs] == ["**SPEAKER_0:**", "**SPEAKER_1:**"]


@pytest.mark.parametrize("options", [["--channels", "left"], ["--channels", "split", "--speakers"]])
def test_channels_that_cannot_be_meant_are_wrong_usage(
    args: list[str | Path], tmp_path: Path, options: list[str]
) -> None:
    result = run_molva(*args, *options, FIRST.path, home=tmp_path)
    assert result.returncode == 2
    assert b"--channels" in result.stderr


def test_several_files_go_to_a_folder(args: list[str | Path], tmp_path: Path) -> None:
    copy = tmp_path / f"{FIRST.path.stem}.ogg"
    copy.write_bytes(FIRST.path.read_bytes())
    out = tmp_path / "deep" / "out"
    result = run_molva(
        *args, "-f", "srt", "--output-dir", out, FIRST.path, copy, SECOND.path, "-", home=tmp_path, stdin=b"nonsense"
    )
    assert result.returncode == 3
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{FIRST.path.name}.srt", f"{copy.name}.srt", f"{SECOND.path.stem}.srt"]
    )
    assert "-->" in (out / f"{SECOND.path.stem}.srt").read_text(encoding="utf-8")


def test_a_bad_file_does_not_stop_the_others(args: list[str | Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is not audio")
    result = run_molva(*args, bad, tmp_path / "missing.wav", tmp_path, FIRST.path, home=tmp_path)
    assert result.returncode == 3
    assert result.stdout.decode() == f"{FIRST.rnnt}\n"
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 3
    assert "bad.wav" in lines[0]
    assert "missing.wav: No such file" in lines[1]
    assert "Is a directory" in lines[2]


def test_a_file_that_is_cut_short_is_told(args: list[str | Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    with wave.open(str(cut), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0" * 320_000)
    cut.write_bytes(cut.read_bytes()[:-160_000])
    result = run_molva(*args, cut, home=tmp_path)
    assert result.returncode == 0
    assert "cut short; 5.0 s are missing" in result.stderr.decode()


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        (["--format", "doc"], 1, "doc"),
        (["--language", "en"], 1, "does not know language 'en'"),
        (["--task", "translate"], 1, "not supported"),
        (["--task", "sing"], 2, "transcribe or translate"),
        (["--format", "srt", TINY], 2, "--output-dir"),
        (["--no-such-option"], 2, "no-such-option"),
    ],
)
def test_wrong_usage_has_a_status_of_its_own(
    args: list[str | Path], tmp_path: Path, extra: list[str | Path], status: int, message: str
) -> None:
    result = run_molva(*args, FIRST.path, *extra, home=tmp_path)
    assert result.returncode == status
    assert message in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_quantizing_by_hand(tmp_path: Path, tiny_dir: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for file in tiny_dir.iterdir():
        if file.is_file() and "int8" not in file.name:
            (folder / file.name).write_bytes(file.read_bytes())
    first = run_molva("quantize", "gigaam-v3-rnnt", "--model-dir", folder, home=tmp_path)
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.decode().strip()) in (folder / "v3_rnnt_encoder.s8", folder / "v3_rnnt_encoder.s7")
    again = run_molva("quantize", "gigaam-v3-rnnt", "--model-dir", folder, home=tmp_path)
    assert "already here" in again.stdout.decode()
    other = run_molva("quantize", "gigaam-v3-rnnt", "--precision", "u8", "--model-dir", folder, home=tmp_path)
    assert other.stdout.decode().strip() == str(folder / "v3_rnnt_encoder.u8")
    assert run_molva("quantize", "whisper-base", "--model-dir", folder, home=tmp_path).returncode == 1


def test_the_version_and_the_help_are_there(tmp_path: Path) -> None:
    assert run_molva("--version", home=tmp_path).stdout.decode().strip() == "0.1.0"
    assert b"transcribe" in run_molva("--help", home=tmp_path).stdout


def test_speakers_are_marked(args: list[str | Path], tiny_dir: Path, speaker_dir: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for folder in (tiny_dir, speaker_dir):
        for file in filter(Path.is_file, folder.iterdir()):
            (models / file.name).hardlink_to(file)
    args[args.index(tiny_dir)] = models
    result = run_molva(*args, "--speakers", "--num-speakers", "1", "-f", "srt", FIRST.path, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "[SPEAKER_0] " in result.stdout.decode()


def test_without_their_models_it_says_how_to_get_them(args: list[str | Path], tmp_path: Path) -> None:
    result = run_molva(*args, "--speakers", FIRST.path, home=tmp_path)
    assert result.returncode == 1
    assert b"molva models pull speakers" in result.stderr
    assert result.stdout == b""


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--num-speakers", "2"], b"--speakers"),
        (["--speakers", "--num-speakers", "0"], b"--num-speakers"),
        (["--speakers", "--min-speakers", "3", "--max-speakers", "2"], b"--min-speakers"),
    ],
)
def test_a_number_of_speakers_that_cannot_be_meant_is_wrong_usage(
    args: list[str | Path], tmp_path: Path, flags: list[str], named: bytes
) -> None:
    result = run_molva(*args, *flags, FIRST.path, home=tmp_path)
    assert result.returncode == 2
    assert named in result.stderr
