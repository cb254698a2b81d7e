"""When a delivery that failed is attempted again. Pure."""

from dataclasses import dataclass

DOUBLINGS = 40
"""More of them make every wait the longest one, and numbers too large for a float."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits of 1 s, 2 s and so on, each twice the one before, up to a day: 19 attempts take two and a half days."""

    attempts: int = 19
    """In all."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 86_400.0

    def wait_s(self, failures: int, asked_s: float | None = None) -> float | None:
        """Seconds until the next attempt, after so many that failed; None where that was the last.

        `asked_s`: how long the receiver asks to be left alone, which is kept to within the longest wait.
        """
        if failures >= self.attempts:
            return None
        wait_s = self.first_wait_s * 2.0 ** min(failures - 1, DOUBLINGS)
        return min(max(wait_s, asked_s or 0.0), self.longest_wait_s)
