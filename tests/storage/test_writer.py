"""Gathering, batches, restarts: the store against a writer process that the test plays."""

from __future__ import annotations

import marshal
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.storage.support import STANZA, TABLES
from xmppservice.hub.contracts.storage import (
    ConstraintFailure,
    StorageFull,
    StorageUnavailable,
    UnknownOperation,
)
from xmppservice.storage.operations import Operations
from xmppservice.storage.process import IWriterProcess
from xmppservice.storage.readers import Readers
from xmppservice.storage.spool import LAZY, MANY, RETRY, Spool
from xmppservice.storage.writer import ATTEMPTS, GATHER, WriterStore


@implementer(IWriterProcess)
class Script:
    """A writer process that does nothing by itself."""

    pid: int | None = 1

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.stopped = False
        self.listened = 0

    def start(self) -> Deferred[None]:
        """Is up."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Is down."""
        self.stopped = True
        return succeed(None)

    def send(self, frame: bytes) -> None:
        """Keep the message."""
        self.batches.append(marshal.loads(frame[4:]))

    def listen(self) -> None:
        """Count the looks."""
        self.listened += 1


class WriterTestCase(SynchronousTestCase):
    """A store, a clock, and a scripted process."""

    def setUp(self) -> None:
        """Start the store."""
        self.clock = Clock()
        operations = Operations.load((TABLES,))

        def noReads() -> Any:
            raise AssertionError("nothing is read here")

        self.store = WriterStore(operations, Readers(noReads), self.clock)
        self.process = Script()
        self.assertTrue(verifyObject(IWriterProcess, self.process))
        self.store.start(self.process)
        self.store.writerReady(41, [])

    def gather(self) -> None:
        """Let the gathering time pass."""
        self.clock.advance(GATHER)

    def answer(self, *failures: tuple[int, str, str]) -> None:
        """The process settles the newest batch."""
        self.store.writerAnswered(self.process.batches[-1][0], list(failures))

    def append(self, word: str = "a", failed: Any = None) -> int:
        """Any bulk row."""
        return self.store.append("mark.add", (1, word), failed)


class GatheringTests(WriterTestCase):
    """What becomes a batch."""

    def test_listen(self) -> None:
        """The end of a pass looks for an answer only while one is due."""
        self.store.listen()
        self.assertEqual(self.process.listened, 0)
        self.append("a")
        self.clock.advance(GATHER)
        self.store.listen()
        self.assertEqual(self.process.listened, 1)

    def test_numbersGoOn(self) -> None:
        """Batches are numbered after the last that the database knows; tickets begin with 1."""
        self.assertEqual(self.append(), 1)
        self.gather()
        self.assertEqual(self.process.batches, [(42, [("mark.add", [(1, "a")])])])

    def test_nothingBeforeItsTime(self) -> None:
        """Rows gather; nothing is committed before the process says so."""
        tickets = [self.append("a"), self.append("b")]
        self.assertEqual(self.process.batches, [])
        waiting = self.store.whenCommitted(tickets[1])
        self.gather()
        self.assertNoResult(waiting)
        self.assertEqual((self.store.committed, self.store.backlog), (0, 2))
        self.answer()
        self.successResultOf(waiting)
        self.assertEqual((self.store.committed, self.store.backlog), (2, 0))

    def test_groups(self) -> None:
        """Equal bulk operations that follow each other are one; others stay in order and alone."""
        self.append("a")
        self.append("b")
        self.store.apply("spool.recover")
        self.store.apply("spool.recover")
        self.append("c")
        self.gather()
        expected = [
            ("mark.add", [(1, "a"), (1, "b")]), ("spool.recover", [()]), ("spool.recover", [()]),
            ("mark.add", [(1, "c")]),
        ]
        self.assertEqual(self.process.batches[0][1], expected)

    def test_oneAtATime(self) -> None:
        """While a batch is committed the next one gathers, and leaves at once when the first is done."""
        self.append("a")
        self.gather()
        self.append("b")
        self.gather()
        self.append("c")
        self.assertEqual(len(self.process.batches), 1)
        self.answer()
        self.assertEqual(self.process.batches[1][1], [("mark.add", [(1, "b"), (1, "c")])])
        self.assertEqual(self.store.committed, 1)

    def test_orderOfEvents(self) -> None:
        """Failures are told first, then the ticket rises, then listeners, then who waits."""
        events: list[object] = []
        self.store.onCommit(lambda ticket: events.append(("heard", ticket)))
        ticket = self.append("a", lambda error: events.append(("failed", self.store.committed)))
        self.store.whenCommitted(ticket).addCallback(lambda _: events.append("waited"))
        self.gather()
        self.answer((0, "constraint", "no"))
        self.assertEqual(events, [("failed", 0), ("heard", ticket), "waited"])

    def test_waitersInOrder(self) -> None:
        """Who waits for a later ticket is told later, whatever the order of asking."""
        told: list[int] = []
        first = self.append("a")
        self.gather()
        second = self.append("b")
        for ticket in (second, first, second):
            self.store.whenCommitted(ticket).addCallback(lambda _, ticket=ticket: told.append(ticket))
        self.answer()
        self.assertEqual(told, [first])
        self.gather()
        self.answer()
        self.assertEqual(told, [first, second, second])

    def test_kindsOfFailure(self) -> None:
        """Each failed row gets its own typed error; its neighbours get none."""
        errors: dict[str, Exception] = {}
        for word in ("a", "b", "c", "d"):
            self.append(word, lambda error, word=word: errors.__setitem__(word, error))
        self.store.retract(2)
        self.gather()
        self.answer((0, "full", "x"), (2, "unavailable", "y"))
        self.assertEqual({word: type(error) for word, error in errors.items()},
                         {"a": StorageFull, "d": StorageUnavailable})

    def test_unsendableRow(self) -> None:
        """A row that holds an object fails alone."""
        failures: list[Exception] = []
        self.append("a")
        self.store.append("mark.add", (1, object()), failures.append)  # type: ignore[arg-type]
        self.gather()
        self.assertEqual(self.process.batches[0][1], [("mark.add", [(1, "a")])])
        self.assertEqual([type(failure) for failure in failures], [ConstraintFailure])

    def test_onlyUnsendable(self) -> None:
        """A batch of nothing else settles without the process."""
        ticket = self.store.append("mark.add", (object(),))  # type: ignore[arg-type]
        self.gather()
        self.assertEqual((self.process.batches, self.store.committed), ([], ticket))

    def test_unknown(self) -> None:
        """Wrong names are refused at once and take no ticket."""
        with self.assertRaises(UnknownOperation):
            self.store.append("nothing", ())
        with self.assertRaises(UnknownOperation):
            self.store.append("spool.recover", ())
        self.assertEqual(self.store.last, 0)


