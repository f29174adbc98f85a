"""Federation as one part of the server: what listens, what calls, and what stands between them and the hub."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString

from xmppservice.edge.certificates import CertificateProblem
from xmppservice.edge.s2s.dane import DANE
from xmppservice.edge.s2s.dialler import Dialler
from xmppservice.edge.s2s.incoming import IncomingFactory
from xmppservice.edge.s2s.networks import Network
from xmppservice.edge.s2s.outgoing import Connector, OutgoingFactory
from xmppservice.edge.s2s.posh import POSH
from xmppservice.edge.s2s.resolving import makeResolver
from xmppservice.edge.s2s.targets import Finder, Target
from xmppservice.edge.s2s.trust import Judge
from xmppservice.edge.s2s.web import Fetcher
from xmppservice.edge.service import StreamService
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import ServerTLS, TLSProvider
from xmppservice.hub.federation.domains import Federation
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.protocol.stream.s2s import Policy
from xmppservice.server.edges import (
    federationPolicy,
    overrides,
    refusedNetworks,
    resolverAddresses,
    serverSettings,
    streamPolicy,
)
from xmppservice.settings import Settings, complaint

if TYPE_CHECKING:
    from xmppservice.server.composition import XMPPServer

SETTLE = 1.5
"""Seconds that other servers have, when ours stops, to acknowledge what they got."""

KEY = "dialback"
"""Under which name the storage has the secret of our dialback keys."""


@attrs.frozen
class Plan:
    """All that the configuration says of federation, checked."""

    hosts: tuple[str, ...]
    streams: StreamSettings
    federation: FederationPolicy
    policy: Policy
    overrides: dict[str, list[Target]]
    refused: tuple[Network, ...]
    resolver: tuple[str, ...]
    posh: bool
    dane: bool
    tls: ServerTLS | None


def plan(settings: Settings, common: StreamSettings, tls: TLSProvider | None) -> Plan:
    """Read it; raises `SettingsError`."""
    s2s = settings.s2s
    try:
        between = None if tls is None else ServerTLS(tls, s2s.authorities or None)
    except CertificateProblem as error:
        raise complaint(settings, ("s2s", "authorities"), str(error)) from None
    return Plan(
        tuple(settings.hosts), serverSettings(common, settings), federationPolicy(settings), streamPolicy(settings),
        overrides(settings), refusedNetworks(settings), resolverAddresses(settings), s2s.posh, s2s.dane, between,
    )  # fmt: skip


class Means:
    """What finds other servers and judges them, as one plan has it."""

    def __init__(self, plan: Plan, reactor: Any) -> None:
        self.resolver = makeResolver(reactor, plan.resolver)
        self.finder = Finder(self.resolver, plan.overrides)
        self.dialler = Dialler(reactor, self.resolver, plan.refused)
        posh = POSH(Fetcher(reactor, self.dialler).fetch, reactor.seconds) if plan.posh else None
        self.judge = Judge(posh, DANE(self.resolver) if plan.dane else None)


class FederationService(Service):
    """Listens for other servers, and calls them."""

    name = "s2s"

    def __init__(self, server: XMPPServer) -> None:
        settings, database = server.settings, server.database
        found = plan(settings, server.clients.settings, server.tls)
        if found.tls is None and settings.s2s.tls == "required":
            problem = "there are no certificates, and without them no other server can be reached; see tls.certificates"
            raise complaint(settings, ("s2s", "tls"), problem)
        self._keys = database.keys
        self._router = server.router
        self.federation = Federation(server.router, database.store, server.clock, found.federation)
        self.federation.management = found.policy.management
        self.means = Means(found, server.reactor)
        parts = (self.means.judge, found.policy, found.streams, server.reactor, found.tls, server.clients.writer)
        self.incoming = IncomingFactory(self.federation, *parts)
        self.incoming.defaultHost = found.hosts[0]
        self.incoming.isShort = lambda: server.clients.shedding
        self.outgoing = OutgoingFactory(self.federation, *parts)
        self.connector = Connector(self.means.finder, self.means.dialler, self.outgoing)
        self.federation.connector = self.connector
        direct = settings.listen.s2sTls if found.tls is not None else ()
        self._listening = StreamService(
            self.incoming,
            [serverFromString(server.reactor, text) for text in settings.listen.s2s],
            [serverFromString(server.reactor, text) for text in direct],
        )

    def privilegedStartService(self) -> None:
        """Bind the ports."""
        self._listening.privilegedStartService()

    def startService(self) -> Deferred[None]:
        """Accept and call, once our secret is known."""
        super().startService()  # type: ignore[no-untyped-call]

        def known(secret: bytes) -> Deferred[None] | None:
            if not self.running:
                return None
            self.federation.secret = secret
            self._router.remote = self.federation.route
            return self._listening.startService()

        return self._keys.obtain(KEY, lambda: secrets.token_hex(32).encode()).addCallback(known)

    def stopService(self) -> Deferred[Any]:
        """What waits goes back to its senders; then every stream is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self.federation.settle(SETTLE).addCallback(lambda _: self._stop())

    def _stop(self) -> Deferred[Any]:
        self._router.remote = None
        self.federation.stop()
        limit = self.outgoing.clock.callLater(self.outgoing.settings.closingDeadline, self.outgoing.abandon)

        def done(result: Any) -> Any:
            if limit.active():
                limit.cancel()
            self.means.resolver.stop()
            return result

        stopped = [self._listening.stopService(), self.outgoing.shutDown()]
        return gatherResults(stopped, consumeErrors=True).addBoth(done)

    def apply(self, found: Plan) -> None:
        """A reload: new streams and attempts see the difference."""
        self.federation.use(found.federation)
        self.federation.management = found.policy.management
        self.incoming.defaultHost = found.hosts[0]
        former, self.means = self.means, Means(found, self.outgoing.clock)
        self.connector.finder, self.connector.dialler = self.means.finder, self.means.dialler
        for factory in (self.incoming, self.outgoing):
            factory.refresh(found.streams, found.policy, self.means.judge)
            if factory.tls is not None and found.tls is not None:
                factory.tls.adopt(found.tls)
        # What it is being asked fails, and is asked anew.
        former.resolver.stop()
