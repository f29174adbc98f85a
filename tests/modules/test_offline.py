"""Offline messages: what is kept, how it is delivered, when it is let go (XEP-0160, 0203, 0334)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.hub.kit import SlowServer, SlowStore, acknowledge, bodies, chat, errors, manage
from xmppservice.hub.contracts.delivery import IOfflinePolicy
from xmppservice.hub.contracts.storage import IStore
from xmppservice.hub.management import Resumption
from xmppservice.modules.offline.copies import PAGE_ROWS
from xmppservice.protocol.payloads.delay import delayOf
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.testing.clock import BEGINNING
from xmppservice.testing.server import result
from xmppservice.wire import ns

MODULES = ("offline", "stream_management")


def rows(server: MemoryServer, who: str = "bob") -> int:
    """How many messages the storage holds."""
    return len(result(server.database.offline.load(server.account(who).id)))


class OfflineCase(SynchronousTestCase):
    """Alice writes, Bob is away."""

    options: Mapping[str, Mapping[str, Any]] = {}

    def setUp(self) -> None:
        """A server, Alice online, Bob's account."""
        self.server = MemoryServer(MODULES, self.options)
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.account("bob")

    def write(self, *texts: str) -> None:
        """Alice sends chat messages to Bob."""
        for text in texts:
            chat(self.alice, "bob@localhost", text)


class KeepingTests(OfflineCase):
    """What is worth keeping."""

    def check(self, inner: str, kept: bool, refused: bool = False, type: str = "chat") -> None:
        """Send one message with this content; compare whether it was stored, and whether refused."""
        self.alice.send(f"<message to='bob@localhost' type='{type}'>{inner}</message>")
        self.assertEqual(rows(self.server), 1 if kept else 0)
        self.assertEqual(self.bob.offline, 1 if kept else 0)
        self.assertEqual(errors(self.alice), ["service-unavailable"] if refused else [])

    def test_provides(self) -> None:
        """The module is what the hub asks for."""
        verifyObject(IOfflinePolicy, self.server.module("offline"))

    def test_body(self) -> None:
        """A body is kept."""
        self.check("<body>hello</body>", True)

    def test_normal(self) -> None:
        """Normal messages are kept like chat."""
        self.check("<body>hello</body>", True, type="normal")

    def test_payload(self) -> None:
        """A receipt or the like is kept without a body."""
        self.check("<received xmlns='urn:xmpp:receipts' id='1'/>", True)

    def test_subject(self) -> None:
        """A subject alone is content."""
        self.check("<subject>hello</subject>", True, type="normal")

    def test_chatState(self) -> None:
        """A chat state alone is not kept, and nobody is bothered with an error (XEP-0160 section 4)."""
        self.check("<composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>", False)

    def test_empty(self) -> None:
        """A message with nothing in it is let go."""
        self.check("", False)

    def test_bodyWithChatState(self) -> None:
        """A chat state does no harm to a body."""
        self.check("<active xmlns='http://jabber.org/protocol/chatstates'/><body>hello</body>", True)

    def test_noStore(self) -> None:
        """The sender forbids storing: it is told that nobody has the message (XEP-0334 4.2)."""
        self.check("<body>secret</body><no-store xmlns='urn:xmpp:hints'/>", False, refused=True)

    def test_noPermanentStore(self) -> None:
        """What must not be archived may wait for its recipient all the same (XEP-0334 3.3, 4.1)."""
        self.check("<no-permanent-store xmlns='urn:xmpp:hints'/><body>secret</body>", True)

    def test_storeHint(self) -> None:
        """A hint makes even a chat state worth keeping (XEP-0334 4.4)."""
        self.check("<gone xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", True)

    def test_headline(self) -> None:
        """Headlines are not kept."""
        self.check("<body>news</body>", False, type="headline")

    def test_groupchat(self) -> None:
        """Groupchat is refused, not kept."""
        self.check("<body>hello</body>", False, refused=True, type="groupchat")


class QuotaTests(OfflineCase):
    """The bound per account (D07)."""

    options = {"offline": {"limit": 2}}

    def test_full(self) -> None:
        """The first message over the limit is refused with a typed error, the others stay."""
        self.write("one", "two", "three")
        self.assertEqual(errors(self.alice), ["service-unavailable"])
        self.assertEqual(rows(self.server), 2)

    def test_roomAgain(self) -> None:
        """Delivered messages make room."""
        self.write("one", "two")
        self.server.client("bob/desk", available=True).close()
        self.write("three")
        self.assertEqual(errors(self.alice), [])
        self.assertEqual(rows(self.server), 1)

    def test_countAfterReload(self) -> None:
        """The count survives the account's leaving the memory."""
        self.write("one", "two")
        self.server.host.accounts.forget("bob")
        self.write("three")
        self.assertEqual(errors(self.alice), ["service-unavailable"])


