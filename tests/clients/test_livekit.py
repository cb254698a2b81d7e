"""The OpenAI speech-to-text class of LiveKit's agents, unmodified, with their own voice activity detector."""

import pytest

from tests.clients.conftest import CLIP, Run

pytestmark = [pytest.mark.clients, pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("variant", ["recognize", "recognize-whisper", "recognize-languages"])
def test_a_recording_is_recognised(run: Run, variant: str) -> None:
    assert run("livekit_driver", variant) == {"finals": [CLIP.rnnt], "languages": ["ru"]}


def test_the_utterances_of_a_stream_are_transcribed(run: Run) -> None:
    heard = run("livekit_driver", "segmented")
    assert heard["errors"] == []
    assert heard["events"] == ["start_of_speech", "end_of_speech", "final_transcript"]
    assert heard["finals"] == [CLIP.rnnt]


@pytest.mark.parametrize("variant", ["realtime", "realtime-local-vad", "realtime-languages"])
def test_a_session_is_transcribed_whoever_hears_where_utterances_end(run: Run, variant: str) -> None:
    heard = run("livekit_driver", variant)
    assert heard["errors"] == []
    assert " ".join(heard["finals"]) == CLIP.rnnt
    assert set(heard["languages"]) == {"ru"}
    assert heard["events"][:2] == ["start_of_speech", "end_of_speech"]
    assert all(any(final.startswith(partial) for final in heard["finals"]) for partial in heard["partials"])
