"""The real writer process on a real file."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from tests.storage.support import STANZA, TABLES, FileTestCase, drive, killWriter, writer
from xmppservice.hub.contracts.storage import ConstraintFailure, StorageFull, StorageRefused, StorageUnavailable
from xmppservice.storage import database as module
from xmppservice.storage.database import Database
from xmppservice.storage.files import FILE

Steps = Generator[Deferred[Any], Any, Any]


class FileTests(FileTestCase):
    """Ordinary life."""

    def test_everything(self) -> None:
        """Accounts, rosters and offline rows survive a restart."""

        def fill(reactor: Any, database: Database) -> Steps:
            host = yield database.accounts.hostId("example.com")
            account = yield database.accounts.create(host, "juliet", b"secret")
            database.rosters.put(account, "romeo@example.net", "R", 35, ("g",), 1)
            database.blocks.add(account, ["evil.example"])
            ticket = database.offline.store(account, 1.0, STANZA)
            return (yield database.accounts.record(host, "juliet", after=ticket))

        def look(reactor: Any, database: Database) -> Steps:
            host = yield database.accounts.hostId("example.com")
            return (yield database.accounts.record(host, "juliet"))

        before = self.withDatabase(fill)
        self.assertEqual(before.offline, 1)
        self.assertEqual(self.withDatabase(look), before)

    def test_permissions(self) -> None:
        """Nobody else can read folder, database or lock."""

        def look(reactor: Any, database: Database) -> Steps:
            yield database.accounts.hostId("example.com")
            names = [FILE, FILE + "-wal", "lock"]
            return [os.stat(os.path.join(self.folder, name)).st_mode & 0o777 for name in names]

        self.assertEqual(self.withDatabase(look), [0o600] * 3)
        self.assertEqual(os.stat(self.folder).st_mode & 0o777, 0o700)

    def test_readsSeeWrites(self) -> None:
        """A read with a ticket sees that write, inline and in a thread; one without may not wait."""

        def scenario(reactor: Any, database: Database) -> Steps:
            results = []
            for name in ("mark.words", "mark.large"):
                ticket = database.store.append("mark.add", (1, name))
                results.append((yield database.store.read(name, (), ticket)))
            many = yield gatherResults([database.store.read("mark.large") for _ in range(10)])
            return results, many

        results, many = self.withDatabase(scenario)
        self.assertEqual(results, [[("mark.words",)], [("mark.words",), ("mark.large",)]])
        self.assertEqual(many, [results[1]] * 10)

    def test_badRowAlone(self) -> None:
        """One bad row in a batch fails alone; its neighbours are committed, in order."""

        def scenario(reactor: Any, database: Database) -> Steps:
            failures: list[Exception] = []
            for word in ("a", "b", "a", None, "c"):
                last = database.store.append("mark.add", (1, word), failures.append)
            yield database.store.whenCommitted(last)
            return failures, writer(database).batches

        failures, batches = self.withDatabase(scenario)
        self.assertEqual([type(failure) for failure in failures], [ConstraintFailure] * 2)
        self.assertEqual(self.query("SELECT word FROM marks ORDER BY id"), [("a",), ("b",), ("c",)])
        # The recovery of the spool, and this one.
        self.assertEqual(batches, 2)

    def test_settledIsNeverWritten(self) -> None:
        """Stanzas settled in time cost no commit: neither rows nor batches say otherwise."""

        def scenario(reactor: Any, database: Database) -> Steps:
            before = writer(database).batches
            for _ in range(100):
                key, ticket = database.spool.hold(1, 1.0, STANZA)
                database.spool.settle(key)
            yield database.store.whenCommitted(ticket)
            return writer(database).batches - before

        self.assertEqual(self.withDatabase(scenario), 0)
        self.assertEqual(self.query("SELECT count(*) FROM spool"), [(0,)])

    def test_leftovers(self) -> None:
        """What is left in the spool becomes offline rows at the next start; a stranger's vanishes."""

        def leave(reactor: Any, database: Database) -> Steps:
            host = yield database.accounts.hostId("example.com")
            account = yield database.accounts.create(host, "juliet", b"")
            for number, owner in enumerate((account, 999, account)):
                _key, ticket = database.spool.hold(owner, float(number), b"%d" % number)
            yield database.store.whenCommitted(ticket)
            settled, ticket = database.spool.hold(account, 9.0, b"settled")
            yield database.store.whenCommitted(ticket)
            database.spool.settle(settled)
            return account

        def look(reactor: Any, database: Database) -> Steps:
            return (yield database.offline.load(account))

        account = self.withDatabase(leave)
        self.assertEqual(self.query("SELECT count(*) FROM spool"), [(3,)])
        rows = self.withDatabase(look)
        self.assertEqual([(row.stamp, row.data) for row in rows], [(0.0, b"0"), (2.0, b"2")])
        self.assertEqual(self.query("SELECT count(*) FROM spool"), [(0,)])

    def test_closed(self) -> None:
        """After the stop nothing is read any more, and no process or descriptor is left."""

        def scenario(reactor: Any, database: Database) -> Steps:
            yield database.store.read("mark.large")
            return database, writer(database).writerPid

        before = len(os.listdir("/proc/self/fd"))
        database, pid = self.withDatabase(scenario)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.failureResultOf(database.store.read("mark.words"), Exception)
        # The test's own reactor keeps three: epoll and its waker.
        self.assertLessEqual(len(os.listdir("/proc/self/fd")) - before, 3)


    def test_stopDuringRead(self) -> None:
        """A long read in a thread does not hold up the stop."""

        def scenario(reactor: Any, database: Database) -> Steps:
            reading = database.store.read("mark.endless")
            reading.addErrback(errors.append)
            yield deferLater(reactor, 0.05)

        errors: list[Any] = []
        self.withDatabase(scenario)

    def test_lockedByAStranger(self) -> None:
        """Another program that holds the file makes writes wait, then fail with their own type."""

        def scenario(reactor: Any, database: Database) -> Steps:
            yield database.store.execute("test.pragma", ("busy_timeout=200",))
            stranger = sqlite3.connect(os.path.join(self.folder, FILE), isolation_level=None)
            stranger.execute("BEGIN IMMEDIATE")
            failures: list[Exception] = []
            for word in ("a", "b"):
                ticket = database.store.append("mark.add", (1, word), failures.append)
            yield database.store.whenCommitted(ticket)
            stranger.execute("ROLLBACK")
            stranger.close()
            yield database.store.execute("mark.add", (1, "c"))
            return failures

        failures = self.withDatabase(scenario)
        self.assertEqual([type(failure) for failure in failures], [StorageUnavailable] * 2)
        self.assertEqual(self.query("SELECT word FROM marks"), [("c",)])


