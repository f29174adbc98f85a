"""A server without sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.plugin import getPlugins
from twisted.python.failure import Failure

from xmppservice import plugins
from xmppservice.hub.account import Account
from xmppservice.hub.host import Services, VirtualHost
from xmppservice.hub.loader import Loader
from xmppservice.hub.module import IModuleMaker
from xmppservice.hub.options import parseOptions
from xmppservice.hub.router import Router
from xmppservice.hub.telemetry import Telemetry
from xmppservice.protocol.jid import JID
from xmppservice.storage.database import Database
from xmppservice.testing.client import MemoryClient, MemoryStream
from xmppservice.testing.clock import MemoryClock


class MemoryServer:
    """One or more virtual hosts with real storage in memory, in virtual time.

    `modules` are names as the configuration has them, or dotted paths; `options` maps a module's
    name to a table as the configuration would have it; `domains` are the hosts, the first of
    which is `host`. Accounts come into being when a client logs in as them.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        domains: Sequence[str] = ("localhost",),
        clock: MemoryClock | None = None,
    ) -> None:
        self.clock = clock or MemoryClock()
        self.router = Router()
        self.telemetry = Telemetry(self.clock)
        tables = options or {}
        self.loader = Loader(
            getPlugins(IModuleMaker, plugins),
            lambda host, name, kind: parseOptions(kind.Options, tables.get(name, {}), ("modules", name)),
        )
        declared = [self.loader.moduleClass(name).tables for name in modules]
        self.database = Database(
            "sqlite-memory", "", self.clock, [path for path in declared if path], now=self.clock.now
        )
        result(self.database.startService())
        self.hosts = {domain: self._makeHost(domain, modules) for domain in domains}
        self.host = self.hosts[domains[0]]

    def _makeHost(self, domain: str, modules: Sequence[str]) -> VirtualHost:
        database = self.database
        services = Services(
            self.clock, self.router, database.store, database.accounts, database.rosters,
            database.blocks, database.spool, database.offline,
            figures=self.telemetry.figures, traffic=self.telemetry.traffic,
        )  # fmt: skip
        host = VirtualHost(domain, result(database.accounts.hostId(domain)), services)
        self.loader.attach(host, modules)
        self.router.addHost(host)
        return host

    def module(self, name: str, domain: str | None = None) -> Any:
        """An attached module."""
        return (self.host if domain is None else self.hosts[domain]).modules[name]

    def account(self, address: str) -> Account:
        """The account of an address ("alice" means alice at the first host); made if there is none."""
        jid = self._jid(address)
        host = self.hosts[jid.domain]
        found: Account | None = result(host.account(jid.local))
        if found is None:
            result(self.database.accounts.create(host.id, jid.local, b"{}"))
            host.accounts.forget(jid.local)
            found = result(host.account(jid.local))
        assert found is not None
        return found

    def _jid(self, address: str) -> JID:
        local, slash, resource = address.partition("/")
        return JID.parse((local if "@" in local else f"{local}@{self.host.name}") + slash + resource)

    def client(self, address: str, available: bool = False) -> MemoryClient:
        """Log in: "alice/phone", or a whole full JID; with `available` presence is sent too."""
        jid = self._jid(address)
        stream = MemoryStream()
        session = result(self.account(jid.bare).bind(stream, jid.resource or None))
        client = MemoryClient(session, stream)
        if available:
            client.available()
            client.take()
        return client

    def befriend(self, one: str, other: str) -> None:
        """Give two accounts a subscription in both directions, without any stanza."""
        first, second = self.account(one), self.account(other)
        for account, contact in ((first, second), (second, first)):
            account.setState(contact.jid.bare, 32 | 1 | 2)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def stop(self) -> None:
        """End all sessions and close the storage."""
        for host in self.hosts.values():
            host.stop()
        result(self.database.stopService())


def result(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has fired already; raises what it failed with."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if not found:
        raise AssertionError(f"nothing has come of {deferred!r} yet")
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
