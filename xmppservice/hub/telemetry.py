"""The figures of the running server as a service, with those that it takes itself: how late the reactor is."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from xmppservice.hub.figures import COUNTER, HISTOGRAM, Figures, Histogram, Values

KINDS = ("message", "presence", "iq")


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
        self.histogram = Histogram()

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
        self.histogram.observe(self.last)
        self.start()


class Traffic:
    """Stanzas to and from the clients of all hosts. This is on the hot path: an increment of a plain list or dict."""

    __slots__ = ("errors", "received", "sent")

    def __init__(self) -> None:
        #: By kind.
        self.received = dict.fromkeys(KINDS, 0)
        #: By the second byte of the stanza: that of ``<message``, ``<presence`` and ``<iq`` tells them apart.
        self.sent = [0] * 256
        #: Error stanzas that we have sent, by condition (RFC 6120 8.3.3).
        self.errors: dict[str, int] = {}

    def refused(self, condition: str) -> None:
        """An error stanza goes out."""
        self.errors[condition] = self.errors.get(condition, 0) + 1

    def stanzas(self) -> Values:
        """All that passed, by direction and kind."""
        passed: dict[tuple[str, ...], float] = {("in", kind): count for kind, count in self.received.items()}
        passed.update({("out", kind): self.sent[ord(kind[0])] for kind in KINDS})
        return passed


class Telemetry(Service):
    """The figures of one server, a child of its tree."""

    name = "telemetry"

    def __init__(self, clock: IReactorTime) -> None:
        self.lag = Lag(clock)
        self.figures = Figures()
        self.traffic = traffic = Traffic()
        self._clock = clock
        self._started = clock.seconds()
        figures = self.figures
        figures.table(
            "xmppservice_stanzas_total", COUNTER, "Stanzas from (in) and to (out) clients.", ("direction", "kind"),
            traffic.stanzas,
        )  # fmt: skip
        figures.table(
            "xmppservice_stanza_errors_total", COUNTER, "Error stanzas sent, by condition.", ("condition",),
            lambda: {(condition,): count for condition, count in traffic.errors.items()},
        )  # fmt: skip
        figures.add(
            "xmppservice_reactor_lag_seconds", HISTOGRAM, "How late a timer fires, looked at once a second.",
            self.lag.histogram,
        )  # fmt: skip
        figures.gauge("xmppservice_uptime_seconds", "Time since the start.", lambda: self.uptime)

    def startService(self) -> None:
        """Begin with the samples."""
        self.running = 1
        self._started = self._clock.seconds()
        self.lag.start()

    def stopService(self) -> None:
        """End the samples."""
        self.running = 0
        self.lag.stop()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock.seconds() - self._started
