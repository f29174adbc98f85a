"""What waits for another server is never forgotten: streams that end or come at the wrong moment, servers that take
nothing, and what an operator changes meanwhile."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.federation.kit import OURS, THEIRS, Kit, ServerStream, cut, give, ids
from tests.hub.kit import condition
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.testing.client import MemoryClient
from xmppservice.wire import ns

SECOND = "second.example"
SM = "xmlns='urn:xmpp:sm:3'"
ENABLED = f"<enabled {SM} id='token' resume='true'/>"


class TroubleCase(SynchronousTestCase):
    """Two domains of ours; Alice is on the first, Carol on the second."""

    policy = FederationPolicy()

    def setUp(self) -> None:
        """They are online."""
        self.kit = Kit(self.policy, (OURS, SECOND))
        self.addCleanup(self.kit.stop)
        self.connector = self.kit.connector
        self.carol = self.kit.server.client(f"carol@{SECOND}/x", available=True)

    def came(self, client: MemoryClient | None = None) -> list[tuple[str, str]]:
        """Id and condition of the errors that Alice, or another one, got."""
        errors = [each for each in (client or self.kit.alice).take() if each.get("type") == "error"]
        return [(each.get("id") or "", condition(each)) for each in errors]

    def managed(self, *messages: str) -> tuple[ServerLink, ServerStream]:
        """A stream of ours that counts, with messages that nobody has acknowledged."""
        self.kit.say(*messages)
        link, stream = self.connector.reach(managed=True)
        give(link, ENABLED)
        stream.take()
        return link, stream


class OvertakenTests(TroubleCase):
    """Another stream for the same pair (XEP-0288)."""

    def test_betweenAttempts(self) -> None:
        """What a broken stream left to be resumed goes over the one that comes meanwhile, before what is new."""
        link, stream = self.managed("1")
        cut(link, stream)
        self.connector.fail()
        _, theirs = self.kit.incoming(remote=THEIRS, bidi=True)
        self.kit.server.advance(1.1)
        self.kit.say("2")
        self.assertEqual(ids(theirs.take()), ["1", "2"])

    def test_nothingOvertakesWhatIsResumed(self) -> None:
        """The other server calls while we resume: what comes later goes behind what the former stream has left."""
        link, stream = self.managed("1")
        cut(link, stream)
        again, second = self.connector.reach(managed=True)
        _, theirs = self.kit.incoming(remote=THEIRS, bidi=True)
        self.kit.say("2")
        self.kit.server.advance(1.1)
        give(again, f"<resumed {SM} previd='token' h='0'/>")
        self.assertEqual((ids(second.take()), ids(theirs.take())), (["1", "2"], []))
        cut(again, second)
        self.kit.say("3")
        third, last = self.connector.reach(managed=True)
        give(third, f"<resumed {SM} previd='token' h='0'/>")
        self.assertEqual(ids(last.take()), ["1", "2", "3"])

    def test_resumedInBothDirections(self) -> None:
        """There is no resumption with both directions, but the count is told, and nothing that waits is forgotten."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, f"<enable {SM} resume='true'/>")
        token = stream.take()[0].get("id")
        cut(link, stream)
        again, second = self.kit.incoming(remote=THEIRS, bidi=True)
        give(again, f"<resume {SM} previd='{token}' h='0'/>")
        self.kit.say("1")
        self.kit.server.advance(1.1)
        failed, message = second.take()
        self.assertEqual((failed.name, failed.get("h"), message.get("id")), ("failed", "0", "1"))

    def test_noToken(self) -> None:
        """A stream that cannot be resumed has no token, and the empty one is none either."""
        link, _ = self.kit.incoming(remote=THEIRS)
        give(link, f"<enable {SM}/>")
        again, second = self.kit.incoming(remote=THEIRS)
        give(again, f"<resume {SM} previd='' h='0'/>")
        self.assertEqual([each.name for each in second.take()], ["failed"])
        self.assertFalse(link.ended)


class ManyFormerTests(TroubleCase):
    """Streams that broke and may be resumed."""

    def broken(self, remote: str) -> str:
        """One such; returns its token."""
        link, stream = self.kit.incoming(remote=remote)
        give(link, f"<enable {SM} resume='true'/>")
        token = stream.take()[0].get("id") or ""
        cut(link, stream)
        return token

    def test_oneServerDoesNotPushOutOthers(self) -> None:
        """Of each server only the newest ones are remembered."""
        first, *_ = tokens = [self.broken(THEIRS), *(self.broken("many.example") for _ in range(1050))]
        for remote, token, answer in (
            (THEIRS, first, "resumed"), ("many.example", tokens[1], "failed"), ("many.example", tokens[-1], "resumed"),
        ):  # fmt: skip
            link, stream = self.kit.incoming(remote=remote)
            give(link, f"<resume {SM} previd='{token}' h='0'/>")
            self.assertEqual([each.name for each in stream.take()], [answer])


