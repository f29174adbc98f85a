"""What stream management and waiting owe when streams come and go at bad moments (XEP-0198, RFC 6120 10.1)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import CHAT, SlowServer, acknowledge, bodies, chat, manage
from xmppservice.hub.contracts.stream import ResumeFailed
from xmppservice.hub.hooks import Phase, message
from xmppservice.hub.module import HostModule
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.testing import MemoryClient, MemoryServer, MemoryStream
from xmppservice.testing.server import result
from xmppservice.wire import ns
from xmppservice.wire.element import Element

R = "<r xmlns='urn:xmpp:sm:3'/>"


def resume(client: MemoryClient, token: str, h: int) -> MemoryClient:
    """Resume a session on a new stream; returns a client for it."""
    stream = MemoryStream("second")
    return MemoryClient(result(client.session.account.resume(stream, token, h)), stream)


def answers(client: MemoryClient) -> list[str | None]:
    """The counts that were told; takes everything."""
    return [stanza.get("h") for stanza in client.take() if stanza.name == "a"]


class HeldAnswerTests(SynchronousTestCase):
    """A request that was held when its stream broke."""

    def test_numbersOfTheFormerStream(self) -> None:
        """The new stream's requests are answered by its own count, in a second at most."""
        server = SlowServer(CHAT)
        server.account("bob")
        alice = server.client("alice/phone")
        token = manage(alice).get("id") or ""
        server.hold()
        for text in ("one", "two", "three"):
            chat(alice, "bob@localhost", text)
        alice.send(R)
        server.advance(1.5)
        self.assertEqual(answers(alice), ["0"])
        alice.lose()
        stream = MemoryStream("second")
        resumed = alice.session.account.resume(stream, token, 0)
        server.advance(1.5)
        again = MemoryClient(result(resumed), stream)
        self.assertEqual(again.next("resumed").get("h"), "0")
        chat(again, "bob@localhost", "one")
        again.send(R)
        server.advance(1.5)
        self.assertEqual(answers(again), ["0"])
        server.commit()
        self.assertEqual(answers(again), ["1"])


    def test_endsMeanwhile(self) -> None:
        """A session that ends while a stream waits to resume it is gone; its count is told (section 5)."""
        server = SlowServer(CHAT)
        server.account("bob")
        alice = server.client("alice/phone")
        token = manage(alice).get("id") or ""
        server.hold()
        chat(alice, "bob@localhost", "one")
        alice.lose()
        resumed = alice.session.account.resume(MemoryStream("second"), token, 0)
        fresh = server.client("alice/phone")
        server.advance(2)
        failure = self.failureResultOf(resumed, ResumeFailed)
        self.assertEqual((failure.value.condition, failure.value.h), ("item-not-found", 0))
        self.assertFalse(fresh.session.ended)

    def test_eachInTime(self) -> None:
        """While a commit takes long every request is answered within a second, not only the first (section 4)."""
        server = SlowServer(CHAT)
        server.account("bob")
        alice = server.client("alice/phone")
        manage(alice)
        server.hold()
        chat(alice, "bob@localhost", "one")
        for _ in range(3):
            alice.send(R)
            server.advance(1.5)
            self.assertEqual(answers(alice), ["0"])
        server.commit()
        self.assertEqual(answers(alice), ["1"])


