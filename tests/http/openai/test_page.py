"""The page about OpenAI's API names everything a client can send and be told."""

from pathlib import Path

import pytest

from molva.http.openai.form import FORMATS, UNSUPPORTED, ServerVad
from molva.http.openai.problems import NAMED
from molva.http.openai.schemas import ERRORS, FORM
from molva.models.choice import ALIASES

PAGE = (Path(__file__).parents[3] / "docs" / "openai.md").read_text(encoding="utf-8")
FIELDS = FORM["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]


@pytest.mark.parametrize("name", [*FIELDS, *FORMATS, *sorted(ServerVad.model_fields.keys() - {"type"}), *ALIASES])
def test_what_can_be_sent(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_refused(name: str) -> None:
    assert f"`{name}[]`" in PAGE


@pytest.mark.parametrize("status", ERRORS)
def test_every_status_has_a_row(status: int) -> None:
    assert f"\n| {status} |" in PAGE


@pytest.mark.parametrize("code", ["model_not_found", *(kind.code for kind in NAMED)])
def test_every_code_is_there(code: str) -> None:
    assert f"`{code}`" in PAGE
