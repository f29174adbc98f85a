"""Figures of the running server: gauges that are read when somebody asks, and how late the reactor is."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Lag:
    """How late a timer of the reactor fires, which is how long others wait for their turn."""

    interval = 1.0

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self.last = 0.0
        self.highest = 0.0
        self.average = 0.0
        """Exponential moving average, in seconds like the others."""

    def start(self) -> None:
        """Take a sample every second."""
        self._due = self._clock.seconds() + self.interval
        self._call = self._clock.callLater(self.interval, self._sample)

    def stop(self) -> None:
        """Take no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _sample(self) -> None:
        self.last = max(0.0, self._clock.seconds() - self._due)
        self.highest = max(self.highest, self.last)
        self.average += (self.last - self.average) / 16
        self.start()


class Telemetry(Service):
    """The figures of one server, a child of its tree."""

    name = "telemetry"

    def __init__(self, clock: IReactorTime) -> None:
        self.lag = Lag(clock)
        self._clock = clock
        self._started = clock.seconds()
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def startService(self) -> None:
        """Begin with the samples."""
        self.running = 1
        self._started = self._clock.seconds()
        self.lag.start()

    def stopService(self) -> None:
        """End the samples."""
        self.running = 0
        self.lag.stop()

    def addGauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a figure that somebody else keeps and that is read when asked for, such as the number of sessions.

        @raise ValueError: the name is taken.
        """
        if name in self._gauges:
            raise ValueError(f"there is a figure {name!r} already")
        self._gauges[name] = (help, read)

    def removeGauge(self, name: str) -> None:
        """Take it away, as its owner goes."""
        self._gauges.pop(name, None)

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock.seconds() - self._started

    def snapshot(self) -> dict[str, float]:
        """All figures by name: gauges, and times in seconds."""
        figures: dict[str, float] = {"uptime": self.uptime}
        figures.update((name, read()) for name, (_, read) in self._gauges.items())
        figures.update(lag=self.lag.last, lagAverage=self.lag.average, lagHighest=self.lag.highest)
        return figures

    def describe(self) -> dict[str, str]:
        """What each gauge means."""
        return {name: help for name, (help, _) in self._gauges.items()}
