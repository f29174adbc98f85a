"""`XMPPServer`: the tree of services of one server, made from checked settings.

telemetry · database · hosts · control · edges · systemd, started in this order and stopped in
reverse. A reload checks everything first: what cannot be used leaves the server as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.auth.throttle import Throttle
from xmppservice.ctl.server import ControlService
from xmppservice.edge.c2s import C2SFactory, C2SService
from xmppservice.edge.certificates import CertificateProblem, makeDevelopmentCertificate
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import Catalogue, CommandError
from xmppservice.hub.contracts.administration import IAdministration
from xmppservice.hub.host import Services, VirtualHost
from xmppservice.hub.loader import ModuleError
from xmppservice.hub.module import HostModule
from xmppservice.hub.router import Router
from xmppservice.hub.service import ServiceTree
from xmppservice.hub.telemetry import Telemetry
from xmppservice.protocol.jid import JID
from xmppservice.server.administration import RunningAdministration
from xmppservice.server.catalogue import ModuleCatalogue
from xmppservice.server.clock import SystemClock
from xmppservice.server.hosts import HostContext, HostService
from xmppservice.settings import Settings, SettingsError
from xmppservice.storage.database import Database
from xmppservice.systemd import Notifier
from xmppservice.wire.limits import Limits

log = Logger()

#: Seconds that stopping everything may take (the promise to operators is ten in all).
DRAIN = 8.0


def streamSettings(settings: Settings) -> StreamSettings:
    """What the edge needs of the configuration."""
    limits = settings.limits
    return StreamSettings(
        enabled=limits.enabled,
        tls=settings.tls.policy,
        preAuth=Limits(
            stanzaBytes=limits.preAuthBytes, elements=limits.preAuthElements, depth=min(16, limits.depth),
            attributes=min(32, limits.attributes), token=limits.preAuthBytes, totalBytes=limits.preAuthTotal,
            declarations=32,
        ),
        authenticated=Limits(
            stanzaBytes=limits.stanzaBytes, elements=limits.stanzaElements, depth=limits.depth,
            attributes=limits.attributes, token=limits.tokenBytes,
        ),
        authenticationDeadline=limits.authTime,
        tries=settings.auth.tries,
        silence=limits.silence,
        silenceAnswer=limits.pingTime,
        outgoing=limits.queue,
        perAddress=limits.perAddress,
        unauthenticated=limits.unauthenticated,
        mechanisms=frozenset(settings.mechanisms),
    )  # fmt: skip


def certificatesFor(settings: Settings) -> list[str]:
    """The hosts that have a certificate; where the settings allow, those missing are made.

    Raises `SettingsError` for a host that must have one and has not.
    """
    folder = settings.tls.certificates
    missing = [host for host in settings.hosts if not os.path.exists(os.path.join(folder, f"{host}.crt"))]
    if missing and settings.tls.developmentCertificates:
        makeDevelopmentCertificate(folder, missing)
        missing = []
    if missing and settings.tls.policy == "required":
        host = missing[0]
        raise SettingsError(
            f"tls.certificates: {folder} has no {host}.crt and {host}.key; "
            f"mend it: xmppctl init --domain {host} makes a development certificate"
        )
    return [host for host in settings.hosts if host not in missing]


def makeTLS(settings: Settings) -> TLSProvider | None:
    """The certificates of all hosts, or None if there are none and none are needed."""
    hosts = certificatesFor(settings)
    if not hosts:
        return None
    authorities = settings.tls.clientCertificates or None
    try:
        return TLSProvider(settings.tls.certificates, hosts, authorities is not None, authorities)
    except CertificateProblem as error:
        raise SettingsError(f"tls.certificates: {error}") from None


class XMPPServer(ServiceTree):
    """The root of the tree.

    `read` reads the configuration again, for reloads; `stockCheckers` are those of ``--auth``.
    Raises `SettingsError` and `ModuleError` at once for what is wrong before anything starts.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: ModuleCatalogue,
        reactor: Any,
        read: Callable[[], Settings] | None = None,
        stockCheckers: Sequence[ICredentialsChecker] = (),
        onFailedStart: Callable[[Failure], None] | None = None,
    ) -> None:
        super().__init__("xmppservice", reactor, DRAIN, onFailedStart)
        self.settings = settings
        self.catalogue = catalogue
        self.loader = catalogue.loader
        self.reactor = reactor
        self.clock = SystemClock(reactor)
        self.router = Router()
        self.commands = Catalogue()
        self._read = read
        self._whenStarted: list[Callable[[], object]] = []
        self.loader.optionsOf = lambda host, name, kind: self.settings.hosts[host].of(name, kind.Options)
        self.loader.onChange(self._moduleChanged)
        self.tls = makeTLS(settings)
        self.telemetry = Telemetry(reactor)
        self.telemetry.addGauge("streams", "Client streams.", lambda: len(self.c2s.factory.streams))
        self.telemetry.addGauge("sessions", "Bound sessions, hibernating ones included.", self._countSessions)
        self.telemetry.addGauge("backlog", "Rows that wait for their commit.", lambda: self.database.store.backlog)
        self.database = Database(settings.database.url, settings.data, reactor, catalogue.tables())
        self.administration: IAdministration = self._makeAdministration()
        self.commands.add(AdministrationCommands(self.administration))
        self.throttle = Throttle(reactor.seconds) if settings.limits.enabled else None
        self._stockCheckers = stockCheckers
        self.hosts = ServiceTree("hosts")
        self.c2s = self._makeC2S()
        self.notifier = Notifier(os.environ, reactor, self.summary)
        control = ControlService(settings.controlSocket, self.commands, reactor)
        for service in (self.telemetry, self.database, self.hosts, control, self.c2s, self.notifier):
            service.setServiceParent(self)  # type: ignore[no-untyped-call]

    # -- parts -----------------------------------------------------------------------------------

    def _makeAdministration(self) -> ServerAdministration:
        administration = ServerAdministration(self.settings, self.database, self.runInThread)
        administration.server = self
        administration.hosts = self.router.hosts.get
        administration.allHosts = lambda: list(self.router.hosts.values())
        administration.forget = self._forgetCredentials
        return administration

    def _makeC2S(self) -> C2SService:
        settings = self.settings
        default = next(iter(settings.hosts))
        factory = C2SFactory(self.router.hosts.get, default, streamSettings(settings), self.reactor, self.tls)
        direct = settings.listen.c2sTls if self.tls is not None else ()
        return C2SService(
            factory,
            [serverFromString(self.reactor, text) for text in settings.listen.c2s],
            [serverFromString(self.reactor, text) for text in direct],
        )

    def runInThread(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run a costly function in the reactor's threads."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function, *args)

    def _services(self) -> Services:
        database = self.database
        return Services(
            self.clock, self.router, database.store, database.accounts, database.rosters,
            database.blocks, database.spool, database.offline,
        )  # fmt: skip

    def _context(self) -> HostContext:
        return HostContext(
            self._services(), self.database.keys, self.loader, self.runInThread, self.throttle, self._stockCheckers
        )

    def _hostService(self, settings: Settings, domain: str) -> HostService:
        return HostService(settings, settings.hosts[domain], self._context(), self.administration)

    def _forgetCredentials(self, jid: JID) -> None:
        service = self.hostService(jid.domain)
        if service is not None and service.records is not None:
            service.records.forget(jid.local)

    def hostService(self, domain: str) -> HostService | None:
        """The service of a virtual host."""
        for service in self.hosts:
            if isinstance(service, HostService) and service.name == domain:
                return service
        return None

    def _moduleChanged(self, host: VirtualHost, module: HostModule, attached: bool) -> None:
        """A module's commands come and go with it."""
        if attached:
            self.commands.add(module, host.name)
        else:
            self.commands.remove(module, host.name)

    def startService(self) -> Deferred[None]:
        """Start everything, in order; what had been started is stopped if something fails."""
        if not list(self.hosts):
            for domain in self.settings.hosts:
                self._hostService(self.settings, domain).setServiceParent(self.hosts)  # type: ignore[no-untyped-call]
        for warning in self.settings.warnings:
            log.warn("{warning}", warning=warning)
        return super().startService().addCallback(self._allStarted)

    def onStarted(self, action: Callable[[], object]) -> None:
        """Call `action` once, when everything runs."""
        self._whenStarted.append(action)

    def _allStarted(self, result: None) -> None:
        if self.running:
            actions, self._whenStarted = self._whenStarted, []
            for action in actions:
                action()

    def _countSessions(self) -> int:
        return sum(len(host.sessions()) for host in self.router.hosts.values())

    def summary(self) -> str:
        """One line for ``systemctl status``."""
        streams = len(self.c2s.factory.streams)
        return f"{len(self.router.hosts)} hosts, {streams} streams, {self._countSessions()} sessions"

    # -- reload ----------------------------------------------------------------------------------

    def reload(self) -> Deferred[list[str]]:
        """Read configuration and certificates again; errbacks `CommandError` and changes nothing
        if they cannot be used."""
        self.notifier.reloading()
        result = Deferred.fromCoroutine(self._reload())

        def refused(failure: Failure) -> Failure:
            log.error("the reload was refused: {error}", error=str(failure.value))
            self.notifier.reloaded(str(failure.value))
            return failure

        def done(lines: list[str]) -> list[str]:
            log.info("configuration and certificates were read again")
            self.notifier.reloaded()
            return lines

        return result.addCallbacks(done, refused)

    async def _reload(self) -> list[str]:
        try:
            fresh = self.settings if self._read is None else self._read()
            names = certificatesFor(fresh)
            if self.tls is not None:
                self.tls.reload(names)
        except (SettingsError, CertificateProblem, ModuleError) as error:
            raise CommandError(f"nothing was changed: {error}") from None
        differences = self.settings.differences(fresh)
        kept = {name: getattr(self.settings, name) for name in ("data", "database", "listen")}
        before, self.settings = self.settings, attrs.evolve(fresh, **kept)
        lines = ["certificates read again"]
        self.c2s.factory.refresh(streamSettings(self.settings))
        try:
            lines += await self._applyHosts(before)
        except ModuleError as error:
            raise CommandError(f"the reload stopped half-way: {error}", "mend it and reload again") from None
        lines += [f"{key} changed" for key in differences.runtime]
        lines += [f"{key} changed; it needs a restart" for key in differences.restart]
        return lines

    async def _applyHosts(self, before: Settings) -> list[str]:
        lines: list[str] = []
        for domain in [domain for domain in before.hosts if domain not in self.settings.hosts]:
            service = self.hostService(domain)
            if service is not None:
                await self.hosts.removeService(service)
                lines.append(f"{domain}: stopped")
        for domain, host in self.settings.hosts.items():
            service = self.hostService(domain)
            if service is None:
                await self.hosts.attach(self._hostService(self.settings, domain))
                lines.append(f"{domain}: started")
            else:
                lines += service.apply(self.settings, host)
        return lines


@implementer(IAdministration)
class ServerAdministration(RunningAdministration):
    """The administration of the server that runs in this process."""

    server: XMPPServer

    def status(self) -> Deferred[list[tuple[str, str]]]:
        """See `IAdministration.status`."""
        server = self.server
        figures = server.telemetry
        lines = [("hosts", ", ".join(server.router.hosts)), ("uptime", f"{figures.uptime:.0f} s")]
        sessions = [session for host in server.router.hosts.values() for session in host.sessions()]
        lines += [
            ("streams", str(len(server.c2s.factory.streams))),
            ("sessions", str(len(sessions))),
            ("hibernating sessions", str(sum(session.stream is None for session in sessions))),
            ("rows waiting for commit", str(server.database.store.backlog)),
            ("reactor lag", f"{figures.lag.last * 1000:.1f} ms, at most {figures.lag.highest * 1000:.1f} ms"),
        ]
        return succeed(lines)

    def reload(self) -> Deferred[list[str]]:
        """See `IAdministration.reload`."""
        return self.server.reload()