class RetractionTests(WriterTestCase):
    """Rows that are settled before their batch closes."""

    def setUp(self) -> None:
        """With a spool."""
        super().setUp()
        self.spool = Spool(self.store, self.clock)

    def test_neverWritten(self) -> None:
        """A stanza that is acknowledged while its row gathers is never sent to the process."""
        key, _ticket = self.spool.hold(1, 1.0, STANZA)
        self.append("a")
        self.spool.settle(key)
        self.gather()
        self.assertEqual(self.process.batches[0][1], [("mark.add", [(1, "a")])])

    def test_noCommitAtAll(self) -> None:
        """When all rows of a gathering are settled, nothing is committed but the tickets are."""
        heard: list[int] = []
        self.store.onCommit(heard.append)
        keys = [self.spool.hold(1, 1.0, STANZA)[0] for _ in range(3)]
        for key in keys:
            self.spool.settle(key)
        self.gather()
        self.clock.advance(10)
        self.assertEqual((self.process.batches, self.store.committed, heard), ([], keys[-1], [keys[-1]]))
        self.append("a")
        self.gather()
        self.assertEqual(self.process.batches[0][0], 42)

    def test_whileAnotherFlies(self) -> None:
        """The empty gathering settles only after the batch before it: tickets keep their order."""
        first = self.append("a")
        self.gather()
        key, ticket = self.spool.hold(1, 1.0, STANZA)
        self.spool.settle(key)
        self.gather()
        self.assertEqual(self.store.committed, 0)
        self.answer()
        self.assertEqual((self.store.committed, len(self.process.batches)), (ticket, 1))
        self.assertEqual(first, 1)

    def test_lazyDeletion(self) -> None:
        """Rows that are on their way already are deleted later, many by one operation."""
        keys = [self.spool.hold(1, 1.0, STANZA)[0] for _ in range(3)]
        self.gather()
        self.answer()
        for key in keys:
            self.spool.settle(key)
        self.assertEqual(len(self.process.batches), 1)
        self.clock.advance(LAZY)
        self.gather()
        self.assertEqual(self.process.batches[1][1], [("spool.settle", [tuple(keys)])])

    def test_manySettled(self) -> None:
        """Many settled rows do not wait for the timer."""
        keys = [self.spool.hold(1, 1.0, STANZA)[0] for _ in range(MANY)]
        self.gather()
        self.answer()
        for key in keys:
            self.spool.settle(key)
        self.gather()
        self.assertEqual(len(self.process.batches[1][1][0][1][0]), MANY)

    def test_deletionFails(self) -> None:
        """Deletions that fail (disk full, say) are tried again."""
        key, _ticket = self.spool.hold(1, 1.0, STANZA)
        self.gather()
        self.answer()
        self.spool.settle(key)
        self.clock.advance(LAZY)
        self.gather()
        self.answer((0, "full", "no space"))
        self.clock.advance(RETRY)
        self.gather()
        self.assertEqual(self.process.batches[2][1], [("spool.settle", [(key,)])])

    def test_failedIsForgotten(self) -> None:
        """A retracted row's failure callback goes with it."""
        failures: list[Exception] = []
        key, _ticket = self.spool.hold(1, 1.0, STANZA, failures.append)
        self.spool.settle(key)
        self.store.writerDown("gone")
        self.gather()
        self.assertEqual(failures, [])


