"""Vectors that are near each other are one speaker."""

import numpy as np
import pytest
from numpy.typing import NDArray

from molva.errors import OptionError
from molva.speech.clustering import MAX_CLUSTERED, SpeakerCount, cluster, recognize

ANY_NUMBER = SpeakerCount()


def voices(per_speaker: list[int], *, spread: float = 0.05, seed: int = 1) -> NDArray[np.float32]:
    """Embeddings of speakers whose voices have nothing in common, one speaker after the other."""
    random = np.random.default_rng(seed)
    centres = np.linalg.qr(random.standard_normal((256, len(per_speaker))))[0].T
    every = np.repeat(centres, per_speaker, axis=0)
    every = every + spread * random.standard_normal(every.shape)
    return np.asarray(every / np.linalg.norm(every, axis=1, keepdims=True), np.float32)


def partition(labels: NDArray[np.intp]) -> list[int]:
    """Labels by order of appearance."""
    names: dict[int, int] = {}
    return [names.setdefault(int(label), len(names)) for label in labels]


def split(per_speaker: list[int], count: SpeakerCount = ANY_NUMBER, speech_s: float = 2.0) -> list[int]:
    embeddings = voices(per_speaker)
    return partition(cluster(embeddings, np.full(len(embeddings), speech_s), count))


def test_each_voice_is_a_speaker() -> None:
    assert split([5, 3, 4]) == [0] * 5 + [1] * 3 + [2] * 4


def test_one_voice_is_one_speaker() -> None:
    assert split([20]) == [0] * 20


def test_nothing_is_nobody() -> None:
    assert cluster(np.zeros((0, 256), np.float32), np.zeros(0), SpeakerCount()).size == 0


def test_a_single_stretch_is_one_speaker() -> None:
    assert split([1]) == [0]


def test_a_known_number_joins_the_nearest_voices() -> None:
    assert len(set(split([5, 5, 5], SpeakerCount.of(2)))) == 2


def test_a_known_number_splits_what_looked_like_one() -> None:
    assert len(set(split([10], SpeakerCount.of(3)))) == 3


def test_there_are_at_most_as_many_as_allowed() -> None:
    assert len(set(split([5, 5, 5, 5], SpeakerCount.of(maximum=3)))) == 3


def test_there_are_at_least_as_many_as_demanded() -> None:
    assert len(set(split([10, 10], SpeakerCount.of(minimum=4)))) == 4


def test_bounds_that_hold_anyway_change_nothing() -> None:
    assert split([5, 5], SpeakerCount.of(minimum=1, maximum=9)) == split([5, 5])


def test_there_are_never_more_speakers_than_stretches() -> None:
    assert len(set(split([2], SpeakerCount.of(5)))) == 2


def test_a_single_odd_stretch_is_no_speaker() -> None:
    assert set(split([10, 10, 1], speech_s=1.2)) == {0, 1}


def test_a_single_odd_stretch_takes_no_place_of_a_known_number() -> None:
    labels = split([10, 10, 1], SpeakerCount.of(2), speech_s=1.2)
    assert labels[:20] == [0] * 10 + [1] * 10


def test_short_stretches_join_speakers_and_make_none() -> None:
    embeddings = voices([5, 5, 4])
    speech_s = np.array([2.0] * 10 + [0.4] * 4)
    assert len(set(cluster(embeddings, speech_s, SpeakerCount()).tolist())) == 2


def test_where_all_stretches_are_short_the_count_is_still_kept() -> None:
    assert len(set(split([4, 4], SpeakerCount.of(2), speech_s=0.4))) == 2


def test_more_stretches_than_are_compared_are_told_apart_too() -> None:
    half = MAX_CLUSTERED
    assert split([half, half, half]) == [0] * half + [1] * half + [2] * half


@pytest.mark.parametrize(
    ("given", "option", "message"),
    [
        ((0, None, None), "num_speakers", "num_speakers must be 1 to 64, not 0"),
        ((65, None, None), "num_speakers", "num_speakers must be 1 to 64, not 65"),
        ((None, 0, None), "min_speakers", "min_speakers must be 1 to 64, not 0"),
        ((None, None, 65), "max_speakers", "max_speakers must be 1 to 64, not 65"),
        ((None, 3, 2), "min_speakers", "min_speakers 3 is more than max_speakers 2"),
        ((2, 1, None), "num_speakers", "num_speakers goes without min_speakers and max_speakers"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(
    given: tuple[int | None, int | None, int | None], option: str, message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{message}$") as caught:
        SpeakerCount.of(*given)
    assert caught.value.option == option


def test_known_voices_are_recognized_and_strangers_are_not() -> None:
    embeddings = voices([4, 4, 4])
    labels = [0] * 4 + [1] * 4 + [2] * 4
    known = [embeddings[5], voices([1], seed=9)[0], embeddings[1]]
    assert recognize(embeddings, np.ones(12), labels, known) == {0: 2, 1: 0}
    assert recognize(embeddings, np.ones(12), labels, []) == {}


def test_a_known_voice_is_one_speaker_only() -> None:
    embeddings = voices([8])
    assert len(recognize(embeddings, np.ones(8), [0] * 4 + [1] * 4, [embeddings[0]])) == 1
