"""Client-to-server: the factory of the streams of clients."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from xmppservice.auth.portal import DEFAULT_POLICY, offered, refusal
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.factory import StreamFactory
from xmppservice.edge.negotiation import ClientNegotiation
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.edge.writer import GatheredWriter
from xmppservice.hub.contracts.stream import IStreamHost
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import ClientCertificate, ScramCredentials
from xmppservice.protocol.sasl.registry import MECHANISMS
from xmppservice.protocol.stream.machine import StreamMachine
from xmppservice.protocol.stream.roles import ABSENT
from xmppservice.wire.element import Element


@attrs.define
class Facts:
    """What the machine must know of a host (`roles.HostFacts`), worked out once per host."""

    host: IStreamHost
    name: str
    mechanisms: tuple[str, ...]
    tls: str
    policy: frozenset[str]

    def refusal(self, name: str, secure: bool) -> SASLFailure:
        """Why a mechanism that was not offered is refused (RFC 6120 6.5)."""
        return refusal(name, self.host.portal, secure, self.policy)

class C2SFactory(StreamFactory):
    """Makes a `StreamDriver` for each client that connects.

    `hostFor` finds a virtual host by its prepared domain; `defaultHost` names us to those who
    ask for none we know. Without `tls` STARTTLS is not offered.
    """

    def __init__(
        self,
        hostFor: Callable[[str], IStreamHost | None],
        defaultHost: str,
        settings: StreamSettings,
        clock: IReactorTime,
        tls: TLSProvider | None = None,
        writer: GatheredWriter | None = None,
    ) -> None:
        self.defaultHost = defaultHost
        self._hostFor = hostFor
        self._facts: dict[str, Facts] = {}
        super().__init__(settings, clock, tls, writer)

    # -- hosts ----------------------------------------------------------------------------

    def factsFor(self, domain: str) -> Facts | None:
        """What streams must know of a host; None if it is not ours."""
        host = self._hostFor(domain)
        if host is None:
            self._facts.pop(domain, None)
            return None
        known = self._facts.get(domain)
        if known is None or known.host is not host:
            known = self._facts[domain] = self._learn(host)
        return known

    def _learn(self, host: IStreamHost) -> Facts:
        policy = DEFAULT_POLICY if self.settings.mechanisms is None else self.settings.mechanisms
        anything = offered(host.portal, True, {"any": b""}, policy, ClientCertificate(()))
        names = [name for name in anything if host.secrets or MECHANISMS[name].credentials is not ScramCredentials]
        available = self.tls is not None and self.tls.has(host.name)
        # A host that must be secured and cannot be offers nothing at all, rather than no TLS.
        tls = self.settings.tls if available or self.settings.tls == "required" else ABSENT
        return Facts(host, host.name, tuple(names), tls, frozenset(policy))

    def refresh(self, settings: StreamSettings | None = None) -> None:
        """Learn hosts, portals and certificates anew; new streams see the difference."""
        if settings is not None:
            self._use(settings)
        self._facts.clear()

    def hostOf(self, driver: StreamDriver) -> IStreamHost:
        """See `StreamFactory.hostOf`."""
        assert isinstance(driver.negotiation, ClientNegotiation)
        facts = driver.negotiation.machine.host
        assert isinstance(facts, Facts)
        return facts.host

    # -- what drivers ask -----------------------------------------------------------------

    def negotiate(self, driver: StreamDriver, direct: bool) -> ClientNegotiation:
        """See `StreamFactory.negotiate`."""

        def extras(stage: str) -> list[Element]:
            return self.hostOf(driver).streamFeatures(stage, driver)

        machine = StreamMachine(self.factsFor, self.defaultHost, self._limits, extras, self.settings.tries)
        return ClientNegotiation(driver, machine, direct)
