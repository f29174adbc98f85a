"""Streams that we open to other servers: finding them, one attempt after the other, and negotiating.

Theory of operation. `Connector.connect` tries the targets of a domain in order. A try is a connection, for which the
dialler may race several, and then the negotiation of the one that won. Each connection has its `Opening`, by which
its negotiation learns whom to speak to and says what became of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.s2s.dialler import DialFailed, Dialler
from xmppservice.edge.s2s.streams import Identity, ServerFactory, ServerNegotiation
from xmppservice.edge.s2s.targets import Finder, NoAnswer, NoService, Target, describeTargets
from xmppservice.hub.contracts.federation import IConnector, Step, Tell, Unreachable, untold
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.managing import Management
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.outgoing import OutgoingMachine
from xmppservice.protocol.stream.s2s import Verdict
from xmppservice.wire import ns
from xmppservice.wire.element import Element

#: Seconds for all that has to happen before there is a link, and for the negotiation with one target.
ALL_IN_ALL = 45.0
ONE_TARGET = 20.0

#: Characters of the reasons of all targets together that are kept.
_LONGEST = 500


#: What people may want to know that another server offers.
_OFFERS = {
    (ns.SM, "sm"): "XEP-0198 (acknowledgements)",
    (ns.BIDI_FEATURE, "bidi"): "XEP-0288 (both directions)",
    (ns.DIALBACK_FEATURE, "dialback"): "XEP-0220 (dialback)",
}


class Opening:
    """One connection to a target: from whom to whom, and in the end its link or why there is none.

    `tell` is told of each step. A `trial` is just to see what comes of it: nobody may begin to rely on its stream.
    """

    def __init__(self, local: str, remote: str, target: Target, tell: Tell = untold) -> None:
        self.local, self.remote, self.target = local, remote, target
        self.tell = tell
        self.trial = tell is not untold
        self._outcome: ServerLink | Unreachable | None = None
        self._waiter: Deferred[ServerLink] | None = None

    def whenOver(self) -> Deferred[ServerLink]:
        """Fires with the link, or fails with `Unreachable`."""
        if isinstance(self._outcome, Unreachable):
            return fail(self._outcome)
        if self._outcome is not None:
            return succeed(self._outcome)
        self._waiter = Deferred()
        return self._waiter

    def over(self, outcome: ServerLink | Unreachable) -> None:
        """Negotiation has ended; only the first word counts."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.called:
            return
        if isinstance(outcome, Unreachable):
            waiter.errback(outcome)
        else:
            waiter.callback(outcome)


