"""`IAdministration` over the storage, and over the hosts of a server if one is running."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from zope.interface import implementer

from xmppservice.auth.secrets import BadPassword, makeSecrets
from xmppservice.hub import hooks
from xmppservice.hub.commands import CommandError
from xmppservice.hub.contracts.administration import (
    AccountLine,
    IOpenedAdministration,
    Progress,
    Refusal,
    SchemaLine,
    SessionLine,
)
from xmppservice.hub.contracts.storage import AccountExists, AccountSummary, StorageFailure, StorageRefused
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.subscription import removal
from xmppservice.server.catalogue import ModuleCatalogue, enabledModules
from xmppservice.storage.database import Database
from xmppservice.storage.maintenance import databaseStatus, upgradeDatabase
from xmppservice.storage.upgrades import TableStatus
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.host import VirtualHost
    from xmppservice.settings import Settings

_PAGE = 1000
_IMPORT_BATCH = 200


class StoredAdministration:
    """What works with nothing but the storage: accounts and the database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        runInThread: Callable[..., Deferred[Any]],
    ) -> None:
        self._settings = settings
        self._database = database
        self._runInThread = runInThread

    async def _ready(self) -> None:
        """The storage is open when this is through."""

    def _run(self, action: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        """Do something with the storage; what it could not do becomes a `CommandError`."""

        async def work() -> Any:
            try:
                await self._ready()
                return await action()
            except StorageRefused as error:
                raise CommandError(str(error)) from None
            except StorageFailure as error:
                raise CommandError(f"the storage failed: {error}") from None

        return Deferred.fromCoroutine(work())

    def use(self, settings: Settings) -> None:
        """Work with other settings from now on: they were reloaded."""
        self._settings = settings

    def _domain(self, jid: JID) -> str:
        if jid.domain not in self._settings.hosts:
            known = ", ".join(self._settings.hosts)
            raise CommandError(f"{jid.domain} is no host of this server", f"its hosts are {known}")
        return jid.domain

    async def _find(self, jid: JID) -> int:
        hostId = await self._database.accounts.hostId(self._domain(jid))
        record = await self._database.accounts.secrets(hostId, jid.local)
        if record is None:
            raise CommandError(f"there is no account {jid.bare}", f"those there are: xmppctl user list {jid.domain}")
        return record.id

    async def _secretsOf(self, password: str) -> bytes:
        try:
            stored = await self._runInThread(makeSecrets, password, self._settings.auth.iterations)
        except BadPassword as error:
            raise CommandError(f"the password cannot be used: {error}") from None
        return bytes(stored.encode())

    async def _changed(self, jid: JID, error: StreamError | None, keep: JID | None = None) -> None:
        """An account is another one now; a running server drops what it knows of it."""

    # -- accounts --------------------------------------------------------------------------------

    def createAccount(self, jid: JID, password: str, role: str) -> Deferred[None]:
        """See `IAdministration.createAccount`."""

        async def create() -> None:
            hostId = await self._database.accounts.hostId(self._domain(jid))
            stored = await self._secretsOf(password)
            try:
                await self._database.accounts.create(hostId, jid.local, stored, role)
            except AccountExists:
                raise CommandError(f"there is an account {jid.bare} already") from None
            await self._changed(jid, None)
            await self._created(jid)

        return self._run(create)

    async def _created(self, jid: JID) -> None:
        """An account was made."""

    def importAccounts(self, accounts: Sequence[tuple[JID, str]], progress: Progress) -> Deferred[list[Refusal]]:
        """See `IAdministration.importAccounts`."""
        return self._run(lambda: self._import(accounts, progress))

    async def _import(self, accounts: Sequence[tuple[JID, str]], progress: Progress) -> list[Refusal]:
        refused: list[Refusal] = []
        for start in range(0, len(accounts), _IMPORT_BATCH):
            batch = accounts[start : start + _IMPORT_BATCH]
            byHost: dict[str, list[tuple[JID, str]]] = {}
            for jid, password in batch:
                byHost.setdefault(self._domain(jid), []).append((jid, password))
            for domain, entries in byHost.items():
                refused += await self._importBatch(domain, entries)
            progress(f"{min(start + _IMPORT_BATCH, len(accounts))} of {len(accounts)} accounts")
        return refused

    async def _importBatch(self, domain: str, entries: list[tuple[JID, str]]) -> list[Refusal]:
        hostId = await self._database.accounts.hostId(domain)
        refused: list[Refusal] = []
        fresh: list[tuple[JID, str]] = []
        for jid, password in entries:
            if await self._database.accounts.secrets(hostId, jid.local) is None:
                fresh.append((jid, password))
            else:
                refused.append(Refusal(jid.bare, "exists already"))
        rows: list[tuple[str, bytes]] = []
        made = await self._secretsOfMany([password for _, password in fresh])
        for (jid, _), stored in zip(fresh, made, strict=True):
            if isinstance(stored, str):
                refused.append(Refusal(jid.bare, stored))
            else:
                rows.append((jid.local, stored))
        await self._database.accounts.createMany(hostId, rows)
        for jid, _ in fresh:
            await self._changed(jid, None)
        return refused

    async def _secretsOfMany(self, passwords: list[str]) -> list[bytes | str]:
        """Derive on two cores: this is what an import spends its time with."""
        half = len(passwords) // 2
        parts = [
            self._runInThread(_secretsForMany, part, self._settings.auth.iterations)
            for part in (passwords[:half], passwords[half:])
        ]
        return [entry for part in await gatherResults(parts) for entry in part]

    def setPassword(self, jid: JID, password: str, keep: JID | None = None) -> Deferred[None]:
        """See `IAdministration.setPassword`."""

        async def change() -> None:
            id = await self._find(jid)
            await self._database.accounts.setSecrets(id, await self._secretsOf(password))
            await self._changed(jid, StreamError("reset", "the password was changed"), keep)

        return self._run(change)

    def accounts(self, host: str | None) -> Deferred[list[AccountLine]]:
        """See `IAdministration.accounts`."""

        async def collect() -> list[AccountLine]:
            lines: list[AccountLine] = []
            for domain in sorted(self._settings.hosts) if host is None else [self._domain(JID.parse(host))]:
                hostId = await self._database.accounts.hostId(domain)
                start = ""
                while True:
                    page: Sequence[AccountSummary] = await self._database.accounts.list(hostId, start, _PAGE)
                    lines += [AccountLine(f"{a.local}@{domain}", a.role, a.enabled, a.created) for a in page]
                    if len(page) < _PAGE:
                        break
                    start = page[-1].local
            return lines

        return self._run(collect)

    def setEnabled(self, jid: JID, enabled: bool) -> Deferred[None]:
        """See `IAdministration.setEnabled`."""

        async def change() -> None:
            await self._database.accounts.setEnabled(await self._find(jid), enabled)
            error = None if enabled else StreamError("not-authorized", "the account was disabled")
            await self._changed(jid, error)

        return self._run(change)

    def deleteAccount(self, jid: JID) -> Deferred[None]:
        """See `IAdministration.deleteAccount`."""

        async def delete() -> None:
            id = await self._find(jid)
            await self._deleting(jid)
            await self._database.accounts.delete(id)
            await self._changed(jid, StreamError("not-authorized", "the account was deleted"))

        return self._run(delete)

    async def _deleting(self, jid: JID) -> None:
        """An account is about to be deleted."""

    def setRole(self, jid: JID, role: str) -> Deferred[None]:
        """See `IAdministration.setRole`."""

        async def change() -> None:
            await self._database.accounts.setRole(await self._find(jid), role)
            await self._changed(jid, None)

        return self._run(change)


def _secretsForMany(passwords: Sequence[str], iterations: int) -> list[bytes | str]:
    """Secrets, or the reason why a password cannot be used."""
    made: list[bytes | str] = []
    for password in passwords:
        try:
            made.append(makeSecrets(password, iterations).encode())
        except BadPassword as error:
            made.append(f"password: {error}")
    return made


_RUNNING = CommandError("the server is not running", "start it first")


@implementer(IOpenedAdministration)
class OfflineAdministration(StoredAdministration):
    """For the command line with the server stopped; opens the database when it is first needed."""

    def __init__(
        self, settings: Settings, tables: Sequence[str], reactor: Any, runInThread: Callable[..., Deferred[Any]]
    ) -> None:
        super().__init__(settings, Database(settings.database.url, settings.data, reactor, tables), runInThread)
        self._tables = tables
        self._opened = False

    async def _ready(self) -> None:
        if not self._opened:
            # Opening brings the tables up to date, as a start of the server does.
            await self._database.startService()
            self._opened = True

    def databaseStatus(self) -> Deferred[list[SchemaLine]]:
        """See `IAdministration.databaseStatus`: a look that changes nothing."""
        return self._blocking(databaseStatus)

    def databaseUpgrade(self, progress: Progress) -> Deferred[list[str]]:
        """See `IAdministration.databaseUpgrade`."""
        return self._blocking(upgradeDatabase).addCallback(
            lambda lines: [f"{line.part}: version {line.wanted}" for line in lines]
        )

    def _blocking(self, function: Callable[..., list[TableStatus]]) -> Deferred[list[SchemaLine]]:
        """Maintenance needs the database for itself, and nobody waits for this process but its caller."""
        try:
            found = function(self._settings.data, self._tables)
        except StorageRefused as error:
            return fail(CommandError(str(error)))
        return succeed([SchemaLine(entry.name, entry.current, entry.wanted) for entry in found])

    def sessions(self, host: str | None) -> Deferred[list[SessionLine]]:
        """See `IAdministration.sessions`."""
        return fail(_RUNNING)

    def kick(self, jid: JID) -> Deferred[int]:
        """See `IAdministration.kick`."""
        return fail(_RUNNING)

    def status(self) -> Deferred[list[tuple[str, str]]]:
        """See `IAdministration.status`."""
        return fail(_RUNNING)

    def reload(self) -> Deferred[list[str]]:
        """See `IAdministration.reload`."""
        return fail(_RUNNING)

    def close(self) -> Deferred[None]:
        """See `IOpenedAdministration.close`."""
        return self._database.stopService() if self._opened else succeed(None)


def openAdministration(
    settings: Settings, catalogue: ModuleCatalogue, reactor: Any, runInThread: Callable[..., Deferred[Any]]
) -> Deferred[OfflineAdministration]:
    """The administration of a server that is stopped; errbacks `CommandError`."""
    if settings.inMemory:
        return fail(CommandError("the database is in memory only", "start the server, then do it while it runs"))
    tables = catalogue.tables(enabledModules(settings))
    return succeed(OfflineAdministration(settings, tables, reactor, runInThread))


class RunningAdministration(StoredAdministration):
    """Beside the storage there are hosts with accounts in memory and sessions.

    `hosts` finds a running host, `forget` drops a host's remembered credentials.
    """

    hosts: Callable[[str], VirtualHost | None]
    allHosts: Callable[[], Sequence[VirtualHost]]
    forget: Callable[[JID], None]

    def databaseStatus(self) -> Deferred[list[SchemaLine]]:
        """See `IAdministration.databaseStatus`."""
        lines = [SchemaLine(entry.name, entry.current, entry.wanted) for entry in self._database.status()]
        return succeed(lines)

    def databaseUpgrade(self, progress: Progress) -> Deferred[list[str]]:
        """See `IAdministration.databaseUpgrade`: the start has done it already."""
        return succeed([f"{e.name}: version {e.current}" for e in self._database.status()])

    async def _changed(self, jid: JID, error: StreamError | None, keep: JID | None = None) -> None:
        self.forget(jid)
        host = self.hosts(jid.domain)
        if host is None:
            return
        account = host.accounts.known.get(jid.local)
        if error is not None and account is not None:
            account.disconnect(error, keep)
            if not account.sessions:
                host.accounts.forget(jid.local)
        elif account is None:
            host.accounts.forget(jid.local)
        else:
            host.reloadFacts(account)

    async def _created(self, jid: JID) -> None:
        host = self.hosts(jid.domain)
        account = None if host is None else await host.account(jid.local)
        if host is not None and account is not None:
            host.fire(hooks.account.created, account)

    async def _deleting(self, jid: JID) -> None:
        """Contacts learn that the subscriptions are over (XEP-0077 section 3.2), modules that it ends."""
        host = self.hosts(jid.domain)
        account = None if host is None else await host.account(jid.local)
        if host is None or account is None:
            return
        account.disconnect(StreamError("not-authorized", "the account was deleted"))
        for contact, state in list(account.roster.items()):
            for type in removal(state):
                attrs = {"from": account.jid.bare, "to": contact, "type": type, "id": secrets.token_hex(6)}
                host.send(Element(ns.CLIENT, "presence", attrs))
        host.fire(hooks.account.deleted, account)

    def sessions(self, host: str | None) -> Deferred[list[SessionLine]]:
        """See `IAdministration.sessions`."""
        lines = []
        for running in self.allHosts():
            if host is None or running.name == host:
                for session in running.sessions():
                    stream = session.stream
                    state = "away" if stream is None else "online" if session.available else "connected"
                    peer, secure = ("", False) if stream is None else (stream.peer, stream.secure)
                    lines.append(SessionLine(session.jid.full, peer, secure, session.since, state))
        return succeed(sorted(lines))

    def kick(self, jid: JID) -> Deferred[int]:
        """See `IAdministration.kick`."""
        host = self.hosts(jid.domain)
        account = None if host is None else host.accounts.known.get(jid.local)
        chosen = [] if account is None else list(account.sessions.values())
        if jid.resource:
            chosen = [session for session in chosen if session.resource == jid.resource]
        for session in chosen:
            session.disconnect(StreamError("policy-violation", "closed by the administrator"))
        return succeed(len(chosen))