class DeliveryTests(OfflineCase):
    """Delivery at the next available presence."""

    def test_orderAndStamp(self) -> None:
        """All come, in order, each with the time when it was stored, by the host (XEP-0203)."""
        self.write("one")
        self.server.advance(60)
        self.write("two")
        bob = self.server.client("bob/desk")
        bob.available()
        messages = [stanza for stanza in bob.take() if stanza.name == "message"]
        self.assertEqual([delayOf(message, "localhost") for message in messages], [BEGINNING, BEGINNING + 60])
        self.assertEqual([message.find(ns.CLIENT, "body").text for message in messages], ["one", "two"])  # type: ignore[union-attr]
        self.assertEqual(messages[0].get("from"), "alice@localhost/phone")
        self.assertEqual(messages[0].get("to"), "bob@localhost")

    def test_once(self) -> None:
        """What was delivered is gone."""
        self.write("one")
        self.server.client("bob/desk", available=True)
        self.assertEqual(rows(self.server), 0)
        other = self.server.client("bob/phone")
        other.available()
        self.assertEqual(bodies(other), [])

    def test_forgedDelay(self) -> None:
        """A delay that claims to be the host's own is taken out, another's stays."""
        self.alice.send(
            "<message to='bob@localhost' type='chat'><body>old</body>"
            "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2001-01-01T00:00:00Z'/>"
            "<delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2002-02-02T00:00:00Z'/></message>"
        )
        bob = self.server.client("bob/desk")
        bob.available()
        message = bob.next("message")
        delays = [(delay.get("from"), (delay.get("stamp") or "")[:4]) for delay in message.findAll(ns.DELAY, "delay")]
        self.assertEqual(delays, [("room@muc.example", "2002"), ("localhost", "2026")])

    def test_negativePriority(self) -> None:
        """A session with a negative priority gets nothing, until it becomes willing."""
        self.write("one")
        bob = self.server.client("bob/desk")
        bob.available(-1)
        self.assertEqual(bodies(bob), [])
        bob.available(1)
        self.assertEqual(bodies(bob), ["one"])

    def test_notForConnected(self) -> None:
        """Binding alone delivers nothing."""
        self.write("one")
        self.assertEqual(bodies(self.server.client("bob/desk")), [])

    def test_oldBeforeNew(self) -> None:
        """A message that comes right after the presence follows the stored ones."""
        self.write("one", "two")
        bob = self.server.client("bob/desk")
        bob.available()
        self.write("three")
        self.assertEqual(bodies(bob), ["one", "two", "three"])

    def test_pages(self) -> None:
        """A long queue comes in pages; the next follows when the kernel has taken the last."""
        texts = [str(number) for number in range(PAGE_ROWS + 5)]
        self.write(*texts)
        bob = self.server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        self.assertEqual(bodies(bob), texts[:PAGE_ROWS])
        bob.stream.flush()
        self.assertEqual(bodies(bob), texts[PAGE_ROWS:])
        bob.stream.flush()
        self.assertEqual(rows(self.server), 0)

    def test_newBehindPages(self) -> None:
        """While pages are on their way, a new message waits behind them; once all is sent it goes at once."""
        texts = [str(number) for number in range(PAGE_ROWS + 5)]
        self.write(*texts)
        bob = self.server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        self.write("new")
        self.assertEqual(rows(self.server), PAGE_ROWS + 6)
        bob.stream.flush()
        self.assertEqual(bodies(bob), [*texts, "new"])
        self.assertIsNone(self.bob.catchingUp)
        self.write("newest")
        self.assertEqual(bodies(bob), ["newest"])
        self.assertEqual(rows(self.server), 0)

    def test_newAndAnotherSession(self) -> None:
        """Who gets no pages gets a new message at once, though another session still gets its pages."""
        self.write(*(str(number) for number in range(PAGE_ROWS + 5)))
        bob = self.server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        other = self.server.client("bob/phone")
        other.available()
        self.write("new")
        self.assertEqual(bodies(other), ["new"])

    def test_pagesEndWithTheSession(self) -> None:
        """What came behind the pages of a session that died waits with them for the next."""
        self.write(*(str(number) for number in range(PAGE_ROWS + 5)))
        bob = self.server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        self.write("new")
        bob.lose()
        self.assertIsNone(self.bob.catchingUp)
        self.write("newer")
        self.assertEqual(rows(self.server), PAGE_ROWS + 7)
        bob = self.server.client("bob/desk")
        bob.available()
        self.assertEqual(bodies(bob)[-2:], ["new", "newer"])
        self.assertEqual((rows(self.server), self.bob.offline), (0, 0))

    def test_bytesPerPage(self) -> None:
        """Large messages make a page end early, so that no client is flooded."""
        for letter in "abcde":
            self.alice.send(f"<message to='bob@localhost' type='chat'><body>{letter * 100_000}</body></message>")
        bob = self.server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        self.assertEqual([text[0] for text in bodies(bob)], ["a", "b", "c"])
        bob.stream.flush()
        self.assertEqual([text[0] for text in bodies(bob)], ["d", "e"])
        self.assertEqual(rows(self.server), 0)

    def test_unreadableRow(self) -> None:
        """A row that is no stanza is dropped and does not stop the others."""
        self.server.database.offline.store(self.bob.id, BEGINNING, b"<message")
        self.bob.offline += 1
        self.write("one")
        bob = self.server.client("bob/desk")
        bob.available()
        self.assertEqual(bodies(bob), ["one"])
        self.assertEqual((rows(self.server), self.bob.offline), (0, 0))
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class AcknowledgementTests(OfflineCase):
    """Rows go when the receiving stream has acknowledged them, not when they were sent."""

    def receive(self, resource: str = "desk") -> MemoryClient:
        """Bob comes online with XEP-0198 on."""
        client = self.server.client(f"bob/{resource}")
        manage(client)
        client.available()
        return client

    def test_keptUntilAcknowledged(self) -> None:
        """Sent is not taken; each acknowledgement lets go of what it counts."""
        self.write("one", "two")
        bob = self.receive()
        self.assertEqual(bodies(bob), ["one", "two"])
        self.assertEqual(rows(self.server), 2)
        acknowledge(bob, 2)  # his own presence and the first message
        self.assertEqual(rows(self.server), 1)
        acknowledge(bob, 3)
        self.assertEqual((rows(self.server), self.bob.offline), (0, 0))

    def test_lostUnacknowledged(self) -> None:
        """A session that dies without acknowledging leaves the rows for the next login."""
        self.write("one", "two")
        bob = self.receive()
        acknowledge(bob, 2)
        bob.close()
        again = self.server.client("bob/phone")
        again.available()
        self.assertEqual(bodies(again), ["two"])
        self.assertEqual(rows(self.server), 0)

    def test_hibernation(self) -> None:
        """While a session may come back, its messages go to nobody else; later they do."""
        self.write("one")
        self.receive().lose()
        other = self.server.client("bob/phone")
        other.available()
        self.assertEqual(bodies(other), [])
        self.server.advance(601)
        self.assertEqual(bodies(other), ["one"])
        self.assertEqual((rows(self.server), self.bob.offline), (0, 0))

    def test_resumed(self) -> None:
        """A resumed session gets them again, and its acknowledgement counts."""
        self.write("one")
        bob = self.server.client("bob/desk")
        token = manage(bob).get("id")
        bob.available()
        bob.lose()
        stream = self.server.client("bob/other").stream
        result(self.bob.resume(stream, token or "", 1))
        bob.stream = stream
        self.assertEqual(bodies(bob), ["one"])
        acknowledge(bob, 2)
        self.assertEqual(rows(self.server), 0)

    def test_notTwice(self) -> None:
        """Two sessions that become available do not both get the same rows."""
        self.write("one")
        first, second = self.receive("desk"), self.receive("phone")
        self.assertEqual((bodies(first), bodies(second)), (["one"], []))
        first.close()
        self.assertEqual(bodies(second), ["one"])

    def test_pagesWait(self) -> None:
        """The next page comes with the acknowledgement of the last."""
        texts = [str(number) for number in range(PAGE_ROWS + 1)]
        self.write(*texts)
        bob = self.receive()
        self.assertEqual(len(bodies(bob)), PAGE_ROWS)
        acknowledge(bob, PAGE_ROWS)
        self.assertEqual(bodies(bob), [])
        acknowledge(bob, PAGE_ROWS + 1)
        self.assertEqual(bodies(bob), texts[PAGE_ROWS:])

    def test_smallQueue(self) -> None:
        """A page never fills the queue of what a session may leave unacknowledged: that would end it."""
        self.server.host.resumption = Resumption(maxStanzas=10)
        self.write(*(str(number) for number in range(30)))
        bob = self.receive()
        got = bodies(bob)
        for _ in range(30):
            assert bob.session.queue is not None
            acknowledge(bob, bob.session.queue.sentCount)
            got += bodies(bob)
        self.assertFalse(bob.session.ended)
        self.assertEqual((got, rows(self.server)), ([str(number) for number in range(30)], 0))

    def test_storedMeanwhile(self) -> None:
        """What was stored while the session was unavailable follows what it had not acknowledged."""
        self.write("one")
        bob = self.receive()
        bob.send("<presence type='unavailable'/>")
        self.write("two")
        bob.available()
        self.assertEqual(bodies(bob), ["one"])
        bob.send("<r xmlns='urn:xmpp:sm:3'/>")
        acknowledge(bob, bob.session.queue.sentCount)  # type: ignore[union-attr]
        self.assertEqual(bodies(bob), ["two"])


