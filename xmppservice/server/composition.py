"""`XMPPServer`: the tree of services of one server, made from checked settings.

telemetry · observation · database · hosts · control · metrics · edges · systemd, started in this order and stopped
in reverse. `reloading` changes all that while it runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.auth.throttle import Throttle
from xmppservice.ctl.server import ControlService
from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.component import ComponentFactory
from xmppservice.edge.service import StreamService
from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import Catalogue
from xmppservice.hub.componentcommands import ComponentCommands
from xmppservice.hub.contracts.administration import IAdministration
from xmppservice.hub.federation.commands import FederationCommands
from xmppservice.hub.host import Services, VirtualHost
from xmppservice.hub.loader import ModuleError
from xmppservice.hub.module import HostModule
from xmppservice.hub.modulecommands import ModuleCommands
from xmppservice.hub.router import Router
from xmppservice.hub.service import ServiceTree
from xmppservice.hub.telemetry import Telemetry
from xmppservice.protocol.jid import JID
from xmppservice.server.administration import RunningAdministration
from xmppservice.server.catalogue import ModuleCatalogue, enabledModules
from xmppservice.server.clock import SystemClock
from xmppservice.server.edges import componentSettings, makeTLS, streamSettings
from xmppservice.server.enrolment import settingsWith
from xmppservice.server.federationfigures import otherServers
from xmppservice.server.hosts import HostContext, HostService
from xmppservice.server.logs import Lines
from xmppservice.server.observing import Observation
from xmppservice.server.ports import Ports, listeners, readSecrets
from xmppservice.server.reloading import Reload
from xmppservice.server.rights import readRights
from xmppservice.settings import Settings
from xmppservice.storage.database import Database
from xmppservice.systemd import Notifier

if TYPE_CHECKING:
    from xmppservice.server.federation import FederationService

log = Logger()

#: Seconds that stopping everything may take (the promise to operators is ten in all).
DRAIN = 8.0


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
        self.settings = settings = settingsWith(settings, stockCheckers)
        #: What writes our log, if somebody gave it to us: it follows the settings.
        self.lines: Lines | None = None
        self.catalogue = catalogue
        self.loader = catalogue.loader
        self.reactor = reactor
        self.clock = SystemClock(reactor)
        self.router = Router()
        self.commands = Catalogue()
        self._read = read
        self._reloading = DeferredLock()
        self._whenStarted: list[Callable[[], object]] = []
        self.loader.optionsOf = self._optionsOf
        self.loader.onChange(self._moduleChanged)
        self.tls = makeTLS(settings)
        self.telemetry = Telemetry(reactor)
        self._tables = catalogue.tables(enabledModules(settings))
        self.database = Database(settings.database.url, settings.data, reactor, self._tables)
        self.administration = self._makeAdministration()
        self.commands.add(AdministrationCommands(self.administration))
        self.commands.add(ModuleCommands(self.loader, self.router.hosts.values))
        self.throttle = Throttle(reactor.seconds)
        self._stockCheckers = stockCheckers
        self.hosts = ServiceTree("hosts")
        default = next(iter(settings.hosts))
        self.clients = C2SFactory(self.router.hosts.get, default, streamSettings(settings), reactor, self.tls)
        self.clients.writer.onPass = self.database.listen
        self.c2s = self._makeC2S()
        self.ports = Ports(self.router)
        self.ports.apply(readSecrets(settings), readRights(settings))
        self.commands.add(ComponentCommands(self.ports))
        edges = (*self._makeComponents(), self.c2s, *self._makeFederation())
        self.notifier = Notifier(os.environ, reactor, self.summary)
        control = ControlService(settings.controlSocket, self.commands, reactor)
        observation = Observation(self)
        parts = (self.telemetry, observation, self.database, self.hosts, control, *self._makeMetrics(), *edges)
        for service in (*parts, self.notifier):
            service.setServiceParent(self)

    # -- parts -----------------------------------------------------------------------------------

    def _makeAdministration(self) -> ServerAdministration:
        administration = ServerAdministration(self.settings, self.database, self.runInThread)
        administration.server = self
        administration.hosts = self.router.hosts.get
        administration.allHosts = lambda: list(self.router.hosts.values())
        administration.forget = self._forgetCredentials
        return administration

    def _makeC2S(self) -> StreamService:
        settings = self.settings
        direct = settings.listen.c2sTls if self.tls is not None else ()
        return StreamService(
            self.clients,
            [serverFromString(self.reactor, text) for text in settings.listen.c2s],
            [serverFromString(self.reactor, text) for text in direct],
        )

    def _makeComponents(self) -> list[Service]:
        """The listener for components, none where no component is expected."""
        settings = self.settings
        endpoints = [serverFromString(self.reactor, text) for text in listeners(settings)]
        default = next(iter(settings.hosts))
        self.components = ComponentFactory(
            self.ports.seatFor, default, componentSettings(self.clients.settings), self.reactor, self.clients.writer
        )
        return [StreamService(self.components, endpoints, name="component")] if endpoints else []

    def _makeFederation(self) -> list[Service]:
        """What talks to other servers, where the configuration wants that."""
        self.federation: FederationService | None = None
        if not self.settings.federates:
            self.commands.add(FederationCommands(None))
            return []
        # Imported here: a server that talks to no other needs nothing of that.
        from xmppservice.server.federation import FederationService

        self.federation = FederationService(self)
        self.commands.add(FederationCommands(self.federation.federation))
        return [self.federation]

    def _makeMetrics(self) -> list[Service]:
        """The page for monitoring, where the configuration wants one."""
        wanted = self.settings.listen.metrics
        if not wanted:
            return []
        # Imported here: a server without the page needs nothing of the web.
        from xmppservice.server.metrics import MetricsService

        endpoints = [serverFromString(self.reactor, text) for text in wanted]
        return [MetricsService(self.telemetry.figures, endpoints, self.reactor)]

    def runInThread(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run a costly function in the reactor's threads."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function, *args)

    def _services(self) -> Services:
        database = self.database
        return Services(
            self.clock, self.router, database.store, database.accounts, database.rosters,
            database.blocks, database.spool, database.offline,
            figures=self.telemetry.figures, traffic=self.telemetry.traffic,
        )  # fmt: skip

    def _context(self) -> HostContext:
        return HostContext(
            self._services(), self.database.keys, self.loader, self.runInThread, self.throttle, self._stockCheckers
        )

    def makeHost(self, settings: Settings, domain: str) -> HostService:
        """A service for one of the hosts of `settings`."""
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

    def _optionsOf(self, host: str, name: str, kind: type[HostModule]) -> Any:
        service = self.hostService(host)
        assert service is not None
        return service.optionsOf(name, kind)

    def _moduleChanged(self, host: VirtualHost, module: HostModule, attached: bool) -> None:
        """A module's commands come and go with it. The database is open, so that no tables can come."""
        if attached and module.tables and module.tables not in self._tables:
            raise ModuleError(f"it has tables of its own ({module.tables}): enable it and restart the server")
        if attached:
            self.commands.add(module, host.name)
        else:
            self.commands.remove(module, host.name)

    def startService(self) -> Deferred[None]:
        """Start everything, in order; what had been started is stopped if something fails."""
        if not list(self.hosts):
            for domain in self.settings.hosts:
                self.makeHost(self.settings, domain).setServiceParent(self.hosts)  # type: ignore[no-untyped-call]
        for warning in self.settings.warnings:
            log.warn("{warning}", warning=warning)
        return super().startService().addCallback(self._allStarted)

    def useLog(self, lines: Lines) -> None:
        """Have the log follow ``[log]`` of the configuration, now and after each reload."""
        self.lines = lines
        lines.configure(self.settings.log.format, self.settings.log.level)

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
        streams = len(self.clients.streams)
        return f"{len(self.router.hosts)} hosts, {streams} streams, {self._countSessions()} sessions"

    # -- reload ----------------------------------------------------------------------------------

    def reload(self) -> Deferred[list[str]]:
        """Read configuration and certificates again; errbacks `CommandError` and changes nothing
        if they cannot be used. One reload waits for another."""
        return self._reloading.run(self._reloadNow)

    def _reloadNow(self) -> Deferred[list[str]]:
        self.notifier.reloading()
        result = Deferred.fromCoroutine(Reload(self).run())

        def refused(failure: Failure) -> Failure:
            log.error("the reload was refused: {error}", error=str(failure.value))
            self.notifier.reloaded(str(failure.value))
            return failure

        def done(lines: list[str]) -> list[str]:
            log.info("the configuration was read again: {lines}", lines="; ".join(lines))
            self.notifier.reloaded()
            return lines

        return result.addCallbacks(done, refused)

    def read(self) -> Settings:
        """The configuration as it is now; raises `SettingsError` or `ModuleError`."""
        return self.settings if self._read is None else settingsWith(self._read(), self._stockCheckers)


