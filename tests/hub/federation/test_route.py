"""The way to another server: what waits, what is tried again, what comes back, what is never lost."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.hub.federation.kit import OURS, THEIRS, Kit, cut, element, give, ids
from tests.hub.kit import condition
from xmppservice.hub.contracts.stream import IClosingSession, IProbingSession
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.wire import ns

PAIR = (OURS, THEIRS)


class RouteCase(SynchronousTestCase):
    """A server, and the other side in the hands of the test."""

    policy = FederationPolicy()

    def setUp(self) -> None:
        """Alice is online."""
        self.kit = Kit(self.policy)
        self.addCleanup(self.kit.stop)
        self.connector = self.kit.connector

    def came(self) -> list[tuple[str, str]]:
        """Id and condition of the errors that Alice got."""
        errors = [each for each in self.kit.alice.take() if each.get("type") == "error"]
        return [(each.get("id") or "", condition(each)) for each in errors]


class WaitingTests(RouteCase):
    """Stanzas without a stream."""

    policy = FederationPolicy(queueTime=20, queueStanzas=3, queueBytes=10_000, longestPause=60)

    def test_orderAndOneAttempt(self) -> None:
        """The first stanza starts an attempt, all go out in their order, and later ones behind them."""
        self.kit.say("1", "2", "3")
        self.assertEqual([(local, remote) for local, remote, _ in self.connector.asked], [PAIR])
        link, stream = self.connector.reach()
        verifyObject(IProbingSession, link)
        verifyObject(IClosingSession, link)
        self.kit.say("4")
        sent = stream.take()
        self.assertEqual(ids(sent), ["1", "2", "3", "4"])
        self.assertEqual(sent[0].get("from"), "alice@localhost/phone")
        self.assertEqual(self.kit.federation.waitingBytes, 0)

    def test_allKindsOfStanzas(self) -> None:
        """IQs and presence wait as well."""
        self.kit.alice.send(f"<iq type='get' id='q' to='{THEIRS}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.kit.alice.send(f"<presence to='bob@{THEIRS}'/>")
        _, stream = self.connector.reach()
        self.assertEqual([each.name for each in stream.take()], ["iq", "presence"])

    def test_lastingFailure(self) -> None:
        """What does not exist is told at once, and for a while without another attempt; then it is tried anew."""
        self.kit.say("1", "2")
        self.connector.fail("there is no such domain", "remote-server-not-found", lasting=True)
        self.kit.say("3")
        self.assertEqual(self.came(), [(id, "remote-server-not-found") for id in "123"])
        self.assertEqual(self.connector.asked, [])
        self.kit.server.advance(2)
        self.kit.say("4")
        self.assertEqual(len(self.connector.asked), 1)
        self.connector.reach()
        self.assertEqual(self.came(), [])

    def test_triedAgain(self) -> None:
        """A stanza waits for its time while attempts fail, with growing pauses; then all come back."""
        self.kit.say("1")
        times = []
        for second in range(60):
            if self.connector.asked:
                times.append(second)
                self.connector.fail()
            self.kit.server.advance(1)
        self.assertEqual(self.came(), [("1", "remote-server-timeout")])
        self.assertGreaterEqual(len(times), 4)
        gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
        self.assertEqual(gaps[:3], sorted(gaps[:3]))
        self.assertLessEqual(times[-1], 21)

    def test_pausesGrowAndEnd(self) -> None:
        """A server that stays away costs an attempt a minute in the end, and is found within a minute of its return."""
        attempts = 0
        for _ in range(600):
            self.kit.say("x")
            if self.connector.asked:
                attempts += 1
                self.connector.fail(lasting=True)
            self.kit.server.advance(1)
        self.assertLess(attempts, 20)
        self.kit.server.advance(61)
        self.kit.alice.take()
        self.kit.say("back")
        _, stream = self.connector.reach()
        self.assertEqual(ids(stream.take()), ["back"])

    def test_caps(self) -> None:
        """Stanzas and bytes that wait are bounded; what is too much comes back, the rest goes out."""
        self.kit.say("1", "2", "3", "4")
        self.assertEqual(self.came(), [("4", "resource-constraint")])
        _, stream = self.connector.reach()
        self.assertEqual(ids(stream.take()), ["1", "2", "3"])

    def test_capOfBytes(self) -> None:
        """See `test_caps`."""
        big = "x" * 6000
        for id in ("1", "2"):
            self.kit.alice.send(f"<message to='bob@{THEIRS}' id='{id}'><body>{big}</body></message>")
        self.assertEqual(self.came(), [("2", "resource-constraint")])

    def test_domainsOfOurs(self) -> None:
        """Nobody gets to a domain of ours by way of federation, nor past the policy."""
        self.kit.federation.use(FederationPolicy(deny=("*.example",)))
        self.kit.say("1")
        self.assertEqual(self.came(), [("1", "remote-server-not-found")])
        self.kit.federation.use(FederationPolicy(allow=("other.example",)))
        self.kit.say("2")
        self.kit.say("3", to="bob@other.example")
        self.assertEqual(self.came(), [("2", "remote-server-not-found")])
        self.assertEqual(len(self.connector.asked), 1)

    def test_stop(self) -> None:
        """The server stops: what waits comes back."""
        self.kit.say("1")
        self.kit.federation.stop()
        self.assertEqual(self.came(), [("1", "remote-server-timeout")])
        self.kit.say("2")
        self.assertEqual(self.came(), [("2", "remote-server-not-found")])

    def test_domainIsDropped(self) -> None:
        """A domain that is served no more has no routes and no streams."""
        self.kit.say("1")
        self.connector.reach()
        self.kit.say("2", to="bob@other.example")
        self.kit.federation.dropLocal(OURS)
        self.assertEqual((len(self.kit.federation.links), self.kit.federation.routes), (0, {}))
        self.assertEqual(self.came(), [("2", "remote-server-timeout")])


class AllBytesTests(RouteCase):
    """All queues together are bounded."""

    policy = FederationPolicy(allBytes=5000)

    def test_allTogether(self) -> None:
        """Many domains, each with a little."""
        for number in range(60):
            self.kit.say(f"{number}", to=f"bob@d{number}.example")
        self.assertLessEqual(self.kit.federation.waitingBytes, 5000)
        bounced = self.came()
        self.assertEqual({found for _, found in bounced}, {"resource-constraint"})
        self.assertEqual(len(bounced) + sum(route.waiting for route in self.kit.federation.routes.values()), 60)


class SharesTests(RouteCase):
    """One user cannot take what is there for all."""

    policy = FederationPolicy(attempts=100, attemptsEach=10)

    def test_oneSender(self) -> None:
        """Attempts are shared: who waits for many servers already waits for no more; others do."""
        carol = self.kit.server.client("carol/x", available=True)
        for number in range(30):
            self.kit.say(str(number), to=f"bob@dead{number}.example")
        self.assertEqual(len(self.connector.asked), 10)
        self.assertEqual({found for _, found in self.came()}, {"resource-constraint"})
        carol.send(f"<message to='bob@{THEIRS}' id='c'/>")
        self.assertEqual(len(self.connector.asked), 11)
        while self.connector.asked:
            self.connector.fail(lasting=True)
        self.assertEqual(dict(self.kit.federation.starters), {})
        self.kit.server.advance(2)
        self.kit.say("again", to="bob@dead29.example")
        self.connector.reach()
        self.assertEqual(dict(self.kit.federation.starters), {})

    def test_largest(self) -> None:
        """What is larger than the other server takes comes back, and the stream stays (XEP-0478)."""
        self.kit.say("1")
        link, stream = self.connector.reach()
        link.largest = 300
        self.kit.alice.send(f"<message to='bob@{THEIRS}' id='big'><body>{'x' * 300}</body></message>")
        self.kit.say("2")
        self.assertEqual((self.came(), ids(stream.take())), ([("big", "policy-violation")], ["1", "2"]))

    def test_foreignDomainBecomesOurs(self) -> None:
        """A reload may make a domain ours that another server has proved: it may not speak as us (S06)."""
        link, stream = self.kit.incoming(remote=THEIRS)
        self.kit.server.router.destinations[THEIRS] = self.kit.server.router.destinations[OURS]
        self.kit.federation.use(self.policy)
        self.assertTrue(link.ended and stream.closed)


class OperatorTests(RouteCase):
    """What an operator changes has its effect at once."""

    def test_mended(self) -> None:
        """A reload ends pauses and forgets reasons, and what waits is tried at once."""
        self.kit.say("1")
        self.connector.fail(lasting=True)
        self.kit.say("2")
        self.assertEqual([found for _, found in self.came()], ["remote-server-timeout"] * 2)
        self.kit.federation.use(FederationPolicy())
        self.assertEqual((self.kit.federation.failures, self.kit.federation.routes), ({}, {}))
        self.kit.say("3")
        _, stream = self.connector.reach()
        self.assertEqual(ids(stream.take()), ["3"])

    def test_tried(self) -> None:
        """So does a stream that was opened only to see whether it can be, and its end is no reason for anything."""
        self.kit.say("1")
        self.connector.fail("nobody listens", lasting=True)
        self.came()
        self.connector.connect(OURS, THEIRS)
        link, _ = self.connector.reach()
        link.reason = "it was opened just to try"
        link.disconnect()
        self.assertEqual(self.kit.federation.routes, {})
        self.kit.say("2")
        self.assertEqual((len(self.connector.asked), self.came()), (1, []))

    def test_certificatesAreWantedNow(self) -> None:
        """Streams that were good enough before end, those with a certificate stay."""
        self.kit.federation.use(FederationPolicy(certificates=False))
        weak, _ = self.kit.incoming()
        weak.accept(THEIRS, OURS, "dialback")
        good, _ = self.kit.incoming()
        good.accept("good.example", OURS, "dialback, pkix")
        self.kit.say("1", to="bob@other.example")
        ours, _ = self.connector.reach(authenticated=False)
        ours.accepted(OURS, "other.example", "dialback")
        self.kit.federation.use(FederationPolicy())
        self.assertEqual((weak.ended, good.ended, ours.ended), (True, False, True))

    def test_turnedAway(self) -> None:
        """A server that calls and is not wanted can be seen."""
        self.kit.federation.denied(THEIRS, "192.0.2.1")
        self.assertIn("deny", self.kit.federation.failures[(THEIRS, OURS)][0])

    def test_goodbye(self) -> None:
        """A server that stops tells the users of others that its own are gone, where a stream is up."""
        bob = self.kit.server.account("alice")
        bob.setState(f"bob@{THEIRS}", 32 | 1 | 2)
        bob.setState("eve@unreached.example", 32 | 1 | 2)
        self.kit.say("1")
        _, stream = self.connector.reach()
        stream.take()
        self.kit.federation.settle(0.1)
        (presence,) = stream.take()[:1]
        self.assertEqual((presence.name, presence.get("type"), presence.get("to"), presence.get("from")),
                         ("presence", "unavailable", f"bob@{THEIRS}", "alice@localhost/phone"))  # fmt: skip
        self.assertEqual(self.connector.asked, [])


class TakenTests(RouteCase):
    """When a message counts as taken, and what becomes of it before."""

    def setUp(self) -> None:
        """Alice wants acknowledgements."""
        super().setUp()
        self.kit.alice.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self.kit.alice.take()

    def acknowledged(self) -> int:
        """What Alice is told that we have."""
        self.kit.alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.kit.server.advance(1.5)
        counts = [each.get("h") for each in self.kit.alice.take() if each.name == "a"]
        return int(counts[-1] or 0)

    def test_waitingIsNotTaken(self) -> None:
        """Nothing is acknowledged that waits in our memory only."""
        self.kit.say("1")
        self.assertEqual(self.acknowledged(), 0)
        self.connector.reach()
        self.assertEqual(self.acknowledged(), 1)

    def test_bouncedIsSettled(self) -> None:
        """What came back is done with."""
        self.kit.say("1")
        self.connector.fail(lasting=True)
        self.assertEqual(self.acknowledged(), 1)

    def test_kernel(self) -> None:
        """Without XEP-0198 a message is taken when the kernel has it; what it has not goes over the next stream."""
        self.kit.say("1")
        link, stream = self.connector.reach()
        stream.holding = True
        self.kit.say("2", "3")
        self.assertEqual(self.acknowledged(), 1)
        cut(link, stream)
        self.assertEqual(self.acknowledged(), 1)
        _, second = self.connector.reach()
        self.assertEqual(ids(second.take()), ["2", "3"])
        self.assertEqual(self.acknowledged(), 3)

    def test_acknowledgements(self) -> None:
        """With XEP-0198 a message is taken when the other server says so."""
        self.kit.say("1")
        link, stream = self.connector.reach(managed=True)
        self.assertEqual([each.name for each in stream.take()], ["enable", "message", "r"])
        self.kit.say("2")
        self.assertEqual(self.acknowledged(), 0)
        give(link, "<enabled xmlns='urn:xmpp:sm:3' id='token' resume='true'/>", "<a xmlns='urn:xmpp:sm:3' h='1'/>")
        self.assertEqual([each.name for each in stream.take()], ["message", "r"])
        self.assertEqual(self.acknowledged(), 1)
        give(link, "<a xmlns='urn:xmpp:sm:3' h='2'/>")
        self.assertEqual(self.acknowledged(), 2)

    def test_resumption(self) -> None:
        """A cut: the next stream resumes, and nothing is sent twice that was counted."""
        link, stream = self._managed("1", "2", "3")
        give(link, "<a xmlns='urn:xmpp:sm:3' h='1'/>")
        cut(link, stream)
        self.kit.say("4")
        again, second = self.connector.reach(managed=True)
        (resume,) = second.take()
        self.assertEqual((resume.name, resume.get("previd")), ("resume", "token"))
        self.kit.say("5")
        give(again, "<resumed xmlns='urn:xmpp:sm:3' previd='token' h='2'/>")
        self.assertEqual(ids(second.take()), ["3", "4", "5"])
        give(again, "<a xmlns='urn:xmpp:sm:3' h='5'/>")
        self.assertEqual(self.acknowledged(), 5)

    def test_resumedWithoutNewStanzas(self) -> None:
        """A cut with something unacknowledged is reason enough for a new stream."""
        link, stream = self._managed("1")
        cut(link, stream)
        again, second = self.connector.reach(managed=True)
        give(again, "<resumed xmlns='urn:xmpp:sm:3' previd='token' h='0'/>")
        self.assertEqual(ids(second.take()), ["1"])

    def test_notResumed(self) -> None:
        """The other server has forgotten: what it did not count is sent again, before what came later."""
        link, stream = self._managed("1", "2")
        cut(link, stream)
        self.kit.say("3")
        again, second = self.connector.reach(managed=True)
        second.take()
        give(again, "<failed xmlns='urn:xmpp:sm:3' h='1'/>")
        sent = second.take()
        self.assertEqual((sent[0].name, ids(sent)), ("enable", ["2", "3"]))

    def test_noAnswerToResume(self) -> None:
        """A server that says nothing to ``<resume/>`` is given up, and nothing is lost by that."""
        link, stream = self._managed("1")
        cut(link, stream)
        self.connector.reach(managed=True)
        self.kit.server.advance(31)
        again, third = self.connector.reach(managed=True)
        self.assertFalse(again.ended)
        self.assertEqual(ids(third.take()), ["1"])

    def test_neverBack(self) -> None:
        """A server that does not come back: what it has not acknowledged comes back to the sender."""
        link, stream = self._managed("1", "2")
        give(link, "<a xmlns='urn:xmpp:sm:3' h='1'/>")
        cut(link, stream)
        for _ in range(30):
            if self.connector.asked:
                self.connector.fail()
            self.kit.server.advance(1)
        self.assertEqual(self.came(), [("2", "remote-server-timeout")])
        self.assertEqual(self.acknowledged(), 2)

    def test_notManagedAfterAll(self) -> None:
        """``<failed/>`` to ``<enable/>``: the kernel has to do."""
        self.kit.say("1")
        link, _ = self.connector.reach(managed=True)
        give(link, "<failed xmlns='urn:xmpp:sm:3'/>")
        self.kit.say("2")
        self.assertEqual(self.acknowledged(), 2)

    def test_wrongCounts(self) -> None:
        """XEP-0198 section 6: a count of what was never sent ends the stream, and nothing is believed."""
        link, _ = self._managed("1")
        error = give(link, "<a xmlns='urn:xmpp:sm:3' h='7'/>")
        assert error is not None and error.app is not None
        self.assertEqual((error.condition, error.app.name), ("undefined-condition", "handled-count-too-high"))
        self.assertEqual(self.acknowledged(), 0)

    def _managed(self, *messages: str) -> tuple:  # type: ignore[type-arg]
        self.kit.say(*messages)
        link, stream = self.connector.reach(managed=True)
        give(link, "<enabled xmlns='urn:xmpp:sm:3' id='token' resume='true'/>")
        stream.take()
        return link, stream


class ManyDomainsTests(SynchronousTestCase):
    """Several domains of ours, one stream (XEP-0220 2.6.1)."""

    def setUp(self) -> None:
        """Two hosts; Alice is on the first, Carol on the second."""
        self.kit = Kit(domains=(OURS, "second.example"))
        self.addCleanup(self.kit.stop)
        self.carol = self.kit.server.client("carol@second.example/x", available=True)
        self.kit.say("1")
        self.link, self.stream = self.kit.connector.reach()
        self.stream.take()
        self.carol.send(f"<message to='bob@{THEIRS}' id='c'/>")

    def test_provedOnTheSameStream(self) -> None:
        """The second domain proves itself on the stream that is there."""
        (asked,) = self.stream.take()
        self.assertEqual((asked.ns, asked.name, asked.get("from")), (ns.DIALBACK, "result", "second.example"))
        give(self.link, f"<db:result from='{THEIRS}' to='second.example' type='valid'/>")
        self.assertEqual(ids(self.stream.take()), ["c"])
        self.assertEqual(self.kit.connector.asked, [])

    def test_onAStreamOfItsOwn(self) -> None:
        """Where the other server will not have that, the second domain gets its own stream."""
        error = "<error type='auth'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        give(self.link, f"<db:result from='{THEIRS}' to='second.example' type='error'>{error}</db:result>")
        ((local, remote, _),) = self.kit.connector.asked
        self.assertEqual((local, remote), ("second.example", THEIRS))
        _, stream = self.kit.connector.reach()
        self.assertEqual(ids(stream.take()), ["c"])


class EndTests(RouteCase):
    """Streams that nobody needs, and those that go wrong."""

    def test_idle(self) -> None:
        """After some silent looks a stream is closed, and the next stanza opens another."""
        self.kit.say("1")
        link, stream = self.connector.reach()
        self.assertFalse(link.probe())
        for _ in range(3):
            link.probe()
        self.assertTrue(stream.closed)
        self.assertEqual(self.kit.federation.routes, {})
        self.kit.say("2")
        self.assertEqual(len(self.connector.asked), 1)

    def test_streamErrorIsRemembered(self) -> None:
        """Why the other server ended it is shown to the operator."""
        self.kit.say("1")
        link, stream = self.connector.reach()
        link.receive(element(f"<error xmlns='{ns.STREAM}'><host-gone xmlns='{ns.STREAM_ERRORS}'/></error>"))
        self.assertIn("host-gone", link.reason)

    def test_tooMuchUnacknowledged(self) -> None:
        """A server that never acknowledges does not fill our memory (hardening D05): senders are told, then it ends."""
        self.kit.server.advance(1)
        self.kit.federation.policy = FederationPolicy(unacknowledged=5)
        self.kit.say("0")
        link, stream = self.connector.reach(managed=True)
        self.kit.say(*"12345678")
        self.assertEqual(self.came(), [(id, "resource-constraint") for id in "678"])
        self.kit.server.advance(31)
        self.kit.say("9")
        self.assertTrue(link.ended)
        self.assertIsNotNone(stream.error)

    def test_settling(self) -> None:
        """A server that stops waits for the last acknowledgements, and not for ever."""
        self.kit.say("1")
        link, _ = self.connector.reach(managed=True)
        over: list[object] = []
        self.kit.federation.settle(1.5).addCallback(over.append)
        self.kit.server.advance(0.2)
        self.assertEqual(over, [])
        give(link, "<a xmlns='urn:xmpp:sm:3' h='1'/>")
        self.kit.server.advance(0.2)
        self.assertEqual(over, [None])
        self.kit.federation.stop()
        self.assertEqual(self.came(), [])

    def test_unproved(self) -> None:
        """A stream that was opened for a question only is closed in peace; one that proves nothing is not."""
        self.kit.federation.verify(OURS, THEIRS, "id", "key").addErrback(lambda _: None)
        link, stream = self.connector.reach(authenticated=False)
        give(link, f"<db:verify from='{THEIRS}' to='{OURS}' id='id' type='valid'/>")
        link.expire()
        self.assertEqual((stream.closed, stream.error), (True, None))
        stranger, strange = self.kit.incoming()
        stranger.expire()
        assert strange.error is not None
        self.assertEqual(strange.error.condition, "connection-timeout")
