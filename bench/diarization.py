"""Who spoke when: how right, how quick, in how much memory. Linux only: the memory comes from /proc."""

import argparse
import gc
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.diarization_error import diarization_error
from molva.audio.array import open_audio
from molva.engines.silero import load_vad
from molva.models.store import ModelStore
from molva.runtime.loading import warm_road
from molva.runtime.speakers import Speakers
from molva.samples import Samples, seconds
from molva.speech.clustering import SpeakerCount
from molva.speech.diarization import Diarizer
from molva.transcript import Turn

MAX_ERROR = 0.10
MAX_REAL_TIME_FACTOR = 0.1
MAX_MB = 400
COLLAR_S = 0.25


def read_turns(path: Path) -> list[Turn]:
    """A JSON list of `speaker`, `start_s`, `end_s`."""
    told = json.loads(path.read_text(encoding="utf-8"))
    names = list(dict.fromkeys(turn["speaker"] for turn in told))
    return [Turn(turn["start_s"], turn["end_s"], names.index(turn["speaker"])) for turn in told]


def blocks(recording: Path, repeat: int) -> Iterator[Samples]:
    for _ in range(repeat):
        with open_audio(recording) as reader:
            yield from reader


def resident_mb(field: str) -> float:
    """`VmRSS` now or `VmHWM` at the highest."""
    [kilobytes] = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024 / 1e6


def main() -> int:
    """Print the figures; 1 where one of them is out of its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("turns", type=Path, nargs="?", help="JSON: [{speaker, start_s, end_s}]")
    parser.add_argument("--models", type=Path, required=True, help="folder of models")
    parser.add_argument("--num-speakers", type=int)
    parser.add_argument("--repeat", type=int, default=1, help="the recording so many times over, for cost alone")
    arguments = parser.parse_args()
    warm_road(load_vad())
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before_mb = resident_mb("VmRSS")

    segment, embed = Speakers(ModelStore(arguments.models)).load()
    diarizer = Diarizer(segment, embed)
    n_samples, work_s, processor_s = 0, 0.0, 0.0
    for block in blocks(arguments.recording, arguments.repeat):
        n_samples += block.size
        started, before_s = time.perf_counter(), time.process_time()
        diarizer.feed(block)
        work_s += time.perf_counter() - started
        processor_s += time.process_time() - before_s
    started, before_s = time.perf_counter(), time.process_time()
    found = diarizer.finish(SpeakerCount.of(arguments.num_speakers))
    finish_s = time.perf_counter() - started
    processor_s += time.process_time() - before_s
    factor, memory_mb = (work_s + finish_s) / seconds(n_samples), resident_mb("VmHWM") - before_mb

    print(f"audio              {seconds(n_samples):8.1f} s")
    print(f"speakers           {len({turn.speaker for turn in found}):8d}")
    print(f"turns              {len(found):8d}")
    good = factor <= MAX_REAL_TIME_FACTOR and memory_mb <= MAX_MB
    if arguments.turns is not None and arguments.repeat == 1:
        reference = read_turns(arguments.turns)
        error = diarization_error(reference, found, collar_s=COLLAR_S)
        good = good and error.rate < MAX_ERROR
        print(f"told               {len({turn.speaker for turn in reference}):8d} speakers, {len(reference)} turns")
        print(f"error rate         {error.rate:8.1%} of {error.total:.1f} s, collar {COLLAR_S} s")
        print(f"  missed           {error.missed / error.total:8.1%}")
        print(f"  false alarm      {error.false_alarm / error.total:8.1%}")
        print(f"  confusion        {error.confusion / error.total:8.1%}")
    print(f"real-time factor   {factor:8.3f}, the last step {finish_s:.2f} s")
    print(f"processor          {processor_s / seconds(n_samples):8.3f} s of one core for a second")
    print(f"memory             {memory_mb:8.0f} MB, the models included")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
