"""Tickets and failures of the store that writes at once."""

from __future__ import annotations

from tests.storage.test_accounts import MemoryTestCase
from xmppservice.hub.contracts.storage import ConstraintFailure, StorageFailure, UnknownOperation


class InlineTests(MemoryTestCase):
    """The in-memory store."""

    def test_committedAtOnce(self) -> None:
        """A ticket is settled when it is handed out, and waiting for it is no waiting."""
        store = self.database.store
        ticket = store.append("mark.add", (1, "a"))
        self.assertEqual((store.committed, store.backlog), (ticket, 0))
        self.assertIsNone(self.now(store.whenCommitted(ticket)))
        self.assertEqual(store.append("mark.add", (1, "b")), ticket + 1)

    def test_readsSeeWrites(self) -> None:
        """Small and large reads alike, after a ticket."""
        store = self.database.store
        ticket = store.append("mark.add", (1, "a"))
        for name in ("mark.words", "mark.large"):
            self.assertEqual(self.now(store.read(name, (), ticket)), [("a",)])

    def test_failure(self) -> None:
        """A failed write tells why, leaves nothing, and its ticket counts as settled."""
        store = self.database.store
        failures: list[Exception] = []
        store.append("mark.add", (1, "a"), failures.append)
        ticket = store.append("mark.add", (1, "a"), failures.append)
        self.assertEqual([type(failure) for failure in failures], [ConstraintFailure])
        self.assertEqual(store.committed, ticket)
        self.failureResultOf(store.execute("mark.add", (1, "a")), ConstraintFailure)

    def test_failureWithoutListener(self) -> None:
        """A failure that nobody asked about is in the log, and so is a listener that fails."""
        store = self.database.store
        store.append("mark.add", (1, None))
        store.append("mark.add", (1, None), lambda error: 1 / 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unknown(self) -> None:
        """Names that nobody declared, or of the wrong kind, are refused at once."""
        store = self.database.store
        with self.assertRaises(UnknownOperation):
            store.append("nothing", ())
        with self.assertRaises(UnknownOperation):
            store.apply("nothing")
        with self.assertRaises(UnknownOperation):
            store.append("blocks.set", (1,))
        self.failureResultOf(store.read("nothing"), UnknownOperation)
        self.failureResultOf(store.execute("nothing"), UnknownOperation)
        self.failureResultOf(store.whenCommitted(10_000), ValueError)

    def test_brokenRead(self) -> None:
        """A read that fails errbacks with a type of ours, and the next one works."""
        self.failureResultOf(self.database.store.read("mark.broken"), StorageFailure)
        self.assertEqual(self.now(self.database.store.read("mark.words")), [])

    def test_listeners(self) -> None:
        """Listeners hear each commit until they cancel; one that fails does not harm the others."""
        store = self.database.store
        heard: list[int] = []
        cancelBad = store.onCommit(lambda committed: 1 / 0)
        cancel = store.onCommit(heard.append)
        ticket = store.append("mark.add", (1, "a"))
        self.assertEqual(heard, [ticket])
        cancelBad()
        cancel()
        cancel()
        store.append("mark.add", (1, "b"))
        self.assertEqual((heard, len(self.flushLoggedErrors(ZeroDivisionError))), ([ticket], 1))

    def test_writesWithinCallbacks(self) -> None:
        """A write made by a commit callback settles, and the order of tickets holds."""
        store = self.database.store
        heard: list[int] = []

        def once(committed: int) -> None:
            heard.append(committed)
            if len(heard) == 1:
                store.append("mark.add", (1, "second"))

        store.onCommit(once)
        ticket = store.append("mark.add", (1, "first"))
        self.assertEqual((heard, store.committed), ([ticket, ticket + 1], ticket + 1))

    def test_restartOfService(self) -> None:
        """Stopping and starting keeps the data: it is memory, not a session."""
        self.database.store.append("mark.add", (1, "a"))
        self.now(self.database.stopService())
        self.now(self.database.startService())
        self.assertEqual(self.now(self.database.store.read("mark.words")), [("a",)])

    def test_status(self) -> None:
        """The versions of all modules are known."""
        self.assertEqual(self.database.status(), [("core", 1, 1), ("marks", 1, 1)])
