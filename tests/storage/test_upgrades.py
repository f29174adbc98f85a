"""Schema versions: steps that are killed and go on, and what the command line may do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text

from tests.storage.support import STANZA, TABLES, FileTestCase
from xmppservice.hub.contracts.storage import StorageRefused
from xmppservice.storage.database import Database
from xmppservice.storage.faults import Refusal
from xmppservice.storage.files import FILE, makeFolder, openMemory, openWriter
from xmppservice.storage.maintenance import backupDatabase, databaseStatus, upgradeDatabase
from xmppservice.storage.operations import Connection, ModuleTables, Operations, Upgrade
from xmppservice.storage.upgrades import prepare, status


class Killed(Exception):
    """Stands for a kill at one point."""


class Fuse:
    """Fails at its n-th use."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.used = 0

    def __call__(self) -> None:
        """Use it."""
        self.used += 1
        if self.used == self.at:
            raise Killed


def declarations(version: int, fuse: Callable[[], None] = lambda: None) -> SimpleNamespace:
    """A module whose tables grow: version 2 adds a column, version 3 fills it, in parts of ten rows."""
    metadata = MetaData()
    columns = [Column("id", Integer, primary_key=True), Column("word", Text)]
    if version > 1:
        columns.append(Column("size", Integer))
    Table("things", metadata, *columns)

    def addColumn(connection: Connection) -> None:
        fuse()
        connection.raw.execute("ALTER TABLE things ADD COLUMN size INTEGER")
        fuse()

    def fillColumn(connection: Connection) -> bool:
        fuse()
        changed = connection.raw.execute(
            "UPDATE things SET size = length(word) WHERE id IN (SELECT id FROM things WHERE size IS NULL LIMIT 10)"
        ).rowcount
        fuse()
        return changed > 0

    upgrades = (Upgrade(2, addColumn), Upgrade(3, fillColumn))[: version - 1]
    return SimpleNamespace(TABLES=ModuleTables("things", metadata, version, upgrades))


def operations(version: int, fuse: Callable[[], None] = lambda: None) -> Operations:
    """The core and the growing module."""
    loaded = Operations.load()
    loaded.declare(declarations(version, fuse))
    return loaded


class UpgradeTests(FileTestCase):
    """Numbered steps."""

    def open(self, version: int, fuse: Callable[[], None] = lambda: None) -> Connection:
        """The file, opened by a program of that version."""
        makeFolder(self.folder)
        connection = openWriter(os.path.join(self.folder, FILE), operations(version, fuse))
        self.addCleanup(connection.raw.close)
        return connection

    def fill(self) -> None:
        """A database of version 1 with some rows."""
        connection = self.open(1)
        prepare(connection)
        connection.raw.executemany("INSERT INTO things (word) VALUES (?)", [("x" * number,) for number in range(25)])
        connection.raw.close()

    def check(self) -> None:
        """All steps are done, all rows are right."""
        self.assertEqual(self.query("SELECT count(*), sum(size = length(word)) FROM things"), [(25, 25)])
        self.assertEqual(self.query("SELECT version FROM schema_versions WHERE name = 'things'"), [(3,)])

    def test_killedAtEachPoint(self) -> None:
        """Wherever the upgrade is killed, the next start completes it, and the data is the same."""
        for point in range(1, 11):
            self.folder = os.path.join(os.path.dirname(self.folder), f"data{point}")
            self.fill()
            connection = self.open(3, Fuse(point))
            with self.assertRaises(Killed):
                prepare(connection)
            connection.raw.close()
            prepare(self.open(3))
            self.check()

    def test_changedIsReported(self) -> None:
        """An upgrade says what it changed; afterwards there is nothing to do."""
        self.fill()
        connection = self.open(3)
        self.assertEqual(status(connection), [("core", 1, 1), ("things", 1, 3)])
        self.assertEqual(prepare(connection), [("things", 1, 3)])
        self.assertEqual(prepare(connection), [])
        self.check()

    def test_newDatabase(self) -> None:
        """A new database gets the newest tables at once, without steps."""
        connection = openMemory(operations(3, Fuse(1)))
        prepare(connection)
        self.assertEqual(connection.raw.execute("SELECT id, word, size FROM things").fetchall(), [])

    def test_brokenStep(self) -> None:
        """A step that the database refuses ends the start in words and changes nothing."""
        self.fill()
        with sqlite3.connect(os.path.join(self.folder, FILE)) as raw:
            raw.execute("ALTER TABLE things ADD COLUMN size TEXT")
        raw.close()
        connection = self.open(3)
        with self.assertRaises(Refusal) as caught:
            prepare(connection)
        self.assertIn("things", str(caught.exception))
        self.assertEqual(status(connection)[1], ("things", 1, 3))

    def test_tooNewAndTooOld(self) -> None:
        """A version of tomorrow, or of a time that no step is known for, is refused."""
        self.fill()
        prepare(self.open(3))
        with self.assertRaises(Refusal):
            prepare(self.open(2))
        metadata = MetaData()
        Table("things", metadata, Column("id", Integer, primary_key=True))
        later = Operations.load()
        later.declare(SimpleNamespace(TABLES=ModuleTables("things", metadata, 9, ())))
        with self.assertRaises(Refusal) as caught:
            prepare(openWriter(os.path.join(self.folder, FILE), later))
        self.assertIn("too old", str(caught.exception))


