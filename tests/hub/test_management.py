"""Stream management: acknowledgements, what they wait for, hibernation, resumption, overflow (XEP-0198)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import SlowServer, acknowledge, bodies, chat, condition, errors, manage, presences
from xmppservice.hub.contracts.stream import ResumeFailed
from xmppservice.hub.hooks import Phase, message
from xmppservice.hub.module import HostModule
from xmppservice.hub.session import Session
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream.resume import MODULUS
from xmppservice.testing import MemoryClient, MemoryServer, MemoryStream
from xmppservice.testing.server import result
from xmppservice.wire import ns

MODULES = ("offline", "stream_management")
R = "<r xmlns='urn:xmpp:sm:3'/>"


def resume(client: MemoryClient, token: str, h: int) -> MemoryClient:
    """Resume a session on a new stream; returns a client for it."""
    stream = MemoryStream("second")
    session: Session = result(client.session.account.resume(stream, token, h))
    return MemoryClient(session, stream)


def requests(client: MemoryClient) -> int:
    """How many ``<r/>`` came; takes everything."""
    return sum(1 for stanza in client.take() if stanza.name == "r")


class ManagementCase(SynchronousTestCase):
    """Alice writes to Bob, who has stream management on."""

    options: Mapping[str, Mapping[str, Any]] = {}

    def setUp(self) -> None:
        """Bob is available, and everything so far is acknowledged."""
        self.server = MemoryServer(MODULES, self.options)
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)
        self.enabled = manage(self.bob)
        self.token = self.enabled.get("id") or ""

    def stored(self) -> list[str]:
        """The ids of the messages in Bob's offline storage."""
        found = result(self.server.database.offline.load(self.server.account("bob").id))
        return [self.server.host.parse(row.data).attrs["id"] for row in found]


class EnableTests(ManagementCase):
    """``<enable/>`` (section 3)."""

    options = {"stream_management": {"resumption": "5 min"}}

    def test_answer(self) -> None:
        """The answer carries a token and the granted time."""
        self.assertEqual((self.enabled.get("resume"), self.enabled.get("max")), ("true", "300"))
        self.assertGreaterEqual(len(self.token), 20)

    def test_feature(self) -> None:
        """It is offered with binding."""
        found = self.server.host.streamFeatures("bind", self.bob.stream)
        self.assertEqual([(feature.ns, feature.name) for feature in found], [(ns.SM, "sm")])

    def test_withoutResumption(self) -> None:
        """Who does not ask for resumption gets acknowledgements only."""
        answer = manage(self.alice, resume=False)
        self.assertEqual(answer.attrs, {})
        self.alice.lose()
        self.assertTrue(self.alice.session.ended)

    def test_shorterTime(self) -> None:
        """A client may ask for less, not for more (section 3)."""
        for wanted, granted in (("60", "60"), ("9999", "300"), ("x", "300")):
            client = self.server.client("carol/desk")
            client.send(f"<enable xmlns='urn:xmpp:sm:3' resume='1' max='{wanted}'/>")
            self.assertEqual(client.next("enabled").get("max"), granted)

    def test_twice(self) -> None:
        """A second ``<enable/>`` is refused and changes nothing."""
        self.bob.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        failed = self.bob.next("failed")
        self.assertEqual(failed.elements()[0].name, "unexpected-request")
        assert self.bob.session.management is not None
        self.assertEqual(self.bob.session.management.token, self.token)

    def test_notEnabled(self) -> None:
        """Acknowledgements on a stream without it are refused (section 3)."""
        for text in (R, "<a xmlns='urn:xmpp:sm:3' h='0'/>", "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"):
            self.alice.send(text)
            self.assertEqual(self.alice.next("failed").elements()[0].name, "unexpected-request")

    def test_switchedOff(self) -> None:
        """Without the module it is not to be had."""
        self.server.loader.detach(self.server.host, "stream_management")
        self.alice.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(self.alice.next("failed").elements()[0].name, "service-unavailable")

    def test_unknownElement(self) -> None:
        """An element of nobody ends the stream (RFC 6120 4.9.3.25)."""
        self.alice.send("<x xmlns='urn:example:x'/>")
        assert self.alice.stream.error is not None
        self.assertEqual(self.alice.stream.error.condition, "unsupported-stanza-type")


