"""Virtual hosts as services: storage ids, modules, portals."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
from twisted.application.service import Service
from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.auth.checkers import CertificateChecker, PasswordChecker, ScramChecker
from xmppservice.auth.keyring import Keyring
from xmppservice.auth.portal import portalFor
from xmppservice.auth.realm import Realm
from xmppservice.auth.recent import RecentRecords
from xmppservice.hub import hooks
from xmppservice.hub.account import Account
from xmppservice.hub.contracts.administration import IAdministration
from xmppservice.hub.contracts.auth import ICredentialStore, IThrottle, StoredRecord
from xmppservice.hub.contracts.storage import AccountRecord, AccountSecrets, IAccounts, IKeys
from xmppservice.hub.contracts.stream import IAccount
from xmppservice.hub.host import Services, VirtualHost
from xmppservice.hub.loader import Loader, ModuleError
from xmppservice.hub.module import HostModule
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.jid import JID
from xmppservice.server.enrolment import Enrolment
from xmppservice.settings import HostSettings, Settings

log = Logger()

#: Seconds that a stopping host waits for accounts that are being read.
STOP_PATIENCE = 2.0

_NOBODY = AccountSecrets(0, b"", False)

#: Runs a function in a thread, as `deferToThread` does.
Runner = Callable[..., "Deferred[Any]"]


@implementer(ICredentialStore)
class HostCredentials:
    """The stored secrets of one host's accounts."""

    def __init__(self, accounts: IAccounts, hostId: int) -> None:
        self._accounts = accounts
        self._hostId = hostId

    def secrets(self, local: str) -> Deferred[StoredRecord | None]:
        """See `ICredentialStore.secrets`."""
        return self._accounts.secrets(self._hostId, local).addCallback(self._toRecord)

    @staticmethod
    def _toRecord(found: AccountSecrets | None) -> StoredRecord | None:
        """The same steps for an account that does not exist, so that time tells nothing (hardening A05)."""
        account = found or _NOBODY
        record = StoredRecord(account.enabled, account.secrets)
        return None if found is None else record


@attrs.frozen
class HostContext:
    """What every host of a server shares, beside `Services`."""

    services: Services
    keys: IKeys
    loader: Loader
    runInThread: Runner
    throttle: IThrottle | None = None
    stockCheckers: Sequence[ICredentialsChecker] = ()


def resourceLimit(settings: Settings) -> int:
    """How many sessions an account may have; 0 for any number."""
    return settings.limits.resources if settings.limits.enabled else 0


