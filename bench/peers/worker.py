"""One engine's process: `python -m bench.peers.worker NAME FOLDER THREADS CORES DEVICE`. process.py talks to it.

It answers each path on its input with a line of JSON, and ends with its input.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path


def main() -> None:
    """Load, tell how long that took, then recognise what is asked for."""
    name, folder, threads, cores, device = sys.argv[1:]
    # Before the first library counts the cores.
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})

    from bench.peers.competitors import ALL
    from bench.peers.process import Timing

    competitor = ALL[name]
    competitor.import_library()
    began = time.perf_counter()
    recognize = competitor.load(Path(folder), int(threads), device)
    print(json.dumps({"load_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        text = recognize(Path(line.strip()))
        timing = Timing(time.perf_counter() - wall_s, time.process_time() - cpu_s, len(text))
        print(json.dumps(asdict(timing)), flush=True)


if __name__ == "__main__":
    main()
