"""The stream driver over memory transports: order, restarts, pauses, ends, faults."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.edge.doubles import (
    HOST,
    Peer,
    QuietSession,
    RecordingAccount,
    RecordingSession,
    TestHost,
    auth,
    authenticate,
    bind,
    boundPeer,
    header,
    logIn,
    provider,
)
from xmppservice.edge.memory import Ballast
from xmppservice.hub.contracts.auth import IThrottle
from xmppservice.hub.contracts.stream import (
    IAccount,
    IClosingSession,
    IProbingSession,
    ISession,
    IStream,
    IStreamHost,
)
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID
from xmppservice.wire import ns
from xmppservice.wire.element import Element

MESSAGE = "<message to='bob@example.com' id='{}'><body>hi</body></message>"
REGISTER = f"<iq type='get' id='r'><query xmlns='{ns.REGISTER}'/></iq>"


class InterfaceTests(SynchronousTestCase):
    """The driver and the doubles keep their contracts."""

    def test_driver(self) -> None:
        """The driver is a protocol and a stream."""
        driver = Peer().driver
        for interface in (IProtocol, IHalfCloseableProtocol, IStream):
            verifyObject(interface, driver)

    def test_doubles(self) -> None:
        """What tests use in place of the hub is what the hub promises."""
        host = TestHost()
        jid = JID.parse("a@b/c")
        verifyObject(IStreamHost, host)
        verifyObject(IAccount, RecordingAccount(host, "a"))
        verifyObject(IProbingSession, RecordingSession(jid, None))
        verifyObject(IClosingSession, RecordingSession(jid, None))
        verifyObject(ISession, QuietSession(jid, None))

    def test_noDictionary(self) -> None:
        """An idle stream costs slots, not dictionaries."""
        self.assertFalse(hasattr(boundPeer().driver, "__dict__"))


class NegotiationTests(SynchronousTestCase):
    """From header to session."""

    def test_whole(self) -> None:
        """Header, SCRAM, header, bind: a session, and nothing kept that was for negotiation."""
        peer = boundPeer()
        self.assertEqual(peer.session.jid.full, "alice@example.com/desk")
        self.assertIsNone(peer.driver.negotiation)
        self.assertEqual(peer.driver.id and len(peer.driver.id), 22)

    def test_byteByByte(self) -> None:
        """The same, one byte at a time."""
        peer = Peer(tls=None)
        for byte in header().encode():
            peer.driver.dataReceived(bytes((byte,)))
        self.assertIn("<stream:features>", peer.heard())
        self.assertIn("<success", authenticate(peer))
        for byte in (header() + bind("desk") + MESSAGE.format(1)).encode():
            peer.driver.dataReceived(bytes((byte,)))
        self.assertIn("alice@example.com/desk", peer.heard())
        self.assertEqual(len(peer.session.received), 1)

    def test_pipelined(self) -> None:
        """All that can be sent at once may be: header to bind to stanzas, in one piece."""
        host = TestHost()
        peer = Peer(host=host, mechanisms=frozenset({"PLAIN"}))
        peer.driver.negotiation.machine.secured({})  # type: ignore[union-attr]
        said = peer.say(
            header() + auth("PLAIN", "\0alice\0secret") + header() + bind("desk") + MESSAGE.format(1) + "<presence/>"
        )
        self.assertIn("<success", said)
        self.assertIn("alice@example.com/desk", said)
        self.assertEqual([element.name for element in host.sessions[0].received], ["message", "presence"])

    def test_inputWaitsForAnswers(self) -> None:
        """What comes while binding is pending is taken afterwards, in order, and reading stops."""
        peer = Peer()
        peer.host.slow = True
        logIn(peer)
        peer.say(header())
        peer.say(bind("desk") + MESSAGE.format(1))
        self.assertEqual(peer.transport.producerState, "producing")
        peer.say(MESSAGE.format(2))
        self.assertEqual(peer.transport.producerState, "paused")
        due, session = peer.host.due.pop()
        self.assertEqual(session.received, [])
        due.callback(session)
        self.assertEqual(peer.transport.producerState, "producing")
        self.assertEqual([element.get("id") for element in session.received], ["1", "2"])
        peer.say(MESSAGE.format(3))
        self.assertEqual(len(session.received), 3)
        self.assertIn("<jid>", peer.heard() + peer.transport.value().decode() + "<jid>")

    def test_lostWhileBinding(self) -> None:
        """A session that comes too late is told at once that its stream is lost."""
        peer = Peer()
        peer.host.slow = True
        logIn(peer)
        peer.say(header() + bind("desk"))
        peer.driver.connectionLost()
        due, session = peer.host.due.pop()
        due.callback(session)
        self.assertEqual(session.calls, ["lost"])
        self.assertEqual(peer.host.logouts, 1)

    def test_whitespaceKeepalive(self) -> None:
        """White space between elements is nothing, before and after binding (RFC 6120 4.6.1)."""
        peer = Peer()
        peer.say(header() + " \n\t ")
        self.assertIn("<success", authenticate(peer))
        peer.say(header() + "\n" + bind("x") + " ")
        self.assertEqual(peer.say(" "), "")
        self.assertFalse(peer.transport.disconnecting)

    def test_whitespaceBeforeARestartedStream(self) -> None:
        """White space behind the last element of the old stream, however late it comes, is no part of the new one."""
        peer = Peer()
        logIn(peer)
        self.assertEqual(peer.say("\n"), "")
        self.assertEqual(peer.say(" "), "")
        self.assertIn("<bind ", peer.say("\n" + header()))
        self.assertIn("<stream:features>", Peer().say(" " + header()))

    def test_bindRefused(self) -> None:
        """A refusal leaves the stream as it was."""
        peer = Peer()
        logIn(peer)
        peer.say(header())
        self.assertIn("<conflict", peer.say(bind("taken")))
        self.assertIn("<jid>", peer.say(bind("other")))

    def test_injectedFault(self) -> None:
        """An exception in the account: internal-server-error, one log entry with the incident."""
        peer = Peer()
        logIn(peer)
        peer.say(header())
        said = peer.say(bind("crash"))
        self.assertIn("<internal-server-error", said)
        self.assertTrue(said.endswith("</stream:stream>"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_resume(self) -> None:
        """A resumed stream speaks to its former session."""
        peer = Peer()
        logIn(peer)
        peer.say(header())
        said = peer.say(f"<resume xmlns='{ns.SM}' previd='good' h='3'/>" + MESSAGE.format(1))
        self.assertIn("<resumed", said)
        self.assertEqual(len(peer.session.received), 1)

    def test_resumeFailsThenBinds(self) -> None:
        """XEP-0198: the client falls back to binding."""
        peer = Peer()
        logIn(peer)
        peer.say(header())
        self.assertIn("<failed xmlns='urn:xmpp:sm:3' h='7'>", peer.say(f"<resume xmlns='{ns.SM}' previd='old' h='3'/>"))
        self.assertIn("<jid>", peer.say(bind()))

    def test_preAuth(self) -> None:
        """Registration goes to the host and its answer back."""
        peer = Peer()
        peer.say(header())
        self.assertIn("type='result' id='r'", peer.say(REGISTER))

        def refuse(iq: Element) -> Any:
            raise StanzaError("not-allowed")

        peer.host.preAuthAnswer = refuse
        self.assertIn("<not-allowed", peer.say(REGISTER))

        def crash(iq: Element) -> Any:
            raise RuntimeError("injected")

        peer.host.preAuthAnswer = crash
        self.assertIn("<internal-server-error", peer.say(REGISTER))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_limitsGrowAfterAuthentication(self) -> None:
        """8 KiB before, 256 KiB after; before it also 64 KiB in all."""
        peer = boundPeer()
        peer.say(f"<message><body>{'x' * 100_000}</body></message>")
        self.assertEqual(len(peer.session.received), 1)
        peer = Peer()
        peer.say(header())
        said = peer.say(auth("PLAIN", "x" * 10_000))
        self.assertIn("<policy-violation", said)
        self.assertIn(f"<stanza-too-big xmlns='{ns.ERRORS}'/>", said)
        peer = Peer()
        peer.say(header())
        for _ in range(70):
            said = peer.say(" " * 1000)
            if said:
                break
        self.assertIn("<policy-violation", said)


class LoginTests(SynchronousTestCase):
    """Between SASL and the portal."""

    def test_wrongPasswords(self) -> None:
        """Five answers, then the stream is closed (hardening A06)."""
        peer = Peer()
        said = logIn(peer, password=b"wrong")
        self.assertIn("<not-authorized/>", said)
        for _ in range(4):
            said = authenticate(peer, password=b"wrong")
        self.assertIn("<policy-violation", said)
        self.assertEqual(peer.host.logouts, 0)

    def test_storeDown(self) -> None:
        """A checker that fails is a temporary failure, and is logged."""
        peer = Peer()
        peer.driver.negotiation.machine.secured({})  # type: ignore[union-attr]
        peer.say(header())
        self.assertIn("<temporary-auth-failure/>", peer.say(auth("PLAIN", "\0broken\0secret")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_secretsDown(self) -> None:
        """So is a store that cannot say the salt."""
        peer = Peer()

        class Broken:
            def fetch(self, user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
                raise RuntimeError("down")

        peer.host.secrets = Broken()
        peer.say(header())
        self.assertIn("<temporary-auth-failure/>", peer.say(auth("SCRAM-SHA-1", "n,,n=alice,r=abc")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_withoutSecretsNoScram(self) -> None:
        """A host that cannot say salts offers no SCRAM."""
        host = TestHost()
        host.secrets = None
        self.assertNotIn("SCRAM", Peer(host=host).say(header()))

    def test_throttle(self) -> None:
        """A failure is told late, and an address that must wait is refused unheard."""
        from zope.interface import implementer

        @implementer(IThrottle)
        class Throttle:
            waiting = 0.0
            calls: list[str] = []

            def refusal(self, address: str, account: str = "") -> float:
                return self.waiting

            def failed(self, address: str, account: str = "") -> float:
                self.calls.append("failed " + account)
                return 2.0

            def succeeded(self, address: str, account: str = "") -> None:
                self.calls.append("succeeded " + account)

        throttle = Throttle()
        verifyObject(IThrottle, throttle)
        host = TestHost()
        host.throttle = throttle
        peer = Peer(host=host)
        self.assertEqual(logIn(peer, password=b"wrong"), "")
        self.assertIn("<not-authorized/>", peer.advance(2))
        throttle.waiting = 5.0
        self.assertIn("<temporary-auth-failure/>", peer.say(auth("SCRAM-SHA-1", "n,,n=alice,r=abc")))
        throttle.waiting = 0.0
        self.assertIn("<success", authenticate(peer))
        self.assertEqual(throttle.calls, ["failed alice", "succeeded alice"])
        host.throttle.waiting = 5.0
        self.assertIn("<success", logIn(Peer(host=host, enabled=False)))


class EndTests(SynchronousTestCase):
    """How streams end, and that each session hears of it once."""

    def assertOver(self, peer: Peer, calls: list[str]) -> None:
        """The connection closes, and nothing more reaches the session."""
        session = peer.session
        self.assertTrue(peer.transport.disconnecting)
        received = len(session.received)
        self.assertEqual(peer.say(MESSAGE.format(9)), "")
        self.assertEqual(len(session.received), received)
        peer.driver.send(b"more")
        peer.driver.afterFlush(self.fail)
        self.assertEqual(peer.heard(), "")
        peer.driver.connectionLost(connectionDone)
        self.assertEqual(session.calls, calls)
        self.assertEqual(peer.host.logouts, 1)
        self.assertEqual(peer.factory.streams, set())

    def test_peerCloses(self) -> None:
        """RFC 6120 4.4: we answer with our closing tag."""
        peer = boundPeer()
        self.assertEqual(peer.say(MESSAGE.format(1) + "</stream:stream>"), "</stream:stream>")
        self.assertOver(peer, ["closed"])

    def test_connectionLost(self) -> None:
        """Without a closing tag the session is told so, once."""
        peer = boundPeer()
        peer.driver.connectionLost(connectionDone)
        self.assertEqual(peer.session.calls, ["lost"])
        self.assertEqual(peer.host.logouts, 1)

    def test_halfClose(self) -> None:
        """A half-close is the end of the stream, but not a clean one (XEP-0198 section 7)."""
        peer = boundPeer()
        peer.driver.readConnectionLost()
        peer.clock.advance(0)
        self.assertEqual(peer.heard(), "</stream:stream>")
        self.assertOver(peer, ["lost"])

    def test_parseError(self) -> None:
        """Bad XML on a bound stream: its error; the session may hibernate."""
        peer = boundPeer()
        said = peer.say("<message><!-- x --></message>")
        self.assertIn("<restricted-xml", said)
        self.assertOver(peer, ["lost"])

    def test_secondHeader(self) -> None:
        """A header without restart."""
        peer = boundPeer()
        self.assertIn("<stream:error>", peer.say(header().partition("?>")[2]))
        self.assertOver(peer, ["lost"])

    def test_sessionFails(self) -> None:
        """A session that ends the stream is not told that it has."""
        peer = boundPeer()
        peer.driver.fail(StreamError("conflict"))
        peer.clock.advance(0)
        self.assertIn("<conflict", peer.heard())
        self.assertOver(peer, [])

    def test_sessionRaises(self) -> None:
        """A stream error raised by a session ends its stream with it."""
        peer = boundPeer()

        def refuse(element: Element) -> None:
            raise StreamError("invalid-from")

        peer.session.onReceive = refuse
        said = peer.say(MESSAGE.format(1) + MESSAGE.format(2))
        self.assertIn("<invalid-from", said)
        self.assertEqual(len(peer.session.received), 1)
        self.assertOver(peer, ["lost"])

    def test_sessionCrashes(self) -> None:
        """Any other exception: one log entry with an incident that the peer is told too."""
        peer = boundPeer()

        def crash(element: Element) -> None:
            raise RuntimeError("injected")

        peer.session.onReceive = crash
        said = peer.say(MESSAGE.format(1) + MESSAGE.format(2))
        self.assertIn("<internal-server-error", said)
        self.assertIn("incident ", said)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertOver(peer, ["lost"])

    def test_closeWaitsForThePeer(self) -> None:
        """We close: the peer gets five seconds for its closing tag, and no longer."""
        peer = boundPeer()
        peer.driver.close()
        peer.clock.advance(0)
        self.assertEqual(peer.heard(), "</stream:stream>")
        self.assertFalse(peer.transport.disconnecting)
        self.assertEqual(peer.say(MESSAGE.format(1)), "")
        self.assertFalse(peer.transport.disconnecting)
        peer.say("</stream:stream>")
        self.assertOver(peer, [])

    def test_closeTimesOut(self) -> None:
        """A peer that never closes is dropped."""
        peer = boundPeer()
        peer.driver.close()
        peer.advance(4)
        self.assertFalse(peer.transport.disconnecting)
        peer.advance(2)
        self.assertTrue(peer.transport.aborted)

    def test_closedInTheMidstOfARead(self) -> None:
        """A session that closes while it is given an element gets no more of them."""
        peer = boundPeer()
        peer.session.onReceive = lambda element: peer.driver.close()
        peer.say(MESSAGE.format(1) + MESSAGE.format(2))
        self.assertEqual(len(peer.session.received), 1)

    def test_shutDown(self) -> None:
        """The session's last words, then system-shutdown."""
        peer = boundPeer()
        done = peer.factory.shutDown()
        said = peer.heard()
        self.assertLess(said.index("<a "), said.index("<system-shutdown"))
        self.assertNoResult(done)
        self.assertOver(peer, ["shutdown", "lost"])
        self.successResultOf(done)


