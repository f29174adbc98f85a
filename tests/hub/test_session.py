"""Sessions and binding: addresses, resources, conflicts, the end (RFC 6120 sections 7 and 8.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.hub.kit import ask, bodies, chat, condition, errors, manage
from xmppservice.hub.contracts.stream import IAccount, IClosingSession, IProbingSession, IStream
from xmppservice.protocol.errors import StanzaError
from xmppservice.testing import MemoryServer, MemoryStream
from xmppservice.wire import ns


class SessionCase(SynchronousTestCase):
    """Alice and Bob."""

    def setUp(self) -> None:
        """Two clients."""
        self.server = MemoryServer()
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)

    def test_contracts(self) -> None:
        """Sessions, accounts and the kit's stream keep their contracts."""
        verifyObject(IProbingSession, self.alice.session)
        verifyObject(IClosingSession, self.alice.session)
        verifyObject(IAccount, self.server.account("alice"))
        verifyObject(IStream, self.alice.stream)


class FromTests(SessionCase):
    """``from`` is ours to say (RFC 6120 8.1.2.1)."""

    def test_stamped(self) -> None:
        """Without ``from``, and with any way to write the own address, the full address is put there."""
        for sender in (None, "alice@localhost", "alice@localhost/phone", "ALICE@LocalHost/phone"):
            attribute = "" if sender is None else f" from='{sender}'"
            self.alice.send(f"<message{attribute} to='bob@localhost'><body>hi</body></message>")
            self.assertEqual(self.bob.next("message").get("from"), "alice@localhost/phone")

    def test_forged(self) -> None:
        """Another address ends the stream; nothing is delivered."""
        for sender in ("bob@localhost", "alice@localhost/other", "localhost", "@@"):
            client = self.server.client("alice/phone")
            client.send(f"<message from='{sender}' to='bob@localhost'><body>hi</body></message>")
            assert client.stream.error is not None, sender
            self.assertEqual(client.stream.error.condition, "invalid-from")
            self.assertTrue(client.session.ended)
        self.assertEqual(self.bob.take(), [])


class ToTests(SessionCase):
    """``to`` in normal form (RFC 6120 8.1.1)."""

    def test_normalised(self) -> None:
        """The recipient sees the normal form, however it was written."""
        self.alice.send("<message to='BOB@LOCALHOST'><body>hi</body></message>")
        self.assertEqual(self.bob.next("message").get("to"), "bob@localhost")

    def test_malformed(self) -> None:
        """An address that is none is an error from the server, without that address."""
        self.alice.send("<message to='@@' id='m'><body>hi</body></message>")
        answer = self.alice.next("message")
        self.assertEqual((condition(answer), answer.get("id")), ("jid-malformed", "m"))
        self.assertEqual(answer.get("from"), "localhost")


class MalformedTests(SessionCase):
    """Stanzas that break rules."""

    def test_iq(self) -> None:
        """An IQ needs a type, an id and one payload (RFC 6120 8.2.3)."""
        payload = "<ping xmlns='urn:xmpp:ping'/>"
        for stanza in (
            f"<iq id='1'>{payload}</iq>", f"<iq id='1' type='ask'>{payload}</iq>", f"<iq type='get'>{payload}</iq>",
            "<iq type='get' id='1'/>", f"<iq type='set' id='1'>{payload}{payload}</iq>",
        ):  # fmt: skip
            self.alice.send(stanza)
            self.assertEqual(errors(self.alice), ["bad-request"], stanza)

    def test_badResult(self) -> None:
        """A broken result is dropped without an answer: errors are not sent for answers (8.3.1)."""
        self.alice.send("<iq type='result' id='1' to='bob@localhost/desk'><a xmlns='x'/><b xmlns='x'/></iq>")
        self.assertEqual((self.alice.take(), self.bob.take()), ([], []))

    def test_unknownStanza(self) -> None:
        """Anything else in the content namespace ends the stream."""
        self.alice.send("<note/>")
        assert self.alice.stream.error is not None
        self.assertEqual(self.alice.stream.error.condition, "unsupported-stanza-type")


