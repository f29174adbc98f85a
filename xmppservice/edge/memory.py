"""Memory of the process: what it may use, and giving back what idle streams have freed.

Theory of operation. Once per sweep the resident size is read from /proc, which costs microseconds. Over the mark the
edge sheds new work (hardening R31): what is there goes on, and the kernel never has to choose a victim.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.logger import Logger

_log = Logger()

SHARE = 0.8
"""The part of what the system grants at which an automatic mark stands; the rest is for the writer and for peaks."""

HYSTERESIS = 0.9
"""New work is taken again below this part of the mark."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


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


class Watermark:
    """Whether the process uses more memory than it should; marks in bytes, 0 for none.

    `memory` counts resident pages, `addressSpace` all of the address space, which is what RLIMIT_AS limits.
    """

    __slots__ = ("above", "addressSpace", "memory", "usage")

    def __init__(
        self, memory: int = 0, addressSpace: int = 0, usage: Callable[[], tuple[int, int]] | None = None
    ) -> None:
        self.memory = memory
        self.addressSpace = addressSpace
        self.usage = usage or processUsage
        self.above = False

    def look(self) -> bool:
        """Measure; True if the answer to `above` has changed."""
        if not (self.memory or self.addressSpace or self.above):
            return False
        above = self._over()
        if above and not self.above and _trim is not None:
            # Perhaps it is only what the C library keeps for later.
            _trim(0)
            above = self._over()
        if above == self.above:
            return False
        self.above = above
        self._tell()
        return True

    def _over(self) -> bool:
        share = HYSTERESIS if self.above else 1.0
        resident, space = self.usage()
        return 0 < self.memory * share < resident or 0 < self.addressSpace * share < space

    def _tell(self) -> None:
        resident, space = (size >> 20 for size in self.usage())
        if self.above:
            _log.warn(
                "memory is short: {resident} MiB resident ({memory}), {space} MiB of addresses ({spaces}); "
                "new connections and sessions are refused. Give the server more memory, let "
                "fewer clients in, or set limits.memory",
                resident=resident, memory=_mark(self.memory), space=space, spaces=_mark(self.addressSpace),
            )  # fmt: skip
        else:
            _log.warn("memory suffices again: {resident} MiB resident; new sessions are accepted", resident=resident)


def processUsage() -> tuple[int, int]:
    """Bytes resident, and bytes of address space; zeros where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            space, resident = file.read().split()[:2]
    except (OSError, ValueError):
        return 0, 0
    return int(resident) * _PAGE, int(space) * _PAGE


def _mark(size: int) -> str:
    return f"mark {size >> 20} MiB" if size else "no mark"


def automaticMarks(root: Path = Path("/")) -> tuple[int, int]:
    """Marks for memory and address space, from what the system grants; 0 where it says nothing."""
    granted = [*_ofGroups(root), *_installed(root)]
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    return (
        int(min(granted) * SHARE) if granted else 0,
        int(space * SHARE) if space != resource.RLIM_INFINITY else 0,
    )


def _ofGroups(root: Path) -> Iterator[int]:
    """What our control group, or one above it, may use (version 2)."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    base = root / "sys/fs/cgroup"
    for line in lines:
        if not line.startswith("0::/"):
            continue
        group = base / line[4:]
        while group == base or base in group.parents:
            for name in ("memory.max", "memory.high"):
                try:
                    yield int((group / name).read_text("ascii"))
                except (OSError, ValueError):
                    # There is no such file, or it says "max".
                    continue
            group = group.parent


def _installed(root: Path) -> Iterator[int]:
    """What the machine has."""
    try:
        for line in (root / "proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemTotal:"):
                yield int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return
