"""Back-pressure inside the server: who causes work that cannot be done yet is not read (hardening D03, D05, V14)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import CHAT, SlowServer, bodies, chat, errors, manage
from xmppservice.hub import account as accounts
from xmppservice.hub.subscribing import REQUEST_COST
from xmppservice.hub.waiting import WAITING_LIMIT, WaitingLine
from xmppservice.testing import MemoryServer


class CrowdedStorage(SynchronousTestCase):
    """A disk that takes its time."""

    def setUp(self) -> None:
        """A storage that counts as crowded from ten rows on."""
        self.server = SlowServer(modules=CHAT)
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)
        self.server.account("carol")
        self.store = self.server.slow
        self.store.crowd = 10
        self.server.hold()

    def pausedUntilCommitted(self, to: str) -> None:
        """Alice writes until she is not read any more, soon after the mark; a commit lets her go on."""
        for number in range(20):
            chat(self.alice, to, str(number))
            if self.alice.stream.paused:
                break
        self.assertEqual(self.alice.stream.paused, 1)
        self.assertLessEqual(self.store.backlog, 12)
        self.server.commit()
        self.assertEqual(self.alice.stream.paused, 0)

    def test_senderWithStreamManagement(self) -> None:
        """Each row that waits pauses its sender from the mark on, until it is committed."""
        manage(self.alice)
        self.pausedUntilCommitted("bob@localhost")

    def test_senderToAnOfflineRecipient(self) -> None:
        """The same for offline rows, without stream management."""
        self.pausedUntilCommitted("carol@localhost")

    def test_othersGoOn(self) -> None:
        """Who writes nothing is read as ever."""
        for number in range(20):
            chat(self.alice, "carol@localhost", str(number))
        chat(self.bob, "alice@localhost/phone", "hello")
        self.assertEqual(bodies(self.alice)[-1:], ["hello"])
        self.assertEqual(self.bob.stream.paused, 0)

    def test_theEndOfWhoWaits(self) -> None:
        """The stream that waited is gone when the commit comes: nothing breaks."""
        for number in range(12):
            chat(self.alice, "carol@localhost", str(number))
        self.alice.session.streamLost()
        self.server.commit()
        self.assertEqual(self.store.backlog, 0)


class WaitingTests(SynchronousTestCase):
    """Lines of stanzas that wait for a module, or for an account that is being read."""

    def test_whatIsWaitedForCounts(self) -> None:
        """Waits under as many keys, with nothing behind them, fill a line as well."""
        calls: list[str] = []
        line = WaitingLine(lambda: calls.append("full"), lambda: calls.append("drained"))
        for key in range(WAITING_LIMIT):
            self.assertEqual(calls, [])
            line.begin(key)
        self.assertEqual(calls, ["full"])
        for key in range(WAITING_LIMIT):
            line.end(key)
        self.assertEqual(calls, ["full", "drained"])
        line.end(0)
        self.assertEqual(len(line), 0)

    def test_accountsThatAreBeingRead(self) -> None:
        """A flood to addresses that the storage has to look up stops its own stream."""
        server = MemoryServer(modules=CHAT)
        alice = server.client("alice/phone")
        due: list[Deferred[Any]] = []

        def load(local: str) -> Deferred[Any]:
            due.append(Deferred())
            return due[-1]

        server.host.accounts._load = load
        for number in range(1000):
            chat(alice, f"nobody{number}@localhost", "x")
            if alice.stream.paused:
                break
        self.assertEqual(len(due), WAITING_LIMIT)
        for waiting in due:
            waiting.callback(None)
        self.assertEqual(alice.stream.paused, 0)
        self.assertEqual(set(errors(alice)), {"service-unavailable"})

    def test_accountThatWaits(self) -> None:
        """What many send to an account whose module waits has a bound; beyond it senders are told."""
        server = MemoryServer(modules=CHAT)
        alice, bob = server.client("alice/phone"), server.client("bob/desk", available=True)
        self.patch(accounts, "RECEIVING_LIMIT", 20)
        account = server.account("bob")
        account._line = WaitingLine(lambda: None, lambda: None)
        account._line.begin(0)
        for number in range(30):
            chat(alice, "bob@localhost", str(number))
        self.assertEqual(errors(alice), ["resource-constraint"] * 11)
        account._line.end(0)
        self.assertEqual(bodies(bob), [str(number) for number in range(19)])


class ChargeTests(SynchronousTestCase):
    """What goes to many is charged to whoever sent it."""

    def setUp(self) -> None:
        """Alice with subscribers."""
        self.server = MemoryServer(modules=CHAT)
        self.alice = self.server.client("alice/phone")
        self.account = self.server.account("alice")

    def test_broadcast(self) -> None:
        """Presence costs what it reaches, on each change; a directed one costs nothing extra."""
        self.account.roster.update({f"friend{number}@localhost": 3 for number in range(40)})
        self.alice.send("<presence/>")
        initial = self.alice.stream.charged
        self.assertGreaterEqual(initial, 40)
        self.alice.send("<presence><show>away</show></presence>")
        again = self.alice.stream.charged - initial
        self.assertEqual(again, 40)
        self.alice.send("<presence to='bob@localhost'/>")
        self.assertEqual(self.alice.stream.charged, initial + again)

    def test_subscriptionFlood(self) -> None:
        """V14: each request to a new contact is dear; asking the same one again is not."""
        self.server.account("bob")
        self.alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(self.alice.stream.charged, REQUEST_COST)
        self.alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(self.alice.stream.charged, REQUEST_COST)