class OutgoingNegotiation(ServerNegotiation):
    """We speak first; otherwise a negotiation as any."""

    __slots__ = ("_identity", "_offered", "opening")

    machine: OutgoingMachine

    def __init__(self, driver: StreamDriver, machine: OutgoingMachine, opening: Opening) -> None:
        super().__init__(driver, machine, False)
        self.opening = opening
        self._identity: Identity | None = None
        self._offered: set[str] = set()

    def open(self) -> None:
        """The connection is up."""
        if self.opening.target.direct:
            self._secure(alpn=True)
        else:
            self.perform(self.machine.start())

    def _secure(self, alpn: bool) -> None:
        """TLS, and a header that waits for its handshake."""
        driver, factory, opening = self.driver, self._factory, self.opening
        if factory.tls is None:
            self.fail(StreamError("policy-violation", "we have no certificates, and so no TLS"))
            return
        driver.flush()
        local = factory.certifiedName(opening.local)
        self._securing = True
        driver.openOutlet(
            factory.tls.startClientTLS(driver, driver.transport, local, opening.remote, factory.clock, alpn)
        )
        self.perform(self.machine.secured())

    def _secured(self) -> None:
        """The machine was told when the handshake began."""
        tls = self.driver.factory.tls
        assert tls is not None
        self.opening.tell(Step("encryption", "ok", tls.describe(self.driver.transport)))

    def take(self, item: object) -> None:
        """See `Negotiation.take`."""
        if self.opening.trial and isinstance(item, Element) and (item.ns, item.name) == (ns.STREAM, "features"):
            self._offered |= {name for (space, tag), name in _OFFERS.items() if item.find(space, tag) is not None}
        super().take(item)

    def _beginTLS(self, ask: events.BeginTLS) -> None:
        if self._smuggled():
            self.fail(StreamError("policy-violation", "it sent data behind <proceed/>"))
            return
        self.driver.restart(self.driver.factory.settings.preAuth)
        self._secure(alpn=False)

    def _restart(self, ask: events.Restart) -> None:
        self.driver.restart(self.driver.factory.settings.authenticated)

    def _judge(self, ask: events.Judge) -> None:
        self._identity = self._factory.identify(self.driver, self.opening.target)
        self._wait(self._identity.judge(ask.domain), self._judged, self._notJudged)

    def _judged(self, verdict: Verdict) -> None:
        asks = self.machine.judged(verdict)
        if verdict.valid:
            self.opening.tell(Step("certificate", "ok", f"valid for {self.machine.remote} ({verdict.how})"))
        elif not asks:
            # We go on, for the policy does not ask for one.
            self.opening.tell(Step("certificate", "note", f"not accepted: {verdict.reason}"))
        self.perform(asks)

    def _attach(self, ask: events.Attach) -> None:
        driver, machine, factory = self.driver, self.machine, self._factory
        identity = self._identity or factory.identify(driver, self.opening.target)
        link = ServerLink(factory.federation, driver, identity, machine.remote, machine.local)
        link.dialback, link.bidi = machine.dialback, machine.bidi
        link.managed = Management(machine.management)
        link.largest = machine.largest or link.largest
        link.proof = machine.verdict.how if machine.verdict.valid else ""
        self._done(link)
        if self.opening.trial:
            self.opening.tell(Step("offers", "ok", ", ".join(sorted(self._offered)) or "nothing more"))
        if machine.authenticated:
            link.accepted(machine.local, machine.remote, "certificate")
        else:
            reason = machine.reason or "it does not offer EXTERNAL: it wants no certificate, or not ours"
            self.opening.tell(Step("our certificate", "note", reason))
        self.opening.over(link)

    def _close(self, ask: events.Close) -> None:
        super()._close(ask)
        self.opening.over(Unreachable(self.machine.reason or "the stream was closed while it was negotiated"))

    def lost(self, reason: Failure) -> None:
        """See `Negotiation.lost`."""
        what = "the TLS handshake failed" if self._securing else "the connection was lost while it was negotiated"
        self.opening.over(Unreachable(self.machine.reason or f"{what}: {reason.getErrorMessage()}"[:300]))

    performs: ClassVar[dict[type, Any]] = {
        events.BeginTLS: _beginTLS,
        events.Restart: _restart,
        events.Judge: _judge,
        events.Attach: _attach,
        events.Close: _close,
    }