class BindingTests(SessionCase):
    """Resource binding (RFC 6120 section 7)."""

    def test_chosen(self) -> None:
        """Without a wish the server makes one that cannot be guessed."""
        names = {self.server.client("alice").session.resource for _ in range(3)}
        self.assertEqual(len(names), 3)
        self.assertTrue(all(len(name) >= 12 for name in names))

    def test_prepared(self) -> None:
        """A resource is put into normal form; case stays (RFC 7622 3.4)."""
        session = self.successResultOf(self.server.account("alice").bind(MemoryStream(), "Ｐhone\u212b"))
        self.assertEqual(session.resource, "Ｐhone\u00c5")

    def test_invalid(self) -> None:
        """One that cannot be a resource is refused."""
        failure = self.failureResultOf(self.server.account("alice").bind(MemoryStream(), "a\u0000b"), StanzaError)
        self.assertEqual(failure.value.condition, "bad-request")

    def test_replace(self) -> None:
        """By default the newer session with a resource wins (7.7.2.2)."""
        again = self.server.client("alice/phone")
        assert self.alice.stream.error is not None
        self.assertEqual(self.alice.stream.error.condition, "conflict")
        self.assertEqual(list(self.server.account("alice").sessions.values()), [again.session])

    def test_refuse(self) -> None:
        """Or the newer is refused, if the policy says so; a hibernating one gives way even then."""
        self.server.host.resourceConflict = "refuse"
        account = self.server.account("alice")
        failure = self.failureResultOf(account.bind(MemoryStream(), "phone"), StanzaError)
        self.assertEqual(failure.value.condition, "conflict")
        self.server.loader.attach(self.server.host, ("stream_management",))
        manage(self.alice)
        self.alice.lose()
        self.successResultOf(account.bind(MemoryStream(), "phone"))

    def test_rename(self) -> None:
        """Or it gets another resource."""
        self.server.host.resourceConflict = "rename"
        session = self.successResultOf(self.server.account("alice").bind(MemoryStream(), "phone"))
        self.assertNotEqual(session.resource, "phone")
        self.assertFalse(self.alice.session.ended)

    def test_limit(self) -> None:
        """Too many sessions are refused (D06)."""
        self.server.host.resourceLimit = 2
        self.server.client("alice/desk")
        failure = self.failureResultOf(self.server.account("alice").bind(MemoryStream(), "third"), StanzaError)
        self.assertEqual(failure.value.condition, "resource-constraint")

    def test_hibernatingGivesWay(self) -> None:
        """A hibernating session makes room for a connected one."""
        self.server.loader.attach(self.server.host, ("stream_management",))
        self.server.host.resourceLimit = 2
        manage(self.alice)
        self.alice.lose()
        self.server.client("alice/desk")
        self.server.client("alice/third")
        self.assertEqual(set(self.server.account("alice").sessions), {"desk", "third"})


class EndTests(SessionCase):
    """The end of a session."""

    def test_once(self) -> None:
        """A session ends once, whoever says so, and takes no more."""
        session = self.alice.session
        self.alice.lose()
        session.streamLost()
        session.disconnect()
        session.end()
        self.assertEqual(self.server.account("alice").sessions, {})
        session.deliver(b"<message/>")

    def test_disconnect(self) -> None:
        """The server ends a session in order or with an error."""
        self.alice.session.disconnect()
        self.assertTrue(self.alice.stream.closed)
        self.assertIsNone(self.alice.stream.error)

    def test_hostStops(self) -> None:
        """When the host stops all sessions end, even those that could be resumed."""
        self.server.loader.attach(self.server.host, ("stream_management", "offline"))
        manage(self.bob)
        chat(self.alice, "bob@localhost", "one")
        self.server.host.stop()
        self.assertEqual(self.server.host.sessions(), [])
        self.assertEqual(self.server.account("bob").offline, 1)

    def test_requestersLearn(self) -> None:
        """The IQ of a session that has gone is answered to nobody; nothing breaks."""
        self.alice.close()
        answer = ask(self.bob, "<ping xmlns='urn:xmpp:ping'/>", to="alice@localhost/phone")
        self.assertEqual(condition(answer), "service-unavailable")
        self.assertEqual(bodies(self.bob), [])
        self.assertEqual(answer.find(ns.CLIENT, "error").get("type"), "cancel")  # type: ignore[union-attr]
