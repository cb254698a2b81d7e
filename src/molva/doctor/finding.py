"""What one look at the machine has found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, how bad it is, and what to change. A warning serves on; a problem will not serve, or not safely."""

    check: str
    status: Status
    message: str
    advice: str = ""


def ok(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, advice: str) -> Finding:
    """Works, but not as well or as safely as it could."""
    return Finding(check, "warning", message, advice)


def problem(check: str, message: str, advice: str) -> Finding:
    """Does not work, or lets somebody in who should not be."""
    return Finding(check, "problem", message, advice)