class DeathTests(FileTestCase):
    """The writer process is killed."""

    def test_underLoad(self) -> None:
        """Nothing is lost and nothing is doubled by `kill -9` of the writer, again and again."""

        def scenario(reactor: Any, database: Database) -> Steps:
            failures: list[Exception] = []
            killed: set[int | None] = set()
            number = 0
            for _round in range(4):
                for _slice in range(20):
                    for _ in range(40):
                        ticket = database.store.append("mark.add", (number, f"word {number}"), failures.append)
                        number += 1
                    yield deferLater(reactor, 0.002)
                while not writer(database)._ready:
                    yield deferLater(reactor, 0.01)
                killed.add(writer(database).writerPid)
                killWriter(database)
            yield database.store.whenCommitted(ticket)
            return failures, number, killed

        failures, number, killed = self.withDatabase(scenario)
        self.assertEqual((failures, len(killed)), ([], 4))
        rows = self.query("SELECT account_id FROM marks ORDER BY id")
        self.assertEqual([row[0] for row in rows], list(range(number)))

    def test_insideABatch(self) -> None:
        """A batch that was half done when the writer died is done once, wholly."""
        fuse = os.path.join(os.path.dirname(self.folder), "fuse")

        def scenario(reactor: Any, database: Database) -> Steps:
            with open(fuse, "w", encoding="ascii"):
                pass
            database.store.append("mark.add", (1, "before"))
            database.store.apply("test.die", (fuse,))
            yield database.store.whenCommitted(database.store.append("mark.add", (1, "after")))

        self.withDatabase(scenario)
        self.assertFalse(os.path.exists(fuse))
        self.assertEqual(self.query("SELECT word FROM marks ORDER BY id"), [("before",), ("after",)])

    def test_poison(self) -> None:
        """A write that kills each process that tries it fails; those after it are fine."""

        def scenario(reactor: Any, database: Database) -> Steps:
            failures: list[Exception] = []
            ticket = database.store.apply("test.poison", (), failures.append)
            yield database.store.whenCommitted(ticket)
            yield database.store.execute("mark.add", (1, "after"))
            return failures

        failures = self.withDatabase(scenario)
        self.assertEqual([type(failure) for failure in failures], [StorageUnavailable])
        self.assertEqual(self.query("SELECT word FROM marks"), [("after",)])

    def test_groupSignals(self) -> None:
        """A terminal's Ctrl-C and a supervisor's SIGTERM to all do not stop the writer: it has work."""

        def scenario(reactor: Any, database: Database) -> Steps:
            pid = writer(database).writerPid
            assert pid is not None
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                os.kill(pid, number)
            yield deferLater(reactor, 0.05)
            yield database.store.execute("test.slow", (0.0,))
            return pid == writer(database).writerPid

        self.assertTrue(self.withDatabase(scenario))

    def test_stopDuringRestart(self) -> None:
        """A stop while the writer is being restarted still commits what was given."""

        def scenario(reactor: Any, database: Database) -> Steps:
            yield database.store.execute("test.slow", (0.0,))
            killWriter(database)
            database.store.append("mark.add", (1, "late"))

        self.withDatabase(scenario)
        self.assertEqual(self.query("SELECT word FROM marks"), [("late",)])


