"""A record -> a page of the docs, and its plots."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from tests.chaos.clients import End
from tests.soak.faults import AT_REST, FAULTS
from tests.soak.run import Record, warm_up_s
from tests.soak.verdict import LINES, PER_S, breaches, series, slope_of, unsettled

POINTS = 400
"""Of a curve at most: the highest value of each stretch, so that no peak is left out and files stay small."""
WIDTH_IN, HEIGHT_IN = 9.0, 2.2
"""Of one plot."""
STYLE: dict[RcKeyType, Any] = {
    "svg.hashsalt": "molva",  # the same record gives the same bytes
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
BLUE, RED, SHADE, REST = "#1f5fa8", "#b3261e", "#f1f1f1", "#cfe3f7"

INTRODUCTION = """\
# Soak

`make soak` starts the real server with a small model and has clients at it for an hour: requests, event streams, files
by OpenAI's door, live and realtime sessions, jobs with webhooks. Now and then something goes wrong, a little. At the
end nothing may have grown and nothing may be missing, or the exit status is 1. `make soak MINUTES=5` is a short form.

The harness, `tests/soak`, writes this page; no figure in it is typed.
"""

READING = """\
Memory is anonymous memory, swapped out or not: heaps and stacks, which is where a leak is. What is mapped from files,
weights and libraries, comes and goes as the system likes. A slope is that of Theil and Sen over medians, after the
warm-up, with its 95 % interval, which is widened by how much neighbours are alike. Over an hour the slope has to be
below the limit. In less time it is uncertain by more than that, so there the soak fails where the whole interval is
above the limit.

