"""What a server tells of itself: the figures of all its parts by name, and a line on refused connections."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.copyright import version as twistedVersion
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from xmppservice import __version__
from xmppservice.edge.writer import carrier, unsent
from xmppservice.hub.figures import COUNTER, GAUGE, HISTOGRAM, Figures, Histogram, Values
from xmppservice.server.componentfigures import componentFigures
from xmppservice.server.federationfigures import federationFigures
from xmppservice.server.logs import failureOf

if TYPE_CHECKING:
    from xmppservice.edge.c2s import C2SFactory
    from xmppservice.edge.driver import StreamDriver
    from xmppservice.hub.session import Session
    from xmppservice.server.composition import XMPPServer

_log = Logger()
_PAGE = resource.getpagesize()
_TICK = os.sysconf("SC_CLK_TCK")

#: How the name of a figure begins.
_OURS = "xmppservice_"


@implementer(ILogObserver)
class Observation(Service):
    """Registers the server's figures, counts tracebacks, and once a minute says how many connections were refused."""

    name = "observation"
    interval = 60.0

    def __init__(self, server: XMPPServer) -> None:
        self._server = server
        self._call: IDelayedCall | None = None
        self._told: dict[str, int] = {}
        self._failures = server.telemetry.figures.counter(
            f"{_OURS}tracebacks_total", "Failures in the log that nobody expected."
        )
        _edge(server)
        _sessions(server)
        _storage(server)
        componentFigures(server.telemetry.figures, server.components, server.ports)
        if server.federation is not None:
            federationFigures(server.telemetry.figures, server.federation)
        _process(server.telemetry.figures)

    def startService(self) -> None:
        """Begin."""
        super().startService()  # type: ignore[no-untyped-call]
        globalLogPublisher.addObserver(self)
        self._call = self._server.reactor.callLater(self.interval, self.summarise)

    def stopService(self) -> None:
        """End."""
        super().stopService()  # type: ignore[no-untyped-call]
        globalLogPublisher.removeObserver(self)
        if self._call is not None and self._call.active():
            self._call.cancel()

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`: count what nobody expected."""
        if failureOf(event) is not None:
            self._failures.value += 1

    def summarise(self) -> None:
        """Say what was refused since the last time, if anything was: one line, whoever floods."""
        self._call = self._server.reactor.callLater(self.interval, self.summarise)
        refused = dict(self._server.clients.refused)
        if self._server.federation is not None:
            others = self._server.federation.incoming.refused
            refused.update((f"{reason} (another server)", count) for reason, count in others.items())
        fresh = {reason: count - self._told.get(reason, 0) for reason, count in refused.items()}
        self._told = refused
        reasons = ", ".join(f"{reason}: {count}" for reason, count in fresh.items() if count)
        if reasons:
            _log.warn(
                "connections refused in the last {seconds} s: {reasons}", seconds=int(self.interval), reasons=reasons
            )


def _labelled(read: Callable[[], dict[str, Any]]) -> Callable[[], Values]:
    return lambda: {(key,): float(value) for key, value in read().items()}


def _edge(server: XMPPServer) -> None:
    """Connections, streams and logins."""
    figures, factory = server.telemetry.figures, server.clients
    report = factory.report
    figures.gauge(f"{_OURS}streams", "Client connections.", lambda: len(factory.streams))
    figures.gauge(f"{_OURS}unsent_bytes", "Bytes that wait for clients to read.", lambda: _unsent(factory.streams))
    figures.table(
        f"{_OURS}logins_total", COUNTER, "Logins, by mechanism and by what came of them.", ("mechanism", "result"),
        lambda: {key: float(count) for key, count in report.logins.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}stream_errors_total", COUNTER, "Stream errors sent, by condition.", ("condition",),
        _labelled(lambda: report.streamErrors),
    )  # fmt: skip
    figures.table(
        f"{_OURS}refused_connections_total", COUNTER, "Connections refused, by reason.", ("reason",),
        _labelled(lambda: factory.refused),
    )  # fmt: skip
    figures.table(
        f"{_OURS}throttled_total", COUNTER, "Times a stream was not read for a while because it was over its rate.", (),
        lambda: {(): float(factory.throttled)},
    )  # fmt: skip
    figures.gauge(
        f"{_OURS}shedding", "1 while new connections are refused because the server is overloaded.",
        lambda: float(factory.shedding),
    )  # fmt: skip
    figures.table(
        f"{_OURS}certificate_expiry_seconds", GAUGE, "When the certificate of a host ends, in Unix time.", ("host",),
        lambda: _expiries(factory),
    )  # fmt: skip


def _expiries(factory: C2SFactory) -> Values:
    """When certificates end, by host: names of ours, that are public anyway."""
    pairs = factory.tls.pairs() if factory.tls is not None else {}
    return {(name,): pair.certificate.not_valid_after_utc.timestamp() for name, pair in pairs.items()}


def _unsent(streams: set[StreamDriver]) -> float:
    connections = (carrier(driver.transport) for driver in streams)
    return float(sum(unsent(connection) for connection in connections if connection is not None))


def _sessions(server: XMPPServer) -> None:
    """Sessions, and what waits in them."""
    figures = server.telemetry.figures

    def sessions() -> list[Session]:
        return [session for host in server.router.hosts.values() for session in host.sessions()]

    def states() -> Values:
        found = sessions()
        hibernating = sum(session.stream is None for session in found)
        return {("connected",): len(found) - hibernating, ("hibernating",): hibernating}

    figures.table(f"{_OURS}sessions", GAUGE, "Bound sessions, by state.", ("state",), states)
    figures.gauge(
        f"{_OURS}waiting_stanzas", "Stanzas that wait behind another of their pair.",
        lambda: sum(session.waiting for session in sessions()),
    )  # fmt: skip
    figures.gauge(
        f"{_OURS}unacknowledged_stanzas", "Stanzas that clients have not acknowledged yet (XEP-0198).",
        lambda: sum(len(session.queue) for session in sessions() if session.queue is not None),
    )  # fmt: skip
    figures.gauge(f"{_OURS}hosts", "Virtual hosts.", lambda: len(server.router.hosts))


def _storage(server: XMPPServer) -> None:
    """The database."""
    figures, database = server.telemetry.figures, server.database
    figures.gauge(f"{_OURS}commit_backlog", "Rows that wait for their commit.", lambda: database.store.backlog)
    latency = getattr(database.store, "latency", None)
    if isinstance(latency, Histogram):
        help = "Time from the first row of a batch of writes to its end, committed or failed."
        figures.add(f"{_OURS}commit_seconds", HISTOGRAM, help, latency)
    figures.table(
        f"{_OURS}writer_cpu_seconds_total", COUNTER, "CPU time of the process that writes to the database.", (),
        lambda: _cpuOf(getattr(database.store, "writerPid", None)),
    )  # fmt: skip


def _process(figures: Figures) -> None:
    """The process itself, under the names that every exporter uses."""
    started = time.time()
    figures.gauge(
        f"{_OURS}info", "Versions; the value is always 1.", lambda: 1.0,
        version=__version__, python=platform.python_version(), twisted=twistedVersion,
    )  # fmt: skip
    figures.table(
        "process_cpu_seconds_total", COUNTER, "CPU time of the server process.", (), lambda: {(): time.process_time()}
    )
    figures.gauge("process_start_time_seconds", "When the process started, in Unix time.", lambda: started)
    figures.gauge("process_resident_memory_bytes", "Resident memory of the server process.", _resident)
    figures.gauge("process_open_fds", "Open file descriptors.", lambda: len(os.listdir("/proc/self/fd")) - 1)
    figures.gauge("process_max_fds", "Most file descriptors.", lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _cpuOf(pid: int | None) -> Values:
    """User and system time of a child, by proc_pid_stat(5); nothing if there is no such process now."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return {}
    return {(): (int(fields[11]) + int(fields[12])) / _TICK}


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return float(int(file.read().split()[1]) * _PAGE)
