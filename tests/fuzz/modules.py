"""The modules of molva by name and file, found without importing them: that is for whoever watches the import."""

from pathlib import Path

from tests.fuzz.catalog import Target

SOURCE = Path(__file__).parents[2] / "src"


def all_modules() -> dict[str, Path]:
    """Every module of molva, packages too, and its file."""
    files = sorted((SOURCE / "molva").rglob("*.py"))
    return {".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def is_under_test(target: Target, module: str) -> bool:
    """Whether this is one of the target's modules, or is in one of its packages."""
    return any(module == known or module.startswith(f"{known}.") for known in target.modules)


def sources(target: Target) -> list[Path]:
    """The files under test."""
    return [file for name, file in all_modules().items() if is_under_test(target, name)]