class MaintenanceTests(FileTestCase):
    """What the command line calls."""

    def test_statusAndUpgrade(self) -> None:
        """Versions are shown without a server; an upgrade creates what is missing."""
        self.assertRaises(StorageRefused, databaseStatus, self.folder)
        makeFolder(self.folder)
        self.assertEqual(upgradeDatabase(self.folder), [("core", 0, 1)])
        self.assertEqual(databaseStatus(self.folder, (TABLES,)), [("core", 1, 1), ("marks", 0, 1)])
        self.assertEqual(upgradeDatabase(self.folder, (TABLES,)), [("marks", 0, 1)])
        self.assertEqual(upgradeDatabase(self.folder, (TABLES,)), [])

    def test_besideAServer(self) -> None:
        """With a server running, status and backup work and an upgrade is refused."""
        target = os.path.join(os.path.dirname(self.folder), "backup")

        def scenario(reactor: Any, database: Database) -> Any:
            yield database.store.execute("mark.add", (1, "a"))
            with self.assertRaises(StorageRefused) as caught:
                upgradeDatabase(self.folder)
            self.assertIn(str(os.getpid()), str(caught.exception))
            backupDatabase(self.folder, target)
            return database.status(), databaseStatus(self.folder, (TABLES,))

        live, beside = self.withDatabase(scenario)
        self.assertEqual(live, beside)
        copy = sqlite3.connect(target)
        self.assertEqual(copy.execute("SELECT word FROM marks").fetchall(), [("a",)])
        copy.close()
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o600)
        self.assertRaises(StorageRefused, backupDatabase, self.folder, target)

    def test_restore(self) -> None:
        """A backup put in the place of a database is one."""
        target = os.path.join(os.path.dirname(self.folder), "backup")

        def fill(reactor: Any, database: Database) -> Any:
            host = yield database.accounts.hostId("example.com")
            account = yield database.accounts.create(host, "juliet", b"")
            yield database.store.whenCommitted(database.offline.store(account, 1.0, STANZA))
            backupDatabase(self.folder, target)

        def look(reactor: Any, database: Database) -> Any:
            return (yield database.accounts.record(1, "juliet"))

        self.withDatabase(fill)
        self.folder += "2"
        makeFolder(self.folder)
        os.rename(target, os.path.join(self.folder, FILE))
        self.assertEqual(self.withDatabase(look).offline, 1)

    def test_noUpgradeOfDamage(self) -> None:
        """A file that is no database is refused in the caller's own type."""
        makeFolder(self.folder)
        with open(os.path.join(self.folder, FILE), "wb") as file:
            file.write(b"Dear diary, " * 100)
        self.assertRaises(StorageRefused, upgradeDatabase, self.folder)
        self.assertRaises(StorageRefused, databaseStatus, self.folder)
