"""One thread in BLAS while molva computes, in a process that is not its own."""

import threading
from types import TracebackType

from threadpoolctl import ThreadpoolController


class SingleBlasThread:
    """A context in which NumPy's matrix products take one thread each. The setting is the whole process's.

    molva's products are small, and its own threads are as many as the cores: more of them wait for each other, which
    took a sixth more processor time and wall time on two cores. Several may be in it at once; the last one that
    leaves puts back what was before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limits = ThreadpoolController().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limits.restore_original_limits()


single_blas_thread = SingleBlasThread()
"""Of this process."""
