"""The cache of accounts: order while one is read, bounds, and the end."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.hub.account import Account
from xmppservice.hub.accounts import AccountCache
from xmppservice.hub.contracts.storage import AccountRecord
from xmppservice.protocol.jid import JID
from xmppservice.testing import MemoryServer


def recordOf(local: str, contacts: int = 0) -> AccountRecord:
    """The facts of an account with so many contacts."""
    roster = {f"contact{index}@localhost": 35 for index in range(contacts)}
    return AccountRecord(1, local, True, "user", roster, 0, frozenset(), 0)


class AccountCacheTests(SynchronousTestCase):
    """One cache whose storage answers when the test says so."""

    def setUp(self) -> None:
        """A cache of 20,000 bytes."""
        self.host = MemoryServer().host
        self.reads: list[tuple[str, Deferred[AccountRecord | None]]] = []
        self.cache = AccountCache(self.load, self.make, limit=20_000)

    def load(self, local: str) -> Deferred[AccountRecord | None]:
        """Read an account: remembered, answered later."""
        due: Deferred[AccountRecord | None] = Deferred()
        self.reads.append((local, due))
        return due

    def make(self, record: AccountRecord) -> Account:
        """An account of the host."""
        return Account(self.host, JID.of(record.local, "localhost"), record)

    def test_orderOfWaiters(self) -> None:
        """Who asks while an account is read is answered in order, by one read."""
        answers: list[int] = []
        for index in range(3):
            self.cache.obtain("alice").addCallback(lambda account, index=index: answers.append(index))
        self.assertEqual([local for local, _ in self.reads], ["alice"])
        self.reads[0][1].callback(recordOf("alice"))
        self.assertEqual(answers, [0, 1, 2])

    def test_unknownIsRemembered(self) -> None:
        """An address without account is asked for once."""
        self.cache.obtain("nobody")
        self.reads[0][1].callback(None)
        self.assertIsNone(self.successResultOf(self.cache.obtain("nobody")))
        self.assertEqual(len(self.reads), 1)

    def test_bounded(self) -> None:
        """The oldest idle entries go when the cache is full."""
        for index in range(20):
            self.cache.obtain(f"user{index}")
            self.reads[-1][1].callback(recordOf(f"user{index}", contacts=10))
        self.assertLess(len(self.cache.known), 12)
        self.assertIn("user19", self.cache.known)
        self.assertNotIn("user0", self.cache.known)

    def test_failedRead(self) -> None:
        """A read that fails fails all who wait, and the next one tries again."""
        due = self.cache.obtain("alice")
        self.reads[0][1].errback(OSError("gone"))
        self.failureResultOf(due, OSError)
        self.cache.obtain("alice")
        self.assertEqual(len(self.reads), 2)

    def test_changedWhileRead(self) -> None:
        """An account that is made, changed or deleted while it is read is read again for those who wait."""
        due = self.cache.obtain("alice")
        self.cache.forget("alice")
        self.reads[0][1].callback(None)
        self.assertNoResult(due)
        self.reads[1][1].callback(recordOf("alice"))
        self.assertIsNotNone(self.successResultOf(due))

    def test_whenIdle(self) -> None:
        """A stop can wait for the accounts that are being read, and for the stanzas behind them."""
        self.successResultOf(self.cache.whenIdle())
        self.cache.obtain("alice")
        idle = self.cache.whenIdle()
        self.assertNoResult(idle)
        self.reads[0][1].callback(recordOf("alice"))
        self.successResultOf(idle)