class InboundTests(ManagementCase):
    """What the server tells of what it has received (section 4)."""

    def h(self) -> str | None:
        """The answer to a request."""
        self.bob.send(R)
        return self.bob.next("a").get("h")

    def test_counts(self) -> None:
        """Stanzas of all kinds count, from ``<enable/>`` on; other elements do not."""
        self.assertEqual(self.h(), "0")
        chat(self.bob, "alice@localhost", "hi")
        self.bob.send("<presence/>")
        self.bob.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        acknowledge(self.bob, 0)
        self.assertEqual(self.h(), "3")

    def test_refusedCount(self) -> None:
        """What was answered with an error was handled too."""
        self.bob.send("<iq type='get' id='1'/>")
        self.bob.send("<message to='@@@'><body>x</body></message>")
        self.bob.send("<presence type='invisible'/>")
        self.assertEqual(self.h(), "3")

    def test_wraps(self) -> None:
        """The count starts again after 2**32 - 1."""
        assert self.bob.session.ledger is not None
        self.bob.session.ledger.handled = MODULUS - 1
        self.bob.send("<presence/>")
        self.assertEqual(self.h(), "0")

    def test_lastWords(self) -> None:
        """Before a stream is closed in order the peer gets the last count (section 4)."""
        self.bob.send("<presence/>")
        self.bob.take()
        self.bob.close()
        self.assertEqual(self.bob.received[0].get("h"), "1")

    def test_shutdown(self) -> None:
        """Before a shutdown too."""
        self.bob.session.prepareShutdown()
        self.assertEqual(self.bob.next("a").get("h"), "0")


