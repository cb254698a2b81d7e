"""The documents name everything a user can meet."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from molva import errors
from molva.cli import app
from molva.configuration import FOREIGN
from molva.errors import MolvaError
from molva.http import live_socket, websocket
from molva.http.app import create_app
from molva.http.jobs.problems import HTTP_CODES
from molva.http.jobs.shapes import (
    BAD_REQUEST,
    CONFLICT,
    ERRORS,
    FORM,
    NOT_FOUND,
    SUBMISSION_ERRORS,
    JobDocument,
    JobSegment,
    JobWord,
)
from molva.http.problems import STATUS, status_of
from molva.http.state import Limits, ServerState
from molva.models.catalog import CATALOG
from molva.models.store import ModelStore
from molva.settings import Settings
from molva.spool import Spool

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}
DOORS = [PAGES[name] for name in ("native.md", "openai.md", "realtime.md", "jobs.md", "model-life.md")]


def subclasses(kind: type[MolvaError]) -> Iterator[type[MolvaError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from subclasses(child)


def test_every_code_that_reaches_a_client_has_a_page() -> None:
    reaching = {kind for kind in subclasses(MolvaError) if status_of(kind.__new__(kind)) != 500}
    # Audio and engine failures have the route's own names; no model error is raised once a model is served.
    unseen = {
        errors.AudioError,
        errors.AudioTooLong,
        errors.InferenceError,
        *subclasses(errors.ModelError),
        errors.ModelError,
        # Nor does a native route touch the disk.
        errors.SpoolFull,
    }
    codes = {kind.code for kind in reaching - unseen}
    codes |= {"invalid_audio", "transcription_error", "inference_error", "internal", "origin_denied"}
    assert len(codes) > 10
    codes |= set(HTTP_CODES.values())
    pages = "".join(PAGES[name] for name in ("native.md", "openai.md", "jobs.md", "webhooks.md", "model-life.md"))
    assert [code for code in codes if f"`{code}`" not in pages] == []


def test_every_error_is_drawn_in_the_tree_with_its_code() -> None:
    tree = errors.__doc__ or ""
    for kind in subclasses(MolvaError):
        assert re.search(rf"─ {kind.__name__} +{kind.code}\s", tree), kind


def test_every_status_belongs_to_an_error() -> None:
    assert all(issubclass(kind, MolvaError) for kind in STATUS)


def test_every_route_has_a_page(tmp_path: Path) -> None:
    limits = Limits(body_bytes=1, max_audio_s=1, inference_timeout_s=None)
    asgi = create_app(
        ServerState(
            model="m", device="cpu", limits=limits, spool=Spool(tmp_path / "spool"), store=ModelStore(tmp_path)
        ),
    )
    while not hasattr(asgi, "openapi"):
        asgi = asgi._app  # type: ignore[attr-defined]
    paths = asgi.openapi()["paths"]
    assert len(paths) >= 5
    for path in [*paths, "/docs", "/openapi.json"]:
        assert any(f"`{path}`" in page for page in DOORS), path


def test_every_code_of_the_jobs_door_is_in_its_page() -> None:
    told = " ".join(
        str(answer["description"]) for answers in (ERRORS, SUBMISSION_ERRORS) for answer in answers.values()
    )
    told += f"{BAD_REQUEST} {NOT_FOUND} {CONFLICT}"
    codes = set(re.findall(r"`([a-z_]+)`", told))
    assert len(codes) >= 15
    assert [code for code in codes if f"`{code}`" not in PAGES["jobs.md"]] == []


def test_every_key_of_a_job_is_in_the_jobs_page() -> None:
    for name in (*JobDocument.model_fields, *JobSegment.model_fields, *JobWord.model_fields):
        assert f"`{name}`" in PAGES["jobs.md"], name


def test_every_field_of_a_submission_is_in_the_jobs_page() -> None:
    form = FORM["requestBody"]["content"]["multipart/form-data"]["schema"]
    for name in form["properties"]:
        assert f"`{name}`" in PAGES["jobs.md"], name


@pytest.mark.parametrize("name", ["submit", "list", "watch", "cancel", "result"])
def test_every_option_of_molva_jobs_is_in_its_section(name: str) -> None:
    section = PAGES["cli.md"].split("## molva jobs\n")[1].split("\n## ")[0]
    command = get_command(app).commands["jobs"].commands[name]  # type: ignore[attr-defined]
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert f"`{parameter.opts[0]}`" in section, parameter.opts


def test_every_code_and_close_reason_of_the_live_door_is_in_its_page() -> None:
    source = inspect.getsource(websocket) + inspect.getsource(live_socket)
    codes = set(re.findall(r'(?:tell_error|Trouble)\(\s*"(\w+)"', source))
    reasons = set(re.findall(r'close=\(\d+, "([^"]+)"', source))
    assert len(codes) >= 10
    assert len(reasons) >= 5
    assert [word for word in codes | reasons if f"`{word}`" not in PAGES["websocket.md"]] == []


@pytest.mark.parametrize("name", CATALOG)
def test_every_model_is_in_the_models_page(name: str) -> None:
    assert f"`{name}`" in PAGES["models.md"]


def test_every_variable_of_other_servers_is_in_the_settings_page() -> None:
    for name, foreign in FOREIGN.items():
        assert f"| `{name}` | `MOLVA_{foreign.setting.upper()}`" in PAGES["settings.md"]


@pytest.mark.parametrize("name", ["transcribe", "listen", "doctor"])
def test_every_option_of_a_command_is_in_its_section_of_the_command_line_page(name: str) -> None:
    section = PAGES["cli.md"].split(f"## molva {name}\n")[1].split("\n## ")[0]
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    for parameter in command.params:
        is_setting = name == "doctor" and parameter.name in {"config", *Settings.model_fields}  # those of `serve`
        if parameter.param_type_name == "option" and parameter.name != "help" and not is_setting:
            assert f"`{parameter.opts[0]}`" in section, parameter.opts


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        if not target.startswith("https://"):
            assert (folder / target).exists(), target


def test_every_check_of_the_doctor_is_in_its_section() -> None:
    section = PAGES["cli.md"].split("## molva doctor\n")[1].split("\n## ")[0]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/molva/doctor").glob("*.py"))
    checks = set(re.findall(r'\b(?:ok|warning|problem)\(\s*"([a-z ]+)"', source))
    assert len(checks) >= 18
    assert [check for check in checks if f"`{check}`" not in section] == []


def test_every_path_in_the_threat_model_exists() -> None:
    paths = set(re.findall(r"`((?:src|tests)/[^`]+)`", PAGES["threat-model.md"]))
    assert len(paths) >= 30
    assert [path for path in paths if not (ROOT / path).is_file()] == []