class PassingOnTests(OfflineCase):
    """Messages to online sessions that died without taking them."""

    options = {"offline": {"limit": 2}}

    def test_unacknowledged(self) -> None:
        """They become offline messages, with the time when they were first delivered."""
        bob = self.server.client("bob/desk", available=True)
        manage(bob)
        self.write("one", "two")
        self.server.advance(30)
        bob.close()
        self.assertEqual((rows(self.server), self.bob.offline), (2, 2))
        again = self.server.client("bob/phone")
        again.available()
        messages = [stanza for stanza in again.take() if stanza.name == "message"]
        self.assertEqual([delayOf(message, "localhost") for message in messages], [BEGINNING] * 2)

    def test_spooled(self) -> None:
        """A message that its sender was told of moves from the spool, once."""
        manage(self.alice)
        bob = self.server.client("bob/desk", available=True)
        manage(bob)
        self.write("one")
        bob.close()
        self.assertEqual(rows(self.server), 1)
        leftovers = self.server.database.operations.writes["spool.recover"]
        self.assertIsNotNone(leftovers)
        result(self.server.host.store.execute("spool.recover"))
        self.assertEqual(rows(self.server), 1)

    def test_noRoom(self) -> None:
        """What does not fit is bounced to its sender."""
        bob = self.server.client("bob/desk", available=True)
        manage(bob)
        self.write("one", "two", "three")
        bob.close()
        self.assertEqual(rows(self.server), 2)
        self.assertEqual(errors(self.alice), ["service-unavailable"])

    def test_unflushed(self) -> None:
        """Without XEP-0198, what the kernel has not taken is passed on; what it has, is not."""
        bob = self.server.client("bob/desk", available=True)
        self.write("taken")
        bob.stream.holding = True
        self.write("stuck")
        bob.lose()
        self.assertEqual(rows(self.server), 1)
        again = self.server.client("bob/phone")
        again.available()
        self.assertEqual(bodies(again), ["stuck"])


