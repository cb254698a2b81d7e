"""Memory does not grow with length."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY, read_flac
from tests.e2e.conftest import environment

MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=open("transcript.json", "wb"))
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)))
"""


def peak_mib(recording: Path, tiny_dir: Path, folder: Path, *options: str) -> float:
    """Peak resident memory of `molva transcribe` on a recording."""
    command = [sys.executable, "-m", "molva", "transcribe", str(recording), "--format", "json"]
    command += ["--model", "gigaam-v3-ctc", "--model-dir", str(tiny_dir), "--precision", "fp32", *options]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        timeout=280,
        check=True,
    )
    return float(json.loads(result.stdout))


def write_looped(path: Path, seconds: int, *, channels: int = 1) -> None:
    """Real speech, again and again, the same on every channel."""
    clip = (read_flac(TINY / "unseen" / "long.flac") * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        left = seconds * 16_000
        while left > 0:
            file.writeframes(np.repeat(clip[:left], channels).tobytes())
            left -= min(left, clip.size)


@pytest.mark.slow
def test_an_hour_takes_little_more_memory_than_a_minute(tiny_dir: Path, tmp_path: Path) -> None:
    """Its samples alone are 230 MB."""
    limit_mib = 100
    short, long = tmp_path / "minute.wav", tmp_path / "hour.wav"
    write_looped(short, 60)
    write_looped(long, 3600)
    minute = peak_mib(short, tiny_dir, tmp_path)
    hour = peak_mib(long, tiny_dir, tmp_path)
    transcript = json.loads((tmp_path / "transcript.json").read_text(encoding="utf-8"))
    assert transcript["duration"] == 3600
    assert len(transcript["words"]) > 3_000
    assert transcript["coverage"]["speech"] == transcript["coverage"]["transcribed"] > 2400
    assert hour - minute < limit_mib, (minute, hour)


@pytest.mark.slow
def test_ten_minutes_on_two_channels_take_little_more_than_one(tiny_dir: Path, tmp_path: Path) -> None:
    """Both sides of them are 77 MB as samples; what is kept is the window in hand of each."""
    limit_mib = 60
    short, long = tmp_path / "minute.wav", tmp_path / "ten-minutes.wav"
    write_looped(short, 60, channels=2)
    write_looped(long, 600, channels=2)
    minute = peak_mib(short, tiny_dir, tmp_path, "--channels", "split")
    minutes = peak_mib(long, tiny_dir, tmp_path, "--channels", "split")
    transcript = json.loads((tmp_path / "transcript.json").read_text(encoding="utf-8"))
    assert transcript["channels"] == 2
    assert transcript["coverage"]["speech"] == transcript["coverage"]["transcribed"] > 600
    assert minutes - minute < limit_mib, (minute, minutes)
