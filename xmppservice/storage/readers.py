"""Where reads run: small ones here and now, large ones in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from xmppservice.hub.contracts.storage import ResultRow, Row, StorageUnavailable
from xmppservice.storage.faults import kindOf, textOf
from xmppservice.storage.operations import Connection, ReadOperation
from xmppservice.storage.store import typedFailure

#: Runs a function in a thread and fires with its result, as `deferToThreadPool` does.
CallInThread = Callable[..., Deferred[Any]]

#: How many large reads run at the same time.
CONCURRENT = 3


class Readers:
    """The connections for reads, and the queue of large ones."""

    def __init__(self, connect: Callable[[], Connection], callInThread: CallInThread | None = None) -> None:
        self._connect = connect
        self._callInThread = callInThread
        self._inline: Connection | None = None
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._queue: deque[tuple[ReadOperation, Row, Deferred[list[ResultRow]]]] = deque()
        self._open = True

    def run(self, operation: ReadOperation, args: Row) -> Deferred[list[ResultRow]]:
        """The operation's rows; errbacks a `StorageFailure`."""
        if not self._open:
            return fail(StorageUnavailable("the database is closed"))
        if operation.small or self._callInThread is None:
            return self._runInline(operation, args)
        done: Deferred[list[ResultRow]] = Deferred()
        self._queue.append((operation, args, done))
        self._next()
        return done

    def inline(self) -> Connection:
        """The connection for reads in the calling thread."""
        if self._inline is None:
            self._inline = self._connect()
        return self._inline

    def _runInline(self, operation: ReadOperation, args: Row) -> Deferred[list[ResultRow]]:
        try:
            return succeed(operation.run(self._inline or self.inline(), args))
        except Exception as error:
            return fail(typedFailure(kindOf(error), f"{operation.name}: {textOf(error)}"))

    def _next(self) -> None:
        """Start queued reads while threads are free."""
        while self._queue and len(self._busy) < CONCURRENT and self._callInThread is not None:
            operation, args, done = self._queue.popleft()
            try:
                connection = self._idle.pop() if self._idle else self._connect()
            except Exception as error:
                done.errback(typedFailure(kindOf(error), textOf(error)))
                continue
            self._busy.add(connection)
            running = self._callInThread(operation.run, connection, args)
            running.addBoth(self._finished, operation, connection, done)

    def _finished(
        self, result: list[ResultRow] | Failure, operation: ReadOperation, connection: Connection,
        done: Deferred[list[ResultRow]],
    ) -> None:
        self._busy.discard(connection)
        if self._open:
            self._idle.append(connection)
        else:
            connection.raw.close()
        if isinstance(result, Failure):
            error = result.value or StorageUnavailable("no reason given")
            done.errback(typedFailure(kindOf(error), f"{operation.name}: {textOf(error)}"))
        else:
            done.callback(result)
        self._next()

    def close(self) -> None:
        """Close idle connections; reads that run are interrupted, queued ones fail."""
        self._open = False
        for connection in self._busy:
            connection.raw.interrupt()
        for connection in self._idle:
            connection.raw.close()
        self._idle.clear()
        if self._inline is not None:
            self._inline.raw.close()
            self._inline = None
        while self._queue:
            self._queue.popleft()[2].errback(StorageUnavailable("the database is closed"))
