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