class HostService(Service):
    """One virtual host in the tree: started, it is known to the router."""

    def __init__(
        self, settings: Settings, host: HostSettings, context: HostContext, administration: IAdministration
    ) -> None:
        self.name = self.domain = host.domain
        self.settings = settings
        self.hostSettings = host
        self._context = context
        self._administration = administration
        self.host: VirtualHost | None = None
        self.records: RecentRecords | None = None
        self._decoyKey = b""

    async def _start(self) -> None:
        context, settings = self._context, self.settings
        services = context.services
        id = await services.accounts.hostId(self.domain)
        decoyKey = await context.keys.obtain("decoy", lambda: secrets.token_bytes(32))
        host = self.host = VirtualHost(
            self.domain, id, services, resourceLimit(settings), settings.limits.resourceConflict
        )
        host.administration = self._administration
        host.throttle = context.throttle
        host.limited = settings.limits.enabled
        self.records = RecentRecords(HostCredentials(services.accounts, id), services.clock.seconds)
        self._decoyKey = decoyKey
        self._admit(settings)
        try:
            context.loader.attach(host, self.hostSettings.enabled)
        except ModuleError:
            host.stop()
            raise
        services.router.addHost(host)

    def _admit(self, settings: Settings) -> None:
        """Who can log in, and how."""
        host, records, context = self.host, self.records, self._context
        assert host is not None and records is not None
        host.secrets = keyring = Keyring(records, self._decoyKey, settings.auth.iterations)
        checkers: list[ICredentialsChecker] = [
            ScramChecker(keyring),
            PasswordChecker(keyring, context.runInThread),
            CertificateChecker(records),
        ]
        if settings.auth.anonymous:
            checkers.append(AllowAnonymousAccess())
        accounts = context.services.accounts
        stock = [Enrolment(checker, accounts, host.id, self._enrolled) for checker in context.stockCheckers]
        realm = Realm(self._account, self._guest if settings.auth.anonymous else None, self._released)
        host.portal = portalFor(realm, checkers, stock)

    def _enrolled(self, local: str) -> None:
        """A user of another checker has an account now."""
        host = self.host
        assert host is not None and self.records is not None
        self.records.forget(local)
        host.accounts.forget(local)
        host.account(local).addCallback(lambda account: host.fire(hooks.account.created, account)).addErrback(
            lambda failure: log.failure("cannot read the new account {local}", failure, local=local)
        )

    def _account(self, local: str) -> Deferred[IAccount | None]:
        assert self.host is not None
        return cast("Deferred[IAccount | None]", self.host.account(local))

    def _guest(self, local: str) -> Deferred[IAccount | None]:
        """An account for the time of one session (XEP-0175); nothing of it is stored."""
        assert self.host is not None
        record = AccountRecord(0, local, True, "guest", {}, 0, frozenset(), 0)
        account = Account(self.host, JID.of(local, self.domain), record)
        self.host.accounts.known[local] = account
        return succeed(cast("IAccount", account))

    def _released(self, avatar: IAccount, mind: object) -> None:
        """A connection is gone: a guest who never had a session goes with it."""
        account = cast("Account", avatar)
        if self.host is not None and not account.id and not account.sessions:
            self.host.accounts.forget(account.jid.local)

    def startService(self) -> Deferred[None]:
        """Read what the host needs, attach its modules, join the router."""
        Service.startService(self)
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Let the stanzas that wait find their end, end the sessions that are left, leave the router."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        host = self.host
        if host is None:
            return
        host.stopping = True
        # When the whole server stops, the edges have ended all streams before; else this host alone is gone.
        for session in [session for session in host.sessions() if session.stream is not None]:
            session.disconnect(StreamError("host-gone"))
        await host.accounts.whenIdle().addTimeout(STOP_PATIENCE, host.clock, lambda result, seconds: None)
        host.stop()
        self._context.services.router.removeHost(host)
        for name in reversed(list(host.modules)):
            self._context.loader.release(host, name)

    def apply(self, settings: Settings, host: HostSettings) -> list[str]:
        """Take over another configuration; returns lines on what changed.

        Raises `ModuleError` for modules that cannot be exchanged; then all is as it was.
        """
        assert self.host is not None
        loader, running = self._context.loader, self.host
        before, self.hostSettings = self.hostSettings, host
        attached = [name for name in before.enabled if loader.find(running, name) is not None]
        gone = [name for name in attached if name not in host.enabled]
        fresh = [name for name in host.enabled if loader.find(running, name) is None and name not in before.enabled]
        changed = [name for name in attached if name in host.enabled and _differ(before, host, name)]
        if gone or fresh or changed:
            try:
                loader.exchange(running, [*gone, *changed], [*changed, *fresh])
            except ModuleError:
                self.hostSettings = before
                raise
        self.settings = settings
        running.resourceLimit = resourceLimit(settings)
        running.limited = settings.limits.enabled
        running.resourceConflict = settings.limits.resourceConflict
        self._admit(settings)
        told = [(gone, "detached"), (fresh, "attached"), (changed, "has new options")]
        return [f"{self.name}: module {name} {what}" for names, what in told for name in names]

    def optionsOf(self, name: str, kind: type[HostModule]) -> Any:
        """The options of a module, as the class that it has now: reloaded code brings another."""
        found = self.hostSettings.options.get(name)
        if found is None or type(found) is kind.Options:
            return found or kind.Options()
        wanted = {field.name for field in attrs.fields(kind.Options)}
        return kind.Options(**{name: value for name, value in _values(found).items() if name in wanted})


def _values(options: Any) -> dict[str, Any]:
    return {} if options is None else attrs.asdict(options, recurse=False)


def _differ(before: HostSettings, after: HostSettings, name: str) -> bool:
    return _values(before.options.get(name)) != _values(after.options.get(name))