class RequestTests(SynchronousTestCase):
    """Our own ``<r/>``."""

    def setUp(self) -> None:
        """Bob acknowledges by hand."""
        self.server = MemoryServer(CHAT)
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)
        self.token = manage(self.bob).get("id") or ""

    def requests(self) -> int:
        """How many ``<r/>`` came; takes everything."""
        return sum(1 for stanza in self.bob.take() if stanza.name == "r")

    def test_noProgress(self) -> None:
        """Who answers without having handled anything is not asked again at once, but with the next stanza."""
        chat(self.alice, "bob@localhost", "one")
        self.assertEqual(self.requests(), 1)
        acknowledge(self.bob, 0)
        self.assertEqual(self.requests(), 0)
        chat(self.alice, "bob@localhost", "two")
        self.assertEqual(self.requests(), 1)
        acknowledge(self.bob, 1)
        self.assertEqual(self.requests(), 1)
        acknowledge(self.bob, 2)
        self.assertEqual(self.requests(), 0)

    def test_everythingOutIsCounted(self) -> None:
        """Errors, answers, presence and pushes count like messages."""
        self.bob.send("<iq type='get' id='a'><query xmlns='jabber:iq:roster'/></iq>")
        self.bob.send("<iq type='get' id='b' to='@@'><query xmlns='jabber:iq:roster'/></iq>")
        self.bob.send("<iq type='get' id='c' to='nobody@localhost'><query xmlns='urn:test'/></iq>")
        self.bob.send("<presence><show>away</show></presence><presence type='strange'/>")
        self.bob.send("<iq type='set' id='d'><query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query></iq>")
        chat(self.alice, "bob@localhost", "hello")
        sent = [stanza for stanza in self.bob.take() if stanza.ns == ns.CLIENT]
        assert self.bob.session.queue is not None
        self.assertEqual(self.bob.session.queue.sentCount, len(sent))
        self.assertEqual(len(sent), 8)

    def test_everythingInIsCounted(self) -> None:
        """So do stanzas that are refused before they go anywhere."""
        self.bob.send("<iq type='get' id='a' to='@@'><x xmlns='urn:test'/></iq>")
        self.bob.send("<iq type='odd' id='b'/><presence type='strange'/><message to='@@'/><iq type='result'/>")
        self.bob.send("<presence><priority>9999</priority></presence>")
        self.bob.send(R)
        self.assertEqual(answers(self.bob), ["6"])


class LateTests(SynchronousTestCase):
    """Messages that come later than they were sent."""

    def test_delayed(self) -> None:
        """What goes to another session after a while says when it was sent first (section 4)."""
        server = MemoryServer(CHAT)
        alice = server.client("alice/phone")
        bob = server.client("bob/desk", available=True)
        manage(bob)
        chat(alice, "bob@localhost/desk", "one")
        bob.lose()
        other = server.client("bob/phone", available=True)
        server.advance(700)
        (late,) = [stanza for stanza in other.take() if stanza.name == "message"]
        (delay,) = late.findAll(ns.DELAY, "delay")
        self.assertEqual((delay.get("from"), delay.get("stamp")), ("localhost", "2026-01-01T00:00:00Z"))

    def test_delayedOnce(self) -> None:
        """If that session dies as well there is still one delay, the first."""
        server = MemoryServer(CHAT)
        alice = server.client("alice/phone")
        bob = server.client("bob/desk", available=True)
        manage(bob)
        chat(alice, "bob@localhost/desk", "one")
        bob.lose()
        other = server.client("bob/phone", available=True)
        manage(other)
        server.advance(700)
        other.close()
        last = server.client("bob/last")
        last.available()
        (late,) = [stanza for stanza in last.take() if stanza.name == "message"]
        self.assertEqual([d.get("stamp") for d in late.findAll(ns.DELAY, "delay")], ["2026-01-01T00:00:00Z"])

    def test_beforeEnabling(self) -> None:
        """What was sent before ``<enable/>`` and never reached the kernel comes with the resumption."""
        server = MemoryServer(CHAT)
        alice = server.client("alice/phone")
        bob = server.client("bob/desk", available=True)
        bob.stream.holding = True
        chat(alice, "bob@localhost", "one")
        token = manage(bob).get("id") or ""
        bob.lose()
        again = resume(bob, token, 0)
        self.assertEqual(bodies(again), ["one"])


    def test_storedBeforeEnabling(self) -> None:
        """The same for messages from the offline storage: none is forgotten, none comes twice."""
        server = MemoryServer(CHAT)
        server.account("bob")
        alice = server.client("alice/phone")
        for text in ("one", "two", "three"):
            chat(alice, "bob@localhost", text)
        bob = server.client("bob/desk")
        bob.stream.holding = True
        bob.available()
        token = manage(bob).get("id") or ""
        bob.lose()
        again = resume(bob, token, 0)
        self.assertEqual(bodies(again), ["one", "two", "three"])
        acknowledge(again, 3)
        again.close()
        later = server.client("bob/later")
        later.available()
        self.assertEqual(bodies(later), [])

    def test_forgedDelay(self) -> None:
        """Nobody speaks of delays in the server's name (XEP-0203 section 5); others' delays stay."""
        server = MemoryServer(CHAT)
        alice = server.client("alice/phone")
        bob = server.client("bob/desk", available=True)
        delays = "".join(
            f"<delay xmlns='urn:xmpp:delay' from='{by}' stamp='2002-09-10T23:08:25Z'/>"
            for by in ("localhost", "room@rooms.example", "LOCALHOST")
        )
        alice.send(f"<message to='bob@localhost' type='chat'><body>x</body>{delays}</message>")
        found = bob.next("message").findAll(ns.DELAY, "delay")
        self.assertEqual([delay.get("from") for delay in found], ["room@rooms.example"])


