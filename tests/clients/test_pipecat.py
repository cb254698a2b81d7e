"""Pipecat's OpenAI services, unmodified, with its own voice activity detector where they need one."""

import pytest

from tests.clients.conftest import CLIP, Run

pytestmark = [pytest.mark.clients, pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_utterances_of_a_pipeline_are_transcribed(run: Run) -> None:
    heard = run("pipecat_driver", "segmented")
    assert heard["errors"] == []
    assert len(heard["finals"]) == len(heard["ends"]) == 2
    assert " ".join(heard["finals"]) == CLIP.rnnt


def test_probabilities_come_for_every_word(run: Run) -> None:
    heard = run("pipecat_driver", "probabilities")
    assert heard["errors"] == []
    assert " ".join(heard["finals"]) == CLIP.rnnt
    assert len(heard["logprobs"]) == len(CLIP.rnnt.split())
    assert all(logprob <= 0 for logprob in heard["logprobs"])


@pytest.mark.parametrize("variant", ["realtime", "realtime-server-vad"])
def test_a_session_is_transcribed_whoever_hears_where_utterances_end(run: Run, variant: str) -> None:
    heard = run("pipecat_driver", variant)
    assert heard["errors"] == []
    assert len(heard["finals"]) == len(heard["ends"])
    assert " ".join(heard["finals"]) == CLIP.rnnt
    assert "".join(heard["partials"]) == "".join(heard["finals"])
