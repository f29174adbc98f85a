"""One reload: everything is read and checked before anything changes, and what fails later is undone.

Theory of operation. First comes all that can be judged without the running server: the files, the modules
(imported, with their options), the certificates. Then what can still fail: hosts that are new are started,
those that stay exchange their modules, each in one step. If one of them cannot, those before it go
back. Only then the rest follows, which cannot fail: certificates, limits and policy for new streams, and the end of
hosts that are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.logger import Logger

from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.hub.commands import CommandError
from xmppservice.hub.loader import ModuleError
from xmppservice.server.edges import componentSettings, makeTLS, streamSettings
from xmppservice.server.hosts import HostService
from xmppservice.server.ports import listeners, readSecrets
from xmppservice.server.rights import readRights
from xmppservice.settings import HostSettings, Settings, SettingsError

if TYPE_CHECKING:
    from xmppservice.server.composition import XMPPServer
    from xmppservice.server.federation import Plan

log = Logger()

#: What the running server keeps whatever the file says.
_FIXED = ("data", "database", "listen")


class Reload:
    """Reads the configuration of `server` again and applies it."""

    def __init__(self, server: XMPPServer) -> None:
        self._server = server
        self._before = server.settings
        self._started: list[HostService] = []
        self._changed: list[tuple[HostService, Settings, HostSettings]] = []

    async def run(self) -> list[str]:
        """Do it; returns lines on what changed, raises `CommandError` with everything as it was."""
        server = self._server
        try:
            read = server.read()
            settings = attrs.evolve(read, **{name: getattr(self._before, name) for name in _FIXED})
            edge, tls = streamSettings(settings), makeTLS(settings)
            components, rights = readSecrets(settings), readRights(settings)
            federation = self._planFederation(settings, edge, tls)
        except (SettingsError, ModuleError) as error:
            raise _refusal(error) from None
        try:
            lines = await self._applyHosts(settings)
        except Exception as error:
            await self._undo()
            raise _refusal(error) from error
        self._applyEdge(settings, edge, tls)
        server.ports.apply(components, rights)
        if server.federation is not None and federation is not None:
            server.federation.apply(federation)
        server.administration.use(settings)
        lines += await self._removeHosts(settings)
        differences = self._before.differences(read)
        server.settings = settings
        if server.lines is not None:
            server.useLog(server.lines)
        lines += [f"{key} changed" for key in differences.runtime if not key.startswith("hosts.")]
        lines += [f"{key} changed; it needs a restart" for key in differences.restart]
        if listeners(settings) and not listeners(self._before):
            lines.append("there are components now; their listener needs a restart")
        if tls is not None and server.tls is None and settings.listen.c2sTls:
            lines.append("there are certificates now; the listeners with direct TLS need a restart")
        return ["certificates read again", *lines]

    def _planFederation(self, settings: Settings, edge: StreamSettings, tls: TLSProvider | None) -> Plan | None:
        """What the settings say of other servers, if we talk to any."""
        if self._server.federation is None:
            return None
        from xmppservice.server.federation import plan

        return plan(settings, edge, tls)

    async def _applyHosts(self, settings: Settings) -> list[str]:
        server, lines = self._server, []
        for domain, host in settings.hosts.items():
            service = server.hostService(domain)
            if service is None:
                service = server.makeHost(settings, domain)
                await server.hosts.attach(service)
                self._started.append(service)
                lines.append(f"{domain}: started")
            else:
                former = (service, service.settings, service.hostSettings)
                lines += service.apply(settings, host)
                self._changed.append(former)
        return lines

    async def _undo(self) -> None:
        """Back to what was, as far as the modules let us."""
        for service in self._started:
            await self._server.hosts.removeService(service)
        for service, settings, host in reversed(self._changed):
            try:
                service.apply(settings, host)
            except ModuleError:
                log.failure("{host} cannot go back to its former modules", host=service.name)

    def _applyEdge(self, settings: Settings, edge: StreamSettings, tls: TLSProvider | None) -> None:
        """New streams get the new certificates, limits and policy; those that are up keep theirs."""
        factory = self._server.clients
        if tls is not None and factory.tls is not None:
            factory.tls.adopt(tls)
        elif tls is not None:
            factory.tls = tls
        factory.defaultHost = next(iter(settings.hosts))
        factory.refresh(edge)
        self._server.components.refresh(componentSettings(edge), factory.defaultHost)

    async def _removeHosts(self, settings: Settings) -> list[str]:
        lines = []
        for domain in [domain for domain in self._before.hosts if domain not in settings.hosts]:
            service = self._server.hostService(domain)
            if service is not None:
                await self._server.hosts.removeService(service)
                if self._server.federation is not None:
                    self._server.federation.federation.dropLocal(domain)
                lines.append(f"{domain}: stopped")
        return lines


def _refusal(error: Exception) -> CommandError:
    return CommandError(f"nothing was changed: {error}")