class RestartTests(WriterTestCase):
    """The process dies and comes back."""

    def test_resent(self) -> None:
        """A batch that was not committed is sent again, unchanged, under its number."""
        self.append("a")
        self.gather()
        self.store.writerLost()
        self.append("b")
        self.gather()
        self.assertEqual(len(self.process.batches), 1)
        self.store.writerReady(41, [])
        self.assertEqual(self.process.batches[1], self.process.batches[0])
        self.answer()
        self.assertEqual(self.process.batches[2], (43, [("mark.add", [(1, "b")])]))

    def test_notTwice(self) -> None:
        """A batch that was committed before the answer was lost is settled by its number, failures and all."""
        failures: list[Exception] = []
        self.append("a", failures.append)
        ticket = self.append("b", failures.append)
        self.gather()
        self.store.writerLost()
        self.store.writerReady(42, [(1, "constraint", "bad")])
        self.assertEqual((len(self.process.batches), self.store.committed, len(failures)), (1, ticket, 1))

    def test_strangeAnswer(self) -> None:
        """An answer to another batch settles nothing."""
        self.append("a")
        self.gather()
        self.store.writerAnswered(41, [])
        self.assertEqual(self.store.committed, 0)

    def test_poisonedBatch(self) -> None:
        """A batch of which process after process dies fails at last, and the next one goes on."""
        failures: list[Exception] = []
        self.append("a", failures.append)
        self.gather()
        for _ in range(ATTEMPTS):
            self.assertEqual(failures, [])
            self.store.writerLost()
            self.store.writerReady(41, [])
        self.assertEqual(([type(failure) for failure in failures], self.store.committed), ([StorageUnavailable], 1))
        self.assertEqual(len(self.process.batches), ATTEMPTS)
        self.append("b")
        self.gather()
        self.assertEqual(self.process.batches[-1], (42, [("mark.add", [(1, "b")])]))

    def test_down(self) -> None:
        """When it does not come back, what waits fails, and what comes later fails soon."""
        failures: list[Exception] = []
        self.append("a", failures.append)
        self.gather()
        self.store.writerLost()
        self.append("b", failures.append)
        self.gather()
        self.store.writerDown("no process")
        ticket = self.append("c", failures.append)
        self.gather()
        self.assertEqual([type(failure) for failure in failures], [StorageUnavailable] * 3)
        self.assertEqual(self.store.committed, ticket)

    def test_upAgain(self) -> None:
        """After that it works again as soon as the process is back, under the number it tells."""
        self.append("a")
        self.gather()
        self.store.writerLost()
        self.store.writerDown("no process")
        self.store.writerReady(42, [])
        self.append("b")
        self.gather()
        self.assertEqual(self.process.batches[-1], (43, [("mark.add", [(1, "b")])]))


class StoppingTests(WriterTestCase):
    """The store's end."""

    def test_drains(self) -> None:
        """What was given is committed before the process is stopped; more is not taken."""
        self.append("a")
        self.gather()
        last = self.append("b")
        done = self.store.stop()
        with self.assertRaises(StorageUnavailable):
            self.append("c")
        with self.assertRaises(StorageUnavailable):
            self.store.apply("spool.recover")
        self.answer()
        self.assertNoResult(done)
        self.answer()
        self.successResultOf(done)
        self.assertEqual((self.process.stopped, self.store.committed), (True, last))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """With nothing to do it stops at once, and stopping twice is stopping."""
        self.successResultOf(self.store.stop())
        self.successResultOf(self.store.stop())
