"""Hosts, accounts and the server's own keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.hub.contracts.storage import (
    AccountExists,
    AccountRecord,
    AccountSecrets,
    AccountSummary,
    ConstraintFailure,
    IAccounts,
    IKeys,
    IStore,
    ResultRow,
)


@implementer(IAccounts)
class Accounts:
    """Accounts of all virtual hosts; `now` tells the wall time for their creation date."""

    def __init__(self, store: IStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def hostId(self, domain: str) -> Deferred[int]:
        """See `IAccounts.hostId`."""

        def found(rows: list[ResultRow]) -> Deferred[int] | int:
            if rows:
                return int(rows[0][0])
            added = self._store.execute("host.add", (domain,))
            return added.addCallback(lambda _: self._store.read("host.id", (domain,))).addCallback(_number)

        return self._store.read("host.id", (domain,)).addCallback(found)

    def record(self, hostId: int, local: str, after: int = 0) -> Deferred[AccountRecord | None]:
        """See `IAccounts.record`."""
        return self._store.read("account.record", (hostId, local), after).addCallback(_toRecord)

    def secrets(self, hostId: int, local: str, after: int = 0) -> Deferred[AccountSecrets | None]:
        """See `IAccounts.secrets`."""
        return self._store.read("account.login", (hostId, local), after).addCallback(_toSecrets)

    def create(self, hostId: int, local: str, secrets: bytes, role: str = "user") -> Deferred[int]:
        """See `IAccounts.create`."""
        made = self._store.execute("account.create", (hostId, local, secrets, role, self._now()))
        made.addErrback(_exists, local)
        return made.addCallback(lambda _: self._store.read("account.login", (hostId, local))).addCallback(_number)

    def createMany(self, hostId: int, accounts: Sequence[tuple[str, bytes]]) -> Deferred[int]:
        """See `IAccounts.createMany`."""
        store = self._store
        failures: list[Exception] = []

        def add(before: int) -> Deferred[int]:
            now = self._now()
            ticket = 0
            for local, secrets in accounts:
                ticket = store.append("account.add", (hostId, local, secrets, "user", now), failures.append)
            return store.read("account.count", (hostId,), ticket).addCallback(_number).addCallback(judge, before)

        def judge(count: int, before: int) -> int:
            if failures:
                raise failures[0]
            return count - before

        return store.read("account.count", (hostId,)).addCallback(_number).addCallback(add)

    def setSecrets(self, accountId: int, secrets: bytes) -> Deferred[None]:
        """See `IAccounts.setSecrets`."""
        return self._store.execute("account.secrets", (accountId, secrets))

    def setEnabled(self, accountId: int, enabled: bool) -> Deferred[None]:
        """See `IAccounts.setEnabled`."""
        return self._store.execute("account.enabled", (accountId, int(enabled)))

    def setRole(self, accountId: int, role: str) -> Deferred[None]:
        """See `IAccounts.setRole`."""
        return self._store.execute("account.role", (accountId, role))

    def delete(self, accountId: int) -> Deferred[None]:
        """See `IAccounts.delete`."""
        return self._store.execute("account.delete", (accountId,))

    def list(self, hostId: int, start: str = "", limit: int = 1000) -> Deferred[Sequence[AccountSummary]]:
        """See `IAccounts.list`."""
        return self._store.read("account.list", (hostId, start, limit)).addCallback(
            lambda rows: tuple(AccountSummary(row[0], row[1], bool(row[2]), row[3], row[4]) for row in rows)
        )


@implementer(IKeys)
class Keys:
    """The server's own stored secrets."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def get(self, name: str) -> Deferred[bytes | None]:
        """See `IKeys.get`."""
        return self._store.read("key.get", (name,)).addCallback(lambda rows: rows[0][0] if rows else None)

    def obtain(self, name: str, make: Callable[[], bytes]) -> Deferred[bytes]:
        """See `IKeys.obtain`."""

        def found(value: bytes | None) -> Deferred[Any] | bytes:
            if value is not None:
                return value
            return self._store.execute("key.add", (name, make())).addCallback(lambda _: self.get(name))

        return self.get(name).addCallback(found)

    def put(self, name: str, value: bytes) -> Deferred[None]:
        """See `IKeys.put`."""
        return self._store.execute("key.put", (name, value))


def _toSecrets(rows: list[ResultRow]) -> AccountSecrets | None:
    """The same steps for an account that does not exist, so that time tells nothing (hardening A05)."""
    row = rows[0] if rows else (0, b"", 0)
    found = AccountSecrets(row[0], row[1], bool(row[2]))
    return found if rows else None


def _number(rows: list[ResultRow]) -> int:
    return int(rows[0][0])


def _toRecord(rows: list[ResultRow]) -> AccountRecord | None:
    if not rows:
        return None
    (account, local, enabled, role, version, floor), states, blocked, offline = rows[0]
    blocks = frozenset([row[0] for row in blocked])
    return AccountRecord(account, local, bool(enabled), role, dict(states), version, blocks, offline, floor)


def _exists(failure: Failure, local: str) -> None:
    if isinstance(failure.value, ConstraintFailure) and "UNIQUE" in str(failure.value):
        raise AccountExists(f"the account {local!r} exists already")
    failure.raiseException()
