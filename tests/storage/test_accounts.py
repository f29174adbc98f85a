"""Accounts, rosters, blocking lists, offline rows and keys, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.storage.support import STANZA, TABLES
from xmppservice.hub.contracts.storage import AccountExists, RosterRow
from xmppservice.storage import queries
from xmppservice.storage.database import Database


class MemoryTestCase(SynchronousTestCase):
    """A test with an in-memory database, a host and an account."""

    def setUp(self) -> None:
        """Open the database."""
        self.database = Database("sqlite-memory", "", Clock(), (TABLES,), now=lambda: 1234.5)
        self.now(self.database.startService())
        self.host = self.now(self.database.accounts.hostId("example.com"))
        self.account = self.now(self.database.accounts.create(self.host, "juliet", b"secret"))

    def now(self, result: Deferred[Any]) -> Any:
        """In memory everything has happened already."""
        return self.successResultOf(result)

    def record(self, local: str = "juliet") -> Any:
        """The account's facts."""
        return self.now(self.database.accounts.record(self.host, local))


class AccountTests(MemoryTestCase):
    """Hosts and accounts."""

    def test_hostIds(self) -> None:
        """A host keeps its id; another host has another."""
        accounts = self.database.accounts
        self.assertEqual(self.now(accounts.hostId("example.com")), self.host)
        self.assertNotEqual(self.now(accounts.hostId("example.org")), self.host)

    def test_record(self) -> None:
        """A new account has no facts but its own; nobody is nobody."""
        record = self.record()
        self.assertEqual(
            record, (self.account, "juliet", True, "user", {}, 0, frozenset(), 0, 0)
        )
        self.assertIsNone(self.record("romeo"))

    def test_hostsAreApart(self) -> None:
        """The same name on another host is another account."""
        other = self.now(self.database.accounts.hostId("example.org"))
        self.assertIsNone(self.now(self.database.accounts.record(other, "juliet")))
        self.assertNotEqual(self.now(self.database.accounts.create(other, "juliet", b"")), self.account)

    def test_twice(self) -> None:
        """An account that exists is not made again, and keeps its secrets."""
        failure = self.failureResultOf(self.database.accounts.create(self.host, "juliet", b"other"), AccountExists)
        self.assertIn("juliet", str(failure.value))
        self.assertEqual(self.now(self.database.accounts.secrets(self.host, "juliet")).secrets, b"secret")

    def test_changes(self) -> None:
        """Secrets, role and the disabled mark can be changed, each alone."""
        accounts = self.database.accounts
        self.now(accounts.setSecrets(self.account, b"new"))
        self.now(accounts.setRole(self.account, "admin"))
        self.now(accounts.setEnabled(self.account, False))
        self.assertEqual(self.now(accounts.secrets(self.host, "juliet")), (self.account, b"new", False))
        self.assertEqual(self.record()[2:4], (False, "admin"))
        self.assertIsNone(self.now(accounts.secrets(self.host, "romeo")))

    def test_idsAreNeverUsedAgain(self) -> None:
        """Who is deleted and made again inherits nothing, not even the number."""
        self.now(self.database.accounts.delete(self.account))
        again = self.now(self.database.accounts.create(self.host, "juliet", b""))
        self.assertGreater(again, self.account)

    def test_deletion(self) -> None:
        """Everything the account owned is gone, from a module's tables too; others keep theirs."""
        other = self.now(self.database.accounts.create(self.host, "romeo", b""))
        for account in (self.account, other):
            self.database.rosters.put(account, "a@example.net", "", 3, (), 1)
            self.database.blocks.add(account, ["evil.example"])
            self.database.offline.store(account, 1.0, STANZA)
            self.database.spool.hold(account, 1.0, STANZA)
            self.database.store.append("mark.add", (account, f"word of {account}"))
        self.now(self.database.accounts.delete(self.account))
        raw = self.database._memory.raw
        for table in ("roster", "blocks", "offline", "spool", "marks"):
            owners = raw.execute(f"SELECT account_id FROM {table}").fetchall()  # noqa: S608
            self.assertEqual(owners, [(other,)], table)
        self.assertIsNone(self.record())

    def test_many(self) -> None:
        """Many accounts are made at once; those that exist stay as they are."""
        names = [(f"user{number:03}", b"s") for number in range(300)]
        self.assertEqual(self.now(self.database.accounts.createMany(self.host, [*names, ("juliet", b"x")])), 300)
        self.assertEqual(self.now(self.database.accounts.secrets(self.host, "juliet")).secrets, b"secret")
        self.assertEqual(self.now(self.database.accounts.createMany(self.host, [])), 0)

    def test_list(self) -> None:
        """The list is sorted, bounded, and goes on after a name."""
        self.now(self.database.accounts.createMany(self.host, [("b", b""), ("a", b""), ("z", b"")]))
        first = self.now(self.database.accounts.list(self.host, limit=2))
        self.assertEqual([entry.local for entry in first], ["a", "b"])
        rest = self.now(self.database.accounts.list(self.host, start="b"))
        self.assertEqual([entry.local for entry in rest], ["juliet", "z"])
        self.assertEqual(rest[0].created, 1234.5)

    def test_keys(self) -> None:
        """A key is made once; afterwards everybody gets that one."""
        keys = self.database.keys
        self.assertIsNone(self.now(keys.get("salt")))
        self.assertEqual(self.now(keys.obtain("salt", lambda: b"one")), b"one")
        self.assertEqual(self.now(keys.obtain("salt", lambda: b"two")), b"one")
        self.now(keys.put("salt", b"three"))
        self.assertEqual(self.now(keys.get("salt")), b"three")