class UselessTests(TroubleCase):
    """Servers that take nothing."""

    def test_streamsThatEndAtOnce(self) -> None:
        """A stanza by which each stream ends is not sent for ever, nor without a pause: it comes back in its time.
        Where the other server says that it ends the stream, the pauses grow."""
        for ends, most in ((_close, 15), (cut, 90)):
            self.kit.say("1")
            attempts, answers = 0, []
            for _ in range(300):
                for _ in range(20):
                    if not self.connector.asked:
                        break
                    attempts += 1
                    link, stream = self.connector.reach(managed=True)
                    give(link, f"<enabled {SM}/>")
                    ends(link, stream)
                self.kit.server.advance(0.1)
                answers += self.came()
            self.assertEqual(answers, [("1", "remote-server-timeout")])
            self.assertLess(attempts, most)
            self.assertEqual(self.kit.federation.waitingBytes, 0)
            self.kit.server.advance(61)

    def test_progressForgives(self) -> None:
        """A stream that was of use is followed by the next one at once, however often."""
        for number in range(10):
            self.kit.say(f"{number}", "last")
            link, stream = self.connector.reach(managed=True)
            give(link, f"<enabled {SM}/>", f"<a {SM} h='1'/>")
            cut(link, stream)
            self.assertEqual(len(self.connector.asked), 1)

    def test_nothingAcknowledged(self) -> None:
        """A server that answers no ``<r/>``, or only with what it has said before, is given up after a while."""
        for answer in ("", f"<a {SM} h='0'/>"):
            link, stream = self.managed("1")
            asked = 0
            for _ in range(100):
                self.kit.server.advance(1)
                asked += sum(each.name == "r" for each in stream.take())
                if answer and not link.ended:
                    give(link, answer)
            self.assertTrue(link.ended)
            self.assertGreaterEqual(asked, 1)
            assert stream.error is not None
            self.assertEqual(stream.error.condition, "connection-timeout")
            self.connector.fail(lasting=True)
            self.assertEqual(self.came(), [("1", "remote-server-timeout")])
            self.kit.server.advance(61)

    def test_nothingRead(self) -> None:
        """Without XEP-0198 it is the kernel that takes nothing."""
        self.kit.say("0")
        link, stream = self.connector.reach()
        stream.holding = True
        self.kit.say("1")
        self.kit.server.advance(29)
        for _ in range(70):
            self.kit.server.advance(1)
        self.assertTrue(link.ended)
        _, second = self.connector.reach()
        self.assertEqual(ids(second.take()), ["1"])

    def test_slowIsNotDead(self) -> None:
        """A server that acknowledges one message now and then is left in peace."""
        link, _ = self.managed(*map(str, range(10)))
        for number in range(1, 10):
            self.kit.server.advance(40)
            give(link, f"<a {SM} h='{number}'/>")
        self.assertFalse(link.ended)

    def test_endsWhileItIsFilled(self) -> None:
        """A stream that is given up in the midst of what waits: each stanza waits still, or came back; none is lost."""
        self.kit.federation.policy = FederationPolicy(unacknowledged=1, answerTime=10)
        self.kit.server.advance(1)
        link, _ = self.managed("1", "2")
        self.kit.say("3")
        self.kit.server.advance(6)
        for id in ("a", "b", "c"):
            self.carol.send(f"<message to='bob@{THEIRS}' id='{id}'/>")
        self.kit.server.advance(5)
        give(link, f"<db:result from='{THEIRS}' to='{SECOND}' type='valid'/>")
        self.assertTrue(link.ended)
        self.assertEqual(self.came(self.carol), [("a", "resource-constraint")])
        self.assertEqual(self.kit.federation.routes[(SECOND, THEIRS)].waiting, 2)


class ReviveTests(TroubleCase):
    """A server that has called us is up."""

    def test_pauseIsOver(self) -> None:
        """An answer to it does not come back because it was down a moment ago."""
        for _ in range(8):
            self.kit.say("1")
            while self.connector.asked:
                self.connector.fail(lasting=True)
            self.kit.server.advance(2)
        self.kit.alice.take()
        self.kit.incoming(remote=THEIRS)
        self.kit.say("2")
        self.assertEqual((self.came(), len(self.connector.asked)), ([], 1))

    def test_whatWaitsIsTriedAtOnce(self) -> None:
        """It does not wait for the next turn."""
        self.kit.say("1")
        for _ in range(3):
            self.connector.fail()
            self.kit.server.advance(5)
        self.connector.fail()
        self.kit.incoming(remote=THEIRS)
        _, stream = self.connector.reach()
        self.assertEqual(ids(stream.take()), ["1"])


