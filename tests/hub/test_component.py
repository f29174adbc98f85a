"""Components: what they may send, what reaches them, and what becomes of messages that do not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xmppservice.hub.component import ComponentLink, ComponentPort
from xmppservice.hub.contracts.delivery import IPort
from xmppservice.hub.contracts.stream import ISession
from xmppservice.protocol.errors import StreamError
from xmppservice.testing.client import MemoryStream
from xmppservice.testing.server import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import parseDocument

DOMAIN = "irc.localhost"


class ComponentTests(SynchronousTestCase):
    """A server with a component and a client."""

    def setUp(self) -> None:
        """Alice is online, the component connected."""
        self.server = MemoryServer(modules=("roster", "offline", "ping", "stream_management"))
        self.addCleanup(self.server.stop)
        self.port = ComponentPort(DOMAIN, lambda: self.server.host)
        self.server.router.destinations[DOMAIN] = self.port
        self.stream = MemoryStream()
        self.link = self.port.join(self.stream)
        self.alice = self.server.client("alice/phone", available=True)

    def say(self, text: str) -> None:
        """The component sends a stanza."""
        self.link.receive(parse(text))

    def heard(self) -> list[Element]:
        """What the component has got since last time."""
        stanzas = list(self.stream.received)
        self.stream.received.clear()
        return stanzas

    def test_contracts(self) -> None:
        """Port and link are what router and edge expect."""
        verifyObject(IPort, self.port)
        verifyObject(ISession, self.link)

    def test_bothWays(self) -> None:
        """Any address of the domain, with its resource; the client's full JID arrives as it is."""
        self.alice.send("<message to='#room@irc.localhost/nick' type='groupchat' id='1'><body>hi</body></message>")
        (message,) = self.heard()
        self.assertEqual((message.get("from"), message.get("to")), (self.alice.jid.full, "#room@irc.localhost/nick"))
        self.say("<message from='#room@irc.localhost/bob' to='alice@localhost' type='groupchat' id='2'/>")
        self.say("<message from='bob@irc.localhost' to='alice@localhost/phone' id='3'><body>x</body></message>")
        self.assertEqual([stanza.get("id") for stanza in self.alice.take()], ["3"])
        # RFC 6121 8.5.2.1.1: groupchat to a bare JID is refused.
        self.assertEqual([stanza.get("type") for stanza in self.heard()], ["error"])

    def test_offlineMessages(self) -> None:
        """A component's message to somebody who is away is stored as anybody's."""
        self.server.account("bob")
        self.say("<message from='irc.localhost' to='bob@localhost' type='chat' id='1'><body>x</body></message>")
        self.assertEqual(self.heard(), [])
        bob = self.server.client("bob/desk")
        bob.available()
        self.server.advance(1)
        self.assertIn("1", [stanza.get("id") for stanza in bob.take() if stanza.name == "message"])

    def test_requestsToTheServer(self) -> None:
        """A component may ask the server, and each request has one answer, to the address that asked."""
        self.say("<iq from='a@irc.localhost/x' to='localhost' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        (answer,) = self.heard()
        self.assertEqual((answer.get("type"), answer.get("id"), answer.get("to")), ("result", "p", "a@irc.localhost/x"))
        self.say("<iq from='a@irc.localhost/x' to='localhost' type='get' id='q'><q xmlns='urn:x:no'/></iq>")
        (answer,) = self.heard()
        self.assertEqual((answer.get("type"), answer.get("to")), ("error", "a@irc.localhost/x"))

    def test_rosterIsNotForComponents(self) -> None:
        """Hardening I02: nobody reads or changes somebody else's roster."""
        for kind in ("get", "set"):
            self.say(f"<iq from='irc.localhost' to='alice@localhost' type='{kind}' id='r'>"
                     "<query xmlns='jabber:iq:roster'/></iq>")  # fmt: skip
            (answer,) = self.heard()
            self.assertEqual(answer.get("type"), "error")

    def test_wrongSenders(self) -> None:
        """A component speaks for its own domain, and says who to whom (XEP-0114 section 3, V11)."""
        for attributes, condition in (
            ("from='alice@localhost' to='bob@localhost'", "invalid-from"),
            ("from='x.irc.localhost' to='bob@localhost'", "invalid-from"),
            ("from='@@' to='bob@localhost'", "invalid-from"),
            ("to='bob@localhost'", "improper-addressing"),
            ("from='irc.localhost'", "improper-addressing"),
        ):
            with self.assertRaises(StreamError) as caught:
                self.say(f"<message {attributes}><body>x</body></message>")
            self.assertEqual(caught.exception.condition, condition, attributes)
        with self.assertRaises(StreamError) as caught:
            self.link.receive(Element("urn:x", "message", {"from": DOMAIN, "to": "alice@localhost"}))
        self.assertEqual(caught.exception.condition, "unsupported-stanza-type")
        self.assertEqual(self.alice.take(), [])

    def test_brokenStanzas(self) -> None:
        """What is wrong with a stanza is told in an error, and the stream goes on."""
        self.say("<message from='irc.localhost' to='a b@x' id='1'><body>x</body></message>")
        self.say("<iq from='irc.localhost' to='localhost' type='get' id='2'/>")
        first, second = self.heard()
        self.assertIsNotNone(first.elements()[-1].find(ns.STANZA_ERRORS, "jid-malformed"))
        self.assertIsNotNone(second.elements()[-1].find(ns.STANZA_ERRORS, "bad-request"))

    def test_absent(self) -> None:
        """Without its component the address answers with an error that says to try again."""
        self.link.streamLost()
        self.alice.send("<message to='x@irc.localhost' id='1'><body>x</body></message>")
        (answer,) = self.alice.take()
        error = answer.elements()[-1]
        self.assertEqual((answer.get("type"), error.get("type")), ("error", "wait"))
        self.assertIsNotNone(error.find(ns.STANZA_ERRORS, "service-unavailable"))

    def test_conflict(self) -> None:
        """One component at a time; the next one may come when the first has gone."""
        with self.assertRaises(StreamError) as caught:
            self.port.join(MemoryStream())
        self.assertEqual(caught.exception.condition, "conflict")
        self.link.streamClosed()
        self.assertIsInstance(self.port.join(MemoryStream()), ComponentLink)

    def test_undeliveredComesBack(self) -> None:
        """A message that never got to the kernel goes back, and only then counts as settled."""
        self.stream.holding = True
        self.alice.send("<message to='x@irc.localhost' id='1'><body>x</body></message>")
        self.alice.send("<presence to='x@irc.localhost' id='2'/>")
        self.assertEqual(self.alice.take(), [])
        self.link.streamLost()
        (answer,) = self.alice.take()
        self.assertEqual((answer.get("id"), answer.get("type")), ("1", "error"))

    def test_acknowledgedWhenFlushed(self) -> None:
        """XEP-0198: the sender's message counts as handled when the kernel has it, not before."""
        self.stream.holding = True
        self.alice.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self.alice.take()
        for number in range(2):
            self.alice.send(f"<message to='x@irc.localhost' id='{number}'><body>x</body></message>")
        ledger = self.alice.session.ledger
        assert ledger is not None
        self.assertEqual((ledger.handled, ledger.settled()), (2, 0))
        self.stream.flush()
        self.assertEqual(ledger.settled(), 2)

    def test_subscription(self) -> None:
        """A contact at a component: request, approval, and presence both ways."""
        self.alice.send("<presence to='bob@irc.localhost' type='subscribe'/>")
        (request,) = [stanza for stanza in self.heard() if stanza.name == "presence"]
        self.assertEqual((request.get("type"), request.get("from")), ("subscribe", "alice@localhost"))
        self.say("<presence from='bob@irc.localhost' to='alice@localhost' type='subscribed'/>")
        self.say("<presence from='bob@irc.localhost/irc' to='alice@localhost'/>")
        self.assertIn("bob@irc.localhost/irc", [stanza.get("from") for stanza in self.alice.take()])
        self.say("<presence from='bob@irc.localhost' to='alice@localhost' type='subscribe'/>")
        self.alice.send("<presence to='bob@irc.localhost' type='subscribed'/>")
        self.heard()
        self.alice.send("<presence><show>away</show></presence>")
        (presence,) = self.heard()
        self.assertEqual((presence.get("from"), presence.get("to")), (self.alice.jid.full, "bob@irc.localhost"))

    def test_stop(self) -> None:
        """The address is given up: the component is told, and messages on their way come back."""
        self.port.stop(StreamError("host-gone"))
        self.assertFalse(self.port.accepting)
        self.assertTrue(self.link.ended)


def parse(text: str) -> Element:
    """A stanza as the parser gives it."""
    return parseDocument(f"<x xmlns='jabber:client'>{text}</x>".encode()).elements()[0]
