"""Every part of the database keeps its interface."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xmppservice.hub.contracts import storage
from xmppservice.storage.database import Database
from xmppservice.storage.process import IWriterProcess, WriterProcess


class ContractTests(SynchronousTestCase):
    """`verifyObject` on what a database provides."""

    def verify(self, database: Database) -> None:
        """All seven interfaces."""
        for interface, provided in (
            (storage.IStore, database.store), (storage.IAccounts, database.accounts),
            (storage.IRosters, database.rosters), (storage.IBlocks, database.blocks),
            (storage.ISpool, database.spool), (storage.IOfflineStore, database.offline),
            (storage.IKeys, database.keys),
        ):
            self.assertTrue(verifyObject(interface, provided))

    def test_memory(self) -> None:
        """The in-memory database keeps the contracts."""
        self.verify(Database("sqlite-memory", "", Clock()))

    def test_file(self) -> None:
        """So does one with a file, before it is started even."""
        self.verify(Database("sqlite", "/nonexistent", Clock()))

    def test_process(self) -> None:
        """The writer process is what the store expects."""
        database = Database("sqlite", "/nonexistent", Clock())
        self.assertTrue(verifyObject(IWriterProcess, WriterProcess(Clock(), "", 0, [], database._writer)))

    def test_otherDatabases(self) -> None:
        """What is not built, or not known, is refused with words."""
        for url, words in (("postgresql://localhost/x", "not built yet"), ("mysql://", "unknown")):
            with self.assertRaises(storage.StorageRefused) as caught:
                Database(url, "", Clock())
            self.assertIn(words, str(caught.exception))
