"""Python, the packages molva needs in versions it can use, and the device it was asked to run on."""

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from molva import __version__
from molva.doctor.finding import Finding, ok, problem, warning
from molva.engines import whisper
from molva.engines.onnx import find_provider
from molva.errors import ModelError
from molva.models.catalog import Family
from molva.runtime.gpu import Gpu

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Two builds of one library. Both install the same files, so the later one breaks the earlier."""


def check_python() -> Finding:
    """The interpreter, by what the package says of itself."""
    found = platform.python_version()
    try:
        allowed = SpecifierSet(metadata("molva")["Requires-Python"])
    except PackageNotFoundError:
        return warning(
            "python", f"{found}; molva runs from its source and is not installed", "Install it: pip install molva"
        )
    if not allowed.contains(found, prereleases=True):
        return problem("python", f"{found}, and molva needs {allowed}", "Install molva under another Python.")
    return ok("python", f"{platform.python_implementation()} {found}, molva {__version__}")


def installed_version(name: str) -> str | None:
    """Of a distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_packages(
    requirements: Sequence[str] | None = None, installed: Callable[[str], str | None] = installed_version
) -> Iterator[Finding]:
    """ONNX Runtime, and whatever else is missing or of a version known to be wrong."""
    if requirements is None:
        try:
            requirements = requires("molva") or ()
        except PackageNotFoundError:
            return
    wanted = [Requirement(line) for line in requirements]
    wanted = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    found = 0
    for need in wanted:
        if need.name == RUNTIMES[0]:
            yield check_runtime(need.specifier, {name: installed(name) for name in RUNTIMES})
            continue
        here = installed(need.name)
        if here is None:
            yield problem("packages", f"{need.name} is missing", f"pip install '{need}'")
        elif not need.specifier.contains(here, prereleases=True):
            yield problem("packages", f"{need.name} {here} is not {need.specifier}", f"pip install '{need}'")
        else:
            found += 1
    if found:
        yield ok("packages", f"{found} in versions that molva can use")


def check_runtime(allowed: SpecifierSet, builds: dict[str, str | None]) -> Finding:
    """ONNX Runtime: some versions compute wrong results."""
    here = {name: found for name, found in builds.items() if found is not None}
    if not here:
        return problem("onnxruntime", "it is missing", "pip install onnxruntime")
    if len(here) > 1:
        return problem(
            "onnxruntime",
            f"{' and '.join(here)} overwrite each other's files",
            f"pip uninstall {' '.join(here)}, then install the one you want.",
        )
    [(name, found)] = here.items()
    if not allowed.contains(found, prereleases=True):
        return problem(
            "onnxruntime", f"{name} {found} gives wrong results or is too old", f"pip install '{name}{allowed}'"
        )
    return ok("onnxruntime", f"{name} {found}")


def check_device(device: str, family: Family, gpu: Callable[[], Gpu | None]) -> Finding:
    """Whether the engine of a family of models can run on the device that was asked for."""
    try:
        if family == "whisper":
            whisper.prepare(device)
        else:
            find_provider(device)
    except ModelError as error:
        return problem("device", f"{device}: {error}", "Follow the advice in that message, or use --device cpu.")
    if device != "cuda":
        return ok("device", device)
    if (found := gpu()) is None:
        return warning("device", "cuda: nvidia-smi tells of no GPU", "See whether the driver is loaded: nvidia-smi")
    return ok("device", f"cuda: {found.name}, {found.free_mb} of {found.total_mb} MB free")