class ChangedTests(TroubleCase):
    """What an operator changes while things are under way."""

    NOBODY = FederationPolicy(deny=(THEIRS,))

    def test_deniedWithAStream(self) -> None:
        """What was not acknowledged comes back, and nobody is called for it."""
        self.managed("1")
        self.kit.federation.use(self.NOBODY)
        self.assertEqual((self.connector.asked, self.came()), ([], [("1", "remote-server-not-found")]))
        self.kit.say("2")
        self.assertEqual(self.came(), [("2", "remote-server-not-found")])

    def test_deniedWhileItWaits(self) -> None:
        """What waits comes back, what comes later is refused, and there is no further attempt."""
        self.kit.say("1")
        self.connector.fail()
        self.kit.federation.use(self.NOBODY)
        self.kit.say("2")
        self.kit.server.advance(3)
        self.assertEqual(self.connector.asked, [])
        self.assertEqual(self.came(), [("1", "remote-server-not-found"), ("2", "remote-server-not-found")])

    def test_domainIsDroppedWhileItProves(self) -> None:
        """Nothing is left of a question whose domain has gone; when it comes back, it can be asked again."""
        self.kit.say("1")
        link, _ = self.connector.reach()
        self.carol.send(f"<message to='bob@{THEIRS}' id='c'/>")
        self.assertEqual(list(link.asked), [(SECOND, THEIRS)])
        self.kit.federation.dropLocal(SECOND)
        self.assertEqual((link.asked, self.came(self.carol)), ({}, [("c", "remote-server-timeout")]))
        self.assertNotIn((SECOND, THEIRS), self.kit.federation.failures)


class QuestionTests(TroubleCase):
    """Questions about the keys of others (XEP-0220 2.1.2)."""

    policy = FederationPolicy(certificates=False)
    ASK = f"<db:result from='{THEIRS}' to='%s'>key</db:result>"

    def asking(self, target: str = OURS) -> ServerStream:
        """They want to send to a domain of ours."""
        link, stream = self.kit.incoming()
        give(link, self.ASK % target)
        return stream

    def test_domainIsDropped(self) -> None:
        """Whoever waits for the next attempt of a route hears of its end."""
        self.kit.say("1")
        self.connector.fail()
        stream = self.asking()
        self.kit.federation.dropLocal(OURS)
        self.assertEqual([each.get("type") for each in stream.take()], ["error"])
        self.assertEqual((self.kit.federation.proving, dict(self.kit.federation.provers)), (0, {}))

    def test_onAStreamOfItsOwn(self) -> None:
        """A question that comes while a second stream is being opened is asked on that."""
        self.kit.say("1")
        link, shared = self.connector.reach()
        self.carol.send(f"<message to='bob@{THEIRS}' id='c'/>")
        cut(link, shared)
        self.asking(SECOND)
        self.connector.asked = [each for each in self.connector.asked if each[0] == SECOND]
        _, own = self.connector.reach()
        self.assertEqual([each.name for each in own.take()], ["verify", "message"])

    def test_errorIsToldAsTheSpecificationSays(self) -> None:
        """XEP-0220 2.5: an error of the authoritative server is ``remote-server-not-found`` to the one that asked."""
        stream = self.asking()
        link, _ = self.connector.reach(authenticated=False)
        error = f"<error type='cancel'><item-not-found xmlns='{ns.STANZA_ERRORS}'/></error>"
        give(link, f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='error'>{error}</db:verify>")
        (answer,) = stream.take()
        found = answer.find(ns.CLIENT, "error")
        assert found is not None
        self.assertEqual([each.name for each in found.elements()][:1], ["remote-server-not-found"])

    def test_notOfWhoDoesNotSpeakDialback(self) -> None:
        """A stranger's key does not put an end to a stream whose server knows certificates only."""
        self.kit.say("1")
        _, stream = self.connector.reach(dialback=False)
        stream.take()
        asking = self.asking()
        self.assertEqual((stream.take(), [each.get("type") for each in asking.take()]), ([], ["error"]))

    def test_oneNetworkCannotTakeAll(self) -> None:
        """Whoever has an IPv6 address has a whole network of them (hardening D09, D11)."""
        self.kit.federation.policy = FederationPolicy(certificates=False, proofsEach=3)
        for number in range(8):
            link, stream = self.kit.incoming()
            stream.peer = f"2001:db8::{number}"
            give(link, f"<db:result from='d{number}.example' to='{OURS}'>key</db:result>")
        self.assertEqual((self.kit.federation.proving, self.kit.federation.provers["2001:db8::/64"]), (3, 3))

    def test_lateQuestion(self) -> None:
        """A stream that was opened for questions is not cut while one is being answered; then it is closed."""
        self.asking()
        link, stream = self.connector.reach(authenticated=False)
        link.expire()
        self.assertFalse(link.ended)
        give(link, f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='valid'/>")
        self.kit.server.advance(31)
        self.assertEqual((link.ended, stream.closed, stream.error), (True, True, None))


def _close(link: ServerLink, stream: ServerStream) -> None:
    """The other server closes its stream in order."""
    stream.close()
    link.streamClosed()
