"""What deploy/ says of molva is true of it: flags, variables, ports, paths and times."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from molva.cli import app
from molva.models.catalog import DEFAULT_MODEL
from molva.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted((DEPLOY / "docker").glob("Dockerfile*"))
UNIT = DEPLOY / "systemd" / "molva.service"
COMPOSE = DEPLOY / "compose.yaml"
MANIFESTS = DEPLOY / "kubernetes" / "molva.yaml"
OF_THE_BUILD = {"MOLVA_BAKE_MODEL"}

PORT = Settings.model_fields["port"].default
LEAST_GRACE_S = Settings.model_fields["shutdown_drain_secs"].default + 5


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line]


def last(dockerfile: Path, word: str) -> str:
    return [rest for name, rest in instructions(dockerfile) if name == word][-1]


def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


def container() -> dict[str, Any]:
    [only] = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def unit() -> dict[str, list[str]]:
    """The values of each directive, in order."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    return values


def commands() -> Iterator[list[str]]:
    """Every way in which these files call molva, without its name."""
    for dockerfile in DOCKERFILES:
        assert json.loads(last(dockerfile, "ENTRYPOINT")) == ["molva"]
        yield json.loads(last(dockerfile, "CMD"))
        for name, rest in instructions(dockerfile):
            if name == "RUN" and rest.startswith("molva "):
                yield shlex.split(rest)[1:]
    yield shlex.split(unit()["ExecStart"][0])[1:]
    yield container()["args"]


def test_every_command_and_flag_exists() -> None:
    seen = 0
    for words in commands():
        command: Any = get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        assert not hasattr(command, "commands"), words
        assert used <= flags, used - flags
        seen += 1
    assert seen >= 6


@pytest.mark.parametrize("file", [*DOCKERFILES, UNIT, COMPOSE, MANIFESTS], ids=lambda file: file.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    variables = set(re.findall(r"\bMOLVA_[A-Z_]+\b", file.read_text(encoding="utf-8"))) - OF_THE_BUILD
    assert variables
    assert {name.removeprefix("MOLVA_").lower() for name in variables} <= Settings.model_fields.keys()


def test_everything_is_about_the_port_that_molva_listens_on() -> None:
    for dockerfile in DOCKERFILES:
        assert last(dockerfile, "EXPOSE") == str(PORT)
        assert f"or {PORT})" in last(dockerfile, "HEALTHCHECK")
    [published] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["molva"]["ports"]
    assert published == f"127.0.0.1:{PORT}:{PORT}"
    assert [port["containerPort"] for port in container()["ports"]] == [PORT]
    [port] = manifests()["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (PORT, container()["ports"][0]["name"])


def test_probes_ask_what_they_are_for() -> None:
    probes = {name: container()[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    assert all("'/health'" in last(dockerfile, "HEALTHCHECK") for dockerfile in DOCKERFILES)


def test_running_requests_get_their_time_to_finish() -> None:
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["molva"]
    assert int(compose["stop_grace_period"].removesuffix("s")) >= LEAST_GRACE_S
    assert int(unit()["TimeoutStopSec"][0]) >= LEAST_GRACE_S
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= LEAST_GRACE_S


def test_what_the_images_copy_exists_and_is_sent_to_the_builder() -> None:
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = {
        source
        for dockerfile in DOCKERFILES
        for name, rest in instructions(dockerfile)
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in sent)
    # What the build of the package wants besides.
    assert {"README.md", "LICENSE", "pyproject.toml", "src"} <= sent


def test_nobody_runs_as_root_or_writes_outside_the_data_folder() -> None:
    folders = set()
    for dockerfile in DOCKERFILES:
        user = last(dockerfile, "USER").split(":")[0]
        assert user not in ("0", "root")
        assert f"--uid {user} " in dockerfile.read_text(encoding="utf-8")
        folders |= {last(dockerfile, "VOLUME"), last(dockerfile, "WORKDIR")}
    assert len(folders) == 1
    [folder] = folders
    assert manifests()["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(user)
    [mounted] = [mount["mountPath"] for mount in container()["volumeMounts"] if mount["name"] == "data"]
    [volume] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["molva"]["volumes"]
    assert mounted == volume.split(":")[1] == folder == f"/var/lib/{unit()['StateDirectory'][0]}"
    data_dir = {entry["name"]: entry.get("value") for entry in container()["env"]}["MOLVA_DATA_DIR"]
    assert Path(data_dir).is_relative_to(mounted)
    assert f"MOLVA_DATA_DIR={folder}" in unit()["Environment"]
    assert all(f"MOLVA_DATA_DIR={folder}" in dockerfile.read_text(encoding="utf-8") for dockerfile in DOCKERFILES)


def test_other_packages_than_the_locked_ones_are_not_installed() -> None:
    for dockerfile in DOCKERFILES:
        installs = [rest for name, rest in instructions(dockerfile) if name == "RUN" and "pip install" in rest]
        locked, own = installs
        assert "--require-hashes" in locked
        assert "--no-deps" in own
        assert "--no-build-isolation" in own


def test_kubernetes_does_not_set_a_port_of_its_own() -> None:
    # A Service called molva would make MOLVA_PORT=tcp://10.0.0.1:9876 in each pod.
    assert manifests()["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_baked_model_is_the_default_one() -> None:
    for dockerfile in DOCKERFILES:
        assert f"MOLVA_MODEL={DEFAULT_MODEL}" in [rest for name, rest in instructions(dockerfile) if name == "ARG"]


def test_the_image_for_gpus_has_the_same_versions_but_for_onnx_runtime() -> None:
    def versions(lock: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, set()).add(version)
        return found

    plain, cuda = versions(ROOT / "requirements.lock"), versions(DEPLOY / "docker" / "requirements-cuda.lock")
    assert "onnxruntime-gpu" in cuda
    assert "onnxruntime" not in cuda
    assert {name: found for name, found in plain.items() if name != "onnxruntime"}.items() <= cuda.items()