class RosterTests(MemoryTestCase):
    """Contact lists and blocking lists."""

    def items(self, since: int | None = None) -> list[RosterRow]:
        """The rows, sorted."""
        return sorted(self.now(self.database.rosters.items(self.account, since)))

    def test_put(self) -> None:
        """A contact comes back as it was put, odd group names included, and a second put replaces it."""
        put = self.database.rosters.put
        put(self.account, "romeo@example.net", "Rômeo", 33, ("a,b", 'c"\n', "ü"), 1)
        self.assertEqual(self.items(), [("romeo@example.net", "Rômeo", 33, ("a,b", 'c"\n', "ü"), 1, False)])
        put(self.account, "romeo@example.net", "", 35, (), 2)
        self.assertEqual(self.items(), [("romeo@example.net", "", 35, (), 2, False)])
        self.assertEqual((self.record().roster, self.record().rosterVersion), ({"romeo@example.net": 35}, 2))

    def test_setState(self) -> None:
        """The state changes, name and groups stay; an unknown contact gets a row."""
        self.database.rosters.put(self.account, "a@example.net", "A", 32, ("g",), 1)
        self.database.rosters.setState(self.account, "a@example.net", 33, 2)
        self.database.rosters.setState(self.account, "b@example.net", 8, 3)
        self.assertEqual(
            self.items(), [("a@example.net", "A", 33, ("g",), 2, False), ("b@example.net", "", 8, (), 3, False)]
        )

    def test_requests(self) -> None:
        """A request is kept while the state says that one is pending, through other changes."""
        rosters = self.database.rosters
        rosters.setState(self.account, "a@example.net", 8, 1, STANZA)
        rosters.put(self.account, "a@example.net", "A", 8 | 32, (), 2)
        rosters.setState(self.account, "a@example.net", 8 | 32 | 1, 3)
        self.assertEqual(self.now(rosters.requests(self.account)), [("a@example.net", STANZA)])
        rosters.setState(self.account, "a@example.net", 8 | 32 | 1, 4, b"<again/>")
        self.assertEqual(self.now(rosters.requests(self.account)), [("a@example.net", b"<again/>")])
        rosters.setState(self.account, "a@example.net", 32 | 3, 5)
        self.assertEqual(self.now(rosters.requests(self.account)), [])

    def test_pendingFlag(self) -> None:
        """The bit that the statements test is the one that the protocol uses."""
        from xmppservice.protocol.subscription import PENDING_IN

        self.assertEqual(PENDING_IN, 8)

    def test_differences(self) -> None:
        """A difference holds what changed later, removals too; the full list has no tombstones."""
        rosters = self.database.rosters
        rosters.put(self.account, "a@example.net", "", 32, (), 1)
        rosters.put(self.account, "b@example.net", "B", 35, ("g",), 2)
        rosters.remove(self.account, "b@example.net", 3)
        self.assertEqual(self.items(1), [("b@example.net", "", 0, (), 3, True)])
        self.assertEqual([row.jid for row in self.items()], ["a@example.net"])
        self.assertEqual((self.record().roster, self.record().rosterVersion), ({"a@example.net": 32}, 3))

    def test_backFromTheDead(self) -> None:
        """A contact that comes back begins anew, without its former name."""
        rosters = self.database.rosters
        rosters.put(self.account, "b@example.net", "B", 35, ("g",), 1)
        rosters.remove(self.account, "b@example.net", 2)
        rosters.setState(self.account, "b@example.net", 8, 3)
        self.assertEqual(self.items(), [("b@example.net", "", 8, (), 3, False)])

    def test_versionNeverFalls(self) -> None:
        """An older write that comes late does not take the account's version back."""
        self.database.rosters.put(self.account, "a@example.net", "", 32, (), 9)
        self.database.rosters.put(self.account, "b@example.net", "", 32, (), 4)
        self.assertEqual(self.record().rosterVersion, 9)

    def test_tombstonesAreBounded(self) -> None:
        """Endless adding and removing leaves no endless trail; the floor tells which versions are lost."""
        rosters = self.database.rosters
        for number in range(queries.TOMBSTONES + 1):
            rosters.put(self.account, f"u{number}@example.net", "", 32, (), 2 * number + 1)
            rosters.remove(self.account, f"u{number}@example.net", 2 * number + 2)
        floor = 2 * queries.TOMBSTONES + 2
        self.assertEqual((self.record().rosterFloor, self.items(0)), (floor, []))

    def test_blocks(self) -> None:
        """Adding twice, removing what is not there and replacing all work as sets do."""
        blocks = self.database.blocks
        blocks.add(self.account, ["a", "b", "b"])
        blocks.add(self.account, ["a"])
        blocks.remove(self.account, ["b", "nobody"])
        self.assertEqual(self.record().blocks, {"a"})
        blocks.set(self.account, ["x", "y", "x"])
        self.assertEqual(self.record().blocks, {"x", "y"})
        blocks.set(self.account, [])
        self.assertEqual((self.record().blocks, blocks.add(self.account, [])), (frozenset(), 0))


