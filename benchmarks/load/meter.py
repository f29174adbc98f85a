"""What the kernel says: CPU time and memory of the server's processes, and how noisy the machine is."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = 1e6 / os.sysconf("SC_CLK_TCK")
_CALIBRATION_ROUNDS = 40_000


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        for task in _tasks(pid):
            queue += [int(child) for child in _text(task / "children").split()]
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _ticksOf(pid: int) -> float:
    """User and system time of a process and of its reaped children in microseconds, in steps of a clock tick."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK if fields else 0.0


def _nanoOf(pid: int) -> float:
    """Run time of a process's living threads in microseconds, exact to the nanosecond."""
    return sum(int((_text(task / "schedstat") or "0").split()[0]) for task in _tasks(pid)) / 1e3


@dataclass(frozen=True)
class Cpu:
    """A reading of both clocks of a set of processes, in microseconds."""

    main: float
    others: float
    ticks: float
    count: int

    def since(self, start: "Cpu") -> tuple[float, float]:
        """(main process, its children): CPU time spent from ``start`` to this reading.

        The scheduler's clock is exact but forgets threads and children that have ended; the tick clock forgets
        nothing. If they differ by more than the tick clock's grain, the difference is charged to the children.
        """
        main, others = self.main - start.main, self.others - start.others
        missing = (self.ticks - start.ticks) - (main + others)
        return main, others + (missing if missing > 3 * _TICK * self.count else 0.0)


def readCpu(pid: int) -> Cpu:
    """Read the CPU clocks of a server and all its descendants; all zero for pid 0."""
    if pid <= 0:
        return Cpu(0.0, 0.0, 0.0, 0)
    pids = family(pid)
    others = sum(map(_nanoOf, pids[1:]))
    return Cpu(_nanoOf(pid), others, sum(map(_ticksOf, pids)), len(pids))


@dataclass(frozen=True)
class Memory:
    """Resident and proportional set size in KiB: the main process, and all its children together."""

    rss: int
    pss: int
    childRss: int
    childPss: int


def readMemory(pid: int) -> Memory:
    """Sum ``smaps_rollup`` over the server's processes; all zero for pid 0."""
    sizes = [_rollup(number) for number in family(pid)] if pid > 0 else [(0, 0)]
    return Memory(*sizes[0], sum(size[0] for size in sizes[1:]), sum(size[1] for size in sizes[1:]))


def _rollup(pid: int) -> tuple[int, int]:
    words = dict.fromkeys(("Rss:", "Pss:"), 0)
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        name, *rest = line.split()
        if name in words:
            words[name] = int(rest[0])
    return words["Rss:"], words["Pss:"]


def calibrate() -> float:
    """Milliseconds of wall time for a fixed piece of work: it grows when others use the processor."""
    start = time.perf_counter()
    digest = b""
    for _ in range(_CALIBRATION_ROUNDS):
        digest = hashlib.sha256(digest).digest()
    return (time.perf_counter() - start) * 1e3


def percentile(samples: list[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the samples lie, in the samples' unit; 0 without samples."""
    if not samples:
        return 0.0
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
