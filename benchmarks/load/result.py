"""One workload's figures, and the stop-watch that takes them."""

import gc
import os
import time
from dataclasses import asdict, dataclass, field

from benchmarks.load.meter import calibrate, percentile, readCpu


@dataclass
class Result:
    """What one run of a workload measured; times in the unit their names say."""

    workload: str
    tls: str
    unit: str
    seconds: float = 0.0
    count: int = 0
    perSecond: float = 0.0
    p50Ms: float = 0.0
    p99Ms: float = 0.0
    serverMicros: float = 0.0
    writerMicros: float = 0.0
    serverCores: float = 0.0
    clientMicros: float = 0.0
    calibrationMs: tuple[float, float] = (0.0, 0.0)
    load: float = 0.0
    problems: list[str] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)

    def asDict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self) | {"ok": not self.problems}

    def lines(self) -> list[str]:
        """For people: the figures, what is special to the workload, and the noise."""
        share = 100 * self.clientMicros / self.serverMicros if self.serverMicros else 0.0
        times = f"p50 {self.p50Ms:8.2f} ms  p99 {self.p99Ms:8.2f} ms  " if self.p50Ms else ""
        text = [
            f"{self.workload:9} {self.perSecond:9.0f} {self.unit}/s  {times}"
            f"server {self.serverMicros:8.1f} us/{self.unit} (writer {self.writerMicros:.1f})"
        ]
        if self.extra:
            text.append("          " + "  ".join(f"{key} {value:.2f}" for key, value in self.extra.items()))
        text.append(
            f"          {self.count} in {self.seconds:.1f} s, server {self.serverCores:.2f} cores, generator "
            f"{self.clientMicros:.1f} us/{self.unit} ({share:.0f} %); calibration {self.calibrationMs[0]:.0f}/"
            f"{self.calibrationMs[1]:.0f} ms, load {self.load:.1f}"
        )
        return text + [f"          PROBLEM: {problem}" for problem in self.problems]


class Watch:
    """Takes the servers' CPU, own CPU and wall time between `start` and `stop`."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._calibration = calibrate()

    def start(self) -> None:
        """The measured part begins."""
        gc.collect()
        gc.disable()
        self._own, self._time = time.process_time(), time.perf_counter()
        self._cpu = [readCpu(pid) for pid in self._pids]

    def stop(self) -> None:
        """The measured part ends."""
        cpus = [readCpu(pid) for pid in self._pids]
        self.seconds = time.perf_counter() - self._time
        self.own = time.process_time() - self._own
        #: What each server has used, its children included.
        spent = [cpu.since(then) for cpu, then in zip(cpus, self._cpu, strict=True)]
        self.each = [main + children for main, children in spent]
        self.main, self.children = (sum(part) for part in zip(*spent, strict=True))
        gc.enable()

    def fill(self, result: Result, count: int, samples: list[float]) -> Result:
        """Put the figures into a result: ``count`` stanzas, latency ``samples`` in seconds."""
        many = max(count, 1)
        result.count, result.seconds = count, self.seconds
        result.perSecond = count / self.seconds
        result.p50Ms, result.p99Ms = percentile(samples, 0.5) * 1e3, percentile(samples, 0.99) * 1e3
        result.serverMicros = (self.main + self.children) / many
        result.writerMicros = self.children / many
        result.serverCores = (self.main + self.children) / 1e6 / self.seconds
        result.clientMicros = self.own * 1e6 / many
        result.calibrationMs = (self._calibration, calibrate())
        result.load = os.getloadavg()[0]
        return result