class CommitTests(SynchronousTestCase):
    """Nothing is acknowledged that is not stored."""

    def setUp(self) -> None:
        """A server whose commits are made by hand, Alice with XEP-0198."""
        self.server = SlowServer(MODULES)
        self.alice = self.server.client("alice/phone")
        manage(self.alice)
        self.bob = self.server.account("bob")
        self.server.hold()

    def test_double(self) -> None:
        """The double keeps the contract's shape."""
        verifyObject(IStore, self.server.slow)
        self.assertIsInstance(self.server.slow, SlowStore)

    def test_acknowledgedAfterCommit(self) -> None:
        """The answer to ``<r/>`` waits for the row."""
        chat(self.alice, "bob@localhost", "one")
        self.alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(self.alice.take(), [])
        self.server.commit()
        self.assertEqual(self.alice.next("a").get("h"), "1")

    def test_diskFull(self) -> None:
        """A row that cannot be written gives the sender an error, and counts as handled."""
        self.server.slow.full = True
        chat(self.alice, "bob@localhost", "one")
        self.alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.server.commit()
        self.assertEqual([stanza.name for stanza in self.alice.received if stanza.name != "r"], ["message", "a"])
        self.assertEqual(errors(self.alice), ["resource-constraint"])
        self.assertEqual(self.bob.offline, 0)

    def test_loadSeesStore(self) -> None:
        """Presence that comes before the commit still delivers the row, after it."""
        chat(self.alice, "bob@localhost", "one")
        bob = self.server.client("bob/desk")
        bob.available()
        self.assertEqual(bodies(bob), [])
        self.server.commit()
        self.assertEqual(bodies(bob), ["one"])