class OutgoingFactory(ServerFactory):
    """The streams that we open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._openings: dict[StreamDriver, Opening] = {}

    def driverFor(self, opening: Opening) -> StreamDriver:
        """The stream of one connection."""
        driver = StreamDriver(self)
        self._openings[driver] = opening
        return driver

    def openingOf(self, driver: StreamDriver) -> Opening:
        """What a stream of ours is for."""
        return self._openings[driver]

    def negotiate(self, driver: StreamDriver, direct: bool) -> OutgoingNegotiation:
        """See `StreamFactory.negotiate`."""
        opening = self._openings[driver]
        policy = replace(self.policy, bidi=False) if opening.trial else self.policy
        tls = self.tls
        certified = tls is not None and tls.has(self.certifiedName(opening.local))
        machine = OutgoingMachine(opening.local, opening.remote, policy, certified)
        return OutgoingNegotiation(driver, machine, opening)

    def connected(self, driver: StreamDriver) -> None:
        """See `StreamFactory.connected`."""
        super().connected(driver)
        negotiation = driver.negotiation
        if isinstance(negotiation, OutgoingNegotiation):
            negotiation.open()

    def disconnected(self, driver: StreamDriver) -> None:
        """See `StreamFactory.disconnected`."""
        self._openings.pop(driver, None)
        super().disconnected(driver)


class _Dialling(Factory):
    """Makes the streams of one dial, of which one will win."""

    noisy = False

    def __init__(self, factory: OutgoingFactory, opening: tuple[str, str, Target, Tell]) -> None:
        self._factory = factory
        self._opening = opening

    def buildProtocol(self, addr: IAddress | None) -> StreamDriver:  # type: ignore[override]
        """A stream with an opening of its own."""
        return self._factory.driverFor(Opening(*self._opening))


@implementer(IConnector)
class Connector:
    """Opens streams to other servers."""

    def __init__(self, finder: Finder, dialler: Dialler, factory: OutgoingFactory) -> None:
        self.finder = finder
        self.dialler = dialler
        self._factory = factory

    def connect(self, local: str, remote: str, tell: Tell = untold) -> Deferred[ServerLink]:
        """See `IConnector.connect`."""
        attempt = Deferred.fromCoroutine(self._connect(local, remote, tell))
        attempt.addTimeout(ALL_IN_ALL, self._factory.clock)

        def failed(failure: Failure) -> Failure:
            if failure.check(TimeoutError, CancelledError):
                raise Unreachable("no answer within the time")
            return failure

        return attempt.addErrback(failed)

    async def _connect(self, local: str, remote: str, tell: Tell) -> ServerLink:
        try:
            targets = await self.finder.targets(remote)
        except NoService as error:
            tell(Step("DNS", "failed", str(error)))
            raise Unreachable(str(error), "remote-server-not-found", lasting=True) from None
        except NoAnswer as error:
            tell(Step("DNS", "failed", str(error)))
            raise Unreachable(str(error)) from None
        for number, text in enumerate(describeTargets(targets), 1):
            tell(Step("DNS", "ok", f"{number}. {text}"))
        reasons: list[str] = []
        for target in targets:
            try:
                return await self._try(local, remote, target, tell)
            except Unreachable as error:
                reasons.append(f"{target}: {error.reason}")
        raise Unreachable(_joined(reasons) or "it has no address")

    async def _try(self, local: str, remote: str, target: Target, tell: Tell) -> ServerLink:
        try:
            driver: Any = await self.dialler.dial(target, _Dialling(self._factory, (local, remote, target, tell)))
        except DialFailed as error:
            for reason in error.reasons:
                tell(Step("connection", "failed", reason))
            raise Unreachable(str(error)) from None
        over = self._factory.openingOf(driver).whenOver() if driver.transport is not None else None
        if over is None:
            tell(Step("connection", "failed", f"the connection to {target} was lost at once"))
            raise Unreachable("the connection was lost at once")
        tell(Step("connection", "ok", f"{target}" + (f" at {driver.peer}" if driver.peer != target.host else "")))
        over.addTimeout(ONE_TARGET, self._factory.clock)
        try:
            return await over
        except Unreachable as error:
            tell(Step("stream", "failed", error.reason))
            raise
        except TimeoutError:
            driver.fail(StreamError("connection-timeout"))
            tell(Step("stream", "failed", "it does not answer"))
            raise Unreachable("it does not answer") from None
        except CancelledError:
            # All in all it takes too long: no other target is tried.
            driver.fail(StreamError("connection-timeout"))
            raise


def _joined(reasons: list[str]) -> str:
    """As many reasons as fit, each of them whole, and how many more there are."""
    text = reasons[0][:_LONGEST] if reasons else ""
    for number, reason in enumerate(reasons[1:], 1):
        if len(text) + len(reason) > _LONGEST:
            return f"{text}; and {len(reasons) - number} more"
        text = f"{text}; {reason}"
    return text
