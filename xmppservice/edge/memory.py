"""Giving memory back to the system after many streams have become idle."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _findTrim() -> Callable[[int], int] | None:
    """glibc's malloc_trim, where the C library has it."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    trim.restype = ctypes.c_int
    found: Callable[[int], int] = trim
    return found


_trim = _findTrim()


class Ballast:
    """Counts what was freed in small pieces, and lets the C library return whole pages now and then.

    Freed pieces lie between pieces in use; without this the process stays as big as it was at its
    busiest. A call takes milliseconds, so it waits until `enough` streams have freed something, or
    a tenth of that and a moment in which no other does.
    """

    __slots__ = ("_before", "_count", "enough")

    def __init__(self, enough: int = 1000) -> None:
        self.enough = enough
        self._count = 0
        self._before = 0

    def freed(self) -> None:
        """One more has freed what it could."""
        self._count += 1

    def giveBack(self) -> bool:
        """To be called regularly: return pages to the system if it is worth it; whether that was done."""
        calm, self._before = self._count == self._before, self._count
        if not self._count or self._count < (self.enough // 10 if calm else self.enough):
            return False
        self._count = self._before = 0
        if _trim is not None:
            _trim(0)
        return True
