"""What the factories of all kinds of incoming streams have in common: admission, deadlines, silence, and the end.

One timer serves all connections. Each second the sweep looks at the streams that have a
deadline (not authenticated yet, or closing), and ages every stream by one: those that are
silent for a moment give back what they need only to read, those that are silent for long are
asked for a sign of life, and given up if they stay silent (RFC 6120 4.6). The sweep runs only
while there are connections.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol

from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.memory import Ballast, Watermark
from xmppservice.edge.negotiation import Negotiation
from xmppservice.edge.rates import Meter, Meters
from xmppservice.edge.reports import Report
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.edge.writer import GatheredWriter
from xmppservice.hub.contracts.stream import IStreamHost
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.networks import networkOf
from xmppservice.protocol.stream.roles import StreamLimits

SWEEP = 1.0

SLEEP_AT = 3
"""Sweeps after which a silent stream gives back what it needs only to read."""


def _noRoom() -> StreamError:
    return StreamError("resource-constraint", "the server is short of memory, try again later")


class Refusal(Protocol):
    """Closes its connection at once.

    A factory may refuse by giving no protocol at all, but not under Twisted's wrapping factories.
    """

    def connectionMade(self) -> None:
        """No."""
        transport: Any = self.transport
        transport.loseConnection()

class StreamFactory(Factory):
    """Makes a `StreamDriver` for each peer that connects, and keeps them all. A subclass says how it is negotiated."""

    noisy = False

    def __init__(
        self,
        settings: StreamSettings,
        clock: IReactorTime,
        tls: TLSProvider | None = None,
        writer: GatheredWriter | None = None,
    ) -> None:
        self.clock = clock
        self.tls = tls
        self.writer = writer or GatheredWriter(clock)
        self.streams: set[StreamDriver] = set()
        self.accepting = True
        self.report = Report()
        self._deadlines: dict[StreamDriver, float] = {}
        self._perNetwork: dict[str, int] = {}
        self._sweeping: IDelayedCall | None = None
        self._emptied: list[Deferred[None]] = []
        self._ballast = Ballast()
        #: Pauses of streams that were over their budget, and connections that were refused, by reason.
        self.throttled = 0
        self.refused: dict[str, int] = {}
        self._watermark = Watermark()
        self._meters = Meters(settings.streamRates, settings.addressRates, clock.seconds)
        self._use(settings)

    def _use(self, settings: StreamSettings) -> None:
        """Take over settings, and what follows from them."""
        self.settings = settings
        self._limits = StreamLimits(settings.preAuth.stanzaBytes, settings.authenticated.stanzaBytes,
                                    int(settings.silence))  # fmt: skip
        self._probeAt = math.ceil(settings.silence / SWEEP)
        self._giveUpAt = self._probeAt + math.ceil(settings.silenceAnswer / SWEEP)
        self._watermark.memory, self._watermark.addressSpace = settings.memory, settings.addressSpace
        if (settings.streamRates, settings.addressRates) != (self._meters.stream, self._meters.address):
            self._meters = Meters(settings.streamRates, settings.addressRates, self.clock.seconds)
        for driver in self.streams:
            # Nobody is given up before it has been asked.
            driver.quiet = min(driver.quiet, self._probeAt - 1)

    # -- what drivers ask -----------------------------------------------------------------

    def negotiate(self, driver: StreamDriver, direct: bool) -> Negotiation:
        """The negotiation of a new stream; `direct`: TLS begins before the stream does."""
        raise NotImplementedError

    def hostOf(self, driver: StreamDriver) -> IStreamHost:
        """The virtual host that a stream in negotiation has addressed."""
        raise NotImplementedError

    def startTLS(self, driver: StreamDriver, domain: str) -> Any:
        """Put TLS on a driver's transport; returns the new transport."""
        assert self.tls is not None
        return self.tls.startTLS(driver, driver.transport, domain, self.clock)

    def connected(self, driver: StreamDriver) -> None:
        """A connection is up and has a while to authenticate."""
        self.streams.add(driver)
        self._count(driver.peer, 1)
        self._setDeadline(driver, self.settings.authenticationDeadline)
        if self._sweeping is None:
            self._sweeping = self.clock.callLater(SWEEP, self._sweep)
            self._watch()
        if self.shedding:
            self.refuse("memory")
            driver.fail(_noRoom())

    @property
    def shedding(self) -> bool:
        """Whether new work is refused because memory runs out."""
        return self._watermark.above

    def meterFor(self, address: str) -> Meter | None:
        """The budgets of a stream from this address, None if it has no limits."""
        settings = self.settings
        if not settings.enabled or address in settings.exempt:
            return None
        return self._meters.meter(address)

    def moved(self, driver: StreamDriver, address: str) -> None:
        """The peer's address turned out to be another (PROXY protocol): it counts there."""
        self._count(driver.peer, -1)
        driver.peer = address
        self._count(address, 1)
        driver.setMeter(self.meterFor(address))
        if self._full(address, self.settings.perAddress + 1):
            self.refuse("address")
            driver.fail(StreamError("policy-violation", "too many connections"))

    def authenticated(self, driver: StreamDriver) -> None:
        """The peer has said who it is, and has as long again to bind."""
        self._setDeadline(driver, self.settings.authenticationDeadline)

    def bound(self, driver: StreamDriver) -> None:
        """Negotiation is over: no deadline any more."""
        self.admitted(driver)

    def admitted(self, driver: StreamDriver) -> None:
        """The peer is known: no deadline any more."""
        self._deadlines.pop(driver, None)

    def closing(self, driver: StreamDriver, seconds: float) -> None:
        """The stream is over; the connection must be within this time."""
        self._setDeadline(driver, seconds)

    def disconnected(self, driver: StreamDriver) -> None:
        """The connection is gone."""
        if driver in self.streams:
            self.streams.discard(driver)
            self._ballast.freed()
            self._deadlines.pop(driver, None)
            self._count(driver.peer, -1)
        if not self.streams:
            if self._sweeping is not None:
                self._sweeping.cancel()
                self._sweeping = None
            emptied, self._emptied = self._emptied, []
            for waiter in emptied:
                waiter.callback(None)

    def _setDeadline(self, driver: StreamDriver, seconds: float) -> None:
        self._deadlines[driver] = self.clock.seconds() + seconds

    # -- admission ------------------------------------------------------------------------

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> StreamDriver | Refusal:
        """A driver, or a refusal for one connection too many (XEP-0205)."""
        if not self.accepting:
            return Refusal()
        settings = self.settings
        if self._full(str(getattr(addr, "host", "")), settings.perAddress):
            return self.refuse("address")
        if settings.enabled and len(self._deadlines) >= settings.unauthenticated:
            return self.refuse("unauthenticated")
        return StreamDriver(self)

    def _full(self, address: str, limit: int) -> bool:
        """Whether an address has as many connections as this."""
        settings = self.settings
        if not settings.enabled or address in settings.exempt:
            return False
        return self._perNetwork.get(networkOf(address), 0) >= limit

    def refuse(self, reason: str) -> Refusal:
        """Count a refusal: "address", "unauthenticated" or "memory"."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return Refusal()

    def _count(self, address: str, change: int) -> None:
        network = networkOf(address)
        count = self._perNetwork.get(network, 0) + change
        if count > 0:
            self._perNetwork[network] = count
        else:
            self._perNetwork.pop(network, None)

    # -- time -----------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweeping = self.clock.callLater(SWEEP, self._sweep)
        # A second early rather than late: the limit is a promise.
        now = self.clock.seconds() + SWEEP / 2
        for driver, deadline in list(self._deadlines.items()):
            if deadline <= now:
                self._deadlines.pop(driver, None)
                self.expire(driver)
        self._age()
        self._watch()

    def expire(self, driver: StreamDriver) -> None:
        """A deadline of a stream has passed."""
        driver.expire()

    def _watch(self) -> None:
        """Look at the memory; where that is too much, those who have not logged in yet go first (R31)."""
        if self._watermark.look() and self.shedding:
            for driver in list(self._deadlines):
                if driver.negotiation is not None and driver.negotiation.machine.jid is None:
                    self.refuse("memory")
                    driver.fail(_noRoom())

    def _age(self) -> None:
        probeAt, giveUpAt = self._probeAt, self._giveUpAt
        for driver in list(self.streams):
            driver.quiet = quiet = driver.quiet + 1
            if quiet == SLEEP_AT:
                driver.sleep()
                self._ballast.freed()
            elif quiet >= probeAt and driver.session is not None:
                if driver.halted:
                    # It cannot be heard, so its silence says nothing.
                    driver.quiet = probeAt - 1
                elif quiet >= giveUpAt:
                    driver.timeOut()
                elif quiet == probeAt:
                    driver.probe()
        self._ballast.giveBack()

    # -- the end --------------------------------------------------------------------------

    def shutDown(self) -> Deferred[None]:
        """Tell every stream that the server stops; fires when all connections are closed."""
        self.accepting = False
        done: Deferred[None] = Deferred()
        for driver in list(self.streams):
            driver.shutDown()
        self.writer.flush()
        if self.streams:
            self._emptied.append(done)
        else:
            done.callback(None)
        return done

    def abandon(self) -> None:
        """Drop every connection that is still there."""
        for driver in list(self.streams):
            if driver.transport is not None:
                driver.transport.abortConnection()