class PauseTests(SynchronousTestCase):
    """A session may stop the input, in the midst of a read too."""

    def test_pauseHoldsTheRest(self) -> None:
        """What was read already waits, and more stops the reading."""
        peer = boundPeer()
        peer.session.onReceive = lambda element: peer.driver.pause()
        peer.say(MESSAGE.format(1) + MESSAGE.format(2))
        peer.say(MESSAGE.format(3))
        self.assertEqual(len(peer.session.received), 1)
        self.assertEqual(peer.transport.producerState, "paused")
        peer.session.onReceive = None
        peer.driver.resume()
        self.assertEqual(len(peer.session.received), 1)
        peer.clock.advance(0)
        self.assertEqual([element.get("id") for element in peer.session.received], ["1", "2", "3"])
        self.assertEqual(peer.transport.producerState, "producing")
        peer.say(MESSAGE.format(4))
        self.assertEqual(len(peer.session.received), 4)

    def test_pausesNest(self) -> None:
        """Each pause needs its resume."""
        peer = boundPeer()
        peer.driver.pause()
        peer.driver.pause()
        peer.driver.resume()
        peer.say(MESSAGE.format(1))
        self.assertEqual(peer.session.received, [])
        peer.driver.resume()
        peer.clock.advance(0)
        self.assertEqual(len(peer.session.received), 1)

    def test_pauseAndResumeWithinOneElement(self) -> None:
        """Nothing was waiting: the stream goes on as if nothing had happened."""
        peer = boundPeer()

        def both(element: Element) -> None:
            peer.driver.pause()
            peer.driver.resume()

        peer.session.onReceive = both
        peer.say(MESSAGE.format(1) + MESSAGE.format(2))
        self.assertEqual(len(peer.session.received), 2)

    def test_endWhilePaused(self) -> None:
        """A closing tag that waits is taken when its turn comes."""
        peer = boundPeer()
        peer.driver.pause()
        peer.say("</stream:stream>")
        self.assertEqual(peer.session.calls, [])
        peer.driver.resume()
        peer.clock.advance(0)
        self.assertEqual(peer.session.calls, ["closed"])

    def test_pausedStreamCanBeClosed(self) -> None:
        """And reads again then, so that the end of the connection is seen."""
        peer = boundPeer()
        peer.driver.pause()
        peer.say(MESSAGE.format(1))
        peer.driver.close()
        self.assertEqual(peer.transport.producerState, "producing")
        peer.driver.resume()
        peer.clock.advance(0)
        self.assertEqual(peer.session.received, [])


