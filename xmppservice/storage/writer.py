"""The store on a database file: gathers writes and has a process commit them.

One batch is with the process at a time.  Meanwhile the next one gathers here, so a row that is
taken back before its batch closes (a message that was acknowledged quickly) costs two list
operations and no write at all.  A gathering always closes as a whole: whoever moves a stanza
from one row to another within a gathering may rely on both having the same fate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall

from xmppservice.hub.contracts.storage import (
    ConstraintFailure,
    Failed,
    Row,
    StorageFailure,
    StorageUnavailable,
    UnknownOperation,
)
from xmppservice.hub.figures import Histogram
from xmppservice.storage.batches import Groups
from xmppservice.storage.frames import pack
from xmppservice.storage.operations import Operations
from xmppservice.storage.process import IWriterProcess, RowFailures
from xmppservice.storage.readers import Readers
from xmppservice.storage.store import BaseStore, typedFailure

#: Seconds for which a batch gathers.
GATHER = 0.003

#: So many processes may die of one batch before it fails.
ATTEMPTS = 5

#: Over so many rows, or bytes, that wait for their commit, senders must wait too.
CROWD_ROWS = 20_000
CROWD_BYTES = 32 << 20

#: One write: operation and row; None after it was taken back.
Entry = tuple[str, Row] | None


class _Batch(NamedTuple):
    """A closed batch: its entries begin with the ticket `base`."""

    number: int
    base: int
    entries: list[Entry]
    failed: dict[int, Failed]
    frame: bytes
    #: When its first row came.
    since: float

    @property
    def last(self) -> int:
        """The newest ticket."""
        return self.base + len(self.entries) - 1

    def tickets(self) -> list[int]:
        """The tickets of the rows that were sent, by position."""
        return [self.base + index for index, entry in enumerate(self.entries) if entry is not None]


class WriterStore(BaseStore):
    """Writes through a process of its own.

    :param reactor: provides `IReactorTime` and `IReactorSocket`
    :param gather: seconds for which a batch gathers
    """

    def __init__(self, operations: Operations, readers: Readers, reactor: Any, gather: float = GATHER) -> None:
        super().__init__(operations, readers)
        self._reactor = reactor
        self._gather = gather
        self._process: IWriterProcess | None = None
        self._allBulk = self._bulk
        self._bulk = frozenset()
        self._entries: list[Entry] = []
        self._base = 1
        self._failed: dict[int, Failed] = {}
        self._timer: IDelayedCall | None = None
        self._due = False
        self._flying: _Batch | None = None
        #: Bytes of the rows that gather.
        self._weight = 0
        self._number = 0
        self._attempts = 0
        self._ready = False
        self._down = ""
        self._draining: Deferred[None] | None = None
        #: Batches and rows that went to the process, for metrics and tests.
        self.batches = 0
        self.rows = 0
        #: Seconds from the first row of a batch to its end, committed or failed.
        self.latency = Histogram()
        self._since = 0.0

    # --- giving writes ------------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """See `IStore.crowded`."""
        if self.last - self.committed > CROWD_ROWS:
            return True
        flying = self._flying
        return self._weight + (len(flying.frame) if flying is not None else 0) > CROWD_BYTES

    def append(self, op: str, row: Row, failed: Failed | None = None) -> int:
        """See `IStore.append`."""
        if op not in self._bulk:
            raise self._refused(op)
        if row and row[-1].__class__ is bytes:
            # Stanzas stand last in their rows; nothing else weighs much.
            self._weight += len(row[-1])
        entries = self._entries
        if not entries:
            self._begin()
        entries.append((op, row))
        self.last = ticket = self.last + 1
        if failed is not None:
            self._failed[ticket] = failed
        return ticket

    def apply(self, op: str, args: Row = (), failed: Failed | None = None) -> int:
        """See `IStore.apply`."""
        self._known(op)
        if not self._bulk:
            raise self._refused(op)
        if not self._entries:
            self._begin()
        self._entries.append((op, args))
        for value in args:
            if isinstance(value, (str, bytes)):
                self._weight += len(value)
        self.last = ticket = self.last + 1
        if failed is not None:
            self._failed[ticket] = failed
        return ticket

    def retract(self, ticket: int) -> bool:
        """See `IStore.retract`."""
        index = ticket - self._base
        if index < 0:
            return False
        self._entries[index] = None
        if self._failed:
            self._failed.pop(ticket, None)
        return True

    def _refused(self, op: str) -> StorageFailure:
        """Why an operation cannot be taken."""
        if not self._bulk:
            return StorageUnavailable("the database is not open")
        return self._unknownBulk(op)

    # --- batches ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The first row of a gathering came."""
        self._since = self._reactor.seconds()
        if self._timer is None and not self._due:
            self._timer = self._reactor.callLater(self._gather, self._gathered)

    def _gathered(self) -> None:
        self._timer = None
        self._due = True
        self._close()

    def _close(self) -> None:
        """Send what gathered, if it is time and the process is free."""
        if self._flying is not None or not self._due:
            return
        if not self._ready and not self._down:
            return
        self._due = False
        entries, base, failed = self._entries, self._base, self._failed
        if not entries:
            return
        self._entries, self._base, self._failed, self._weight = [], self.last + 1, {}, 0
        if self._down:
            self._failAll(entries, base, failed, self._down)
            return
        try:
            frame = self._framed(entries)
        except ValueError:
            self._dropUnsendable(entries, base, failed)
            frame = self._framed(entries)
        batch = _Batch(self._number, base, entries, failed, frame, self._since)
        if not frame:
            self._finish(batch, [])
            return
        self._flying = batch
        self._attempts = 1
        self.batches += 1
        self._send(batch)

    def _framed(self, entries: list[Entry]) -> bytes:
        """The next batch as a frame; empty, and without a number, if nothing is left to write."""
        groups = self._grouped(entries)
        if not groups:
            return b""
        frame = pack((self._number + 1, groups))
        self._number += 1
        self.rows += sum(len(rows) for _name, rows in groups)
        return frame

    def _grouped(self, entries: list[Entry]) -> Groups:
        """Equal bulk operations that follow each other, together."""
        groups: Groups = []
        bulk = self._allBulk
        current = ""
        rows: list[Row] = []
        for entry in entries:
            if entry is None:
                continue
            name, row = entry
            if name == current:
                rows.append(row)
                continue
            rows = [row]
            groups.append((name, rows))
            current = name if name in bulk else ""
        return groups

    def _dropUnsendable(self, entries: list[Entry], base: int, failed: dict[int, Failed]) -> None:
        """Fail rows that hold something else than plain values, and only those."""
        for index, entry in enumerate(entries):
            if entry is None:
                continue
            try:
                pack(entry)
            except ValueError as error:
                entries[index] = None
                self._tellFailed(failed.pop(base + index, None), entry[0], ConstraintFailure(f"{entry[0]}: {error}"))

    def _send(self, batch: _Batch) -> None:
        if self._process is not None:
            self._process.send(batch.frame)

    def _failAll(self, entries: list[Entry], base: int, failed: dict[int, Failed], reason: str) -> None:
        error = StorageUnavailable(reason)
        for index, entry in enumerate(entries):
            if entry is not None:
                self._tellFailed(failed.pop(base + index, None), entry[0], error)
        self._settled(base + len(entries) - 1)

    def _finish(self, batch: _Batch, failures: RowFailures) -> None:
        """The batch is settled: tell what failed, then that it is over, then send the next one."""
        self._flying = None
        if batch.frame:
            self.latency.observe(self._reactor.seconds() - batch.since)
        if failures:
            tickets = batch.tickets()
            for position, kind, text in failures:
                ticket = tickets[position]
                entry = batch.entries[ticket - batch.base]
                name = entry[0] if entry is not None else ""
                self._tellFailed(batch.failed.get(ticket), name, typedFailure(kind, f"{name}: {text}"))
        self._settled(batch.last)

    def _settled(self, ticket: int) -> None:
        self._settle(ticket)
        if self._draining is not None:
            self._due = True
        self._close()
        if self._draining is not None and self.committed == self.last:
            draining, self._draining = self._draining, None
            draining.callback(None)

    # --- what the process says ----------------------------------------------------------------

    def writerReady(self, number: int, failures: RowFailures) -> None:
        """Go on where the last process stopped: nothing lost, nothing twice."""
        self._ready = True
        self._down = ""
        batch = self._flying
        if batch is None:
            self._number = number
            self._close()
        elif number == batch.number:
            self._finish(batch, failures)
        elif self._attempts < ATTEMPTS:
            self._attempts += 1
            self._send(batch)
        else:
            self._flying = None
            self._number = number
            self._failAll(batch.entries, batch.base, batch.failed, f"{ATTEMPTS} writer processes died of this batch")

    def writerAnswered(self, number: int, failures: RowFailures) -> None:
        """The batch under way is settled."""
        if self._flying is not None and self._flying.number == number:
            self._finish(self._flying, failures)

    def writerLost(self) -> None:
        """Gather until it is back."""
        self._ready = False

    def writerDown(self, reason: str) -> None:
        """It does not come back soon: fail what waits, so that senders learn about it."""
        self._down = reason
        batch, self._flying = self._flying, None
        if batch is not None:
            self._failAll(batch.entries, batch.base, batch.failed, reason)
        self._close()

    def listen(self) -> None:
        """A busy reactor's pass is over: what the process has answered meanwhile counts now."""
        if self._flying is not None and self._process is not None:
            self._process.listen()

    # --- life ---------------------------------------------------------------------------------

    def start(self, process: IWriterProcess) -> Deferred[None]:
        """Start the process; fires when it is ready, errbacks `StorageRefused`."""
        self._process = process
        return process.start().addCallback(self._opened)

    def _opened(self, _: None) -> None:
        self._bulk = self._allBulk

    @property
    def writerPid(self) -> int | None:
        """The process id of the writer."""
        return self._process.pid if self._process is not None else None

    def drain(self) -> Deferred[None]:
        """Take no more writes; fires when all are settled."""
        self._bulk = frozenset()
        if self.committed == self.last:
            return succeed(None)
        self._draining = Deferred()
        draining = self._draining
        self._due = True
        self._close()
        return draining

    def stop(self) -> Deferred[None]:
        """Drain, then end the process."""
        if self._process is None:
            return succeed(None)
        return self.drain().addCallback(lambda _: self._stopped())

    def _stopped(self) -> Deferred[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        process = self._process
        self._process = None
        self._ready = False
        return process.stop() if process is not None else fail(UnknownOperation("stopped already"))
