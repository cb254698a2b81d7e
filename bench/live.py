"""Live sessions against a server of its own: `python -m bench.live --model-dir DIR`. README.md explains the table."""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.client import Session, play_alone, play_together
from bench.figures import MIN_SILENCE_S, Figures, final_texts, kept_pace, percentiles, read_session
from bench.process import Server, running_server
from bench.recording import FRAME_S, Recording, Utterance, conversation, read

MAX_FINAL_S = 1.0
"""A final that takes longer is late."""


@dataclass(frozen=True)
class Row:
    """What was measured with one number of sessions. Seconds, and cores, unless said otherwise."""

    workers: int
    sessions: int
    partial_lag: tuple[float, float, float]
    first_partial: tuple[float, float, float]
    final_delay: tuple[float, float, float]
    finals: int
    lost: int
    changed: int
    broken_finals: int
    broken_words: float
    """Share of the words called stable."""
    errors: int
    partials_per_speech_s: float
    server_cores: float
    loop_cores: float
    peak_mb: float
    client_cores: float
    client_lag: float
    behind: float
    in_pace: bool

    @property
    def whole(self) -> bool:
        """Whether nothing was lost."""
        return self.lost == self.changed == self.errors == 0


class Bench:
    """One server, and what its sessions should say."""

    def __init__(self, server: Server, recording: Recording, workers: int, places: int, duration_s: float) -> None:
        self._server = server
        self._recording = recording
        self._workers = workers
        self._places = places
        self._n_frames = round(duration_s / FRAME_S)
        self._expected: dict[int, list[str]] = {}
        self._utterances: dict[int, list[Utterance]] = {}

    def measure(self, n_sessions: int) -> Row:
        """Run so many sessions at once."""
        sessions = [self._session(number) for number in range(n_sessions)]
        for session in sessions:
            self._learn(session)
        self._server.forget_peak()
        usage, cpu_s = self._server.usage(), time.process_time()
        lags = asyncio.run(play_together(self._server.url, sessions))
        used, client_s = self._server.usage(), time.process_time() - cpu_s
        stream_s = self._n_frames * FRAME_S  # not what it took: an overloaded server works on after the streams' end
        figures = Figures()
        for session in sessions:
            place = session.first_frame
            figures.add(read_session(session, self._utterances[place], self._expected[place]))
        return Row(
            workers=self._workers,
            sessions=n_sessions,
            partial_lag=percentiles(figures.partial_lag),
            first_partial=percentiles(figures.first_partial),
            final_delay=percentiles(figures.final_delay),
            finals=figures.finals,
            lost=figures.lost,
            changed=figures.changed,
            broken_finals=figures.broken_finals,
            broken_words=figures.broken_words / max(figures.stable_words, 1),
            errors=figures.errors,
            partials_per_speech_s=figures.partials / figures.speech,
            server_cores=(used.process_s - usage.process_s) / stream_s,
            loop_cores=(used.loop_s - usage.loop_s) / stream_s,
            peak_mb=self._server.peak_mb(),
            client_cores=client_s / stream_s,
            client_lag=percentiles(lags)[2],
            behind=max(max(session.behind_s) for session in sessions),
            in_pace=kept_pace(lags),
        )

    def _session(self, number: int) -> Session:
        """The places are spread over the recording, and the same for every number of sessions."""
        first_frame = len(self._recording.frames) * number // self._places
        return Session(self._recording, first_frame, self._n_frames)

    def _learn(self, like: Session) -> None:
        """Find what a session says and what an undisturbed one gives for it."""
        place = like.first_frame
        if place not in self._expected:
            alone = Session(self._recording, place, self._n_frames)
            asyncio.run(play_alone(self._server.url, alone))
            self._expected[place] = final_texts(alone)
            self._utterances[place] = self._recording.utterances(place, self._n_frames)


COLUMNS = (
    "workers",
    "sessions",
    "partial lag",
    "first partial",
    "final delay",
    "beyond silence",
    "finals",
    "lost",
    "changed",
    "unstable finals",
    "unstable words",
    "partials/s",
    "server cores",
    "loop cores",
    "peak MB",
    "client cores",
    "client lag",
    "behind",
)


def cells(row: Row) -> list[str]:
    """A row of the table; delays in milliseconds as p50/p95/p99."""

    def ms(*values: float) -> str:
        return "/".join(f"{value * 1000:.0f}" for value in values)

    return [
        str(row.workers),
        str(row.sessions),
        ms(*row.partial_lag),
        ms(*row.first_partial),
        ms(*row.final_delay),
        ms(*(value - MIN_SILENCE_S for value in row.final_delay)),
        str(row.finals),
        str(row.lost + row.errors),
        str(row.changed),
        f"{row.broken_finals / max(row.finals, 1):.1%}",
        f"{row.broken_words:.1%}",
        f"{row.partials_per_speech_s:.2f}",
        f"{row.server_cores:.2f}",
        f"{row.loop_cores:.3f}",
        f"{row.peak_mb:.0f}",
        f"{row.client_cores:.2f}",
        ms(row.client_lag) + ("" if row.in_pace else " LATE"),
        ms(row.behind),
    ]


def print_table(rows: Sequence[Row]) -> None:
    """As Markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *(cells(row) for row in rows)]
    for line in lines:
        print("| " + " | ".join(line) + " |")


def sustained(rows: Sequence[Row], allowed_s: float) -> int:
    """The most sessions, with all smaller numbers, whose finals come whole and within `allowed_s` for 95 of 100."""
    most = 0
    for row in sorted(rows, key=lambda row: row.sessions):
        if not row.whole or not row.final_delay[1] < allowed_s:
            break
        most = row.sessions
    return most


def numbers(text: str) -> list[int]:
    """`1,2,4`."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--model", default="gigaam-v3-rnnt")
    parser.add_argument("--model-dir", type=Path, required=True, help="a folder that may be written to")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=numbers, default=[os.cpu_count() or 1], help="one server each, as in 1,2")
    parser.add_argument("--sessions", type=numbers, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--audio", type=Path, help="a recording to play in place of the built-in conversation")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the rows too")
    arguments = parser.parse_args()

    recording = Recording(read(arguments.audio) if arguments.audio else conversation())
    speech = recording.utterances(0, len(recording.frames))
    share = sum(utterance.end - utterance.start for utterance in speech) / recording.duration_s
    print(f"recording: {recording.duration_s:.0f} s, {len(speech)} utterances, {share:.0%} speech\n")

    rows: list[Row] = []
    places = max(arguments.sessions)
    for workers in arguments.workers:
        flags = ["--model", arguments.model, "--model-dir", str(arguments.model_dir)]
        flags += ["--precision", arguments.precision, "--workers", str(workers)]
        flags += ["--pool-size", str(places), "--log-level", "warning"]
        with running_server(flags) as server:
            bench = Bench(server, recording, workers, places, arguments.seconds)
            mine = []
            for n_sessions in arguments.sessions:
                mine.append(bench.measure(n_sessions))
                print(f"{n_sessions} sessions: " + " | ".join(cells(mine[-1])[2:]), flush=True)
        rows += mine
        print(f"\n{workers} workers sustain {sustained(mine, MIN_SILENCE_S + MAX_FINAL_S)} sessions with p95 of finals")
        print(f"under {MAX_FINAL_S:g} s beyond the silence that ends an utterance,")
        print(f"and {sustained(mine, MAX_FINAL_S)} with that silence counted in\n", flush=True)
    print_table(rows)
    if not all(row.in_pace for row in rows):
        print("\nLATE: the load generator could not keep pace; its rows understate what the server can do.")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