class TimeTests(SynchronousTestCase):
    """Deadlines and silence, by the factory's one timer."""

    def test_silentBeforeAuthentication(self) -> None:
        """Closed within 30 s, whatever was said (hardening D02)."""
        for opening in ("", "<", header()):
            peer = Peer()
            peer.say(opening) if opening else None
            peer.advance(28)
            self.assertFalse(peer.transport.disconnecting)
            said = peer.advance(2)
            self.assertIn("<connection-timeout", said)
            self.assertTrue(peer.transport.disconnecting)
            peer.advance(2)
            self.assertTrue(peer.transport.aborted)

    def test_authenticatedButNotBound(self) -> None:
        """The same again for binding."""
        peer = Peer()
        peer.advance(20)
        logIn(peer)
        peer.advance(20)
        self.assertFalse(peer.transport.disconnecting)
        peer.advance(12)
        self.assertTrue(peer.transport.disconnecting)

    def test_boundStreamsHaveNoDeadline(self) -> None:
        """Nor is there anything of theirs in the reactor but the sweep."""
        peer = boundPeer()
        peer.advance(200)
        self.assertFalse(peer.transport.disconnecting)
        self.assertEqual(len(peer.clock.getDelayedCalls()), 1)

    def test_probeAndAnswer(self) -> None:
        """After five minutes of silence the session asks; any byte is an answer."""
        peer = boundPeer()
        self.assertEqual(peer.advance(299), "")
        self.assertIn("<r ", peer.advance(11))
        peer.say(" ")
        peer.advance(100)
        self.assertFalse(peer.transport.disconnecting)
        self.assertEqual(peer.session.calls, ["probe"])

    def test_noAnswer(self) -> None:
        """A minute later the stream is broken (RFC 6120 4.6.2)."""
        peer = boundPeer()
        peer.advance(311)
        said = peer.advance(61)
        self.assertIn("<connection-timeout", said)
        self.assertEqual(peer.session.calls, ["probe", "lost"])

    def test_sessionsThatCannotAsk(self) -> None:
        """White space finds dead connections."""
        host = TestHost()
        host.sessionType = QuietSession
        peer = boundPeer(host=host)
        self.assertEqual(peer.advance(311), " ")
        peer.advance(400)
        self.assertFalse(peer.transport.disconnecting)

    def test_sleep(self) -> None:
        """A silent stream lets go of expat and wakes when something comes, in any piece."""
        peer = boundPeer()
        assert peer.driver.parser is not None
        peer.advance(11)
        self.assertIsNone(peer.driver.parser._expat)
        peer.say(MESSAGE.format(1)[:20])
        peer.advance(20)
        peer.say(MESSAGE.format(1)[20:])
        self.assertEqual(len(peer.session.received), 1)
        peer.advance(11)
        self.assertEqual(peer.say("</stream:stream>"), "</stream:stream>")

    def test_memoryIsGivenBack(self) -> None:
        """When many streams have become idle, or some and then no more; not before, and not for nobody."""
        ballast = Ballast(enough=20)
        answers = []
        for freed in (0, 1, 0, 1, 0, 19, 20, 0):
            for _ in range(freed):
                ballast.freed()
            answers.append(ballast.giveBack())
        self.assertEqual(answers, [False, False, False, False, True, False, True, False])

    def test_sweepEndsWithTheLastConnection(self) -> None:
        """An idle server has no timer."""
        peer = boundPeer()
        peer.driver.connectionLost()
        self.assertEqual(peer.clock.getDelayedCalls(), [])


