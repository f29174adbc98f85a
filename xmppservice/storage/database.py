"""The database as a service: opens, locks, starts the writer; drains and closes.

Two kinds are built: ``sqlite``, a file in the data folder with a writer process, and
``sqlite-memory``, where everything happens inline, for tests in virtual time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from xmppservice.hub.contracts.storage import (
    IAccounts,
    IBlocks,
    IKeys,
    IOfflineStore,
    IRosters,
    ISpool,
    IStore,
    StorageRefused,
)
from xmppservice.storage.accounts import Accounts, Keys
from xmppservice.storage.files import FILE, lockFolder, lockOwner, makeFolder, openMemory, openReader
from xmppservice.storage.operations import Connection, Operations
from xmppservice.storage.process import WriterProcess
from xmppservice.storage.readers import CallInThread, Readers
from xmppservice.storage.rosters import Blocks, Rosters
from xmppservice.storage.spool import LAZY, OfflineStore, Spool
from xmppservice.storage.store import BaseStore, InlineStore
from xmppservice.storage.upgrades import TableStatus, prepare, status
from xmppservice.storage.writer import GATHER, WriterStore

#: Seconds for which the start waits for the lock: the writer of a killed server may still commit.
LOCK_PATIENCE = 5.0
_LOCK_POLL = 0.05
#: Threads for large reads.
_THREADS = 3


class Database(Service):
    """Everything that is stored.

    :param url: ``sqlite`` or ``sqlite-memory``
    :param folder: the data folder; not used in memory
    :param reactor: `IReactorTime`; for ``sqlite`` `IReactorSocket` and `IReactorThreads` too
    :param modules: dotted paths of the declaring modules (see :mod:`xmppservice.storage.operations`)
    :param callInThread: runs large reads, as ``deferToThreadPool`` does; by default a pool of our own
    :param gather: seconds for which writes gather into one transaction
    :param now: tells the wall time, in seconds since the epoch
    :param pragmas: further SQLite pragmas for the writer, such as ``max_page_count=1000``
    :raises StorageRefused: for a url of another kind
    """

    name = "database"

    store: IStore
    accounts: IAccounts
    rosters: IRosters
    blocks: IBlocks
    spool: ISpool
    offline: IOfflineStore
    keys: IKeys

    def __init__(
        self, url: str, folder: str, reactor: Any, modules: Sequence[str] = (), *,
        callInThread: CallInThread | None = None, gather: float = GATHER,
        now: Callable[[], float] = time.time, pragmas: Sequence[str] = (),
    ) -> None:
        self.url = url
        self._folder = folder
        self._path = os.path.join(folder, FILE)
        self._reactor = reactor
        self._modules = tuple(modules)
        self._pragmas = tuple(pragmas)
        self._lock: int | None = None
        self._pool: ThreadPool | None = None
        self._callInThread = callInThread
        self.operations = Operations.load(modules)
        self._memory: Connection | None = None
        if url == "sqlite-memory":
            store = self._inMemory()
        elif url == "sqlite":
            self._readers = Readers(lambda: openReader(self._path, self.operations), self._inThread)
            store = self._writer = WriterStore(self.operations, self._readers, reactor, gather)
        elif url.startswith("postgresql:"):
            raise StorageRefused("PostgreSQL is not built yet; use the database url \"sqlite\"")
        else:
            raise StorageRefused(f"unknown database url {url!r}; use \"sqlite\"")
        self._provide(store, now)

    def _inMemory(self) -> BaseStore:
        memory = self._memory = openMemory(self.operations)
        prepare(memory)
        self._readers = Readers(lambda: memory)
        return InlineStore(self.operations, self._readers, memory)

    def _provide(self, store: BaseStore, now: Callable[[], float]) -> None:
        self.store = store
        self.accounts = Accounts(self.store, now)
        self.rosters = Rosters(self.store)
        self.blocks = Blocks(self.store)
        self._spool = Spool(store, self._reactor, 0 if self._memory else LAZY)
        self.spool = self._spool
        self.offline = OfflineStore(self.store)
        self.keys = Keys(self.store)

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Lock, open, upgrade, and turn what is left in the spool into offline rows.

        Errbacks `StorageRefused` with a text for the administrator.
        """
        Service.startService(self)
        if self._memory is not None:
            return
        try:
            makeFolder(self._folder)
            self._lock = yield self._obtainLock()
            arguments = [",".join(self._pragmas), *self._modules]
            yield self._writer.start(WriterProcess(self._reactor, self._path, self._lock, arguments, self._writer))
            yield self.store.execute("spool.recover")
        except Exception as error:
            self.running = 0
            yield self._release()
            if isinstance(error, OSError):
                raise StorageRefused(f"the data folder {self._folder} cannot be used: {error}") from error
            raise

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Commit everything that was given, then close; fires when the writer is gone."""
        if not self.running:
            return
        Service.stopService(self)
        self._spool.close()
        if self._memory is None:
            yield self._release()

    @inlineCallbacks
    def _obtainLock(self) -> Generator[Deferred[Any], Any, int]:
        end = self._reactor.seconds() + LOCK_PATIENCE
        while True:
            lock = lockFolder(self._folder)
            if lock is not None:
                return lock
            if self._reactor.seconds() >= end:
                raise StorageRefused(
                    f"the data folder {self._folder} is in use by another server, process {lockOwner(self._folder)}"
                )
            yield deferLater(self._reactor, _LOCK_POLL)

    @inlineCallbacks
    def _release(self) -> Generator[Deferred[Any], Any, None]:
        try:
            yield self._writer.stop()
        finally:
            self._readers.close()
            if self._pool is not None:
                self._pool.stop()
                self._pool = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def listen(self) -> None:
        """To be called when a busy reactor has worked through one pass of its readers: commits that
        are through are told now, not after the next pass."""
        if self._memory is None:
            self._writer.listen()

    def status(self) -> list[TableStatus]:
        """The schema versions found and wanted, by module; call it while the service runs."""
        return status(self._memory or self._readers.inline())

    def _inThread(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run a large read elsewhere."""
        if self._callInThread is not None:
            return self._callInThread(function, *args)
        if self._pool is None:
            self._pool = ThreadPool(0, _THREADS, "storage")
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *args)
