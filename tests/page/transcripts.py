"""Transcripts and recordings for the tests of the page."""

import random
from dataclasses import replace

import numpy as np

from molva.speech.waveform import Waveform
from molva.transcript import Coverage, Segment, Transcript, Word
from tests.http.conftest import wav

LINES = (
    (0, "Добрый день, коллеги. Сегодня мы поговорим о том, как распознаётся русская речь."),
    (0, "Сначала запись делится на отрезки, в которых кто-то говорит, а тишина пропускается."),
    (1, "А что происходит с шумом? У нас в зале, например, всё время гудит вентиляция."),
    (0, "Хороший вопрос. Шум похож на речь меньше, чем кажется, поэтому модель его почти не замечает."),
    (1, "Понятно. И сколько это занимает времени на обычном компьютере?"),
    (2, "Можно я добавлю? Мы измеряли: час записи обрабатывается примерно за три минуты."),
    (0, "Спасибо. Дальше покажу, как выглядят тайм-коды и как поправить ошибки прямо здесь."),
)
DURATION_S = 60.0
UNSURE = {"гудит", "вентиляция.", "тайм-коды"}


def _segment(start: float, text: str, speaker: int | None, pace_s: float = 0.5) -> Segment:
    texts = text.split()
    words = tuple(
        Word(word, start + i * pace_s, start + (i + 0.8) * pace_s, 0.41 if word in UNSURE else 0.97, speaker)
        for i, word in enumerate(texts)
    )
    return Segment(start, words[-1].end, text, words)


def conversation(*, speakers: bool = True) -> Transcript:
    """A minute of three people."""
    segments = tuple(
        _segment(0.48 + i * 8.4, text, speaker if speakers else None) for i, (speaker, text) in enumerate(LINES)
    )
    return Transcript(segments, DURATION_S, "ru", Coverage(50.0, 50.0))


def interrupted() -> Transcript:
    """Speakers change within segments, times overlap and touch, texts need escaping; one segment has no words."""
    rng = random.Random(7)
    texts = ["<i>", "a&b", "слово", "x", "длинноеслово" * 9, "No.", "два три", "𝄞𝄞", "end"]
    segments, time = [], 0.0
    for _ in range(40):
        words = []
        for _ in range(rng.randrange(1, 30)):
            speaker = rng.choice([0, 0, 0, 1, 1, None])
            end = time + rng.choice([0, 0.04, 0.2, 0.7])
            words.append(Word(rng.choice(texts), round(time, 3), round(end, 3), 0.5, speaker))
            time += rng.choice([0, 0.001, 0.3, 0.8, 2.9])
        segments.append(Segment(words[0].start, words[-1].end, " ".join(word.text for word in words), tuple(words)))
    segments.append(Segment(round(time, 3), round(time + 1, 3), "  без\nслов ", ()))
    return Transcript(tuple(segments), round(time + 1.5, 3), "no", Coverage(1, 1))


def japanese() -> Transcript:
    """A language without spaces."""
    words = tuple(
        Word(text, i * 0.5, i * 0.5 + 0.4, 0.9) for i, text in enumerate(["今日", "は", "いい", "天気", "です。"])
    )
    return Transcript((Segment(0, 2.4, "今日はいい天気です。", words),) * 2, 3.0, "ja", Coverage(1, 1))


def translated() -> Transcript:
    """What a job with `task=translate` brings: the text is English, whatever was heard."""
    return replace(conversation(speakers=False), language="en")


def three_hours() -> Transcript:
    """1500 segments, 25 000 words or so."""
    rng = random.Random(3)
    vocabulary = " ".join(text for _, text in LINES).split()
    segments = tuple(
        _segment(i * 7.2, " ".join(rng.choices(vocabulary, k=rng.randrange(13, 20))), (i // 3) % 4, 0.36)
        for i in range(1500)
    )
    return Transcript(segments, 10_800.0, "ru", Coverage(10_000.0, 10_000.0))


def recording(duration_s: float = DURATION_S) -> bytes:
    """A WAV file that is as long and quiet enough for an office."""
    samples = np.random.default_rng(1).normal(0, 0.01, int(duration_s * 8000)).astype(np.float32)
    return wav(samples, 8000)


def waveform(transcript: Transcript) -> Waveform:
    """Loud where words are."""
    step_s = 0.1
    rng = random.Random(5)
    peaks = bytearray(rng.randrange(2, 7) for _ in range(int(transcript.duration / step_s)))
    for word in transcript.words:
        for i in range(int(word.start / step_s), min(int(word.end / step_s) + 1, len(peaks))):
            peaks[i] = rng.randrange(60, 240)
    speech = tuple((segment.start, segment.end) for segment in transcript.segments)
    return Waveform(transcript.duration, step_s, bytes(peaks), speech)


def call() -> Transcript:
    """Two channels by themselves: the second speaks while the first does."""
    first = _segment(0.5, "Алло, добрый день, вы меня слышите?", 0)
    second = _segment(1.2, "Да, слышу вас хорошо, говорите.", 1)
    third = _segment(5.0, "Тогда начнём.", 0)
    return Transcript((first, second, third), 8.0, "ru", Coverage(8.0, 8.0), channels=2)