class StartTLSTests(SynchronousTestCase):
    """STARTTLS over a memory transport."""

    STARTTLS = f"<starttls xmlns='{ns.TLS}'/>"

    def setUp(self) -> None:
        """Certificates."""
        from pathlib import Path

        self.tls = provider(Path(self.mktemp()))

    def test_proceed(self) -> None:
        """The transport is told to start TLS for the stream's host; the stream starts anew."""
        peer = Peer(tls=self.tls)
        self.assertIn("<required/>", peer.say(header()))
        self.assertEqual(peer.say(self.STARTTLS), f"<proceed xmlns='{ns.TLS}'/>")
        self.assertEqual(len(peer.transport.started), 1)
        said = peer.say(header())
        self.assertIn("<mechanisms", said)
        self.assertNotIn("starttls", said)
        self.assertTrue(peer.driver.secure)

    def test_injection(self) -> None:
        """Hardening T01: one byte behind starttls, white space apart, and there will be no TLS."""
        for rest in (" <", header() + auth("PLAIN", "\0alice\0secret"), "<", "\0"):
            peer = Peer(tls=self.tls)
            peer.say(header())
            said = peer.say(self.STARTTLS + rest)
            self.assertIn("<policy-violation", said)
            self.assertNotIn("proceed", said)
            self.assertEqual(peer.transport.started, [])
            self.assertTrue(peer.transport.disconnecting)

    def test_lineEndIsDropped(self) -> None:
        """The line end that some clients send behind starttls does not reach the new stream."""
        peer = Peer(tls=self.tls)
        peer.say(header())
        self.assertIn("<proceed", peer.say(self.STARTTLS + "\n"))
        self.assertIn("<mechanisms", peer.say(header()))

    def test_requiredWithoutCertificate(self) -> None:
        """A host that must be secured and cannot be offers no mechanism."""
        said = Peer(tls=self.tls, host=TestHost()).say(header("other.test"))
        self.assertNotIn("<mechanism", said)