@implementer(IAdministration)
class ServerAdministration(RunningAdministration):
    """The administration of the server that runs in this process."""

    server: XMPPServer

    def status(self) -> Deferred[list[tuple[str, str]]]:
        """See `IAdministration.status`."""
        server = self.server
        figures = server.telemetry

        def value(name: str, **labels: str) -> str:
            return f"{figures.figures.value(f'xmppservice_{name}', **labels):.0f}"

        lines = [("hosts", ", ".join(server.router.hosts)), ("uptime", f"{figures.uptime:.0f} s")]
        sessions = [session for host in server.router.hosts.values() for session in host.sessions()]
        lines += [
            ("streams", str(len(server.clients.streams))),
            ("sessions", str(len(sessions))),
            ("hibernating sessions", str(sum(session.stream is None for session in sessions))),
            ("stanzas from clients", value("stanzas_total", direction="in")),
            ("stanzas to clients", value("stanzas_total", direction="out")),
            ("other servers", otherServers(server.federation)),
            ("logins", f"{value('logins_total', result='ok')} of {value('logins_total')} attempts"),
            ("streams slowed down", f"{value('throttled_total')} times"),
            ("refused connections", value("refused_connections_total")),
            ("short of memory", "yes, new work is refused" if server.c2s.factory.shedding else "no"),
            ("tracebacks in the log", value("tracebacks_total")),
            ("rows waiting for commit", str(server.database.store.backlog)),
            ("reactor lag", f"{figures.lag.last * 1000:.1f} ms, at most {figures.lag.highest * 1000:.1f} ms"),
        ]
        return succeed(lines)

    def reload(self) -> Deferred[list[str]]:
        """See `IAdministration.reload`."""
        return self.server.reload()