class TroubleTests(FileTestCase):
    """Disk full, a second server, damage."""

    def test_diskFull(self) -> None:
        """Without space writes fail with their own type; reads go on; with space all is well again."""

        def scenario(reactor: Any, database: Database) -> Steps:
            store = database.store
            host = yield database.accounts.hostId("example.com")
            yield database.accounts.create(host, "juliet", b"secret")
            pages = self.query("PRAGMA page_count")[0][0]
            yield store.execute("test.pragma", (f"max_page_count={pages + 20}",))
            failures: list[Exception] = []
            for _ in range(40):
                tickets = [database.offline.store(1, 1.0, STANZA * 40, failures.append) for _ in range(10)]
                yield store.whenCommitted(tickets[-1])
            during = self.query("SELECT count(*) FROM offline")[0][0]
            login = yield database.accounts.secrets(host, "juliet")
            yield store.execute("test.pragma", ("max_page_count=1000000",))
            after: list[Exception] = []
            yield store.whenCommitted(database.offline.store(1, 1.0, STANZA, after.append))
            return failures, during, login, after, writer(database).writerPid

        failures, during, login, after, pid = self.withDatabase(scenario)
        self.assertEqual({type(failure) for failure in failures}, {StorageFull})
        self.assertEqual(during + len(failures), 400)
        self.assertGreater(during, 0)
        self.assertEqual((login.secrets, after), (b"secret", []))
        self.assertIsNotNone(pid)
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])

    def test_secondServer(self) -> None:
        """A second server on the folder is refused, and told the process id of the first."""
        self.patch(module, "LOCK_PATIENCE", 0.2)

        def scenario(reactor: Any, database: Database) -> Steps:
            second = Database("sqlite", self.folder, reactor)
            try:
                yield second.startService()
            except StorageRefused as refusal:
                yield database.store.execute("test.slow", (0.0,))
                return str(refusal)
            return ""

        self.assertIn(f"process {os.getpid()}", self.withDatabase(scenario))

    def test_lockIsInherited(self) -> None:
        """As long as a writer lives, the folder is locked, even when its server has let go."""

        def scenario(reactor: Any, database: Database) -> Steps:
            database.store.apply("test.slow", (0.5,))
            yield deferLater(reactor, 0.05)
            assert database._lock is not None
            os.close(database._lock)
            database._lock = None
            second = Database("sqlite", self.folder, reactor, (TABLES,))
            began = reactor.seconds()
            starting = second.startService()
            yield database.stopService()
            ended = reactor.seconds()
            yield starting
            yield second.stopService()
            return ended - began

        self.assertGreater(self.withDatabase(scenario), 0.4)

    def refusal(self, modules: tuple[str, ...] = (TABLES,)) -> str:
        """What a start says."""

        @inlineCallbacks
        def run(reactor: Any) -> Steps:
            database = Database("sqlite", self.folder, reactor, modules)
            try:
                yield database.startService()
            except StorageRefused as refusal:
                yield database.stopService()
                return str(refusal)
            yield database.stopService()
            return ""

        return str(drive(run))

    def test_damage(self) -> None:
        """A damaged file is refused in words, and no process stays behind."""
        self.assertEqual(self.refusal(), "")
        path = os.path.join(self.folder, FILE)
        with open(path, "r+b") as database:
            database.seek(2048)
            database.write(os.urandom(8192))
        self.assertIn("backup", self.refusal())

    def test_notADatabase(self) -> None:
        """Neither is any other file taken for a database."""
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, FILE), "wb") as database:
            database.write(b"Dear diary, " * 1000)
        self.assertIn("not a database", self.refusal())

    def test_newer(self) -> None:
        """A database that a newer version used is left alone."""
        self.assertEqual(self.refusal(), "")
        with sqlite3.connect(os.path.join(self.folder, FILE)) as raw:
            raw.execute("UPDATE schema_versions SET version = 7 WHERE name = 'marks'")
        raw.close()
        self.assertIn("newer", self.refusal())
        self.assertEqual(self.refusal(()), "")

    def test_unusableFolder(self) -> None:
        """A data folder that is a file is refused in words."""
        with open(self.folder, "wb"):
            pass
        self.assertIn(self.folder, self.refusal())
