"""Stanzas kept for recipients: the spool of those under way, and the offline store.

A key of the spool is the ticket of its row, which makes settling a stanza that is still in the
gathering batch a matter of one comparison.  Keys start anew with each server, which is safe
because leftover rows leave the spool before the server starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.contracts.storage import Failed, IOfflineStore, ISpool, IStore, OfflineRow, StorageFailure
from xmppservice.storage.store import BaseStore

_log = Logger()

#: Seconds for which deletions of settled rows are gathered.
LAZY = 0.25
#: So many settled rows are deleted without waiting longer.
MANY = 500
#: Seconds until deletions that failed are tried again.
RETRY = 5.0


@implementer(ISpool)
class Spool:
    """Stanzas for online recipients, until they are acknowledged.

    With `lazy` 0 settled rows are deleted at once, without a timer.
    """

    def __init__(self, store: BaseStore, reactor: IReactorTime, lazy: float = LAZY) -> None:
        self._store = store
        self._append = store.append
        self._retract = store.retract
        self._reactor = reactor
        self._lazy = lazy
        self._settled: list[int] = []
        self._timer: IDelayedCall | None = None

    def hold(self, accountId: int, stamp: float, data: bytes, failed: Failed | None = None) -> tuple[int, int]:
        """See `ISpool.hold`."""
        key = self._store.last + 1
        return key, self._append("spool.hold", (key, accountId, stamp, data), failed)

    def settle(self, key: int) -> None:
        """See `ISpool.settle`."""
        if self._retract(key):
            return
        self._settled.append(key)
        if not self._lazy or len(self._settled) >= MANY:
            self.flush()
        elif self._timer is None:
            self._timer = self._reactor.callLater(self._lazy, self._due)

    def moveOffline(self, keys: Sequence[int], failed: Failed | None = None) -> int:
        """See `ISpool.moveOffline`."""
        if not keys:
            return 0
        return self._store.apply("spool.move", tuple(keys), failed)

    def flush(self) -> None:
        """Delete the rows that were settled; also done when the store closes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        keys, self._settled = self._settled, []
        if keys:
            self._store.apply("spool.settle", tuple(keys), lambda error: self._again(keys, error))

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def _again(self, keys: list[int], error: Exception) -> None:
        """Rows that stay would be delivered once more after a restart."""
        _log.warn("{count} settled rows were not deleted: {error}", count=len(keys), error=error)
        if self._lazy:
            self._settled.extend(keys)
            if self._timer is None:
                self._timer = self._reactor.callLater(RETRY, self._due)

    def close(self) -> None:
        """Flush, and leave no timer behind."""
        self.flush()
        self._lazy = 0


@implementer(IOfflineStore)
class OfflineStore:
    """Stanzas for accounts without an available resource."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def store(self, accountId: int, stamp: float, data: bytes, failed: Failed | None = None) -> int:
        """See `IOfflineStore.store`."""
        return self._store.append("offline.store", (accountId, stamp, data), failed)

    def load(
        self, accountId: int, after: int = 0, limit: int = 200, start: int = 0
    ) -> Deferred[list[OfflineRow]]:
        """See `IOfflineStore.load`."""
        rows = self._store.read("offline.load", (accountId, start, limit), after)
        return rows.addCallback(lambda found: [OfflineRow(*row) for row in found])

    def remove(self, accountId: int, ids: Sequence[int]) -> int:
        """See `IOfflineStore.remove`."""
        ticket = 0
        for row in ids:
            ticket = self._store.append("offline.remove", (accountId, row), self._notRemoved)
        return ticket

    def clear(self, accountId: int) -> int:
        """See `IOfflineStore.clear`."""
        return self._store.append("offline.clear", (accountId,), self._notRemoved)

    @staticmethod
    def _notRemoved(error: Exception) -> None:
        reason = error if isinstance(error, StorageFailure) else repr(error)
        _log.warn("an offline row was not deleted and will be delivered again: {reason}", reason=reason)
