"""What streams between servers have in common at the edge: their factory, and the certificate behind them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.factory import StreamFactory
from xmppservice.edge.negotiation import SecuringNegotiation
from xmppservice.edge.s2s.targets import Target
from xmppservice.edge.s2s.trust import Judge
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import PeerCertificate, ServerTLS
from xmppservice.edge.writer import GatheredWriter
from xmppservice.hub.contracts.federation import IIdentity
from xmppservice.hub.federation.domains import Federation
from xmppservice.hub.federation.link import ServerLink
from xmppservice.protocol.stream.incoming import IncomingMachine
from xmppservice.protocol.stream.outgoing import OutgoingMachine
from xmppservice.protocol.stream.s2s import Policy, Verdict


@implementer(IIdentity)
class Identity:
    """Who is at the other end, as far as its certificate says; `target` is how we got there, None if it called us."""

    __slots__ = ("_certificate", "_judge", "_target")

    def __init__(self, judge: Judge, certificate: PeerCertificate | None, target: Target | None) -> None:
        self._judge = judge
        self._certificate = certificate
        self._target = target

    def judge(self, domain: str) -> Deferred[Verdict]:
        """See `IIdentity.judge`."""
        verdict = self._judge.judge(self._certificate, domain, self._target)
        return verdict if isinstance(verdict, Deferred) else succeed(verdict)


class ServerFactory(StreamFactory):
    """Makes and keeps the streams of one direction. `policy` is what we ask of the other side."""

    tls: ServerTLS | None

    def __init__(
        self,
        federation: Federation,
        judge: Judge,
        policy: Policy,
        settings: StreamSettings,
        clock: IReactorTime,
        tls: ServerTLS | None,
        writer: GatheredWriter | None = None,
    ) -> None:
        self.federation = federation
        self.judge = judge
        self.policy = policy
        super().__init__(settings, clock, tls, writer)

    def refresh(self, settings: StreamSettings, policy: Policy, judge: Judge) -> None:
        """New streams see the difference."""
        self.policy, self.judge = policy, judge
        self._use(settings)

    def bound(self, driver: StreamDriver) -> None:
        """A link is there, but perhaps nothing has been proved on it: the deadline stays until `admitted`."""

    def expire(self, driver: StreamDriver) -> None:
        """See `StreamFactory.expire`."""
        link = driver.session
        if isinstance(link, ServerLink):
            link.expire()
        else:
            super().expire(driver)

    def certifiedName(self, domain: str) -> str:
        """The host whose certificate stands for one of our domains: its own, else that of the host above it."""
        tls = self.tls
        if tls is None or tls.has(domain):
            return domain
        home: str = self.federation.router.homeOf(domain).name
        return home if tls.has(home) else domain

    def identify(self, driver: StreamDriver, target: Target | None = None) -> Identity:
        """The other end of a stream whose handshake is done."""
        tls = self.tls
        shown: Any = tls.peerCertificate(driver.transport) if tls is not None and driver.secure else None
        return Identity(self.judge, shown, target)


class ServerNegotiation(SecuringNegotiation):
    """The negotiation of a stream between servers, whoever has opened it."""

    __slots__ = ()

    machine: IncomingMachine | OutgoingMachine

    @property
    def _factory(self) -> ServerFactory:
        factory = self.driver.factory
        assert isinstance(factory, ServerFactory)
        return factory

    def _judged(self, verdict: Verdict) -> None:
        self.perform(self.machine.judged(verdict))

    def _notJudged(self, failure: Failure) -> None:
        self.driver.fault(failure)