The data folder is looked at in the rests, when no recording waits; jobs are forgotten a minute after their end. In each
rest the kinds of threads and descriptors are also compared with those of the first one: any more is a failure.
"""

ENDS = """\
Done is the result that an undisturbed server gives, word for word. Told is a refusal or failure with its code: faults
cause these. Cut is a connection that went without a word, lost is a wrong answer or none: both must be 0. Clients that
cut their own connections, or never read, are not in this table.
"""


def write(record: Record, page: Path) -> None:
    """The page, and its plots in the folder `images` beside it."""
    images = page.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, draw in PLOTS.items():
            draw(record).savefig(images / name, format="svg", facecolor="white", metadata={"Date": None})
    page.write_text("\n".join(_page(record)), encoding="utf-8")


def summary(record: Record) -> str:
    """Of a soak without breaches, in a sentence."""
    if lines := unsettled(record):
        return f"Nothing was lost. It was too short to tell whether these grow: {', '.join(lines)}."
    return "Nothing has grown, and nothing was lost."


def _page(record: Record) -> list[str]:
    found = breaches(record)
    return [
        INTRODUCTION,
        "## The last run\n",
        f"{record.duration_s / 60:g} minutes, seed {record.seed}; {record.machine}.\n",
        "**It failed:**\n" if found else f"**{summary(record)}**\n",
        *(f"- {breach}" for breach in found),
        *(["", *_slopes(record)] if found else _slopes(record)),
        "",
        *(f"![{Path(name).stem.replace('-', ': ', 1)}](images/{name})\n" for name in PLOTS),
        "Grey is the warm-up, blue are rests; red marks are faults.\n",
        READING,
        "## What was asked for\n",
        *_ends(record),
        "",
        ENDS,
        "## What went wrong on purpose\n",
        *_faults(record),
        "",
    ]


def _slopes(record: Record) -> list[str]:
    rows = ["| what | first | last | slope in ten minutes | limit |", "|---|---|---|---|---|"]
    for line in LINES:
        _, values = series(record, line)
        grows = slope_of(record, line)
        ends = [f"{_near(values, part):.1f}".removesuffix(".0") for part in (0, -1)] if values else ["", ""]
        cells = [
            f"{line.name}, {line.unit}".strip(", "),
            *ends,
            "too short to tell" if grows is None else str(grows),
            f"{line.limit:g}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _near(values: Sequence[float], part: int) -> float:
    """The median of the first or last tenth."""
    count = max(len(values) // 10, 1)
    return float(np.median(values[:count] if part == 0 else values[-count:]))


def _ends(record: Record) -> list[str]:
    rows = [f"| door | {' | '.join(End)} |", "|---|---|---|---|---|"]
    for door, ends in record.ends.items():
        rows.append(f"| {DOORS[door]} | {' | '.join(str(ends[end]) for end in End)} |")
    sums = [str(sum(ends[end] for ends in record.ends.values())) for end in End]
    return [*rows, f"| **all** | {' | '.join(sums)} |"]


def _faults(record: Record) -> list[str]:
    times = Counter(name for _, name in record.faults)
    rows = ["| fault | what happens | times |", "|---|---|---|"]
    return [*rows, *(f"| {each.name} | {each.happens} | {times[each.name]} |" for each in (*FAULTS, *AT_REST))]


DOORS = {
    "request": "`/v1/transcribe`",
    "sse": "`/v1/transcribe/stream`",
    "openai": "`/v1/audio/transcriptions`",
    "live": "`/v1/ws`",
    "realtime": "`/v1/realtime`",
    "job": "`/jobs`",
}


def _memory(record: Record) -> Figure:
    figure, [axes] = _panels(record, 1)
    _curve(axes, record, [sample.memory_mb for sample in record.samples])
    axes.set_ylabel("anonymous memory, MB")
    if (grows := slope_of(record, LINES[0])) is not None:
        ends = np.array([warm_up_s(record.duration_s), record.samples[-1].at_s])
        label = f"{grows} MB in ten minutes"
        axes.plot(ends / 60, grows.offset + grows.estimate / PER_S * ends, "--", color=RED, label=label)
        axes.legend(loc="lower right", frameon=False)
    return figure


def _holdings(record: Record) -> Figure:
    figure, [descriptors, threads] = _panels(record, 2)
    _curve(descriptors, record, [sample.descriptors for sample in record.samples])
    descriptors.set_ylabel("descriptors")
    _curve(threads, record, [sample.threads for sample in record.samples])
    threads.set_ylabel("threads")
    for axes in (descriptors, threads):
        axes.set_ylim(bottom=0)
    return figure


def _work(record: Record) -> Figure:
    figure, [done, jobs, disk, health] = _panels(record, 4)
    _curve(done, record, [sample.done for sample in record.samples])
    done.set_ylabel("done so far")
    _curve(jobs, record, [np.nan if sample.jobs is None else sample.jobs for sample in record.samples])
    jobs.set_ylabel("jobs that wait or run")
    _curve(disk, record, [sample.disk_mb for sample in record.samples])
    disk.set_ylabel("data folder, MB")
    latency = [np.nan if sample.health_s is None else sample.health_s * 1000 for sample in record.samples]
    _curve(health, record, latency)
    health.set_ylabel("GET /health, ms")
    health.set_yscale("log")
    return figure


PLOTS: dict[str, Callable[[Record], Figure]] = {
    "soak-memory.svg": _memory,
    "soak-descriptors-threads.svg": _holdings,
    "soak-work.svg": _work,
}


def _panels(record: Record, count: int) -> tuple[Figure, list[Axes]]:
    """Plots below each other over the same minutes, with what happened in them."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN * count + 0.4), layout="constrained")
    panels: list[Axes] = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    for axes in panels:
        axes.axvspan(0, warm_up_s(record.duration_s) / 60, color=SHADE, linewidth=0)
        for began_s, ended_s in record.rests:
            axes.axvspan(began_s / 60, ended_s / 60, color=REST, linewidth=0)
        marks = [at_s / 60 for at_s, _ in record.faults]
        axes.plot(marks, [0.01] * len(marks), "|", color=RED, markersize=5, transform=axes.get_xaxis_transform())
    panels[-1].set_xlabel("minutes")
    panels[-1].set_xlim(0, record.samples[-1].at_s / 60 if record.samples else 1)
    return figure, panels


def _curve(axes: Axes, record: Record, values: Sequence[float]) -> None:
    count = min(POINTS, len(values))
    minutes = [float(block[0]) / 60 for block in np.array_split([sample.at_s for sample in record.samples], count)]
    highest = [float(np.max(block)) for block in np.array_split(np.asarray(values, float), count)]
    axes.plot(minutes, highest, color=BLUE, linewidth=1)