class OfflineTests(MemoryTestCase):
    """Offline rows and the spool."""

    def load(self, **options: Any) -> Any:
        """The rows of the account."""
        return self.now(self.database.offline.load(self.account, **options))

    def test_order(self) -> None:
        """Rows come in order of arrival, in pages, and are counted in the record."""
        for number in range(5):
            self.database.offline.store(self.account, float(number), b"%d" % number)
        self.assertEqual(self.record().offline, 5)
        first = self.load(limit=3)
        self.assertEqual([row.data for row in first], [b"0", b"1", b"2"])
        rest = self.load(start=first[-1].id)
        self.assertEqual([(row.stamp, row.data) for row in rest], [(3.0, b"3"), (4.0, b"4")])

    def test_remove(self) -> None:
        """Rows are removed by id, and nobody removes another account's."""
        other = self.now(self.database.accounts.create(self.host, "romeo", b""))
        self.database.offline.store(other, 1.0, STANZA)
        self.database.offline.store(self.account, 1.0, STANZA)
        self.database.offline.remove(self.account, [1, 2])
        self.assertEqual((self.load(), self.record("romeo").offline), ([], 1))
        self.database.offline.clear(other)
        self.assertEqual(self.record("romeo").offline, 0)

    def test_idsOfOfflineRowsRise(self) -> None:
        """A deleted row's id is not given to the next: an acknowledgement names the right one."""
        self.database.offline.store(self.account, 1.0, b"1")
        self.database.offline.remove(self.account, [1])
        self.database.offline.store(self.account, 1.0, b"2")
        self.assertEqual(self.load()[0].id, 2)

    def test_spoolMoves(self) -> None:
        """Held stanzas become offline rows in the order asked for, and settling them is harmless."""
        spool = self.database.spool
        keys = [spool.hold(self.account, float(number), b"%d" % number)[0] for number in range(3)]
        spool.settle(keys[1])
        spool.moveOffline([keys[0], keys[1], keys[2]])
        spool.settle(keys[0])
        self.assertEqual([(row.stamp, row.data) for row in self.load()], [(0.0, b"0"), (2.0, b"2")])
        self.assertEqual(spool.moveOffline([]), 0)
