"""Samples -> who spoke when. The two models are handed in.

Overlapping windows of ten seconds are segmented for up to three local speakers. Their middles are joined to three
tracks, in which stretches of speech end at pauses and changes of speaker. Each stretch is embedded, and the embeddings
of the whole recording are clustered. A track alone is nobody: the segmentation often gives two voices that take turns
one track, and the embeddings of the stretches tell them apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molva.samples import SAMPLE_RATE, Samples, seconds
from molva.speech.buffer import SampleBuffer
from molva.speech.clustering import Embedding, SpeakerCount, cluster, recognize
from molva.transcript import Turn

Activity: TypeAlias = NDArray[np.bool_]
"""Who speaks in each frame, shape (n_frames, LOCAL_SPEAKERS)."""

LOCAL_SPEAKERS = 3
WINDOW = 10 * SAMPLE_RATE
"""Samples of one window."""
FRAME = 270
"""Samples from one frame to the next."""
FIRST_FRAME = 360
"""Where the first frame of a window begins, in samples: the model sees 991 samples around each."""

STRETCH_FRAMES = 90
"""A second and a half: a longer stretch is embedded in parts, in case two voices are in it."""
BREATH_FRAMES = 5
"""Silence so short, 0.08 s, does not end a stretch."""
LONGEST_FRAMES = 1200
"""Twenty seconds: after so long the end of a stretch is not waited for."""
MIN_FRAMES = 12
"""What is shorter, 0.2 s, is no speech of anybody."""
PAUSE_S = 1.0
"""A pause so short, in which nobody else speaks, does not end a turn."""


class Segment(Protocol):
    """A segmentation model."""

    def __call__(self, window: Samples, /) -> Activity:
        """Activity in `WINDOW` samples. Raises InferenceError."""
        ...


class Embed(Protocol):
    """An embedding model."""

    def __call__(self, pieces: Sequence[Samples], /) -> Embedding | None:
        """The voice in `pieces`; None where there is too little of it. Raises InferenceError."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How windows follow each other, in whole frames, so that those of all windows coincide."""

    hop: int
    """From one window to the next."""
    unsettled: int
    """The end of a window, which the next one tells better."""


UNHURRIED = Pace(hop=296, unsettled=147)
"""Half a window over the next; what is least work."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Speech of one track without a pause. Frames are those of the recording."""

    begin: int
    end: int
    embedding: Embedding
    speech_s: float
    """Seconds that the embedding was made from."""

    @property
    def start_s(self) -> float:
        """Seconds from the start of the recording."""
        return seconds(FIRST_FRAME + self.begin * FRAME)

    @property
    def end_s(self) -> float:
        """As `start_s`; may lie a little behind the end of the recording."""
        return seconds(FIRST_FRAME + self.end * FRAME)