class Slowness(HostModule):
    """Lets messages wait until the test decides."""

    name = "slowness"
    waiting: list[Deferred[object]] = []

    @message.sending(Phase.POLICY)
    def onSending(self, transit: Transit) -> Deferred[object] | None:
        """Wait for messages with a subject."""
        if transit.stanza.find(ns.CLIENT, "subject") is None:
            return None
        self.waiting.append(Deferred())
        return self.waiting[-1]


class PauseTests(SynchronousTestCase):
    """A stream that is not read because too much waits."""

    def test_resumedMeanwhile(self) -> None:
        """Only the stream that was paused is read again; its successor never was paused."""
        server = MemoryServer(CHAT)
        Slowness.waiting = waiting = []
        server.host.modulesChanged([*server.host.modules.values(), Slowness(server.host, None)])
        server.account("bob")
        alice = server.client("alice/phone")
        token = manage(alice).get("id") or ""
        alice.send("<message to='bob@localhost' type='chat'><subject>s</subject><body>one</body></message>")
        for number in range(64):
            chat(alice, "bob@localhost", str(number))
        self.assertEqual(alice.stream.paused, 1)
        alice.lose()
        stream = MemoryStream("second")
        alice.session.account.resume(stream, token, 0)
        server.advance(2)
        self.assertIs(alice.session.stream, stream)
        waiting[0].callback(None)
        self.assertEqual(stream.paused, 0)


class OwnRequestTests(SynchronousTestCase):
    """IQs of the server itself (8.2.3, 8.5.3)."""

    def setUp(self) -> None:
        """Somebody to ask."""
        self.server = MemoryServer(CHAT)
        self.alice = self.server.client("alice/phone")

    def ask(self, to: str) -> Deferred[Element]:
        """A request from the host."""
        attrs = {"type": "get", "from": "localhost", "to": to}
        return self.server.host.request(Element(ns.CLIENT, "iq", attrs, Element("urn:test", "query")))

    def test_client(self) -> None:
        """The server may ask its own clients, whoever sees their presence."""
        answer = self.ask("alice@localhost/phone")
        request = self.alice.next("iq")
        self.alice.send(f"<iq type='result' id='{request.get('id')}' to='localhost'/>")
        self.assertEqual(self.successResultOf(answer).get("from"), "alice@localhost/phone")

    def test_nobody(self) -> None:
        """A request that cannot be delivered fails at once, not when its time is up."""
        for to in ("alice@localhost/gone", "nobody@localhost", "elsewhere.example", "alice@localhost"):
            self.failureResultOf(self.ask(to), StanzaError)