class OutboundTests(ManagementCase):
    """What the peer tells of what it has received."""

    def test_oneRequestAtATime(self) -> None:
        """The first stanza carries a request, those behind it none until it is answered."""
        for text in ("one", "two", "three"):
            chat(self.alice, "bob@localhost", text)
        self.assertEqual(requests(self.bob), 1)
        acknowledge(self.bob, 1)
        self.assertEqual(requests(self.bob), 1)
        acknowledge(self.bob, 3)
        self.assertEqual(requests(self.bob), 0)
        chat(self.alice, "bob@localhost", "four")
        self.assertEqual(requests(self.bob), 1)

    def test_settles(self) -> None:
        """What is acknowledged is let go of, the rest is kept."""
        chat(self.alice, "bob@localhost", "one")
        chat(self.alice, "bob@localhost", "two")
        acknowledge(self.bob, 1)
        self.bob.close()
        self.assertEqual(self.stored(), ["two"])

    def test_tooHigh(self) -> None:
        """Acknowledging what was never sent ends the stream, with the numbers (section 6)."""
        acknowledge(self.bob, 5)
        error = self.bob.stream.error
        assert error is not None and error.app is not None
        self.assertEqual(error.condition, "undefined-condition")
        self.assertEqual(error.app.attrs, {"h": "5", "send-count": "0"})

    def test_backwards(self) -> None:
        """A count that goes back is refused too."""
        chat(self.alice, "bob@localhost", "one")
        acknowledge(self.bob, 1)
        acknowledge(self.bob, 0)
        self.assertIsNotNone(self.bob.stream.error)

    def test_noNumber(self) -> None:
        """A count that is no number ends the stream."""
        for h in ("", "x", "-1", "4294967296", "１"):
            client = self.server.client("carol/desk")
            manage(client)
            client.send(f"<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
            self.assertIsNotNone(client.stream.error, h)

    def test_probe(self) -> None:
        """A silent peer is asked by ``<r/>``; where that is not spoken, by a ping (RFC 6120 4.6.4)."""
        self.bob.session.probe()
        self.assertEqual(requests(self.bob), 1)
        self.alice.session.probe()
        ping = self.alice.next("iq")
        self.assertEqual((ping.get("from"), ping.elements()[0].ns), ("localhost", ns.PING))


class HibernationTests(ManagementCase):
    """Sessions without a stream (section 5)."""

    def test_keepsMessages(self) -> None:
        """Messages to a hibernating session wait, and come with the resumption, in order, once."""
        chat(self.alice, "bob@localhost", "one")
        self.bob.lose()
        chat(self.alice, "bob@localhost", "two")
        again = resume(self.bob, self.token, 0)
        self.assertEqual(again.next().name, "resumed")
        self.assertEqual(bodies(again), ["one", "two"])

    def test_acknowledgedIsNotRepeated(self) -> None:
        """What the client has is not sent again."""
        chat(self.alice, "bob@localhost", "one")
        self.bob.lose()
        chat(self.alice, "bob@localhost", "two")
        self.assertEqual(bodies(resume(self.bob, self.token, 1)), ["two"])

    def test_counts(self) -> None:
        """``<resumed/>`` tells what the server has, and counting goes on from there."""
        self.bob.send("<presence/>")
        self.bob.lose()
        again = resume(self.bob, self.token, 0)
        self.assertEqual(again.next("resumed").attrs, {"previd": self.token, "h": "1"})
        again.take()
        again.send("<presence/>")
        again.send(R)
        self.assertEqual(again.next("a").get("h"), "2")

    def test_invisibleToOthers(self) -> None:
        """Contacts do not notice."""
        self.server.befriend("alice", "bob")
        self.alice.available()
        self.alice.take()
        self.bob.lose()
        resume(self.bob, self.token, 0)
        self.assertEqual(self.alice.take(), [])

    def test_timeOut(self) -> None:
        """After its time the session ends: goodbye to contacts, messages to offline storage."""
        self.server.befriend("alice", "bob")
        self.alice.available()
        self.alice.take()
        chat(self.alice, "bob@localhost", "one")
        self.bob.lose()
        chat(self.alice, "bob@localhost", "two")
        self.server.advance(599)
        self.assertEqual((self.alice.take(), self.stored()), ([], []))
        self.server.advance(2)
        self.assertEqual(presences(self.alice), [("bob@localhost/desk", "unavailable")])
        self.assertEqual(self.stored(), ["one", "two"])

    def test_timeOutToOtherSession(self) -> None:
        """An other session takes the messages over, if there is one."""
        chat(self.alice, "bob@localhost/desk", "one")
        self.bob.lose()
        phone = self.server.client("bob/phone", available=True)
        self.server.advance(601)
        self.assertEqual(bodies(phone), ["one"])
        self.assertEqual(self.stored(), [])

    def test_tooLate(self) -> None:
        """After that it cannot be resumed, but its last count is known (section 5)."""
        self.bob.send("<presence/>")
        self.bob.lose()
        self.server.advance(601)
        failure = self.failureResultOf(self.bob.session.account.resume(MemoryStream(), self.token, 0), ResumeFailed)
        self.assertEqual((failure.value.condition, failure.value.h), ("item-not-found", 1))

    def test_unknownToken(self) -> None:
        """A token that is none is not found, and tells nothing."""
        failure = self.failureResultOf(self.bob.session.account.resume(MemoryStream(), "x", 0), ResumeFailed)
        self.assertEqual((failure.value.condition, failure.value.h), ("item-not-found", None))

    def test_othersToken(self) -> None:
        """Somebody else's token is as good as none, before and after the session's end."""
        alice = self.server.account("alice")
        for wait in (0, 601):
            self.bob.lose()
            self.server.advance(wait)
            failure = self.failureResultOf(alice.resume(MemoryStream(), self.token, 0), ResumeFailed)
            self.assertEqual((failure.value.condition, failure.value.h), ("item-not-found", None))

    def test_takeover(self) -> None:
        """A client that comes back before the server noticed the break: the old stream goes (section 5)."""
        chat(self.alice, "bob@localhost", "one")
        again = resume(self.bob, self.token, 0)
        assert self.bob.stream.error is not None
        self.assertEqual(self.bob.stream.error.condition, "conflict")
        self.assertEqual(bodies(again), ["one"])
        self.assertFalse(again.session.ended)

    def test_tooHigh(self) -> None:
        """A resumption that acknowledges too much ends the session; nothing is lost."""
        chat(self.alice, "bob@localhost", "one")
        self.bob.lose()
        self.failureResultOf(self.bob.session.account.resume(MemoryStream(), self.token, 9), StreamError)
        self.assertEqual(self.stored(), ["one"])

    def test_closedIsOver(self) -> None:
        """A stream that was closed in order cannot be resumed."""
        self.bob.close()
        self.failureResultOf(self.bob.session.account.resume(MemoryStream(), self.token, 0), ResumeFailed)

    def test_again(self) -> None:
        """A session may break and come back many times."""
        client = self.bob
        for number in range(3):
            client.lose()
            chat(self.alice, "bob@localhost", str(number))
            client = resume(client, self.token, number)
            self.assertEqual(bodies(client), [str(number)])
        acknowledge(client, 3)
        client.close()
        self.assertEqual(self.stored(), [])

    def test_unansweredRequest(self) -> None:
        """Who asked a session that died is told (section 6)."""
        self.server.befriend("alice", "bob")
        self.alice.send("<iq type='get' id='p' to='bob@localhost/desk'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.bob.close()
        answer = self.alice.next("iq")
        self.assertEqual((condition(answer), answer.get("id")), ("recipient-unavailable", "p"))

    def test_newSessionWithSameResource(self) -> None:
        """A new session with the resource of a hibernating one takes its place and its messages."""
        chat(self.alice, "bob@localhost", "one")
        self.bob.lose()
        fresh = self.server.client("bob/desk")
        fresh.available()
        self.assertEqual(bodies(fresh), ["one"])
        self.failureResultOf(fresh.session.account.resume(MemoryStream(), self.token, 0), ResumeFailed)


class BoundTests(ManagementCase):
    """Bounds of queues and of hibernating sessions (D05)."""

    options = {"stream_management": {"queue_stanzas": 10, "queue_size": "16 KiB", "sessions": 2}}

    def test_stanzas(self) -> None:
        """A peer that never acknowledges is closed; every message is in offline storage, in order."""
        texts = [str(number) for number in range(15)]
        for text in texts:
            chat(self.alice, "bob@localhost", text)
        error = self.bob.stream.error
        assert error is not None
        self.assertEqual(error.condition, "resource-constraint")
        self.assertEqual(self.stored(), texts)
        self.assertEqual(errors(self.alice), [])

    def test_bytes(self) -> None:
        """The same for bytes, and while it hibernates."""
        self.bob.lose()
        for number in range(5):
            self.alice.send(
                f"<message to='bob@localhost' type='chat' id='{number}'><body>{'x' * 4000}</body></message>"
            )
        self.assertTrue(self.bob.session.ended)
        self.assertEqual(self.stored(), ["0", "1", "2", "3", "4"])

    def test_passedToFullSession(self) -> None:
        """Messages that go to another session and overflow it end in offline storage, all of them."""
        texts = [str(number) for number in range(9)]
        for text in texts:
            chat(self.alice, "bob@localhost/desk", text)
        phone = self.server.client("bob/phone")
        manage(phone)
        phone.available()
        for text in ("a", "b", "c"):
            chat(self.alice, "bob@localhost/phone", text)
        self.assertFalse(self.bob.session.ended)
        self.bob.close()
        self.assertTrue(phone.session.ended)
        self.assertEqual(sorted(self.stored()), sorted([*texts, "a", "b", "c"]))

    def test_broadcastThroughOverflow(self) -> None:
        """A session that overflows in the midst of a broadcast does not stop it for the others."""
        self.server.befriend("alice", "bob")
        other = self.server.client("bob/other", available=True)
        last = self.server.client("bob/phone", available=True)
        for _ in range(8):
            chat(self.alice, "bob@localhost/desk", "x")
        other.take()
        last.take()
        self.assertFalse(self.bob.session.ended)
        self.alice.available()
        self.assertTrue(self.bob.session.ended)
        for client in (other, last):
            self.assertIn(("alice@localhost/phone", ""), presences(client))

    def test_ownProbeThroughOverflow(self) -> None:
        """Nor does one that overflows by the answers to its own probe."""
        self.server.client("bob/other", available=True)
        self.server.client("bob/phone", available=True)
        for _ in range(6):
            chat(self.alice, "bob@localhost/desk", "x")
        self.bob.send("<presence to='bob@localhost' type='probe'/>")
        self.assertTrue(self.bob.session.ended)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_sessions(self) -> None:
        """The oldest hibernating session gives way to one more."""
        tokens = []
        for name in ("a", "b", "c"):
            client = self.server.client(f"carol/{name}")
            tokens.append(manage(client).get("id") or "")
            client.lose()
        account = self.server.account("carol")
        self.assertEqual(set(account.sessions), {"b", "c"})
        self.failureResultOf(account.resume(MemoryStream(), tokens[0], 0), ResumeFailed)
        self.successResultOf(account.resume(MemoryStream(), tokens[2], 0))


class CommitTests(SynchronousTestCase):
    """An acknowledgement means committed (architecture section 6)."""

    def setUp(self) -> None:
        """Commits are made by hand; Alice has stream management, Bob is offline."""
        self.server = SlowServer(MODULES)
        self.alice = self.server.client("alice/phone")
        self.token = manage(self.alice).get("id") or ""
        self.server.account("bob")
        self.server.hold()

    def h(self) -> list[str | None]:
        """The counts told; takes everything."""
        return [stanza.get("h") for stanza in self.alice.take() if stanza.name == "a"]

    def test_held(self) -> None:
        """The answer waits for the commit."""
        chat(self.alice, "bob@localhost", "one")
        self.alice.send(R)
        self.assertEqual(self.h(), [])
        self.server.commit()
        self.assertEqual(self.h(), ["1"])

    def test_atMostASecond(self) -> None:
        """After a second it tells what is committed, and the rest when that is (at most once each)."""
        self.alice.send("<presence/>")
        chat(self.alice, "bob@localhost", "one")
        self.alice.send(R)
        self.server.clock.pump([0.25] * 3)
        self.assertEqual(self.h(), [])
        self.server.clock.pump([0.25] * 3)
        self.assertEqual(self.h(), ["1"])
        self.server.clock.pump([0.25] * 8)
        self.assertEqual(self.h(), [])
        self.server.commit()
        self.assertEqual(self.h(), ["2"])

    def test_onlineRecipient(self) -> None:
        """A message to an online recipient is delivered at once, and acknowledged after its spool row."""
        bob = self.server.client("bob/desk")
        manage(bob)
        bob.available()
        bob.take()
        chat(self.alice, "bob@localhost", "one")
        self.assertEqual(bodies(bob), ["one"])
        self.alice.send(R)
        self.assertEqual(self.h(), [])
        self.server.commit()
        self.assertEqual(self.h(), ["1"])

    def test_spoolFull(self) -> None:
        """A message that the spool cannot keep is an error for its sender."""
        bob = self.server.client("bob/desk")
        manage(bob)
        bob.available()
        chat(self.alice, "bob@localhost", "one")
        self.server.slow.full = True
        self.server.commit()
        self.assertEqual(errors(self.alice), ["resource-constraint"])

    def test_sparedSpool(self) -> None:
        """Without stream management on the sender's side nothing was promised, so nothing is spooled."""
        plain = self.server.client("alice/plain")
        self.server.client("bob/desk").available()
        before = self.server.slow.last
        chat(plain, "bob@localhost", "one")
        self.assertEqual(self.server.slow.last, before)

    def test_resumedWaits(self) -> None:
        """``<resumed/>`` waits for the old stream's stanzas too."""
        chat(self.alice, "bob@localhost", "one")
        self.alice.lose()
        stream = MemoryStream()
        waiting = self.alice.session.account.resume(stream, self.token, 0)
        self.assertEqual(stream.received, [])
        self.assertNoResult(waiting)
        self.server.commit()
        self.successResultOf(waiting)
        self.assertEqual(stream.received[0].get("h"), "1")

    def test_resumedAtMostASecond(self) -> None:
        """But no longer than a second; then the client sends again what is not certain."""
        chat(self.alice, "bob@localhost", "one")
        self.alice.lose()
        stream = MemoryStream()
        waiting = self.alice.session.account.resume(stream, self.token, 0)
        self.server.clock.pump([0.25] * 5)
        self.successResultOf(waiting)
        self.assertEqual(stream.received[0].get("h"), "0")

    def test_resumedTwiceAtOnce(self) -> None:
        """Two streams that resume the same session at once: the later wins, the other is told."""
        chat(self.alice, "bob@localhost", "one")
        self.alice.lose()
        streams = [MemoryStream("a"), MemoryStream("b")]
        for stream in streams:
            self.alice.session.account.resume(stream, self.token, 0)
        self.server.commit()
        self.assertIs(self.alice.session.stream, streams[1])
        assert streams[0].error is not None
        self.assertEqual(streams[0].error.condition, "conflict")


class Slowness(HostModule):
    """A policy that thinks about messages to Bob until the test decides."""

    name = "slowness"
    waiting: list[Deferred[object]] = []

    @message.sending(Phase.POLICY)
    def onSending(self, transit: Transit) -> Deferred[object] | None:
        """Wait for messages with a subject."""
        if transit.stanza.find(ns.CLIENT, "subject") is None:
            return None
        self.waiting.append(Deferred())
        return self.waiting[-1]

    @message.receiving(Phase.POLICY)
    def onReceiving(self, transit: Transit) -> Deferred[object] | None:
        """Wait on the recipient's side for messages with a thread."""
        if transit.stanza.find(ns.CLIENT, "thread") is None:
            return None
        self.waiting.append(Deferred())
        return self.waiting[-1]


class WaitingTests(SynchronousTestCase):
    """Order, and acknowledgements, while a handler waits (architecture section 4)."""

    def setUp(self) -> None:
        """A host with the module above; Alice has stream management."""
        self.server = MemoryServer(MODULES)
        self.waiting: list[Deferred[object]] = []
        Slowness.waiting = self.waiting
        modules = list(self.server.host.modules.values())
        self.server.host.modulesChanged([*modules, Slowness(self.server.host, None)])
        self.alice = self.server.client("alice/phone")
        manage(self.alice)
        self.bob = self.server.client("bob/desk", available=True)
        self.carol = self.server.client("carol/desk", available=True)

    def slow(self, to: str, text: str, what: str = "subject") -> None:
        """A message that has to wait."""
        self.alice.send(f"<message to='{to}' type='chat'><{what}>s</{what}><body>{text}</body></message>")

    def h(self) -> str | None:
        """The count that is told at once, None if the answer is held."""
        self.alice.take()
        self.alice.send(R)
        answers = [stanza.get("h") for stanza in self.alice.take() if stanza.name == "a"]
        return answers[0] if answers else None

    def test_orderOfPair(self) -> None:
        """Later messages of the pair wait, those to others pass."""
        self.slow("bob@localhost", "one")
        chat(self.alice, "bob@localhost", "two")
        chat(self.alice, "carol@localhost", "other")
        self.assertEqual((bodies(self.bob), bodies(self.carol)), ([], ["other"]))
        self.waiting[0].callback(None)
        self.assertEqual(bodies(self.bob), ["one", "two"])

    def test_acknowledgement(self) -> None:
        """The count stops below what waits; when the last is through a held answer goes out at once."""
        chat(self.alice, "carol@localhost", "zero")
        self.slow("bob@localhost", "one")
        chat(self.alice, "bob@localhost", "two")
        self.assertIsNone(self.h())
        self.waiting[0].callback(None)
        self.assertEqual([stanza.get("h") for stanza in self.alice.take() if stanza.name == "a"], ["3"])

    def test_severalWaits(self) -> None:
        """A stanza that waits behind another and then waits itself keeps its place."""
        self.slow("bob@localhost", "one")
        self.slow("bob@localhost", "two")
        chat(self.alice, "bob@localhost", "three")
        self.assertEqual(len(self.waiting), 1)
        self.waiting[0].callback(None)
        self.assertEqual(bodies(self.bob), ["one"])
        self.waiting[1].callback(None)
        self.assertEqual(bodies(self.bob), ["two", "three"])

    def test_recipientsSide(self) -> None:
        """On the recipient's side everything for that account waits, whoever sent it."""
        self.slow("bob@localhost", "one", "thread")
        chat(self.carol, "bob@localhost", "two")
        chat(self.carol, "alice@localhost/phone", "other")
        self.assertEqual((bodies(self.bob), bodies(self.alice)), ([], ["other"]))
        self.waiting[0].callback(None)
        self.assertEqual(bodies(self.bob), ["one", "two"])

    def test_refusedLater(self) -> None:
        """A handler that fails in the end refuses its stanza, and the next follows."""
        self.slow("bob@localhost", "one")
        chat(self.alice, "bob@localhost", "two")
        self.waiting[0].errback(ValueError("broken"))
        self.assertEqual(errors(self.alice), ["internal-server-error"])
        self.assertEqual(bodies(self.bob), ["two"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_brokenAfterwards(self) -> None:
        """What fails behind the handler must not block the pair for ever."""

        def broken(transit: Transit) -> None:
            raise ValueError("broken")

        self.patch(self.server.router, "route", broken)
        self.slow("bob@localhost", "one")
        chat(self.alice, "bob@localhost", "two")
        self.waiting[0].callback(None)
        self.assertEqual(errors(self.alice), ["internal-server-error"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_deadline(self) -> None:
        """A handler that never answers is given up after its deadline, and fails closed."""
        self.slow("bob@localhost", "one")
        self.server.advance(11)
        self.assertEqual(errors(self.alice), ["internal-server-error"])
        self.assertEqual(bodies(self.bob), [])
        self.flushLoggedErrors()

    def test_pausesReading(self) -> None:
        """Too much that waits stops the reading of its own stream, and of no other."""
        self.slow("bob@localhost", "one")
        for number in range(64):
            chat(self.alice, "bob@localhost", str(number))
        self.assertEqual((self.alice.stream.paused, self.carol.stream.paused), (1, 0))
        self.waiting[0].callback(None)
        self.assertEqual(self.alice.stream.paused, 0)
        self.assertEqual(len(bodies(self.bob)), 65)

    def test_iqResultsPass(self) -> None:
        """Presence and requests to others are not held up either."""
        self.slow("bob@localhost", "one")
        self.alice.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual([stanza.get("id") for stanza in self.alice.take() if stanza.name == "iq"], ["p"])