class Diarizer:
    """One recording, fed in blocks of any size.

    Keeps half a minute of audio, and of the rest a vector for each stretch: some 60 kB a minute.
    """

    def __init__(self, segment: Segment, embed: Embed, pace: Pace = UNHURRIED) -> None:
        self._segment = segment
        self._embed = embed
        self._pace = pace
        self._audio = SampleBuffer()
        self._windows = 0
        self._previous: Activity | None = None
        self._tracks: Activity = np.zeros((0, LOCAL_SPEAKERS), np.bool_)
        """From frame `_first` on, as far as it is settled."""
        self._first = 0
        self._cut_to = [0] * LOCAL_SPEAKERS
        """The frame of each track up to which its stretches are embedded."""
        self._stretches: list[Stretch] = []
        self.recognized: dict[int, int] = {}
        """Once it is finished: speakers who are among the known voices, and which these are."""

    def feed(self, samples: Samples, stop: Callable[[], bool] = lambda: False) -> None:
        """The recording's next samples. `stop` is asked before each window. Raises InferenceError."""
        self._audio.append(samples)
        while self._audio.end >= self._next + WINDOW and not stop():
            self._take(self._audio.cut_out(self._next, self._next + WINDOW))
            self._cut(last=False)

    def finish(self, count: SpeakerCount, known: Sequence[Embedding] = ()) -> tuple[Turn, ...]:
        """The turns of the whole, by their starts; speakers are numbered as they appear. Raises InferenceError.

        `known`: voices that may be among them; `recognized` tells which are.
        """
        stretches = self.stretches()
        if not stretches:
            return ()
        embeddings = np.stack([stretch.embedding for stretch in stretches])
        speech_s = np.array([stretch.speech_s for stretch in stretches])
        numbers: dict[int, int] = {}
        labels = cluster(embeddings, speech_s, count).tolist()
        speakers = [numbers.setdefault(label, len(numbers)) for label in labels]
        self.recognized = recognize(embeddings, speech_s, speakers, known)
        return _turns(stretches, speakers, seconds(self._audio.end))

    def stretches(self) -> list[Stretch]:
        """Ends the recording. All stretches of it, by their starts, whoever speaks in them. Raises InferenceError."""
        end = self._audio.end
        if end > (self._next + WINDOW - self._pace.hop * FRAME if self._windows else 0):
            rest = self._audio.cut_out(self._next, end)
            self._take(np.concatenate([rest, np.zeros(WINDOW - rest.size, np.float32)]))
        if self._previous is not None:  # nothing comes after the last window that could correct its second half
            self._settle(self._previous[self._first + len(self._tracks) - (self._windows - 1) * self._pace.hop :])
        self._cut(last=True)
        return sorted(self._stretches, key=lambda stretch: stretch.begin)

    @property
    def so_far(self) -> list[Stretch]:
        """The stretches that are complete."""
        return list(self._stretches)

    @property
    def _next(self) -> int:
        """Where the next window begins."""
        return self._windows * self._pace.hop * FRAME

    def _take(self, window: Samples) -> None:
        """Segment a window; its middle settles what the tracks are there."""
        activity = self._segment(window)
        if self._previous is not None:
            # Which local speaker is which differs between windows; what they agree on tells.
            hop = self._pace.hop
            before, now = self._previous[hop:], activity[: len(self._previous) - hop]
            agreeing = max(permutations(range(LOCAL_SPEAKERS)), key=lambda order: int((before & now[:, order]).sum()))
            activity = activity[:, agreeing]
        start = self._windows * self._pace.hop
        self._settle(activity[self._first + len(self._tracks) - start : len(activity) - self._pace.unsettled])
        self._previous = activity
        self._windows += 1

    def _settle(self, activity: Activity) -> None:
        self._tracks = np.concatenate([self._tracks, activity])

    def _cut(self, *, last: bool) -> None:
        """Embed the stretches that are complete, and forget the audio before the others."""
        begun = len(self._tracks)
        """Of the stretches that may go on, the first's first frame."""
        crowd = self._tracks.sum(axis=1) > 1
        for track in range(LOCAL_SPEAKERS):
            done = max(self._cut_to[track] - self._first, 0)
            for run_begin, run_end in _stretches(self._tracks[done:, track]):
                begin, end = done + run_begin, done + run_end
                parts = _parts(begin, end, crowd)
                if not last and end + BREATH_FRAMES >= len(self._tracks) and end - begin < LONGEST_FRAMES:
                    # Its last two parts are cut anew when more of it is there.
                    begun = min(begun, parts[-2:][0][0])
                    parts = parts[:-2]
                for part in parts:
                    self._add(*part, crowd)
                    self._cut_to[track] = self._first + part[1]
        self._tracks = self._tracks[begun:].copy()
        self._first += begun
        self._audio.drop_before(min(self._next, FIRST_FRAME + self._first * FRAME))

    def _add(self, begin: int, end: int, crowd: NDArray[np.bool_]) -> None:
        if end - begin < MIN_FRAMES:
            return
        alone = _alone(begin, end, crowd) or [(begin, end)]
        pieces = [self._samples(*piece) for piece in alone]
        embedding = self._embed(pieces)
        if embedding is not None:
            speech_s = seconds(sum(piece.size for piece in pieces))
            self._stretches.append(Stretch(self._first + begin, self._first + end, embedding, speech_s))

    def _samples(self, begin: int, end: int) -> Samples:
        first = FIRST_FRAME + self._first * FRAME
        return self._audio.cut_out(
            min(first + begin * FRAME, self._audio.end), min(first + end * FRAME, self._audio.end)
        )


def _stretches(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where it is true, breaths included, without what is too short."""
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    found: list[tuple[int, int]] = []
    for begin, end in edges.tolist():
        if found and begin - found[-1][1] <= BREATH_FRAMES:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return [(begin, end) for begin, end in found if end - begin >= MIN_FRAMES or end == len(active)]


def _alone(begin: int, end: int, crowd: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where nobody else speaks, long enough to hear a voice: where others do, it is not his alone."""
    runs = [(begin + first, begin + behind) for first, behind in _stretches(~crowd[begin:end])]
    return [(first, behind) for first, behind in runs if behind - first >= MIN_FRAMES]


def _parts(begin: int, end: int, crowd: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """A stretch in parts of `STRETCH_FRAMES`, the last two of them alike, each with some of its voice alone."""
    n_frames = end - begin
    n_whole = max(n_frames // STRETCH_FRAMES - 1, 0)
    borders = [begin + i * STRETCH_FRAMES for i in range(n_whole + 1)]
    if end - borders[-1] > STRETCH_FRAMES:
        borders.append((borders[-1] + end) // 2)
    parts: list[tuple[int, int]] = []
    for first, behind in pairwise([*borders, end]):
        if parts and not (_alone(*parts[-1], crowd) and _alone(first, behind, crowd)):
            parts[-1] = (parts[-1][0], behind)
        else:
            parts.append((first, behind))
    return parts


def _turns(stretches: Sequence[Stretch], speakers: Sequence[int], end_s: float) -> tuple[Turn, ...]:
    """Stretches of one speaker with nothing but short pauses between them are one turn."""
    turns: list[Turn] = []
    for stretch, speaker in zip(stretches, speakers, strict=True):
        start, end = stretch.start_s, min(stretch.end_s, end_s)
        if turns and speaker == turns[-1].speaker and start - turns[-1].end <= PAUSE_S:
            turns[-1] = replace(turns[-1], end=max(turns[-1].end, end))
        else:
            turns.append(Turn(start, end, speaker))
    return tuple(replace(turn, start=round(turn.start, 3), end=round(turn.end, 3)) for turn in turns)
