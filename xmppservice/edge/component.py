"""The streams of external components (XEP-0114)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs
from twisted.internet.interfaces import IReactorTime

from xmppservice.auth.throttle import Allowance, Throttle
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.factory import StreamFactory
from xmppservice.edge.negotiation import Negotiation
from xmppservice.edge.rates import Meter
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.writer import GatheredWriter
from xmppservice.hub.component import ComponentPort
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.component import ComponentMachine

NO_LIMIT = 1 << 40


@attrs.frozen
class Seat:
    """Where a component belongs: its address, and the secret that it must know."""

    port: ComponentPort
    secret: bytes


#: Stream errors that the operator has to know of: a component is not, or not any more, where it should be.
_TELLING = frozenset({"conflict", "host-gone", "host-unknown"})


class ComponentNegotiation(Negotiation):
    """A handshake, and a seat."""

    __slots__ = ()

    machine: ComponentMachine

    def take(self, item: object) -> None:
        """See `Negotiation.take`; who has guessed wrong too often is not heard for a while."""
        super().take(item)
        if self.machine.state is State.OFFERED and self._factory.mustWait(self.driver.peer, self.machine.domain):
            self._tell("policy-violation")
            self.fail(StreamError("policy-violation", "too many wrong handshakes, try again later"))

    def _refused(self, ask: events.Refuse) -> None:
        self._tell(ask.condition)
        self._factory.guesses.failed(self.driver.peer, self.machine.domain)

    def _close(self, ask: events.Close) -> None:
        if ask.error is not None and ask.error.condition in _TELLING:
            self._tell(ask.error.condition)
        super()._close(ask)

    def _tell(self, condition: str) -> None:
        """A component is refused: the log says from where it came, and which one it claims to be."""
        machine = self.machine
        self.driver.factory.report.refused(self.driver, machine.mechanism, machine.claimed, condition)

    @property
    def _factory(self) -> ComponentFactory:
        factory = self.driver.factory
        assert isinstance(factory, ComponentFactory)
        return factory

    def _join(self, ask: events.Join) -> None:
        """The component has proved itself: it gets its seat if that is free."""
        driver, machine, factory = self.driver, self.machine, self._factory
        try:
            seat = factory.seatFor(ask.domain)
            if seat is None:
                raise StreamError("host-gone", "this component is expected no more")
            link = seat.port.join(driver)
        except StreamError as error:
            self.perform(machine.joinFailed(error))
            return
        factory.guesses.succeeded(driver.peer, ask.domain)
        self.perform(machine.joined())
        factory.report.loggedIn(driver, machine.mechanism, link.jid)
        driver.admit()
        self._done(link)
        seat.port.opened()

    performs: ClassVar = {events.Join: _join, events.Close: _close}


class ComponentFactory(StreamFactory):
    """Makes the streams of components. `seatFor` finds the seat at a domain, `defaultHost` names us to strangers."""

    def __init__(
        self,
        seatFor: Callable[[str], Seat | None],
        defaultHost: str,
        settings: StreamSettings,
        clock: IReactorTime,
        writer: GatheredWriter | None = None,
    ) -> None:
        self.seatFor = seatFor
        #: Wrong handshakes (hardening V11), by address and domain together: the components of one machine share its
        #: address, and one with a wrong secret must not keep the others out.
        self.guesses = Throttle(clock.seconds, address=Allowance(free=NO_LIMIT, limit=NO_LIMIT))
        self.defaultHost = defaultHost
        super().__init__(settings, clock, None, writer)

    def negotiate(self, driver: StreamDriver, direct: bool) -> ComponentNegotiation:
        """See `StreamFactory.negotiate`."""
        return ComponentNegotiation(driver, ComponentMachine(self._secretFor, self.defaultHost))

    def refresh(self, settings: StreamSettings, defaultHost: str) -> None:
        """New streams have these settings from now on."""
        self.defaultHost = defaultHost
        self._use(settings)

    def mustWait(self, address: str, domain: str) -> bool:
        """Whether an address has guessed the secret of a component wrong too often."""
        return self.settings.enabled and self.guesses.refusal(address, domain) > 0

    def _secretFor(self, domain: str) -> bytes | None:
        seat = self.seatFor(domain)
        return None if seat is None else seat.secret

    def meterFor(self, address: str) -> Meter | None:
        """A component is trusted, and speaks for many: it is slowed by what the server can take, not by a rate."""
        return None