class HeaderTests(SynchronousTestCase):
    """Bad first bytes, through the real parser."""

    def test_errors(self) -> None:
        """Each gets our header, its error and our footer."""
        for text, condition in (
            ("<!DOCTYPE x>" + header(), "restricted-xml"),
            ("<!-- x -->" + header(), "restricted-xml"),
            ("<?php x ?>" + header(), "restricted-xml"),
            (header().replace("1.0'?>", "1.0' encoding='iso-8859-1'?>"), "unsupported-encoding"),
            ("\x00\x00garbage", "unsupported-encoding"),
            ("garbage<a>", "not-well-formed"),
            (header("nope.test"), "host-unknown"),
            (header(version=""), "unsupported-version"),
            (header(content="jabber:foo"), "invalid-namespace"),
            (header().replace("etherx.jabber.org", "wrong.example"), "invalid-namespace"),
            (header("a b"), "improper-addressing"),
            (header(extra=" x='" + "y" * 20_000 + "'"), "policy-violation"),
        ):
            peer = Peer()
            said = peer.say(text)
            self.assertTrue(said.startswith("<?xml version='1.0'?><stream:stream "), (text[:60], said))
            self.assertIn(f"<stream:error><{condition} ", said)
            self.assertTrue(said.endswith("</stream:stream>"), said)
            self.assertTrue(peer.transport.disconnecting)

    def test_utf16(self) -> None:
        """UTF-16 is not spoken (RFC 6120 11.6)."""
        for codec in ("utf-16", "utf-16-le", "utf-16-be"):
            self.assertIn("<unsupported-encoding ", Peer().say(header().encode(codec)))

    def test_idIsNewEachTime(self) -> None:
        """The stream id changes with each header."""
        peer = Peer()
        peer.say(header())
        former = peer.driver.id
        authenticate(peer)
        peer.say(header())
        self.assertNotEqual(peer.driver.id, former)
        self.assertEqual(HOST, "example.com")
