"""Tickets and reads, common to all stores; and the store of an in-memory database.

Order of events when writes settle: first each failed write's callback, then ``committed``
rises, then the callbacks of `onCommit`, then the Deferreds of `whenCommitted`.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.contracts.storage import (
    ConstraintFailure,
    Failed,
    IStore,
    ResultRow,
    Row,
    StorageFailure,
    StorageFull,
    StorageUnavailable,
    UnknownOperation,
)
from xmppservice.storage.faults import FULL, UNAVAILABLE, kindOf, textOf
from xmppservice.storage.operations import Connection, Operations, ReadOperation

if TYPE_CHECKING:
    from xmppservice.storage.readers import Readers

_log = Logger()

_FAILURES: dict[str, type[StorageFailure]] = {FULL: StorageFull, UNAVAILABLE: StorageUnavailable}


def typedFailure(kind: str, text: str) -> StorageFailure:
    """The exception for a kind of :mod:`xmppservice.storage.faults`."""
    return _FAILURES.get(kind, ConstraintFailure)(text)


class Tickets:
    """Who waits for which ticket."""

    def __init__(self) -> None:
        self.committed = 0
        #: The newest ticket that was given out.
        self.last = 0
        self._waiting: list[tuple[int, int, Deferred[None]]] = []
        self._order = 0
        self._listeners: list[Callable[[int], None]] = []

    @property
    def backlog(self) -> int:
        """Rows that wait for their commit."""
        return self.last - self.committed

    @property
    def crowded(self) -> bool:
        """Whether so much waits for its commit that senders must wait too."""
        return False

    def whenCommitted(self, ticket: int) -> Deferred[None]:
        """See `IStore.whenCommitted`."""
        if ticket <= self.committed:
            return succeed(None)
        if ticket > self.last:
            return fail(ValueError(f"ticket {ticket} has not been given out"))
        done: Deferred[None] = Deferred()
        self._order += 1
        heappush(self._waiting, (ticket, self._order, done))
        return done

    def onCommit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """See `IStore.onCommit`."""
        self._listeners.append(callback)

        def cancel() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return cancel

    def _settle(self, ticket: int) -> None:
        """All tickets up to this one are on stable storage or have failed."""
        self.committed = ticket
        for callback in tuple(self._listeners):
            try:
                callback(ticket)
            except Exception:
                _log.failure("a commit callback failed")
        waiting = self._waiting
        while waiting and waiting[0][0] <= ticket:
            heappop(waiting)[2].callback(None)

    def _abandon(self, reason: StorageFailure) -> None:
        """The store stopped: nobody will learn more about what is open."""
        waiting, self._waiting = self._waiting, []
        for _ticket, _order, done in waiting:
            done.errback(reason)


@implementer(IStore)
class BaseStore(Tickets):
    """What stores have in common: named reads, and `execute` on top of `apply`."""

    def __init__(self, operations: Operations, readers: Readers) -> None:
        super().__init__()
        self.operations = operations
        self._readers = readers
        self._bulk = frozenset(name for name, write in operations.writes.items() if write.bulk)

    def append(self, op: str, row: Row, failed: Failed | None = None) -> int:
        """See `IStore.append`."""
        raise NotImplementedError

    def apply(self, op: str, args: Row = (), failed: Failed | None = None) -> int:
        """See `IStore.apply`."""
        raise NotImplementedError

    def retract(self, ticket: int) -> bool:
        """See `IStore.retract`."""
        raise NotImplementedError

    def execute(self, op: str, args: Row = ()) -> Deferred[None]:
        """See `IStore.execute`."""
        failures: list[Exception] = []
        try:
            ticket = self.apply(op, args, failures.append)
        except StorageFailure as error:
            return fail(error)

        def judge(result: None) -> None:
            if failures:
                raise failures[0]

        return self.whenCommitted(ticket).addCallback(judge)

    def read(self, op: str, args: Row = (), after: int = 0) -> Deferred[list[ResultRow]]:
        """See `IStore.read`."""
        operation = self.operations.reads.get(op)
        if operation is None:
            return fail(UnknownOperation(f"no read operation is called {op!r}"))
        if after <= self.committed:
            return self._readers.run(operation, args)
        return self.whenCommitted(after).addCallback(self._readNow, operation, args)

    def _readNow(self, _: None, operation: ReadOperation, args: Row) -> Deferred[list[ResultRow]]:
        return self._readers.run(operation, args)

    def _known(self, op: str) -> None:
        if op not in self.operations.writes:
            raise UnknownOperation(f"no write operation is called {op!r}")

    def _unknownBulk(self, op: str) -> UnknownOperation:
        self._known(op)
        return UnknownOperation(f"the write operation {op!r} runs alone: use apply")

    def _tellFailed(self, failed: Failed | None, op: str, error: StorageFailure) -> None:
        """Tell whoever gave the write, else the log."""
        if failed is None:
            _log.error("storage: {op} failed: {error}", op=op, error=error)
            return
        try:
            failed(error)
        except Exception:
            _log.failure("a callback for the failed write {op} failed itself", op=op)


class InlineStore(BaseStore):
    """Writes at once, in the thread of whoever calls: in-memory databases and virtual time."""

    def __init__(self, operations: Operations, readers: Readers, connection: Connection) -> None:
        super().__init__(operations, readers)
        self._connection = connection

    def append(self, op: str, row: Row, failed: Failed | None = None) -> int:
        """See `IStore.append`."""
        if op not in self._bulk:
            raise self._unknownBulk(op)
        return self.apply(op, row, failed)

    def apply(self, op: str, args: Row = (), failed: Failed | None = None) -> int:
        """See `IStore.apply`."""
        self._known(op)
        self.last = ticket = self.last + 1
        raw = self._connection.raw
        try:
            raw.execute("BEGIN")
            self.operations.writes[op].run(self._connection, [args])
            raw.execute("COMMIT")
        except Exception as error:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            self._tellFailed(failed, op, typedFailure(kindOf(error), textOf(error)))
        # A write made by a callback may have settled more than this one already.
        if ticket > self.committed:
            self._settle(ticket)
        return ticket

    def retract(self, ticket: int) -> bool:
        """See `IStore.retract`; nothing waits here."""
        return False
