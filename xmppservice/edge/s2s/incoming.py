"""Streams that other servers open to us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.negotiation import Negotiation
from xmppservice.edge.s2s.streams import Identity, ServerFactory, ServerNegotiation
from xmppservice.hub.federation.link import ServerLink
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.incoming import IncomingMachine


class IncomingNegotiation(ServerNegotiation):
    """TLS, and a link: after EXTERNAL, or with the first element of dialback."""

    __slots__ = ("_identity",)

    machine: IncomingMachine

    def __init__(self, driver: StreamDriver, machine: IncomingMachine, securing: bool) -> None:
        super().__init__(driver, machine, securing)
        self._identity: Identity | None = None

    @property
    def _peer(self) -> Identity:
        if self._identity is None:
            self._identity = self._factory.identify(self.driver)
        return self._identity

    def _secured(self) -> None:
        self.machine.secured()

    def _certifiedName(self) -> str:
        return self._factory.certifiedName(self.machine.local)

    def _startTLS(self, ask: events.StartTLS) -> None:
        """As for clients, but a host may have no certificate and be listened for all the same."""
        tls = self._factory.tls
        if tls is None or not tls.has(self._certifiedName()):
            self.perform(self.machine.noTLS())
        else:
            super()._startTLS(ask)

    def _restart(self, ask: events.Restart) -> None:
        driver = self.driver
        driver.restart(driver.factory.settings.authenticated)
        driver.factory.authenticated(driver)

    def _judge(self, ask: events.Judge) -> None:
        self.claimed = ask.domain
        self._wait(self._peer.judge(ask.domain), self._judged, self._notJudged)

    def _attach(self, ask: events.Attach) -> None:
        """The stream gets its link; what proves the peer later is between the two."""
        driver, machine, factory = self.driver, self.machine, self._factory
        remote = machine.remote if machine.authenticated else ""
        link = ServerLink(factory.federation, driver, self._peer, remote)
        link.dialback, link.bidi = True, machine.bidi
        self._done(link)
        if machine.authenticated:
            link.accept(machine.remote, machine.local, machine.verdict.how)
        if ask.first is not None:
            link.receive(ask.first)

    performs: ClassVar[dict[type, Any]] = {
        events.StartTLS: _startTLS,
        events.Restart: _restart,
        events.Judge: _judge,
        events.Attach: _attach,
        events.Close: Negotiation._close,
    }


class IncomingFactory(ServerFactory):
    """The streams of other servers to us. `defaultHost` names us to those who ask for nobody we know."""

    defaultHost = ""
    #: Whether memory runs out, as the factory that watches it has it.
    isShort: Callable[[], bool] = staticmethod(lambda: False)

    @property
    def shedding(self) -> bool:
        """See `StreamFactory.shedding`."""
        return self.isShort()

    def negotiate(self, driver: StreamDriver, direct: bool) -> IncomingNegotiation:
        """See `StreamFactory.negotiate`."""
        federation = self.federation

        def allows(domain: str) -> bool:
            allowed = federation.policy.allows(domain)
            if not allowed:
                federation.denied(domain, driver.peer)
            return allowed

        machine = IncomingMachine(federation.isOurs, allows, self.defaultHost, self.policy)
        return IncomingNegotiation(driver, machine, direct)
