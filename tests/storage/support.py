"""What the storage tests share: a reactor per test, and folders that vanish."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Generator
from typing import Any, cast

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.storage.database import Database
from xmppservice.storage.files import FILE
from xmppservice.storage.writer import WriterStore

#: Declarations that only tests need.
TABLES = "tests.storage.tables"

STANZA = b"<message from='juliet@example.com/balcony'><body>Art thou not Romeo?</body></message>"


def drive(scenario: Callable[[Any], Any], limit: float = 30.0) -> Any:
    """Run a scenario on a reactor of its own, which is not the global one; return its result."""
    reactor = EPollReactor()
    results: list[Any] = []
    failures: list[Any] = []

    def begin() -> None:
        done = maybeDeferred(scenario, reactor)
        done.addTimeout(limit, reactor)
        done.addCallbacks(results.append, failures.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    if failures:
        failures[0].raiseException()
    return results[0]


class FileTestCase(SynchronousTestCase):
    """A test with a data folder."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = os.path.join(tempfile.mkdtemp(), "data")
        self.addCleanup(shutil.rmtree, os.path.dirname(self.folder))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the file, past all our code."""
        connection = sqlite3.connect(os.path.join(self.folder, FILE))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def withDatabase(self, scenario: Callable[..., Any], **options: Any) -> Any:
        """Run a generator of Deferreds with a started database, then stop that."""

        @inlineCallbacks
        def run(reactor: Any) -> Generator[Deferred[Any], Any, Any]:
            database = Database("sqlite", self.folder, reactor, (TABLES,), **options)
            yield database.startService()
            try:
                result = yield inlineCallbacks(scenario)(reactor, database)
            finally:
                yield database.stopService()
            return result

        return drive(run)


def writer(database: Database) -> WriterStore:
    """The store behind the interface."""
    return cast(WriterStore, database.store)


def killWriter(database: Database) -> None:
    """Kill -9 the writer process, if there is one at the moment."""
    pid = writer(database).writerPid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
