"""All checks in order. None changes anything, but for the locks it holds for a moment."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from molva.doctor import access, machine, models, network, software, storage
from molva.doctor.finding import Finding, ok, problem, warning
from molva.errors import MolvaError, SettingsError
from molva.keys import Key, KeyFile
from molva.models.store import ModelStore
from molva.runtime.gpu import read_gpu
from molva.settings import Settings

USUAL_SESSIONS = 64
"""Assumed where the pool has no fixed size: more than any machine so far sustains on its processor."""


def examine(settings: Settings, *, file: Path | None = None, verify: bool, quick: bool) -> Iterator[Finding]:
    """Findings as they are made. `file`: where settings are from, if there is one. `verify` hashes the model's files;
    `quick` leaves out loading it.

    Never raises for what is wrong with the machine: that is a finding too.
    """
    for check in _checks(settings, file, verify=verify, quick=quick):
        try:
            yield from check()
        except (MolvaError, OSError) as error:
            yield problem("access", str(error), "Run this as the user of the server, with its settings.")


def _checks(
    settings: Settings, file: Path | None, *, verify: bool, quick: bool
) -> Iterator[Callable[[], Iterable[Finding]]]:
    yield lambda: [software.check_python()]
    yield software.check_packages
    yield lambda: [machine.check_cpu(settings.workers)]
    clients = (settings.pool_size or USUAL_SESSIONS) + settings.max_waiting
    yield lambda: [machine.check_open_files(clients)]
    private = [settings.key_file, settings.database, *([file] if file is not None else [])]
    yield lambda: [machine.check_clock([*private, settings.models])]
    yield lambda: [storage.check_data_dir(settings.key_file.parent)]
    yield lambda: storage.check_secrets(private)
    yield lambda: [storage.check_database(settings.database)]
    yield lambda: [storage.check_spool(settings.spool)]
    yield lambda: _access(settings)
    running: list[bool] = []

    def check_port() -> Iterator[Finding]:
        finding, serving = network.check_port(settings.host, settings.port)
        running.append(serving)
        yield finding

    yield check_port
    yield lambda: _model(settings, verify=verify, quick=quick, running=any(running))


def _access(settings: Settings) -> Iterator[Finding]:
    keys: tuple[Key, ...] = ()
    damaged = False
    try:
        keys = KeyFile(settings.key_file).read()
    except SettingsError as error:
        damaged = True
        yield problem("keys", str(error), "Until then a server lets nobody in.")
    extra = settings.api_key.get_secret_value() if settings.api_key else None
    if not damaged:
        yield from access.check_keys(keys, extra)
    yield from network.check_exposure(
        settings.host,
        settings.allow_origin,
        any_origin=settings.cors_allow_any,
        asks_for_keys=bool(keys) or extra is not None or damaged,
    )


def _model(settings: Settings, *, verify: bool, quick: bool, running: bool) -> Iterator[Finding]:
    store, device, precision = ModelStore(settings.models), settings.device, settings.precision
    spec, model = models.locate(settings.model, store)
    yield software.check_device(device, spec.family, read_gpu)
    yield models.check_model(spec, model, store)
    yield models.check_speakers(store, wanted=settings.diarization)
    weights = models.weights_bytes(spec, model, device=device, precision=precision)
    yield from machine.check_disks(
        {
            "models": (settings.models, 0 if model else spec.size_bytes or 0),
            "uploads and jobs": (settings.spool, settings.upload_limit_bytes),
            "the database": (settings.database.parent, machine.LEAST_FREE),
        }
    )
    if not running:
        yield machine.check_memory(machine.available_memory(), weights if device == "cpu" else 0)
    if model is None:
        yield warning("speed", "not measured: no model is here", f"molva models pull {spec.name}")
        return
    if verify:
        yield models.check_files(model, store)
    weighed = models.check_precision(model, device=device, precision=precision)
    if weighed is not None:
        yield weighed
    if quick:
        return
    if running:
        yield ok("speed", "not measured: the server that runs here needs its cores")
    elif weighed is not None and weighed.status != "ok":
        yield ok("speed", "not measured: mend the precision first")
    else:
        yield from models.measure_speed(
            model, device=device, precision=precision, workers=settings.workers, pool_size=settings.pool_size
        )
