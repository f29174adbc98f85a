"""Links: whom we take stanzas from, the three roles of dialback, both directions, and counting what we got."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.federation.kit import OURS, THEIRS, Kit, ServerStream, cut, give, ids
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.protocol.dialback import dialbackKey
from xmppservice.wire import ns

BOB = f"bob@{THEIRS}/r"
MESSAGE = f"<message from='{BOB}' to='alice@{OURS}' type='chat' id='m'><body>hi</body></message>"


class LinkCase(SynchronousTestCase):
    """A server of ours."""

    policy = FederationPolicy()

    def setUp(self) -> None:
        """Alice is online."""
        self.kit = Kit(self.policy, (OURS, "second.example"))
        self.addCleanup(self.kit.stop)
        self.alice = self.kit.alice

    def assertEnds(self, link: ServerLink, condition: str, *texts: str) -> None:
        """The last of what is said ends the stream, and nothing of it reaches Alice."""
        error = give(link, *texts)
        assert error is not None, texts
        self.assertEqual(error.condition, condition)
        self.assertEqual(ids(self.alice.take()), [])


class StanzaTests(LinkCase):
    """Stanzas of other servers (RFC 6120 8.1, 4.9.3; hardening S04, S05)."""

    def test_bothAddressesInTheirNormalForm(self) -> None:
        """Domains in any spelling are the domain that was proved; what Alice gets is normal."""
        link, _ = self.kit.incoming(remote=THEIRS)
        give(link, "<message from='bob@Theirs.Example./r' to='alice@LOCALHOST' id='1'><body>x</body></message>")
        (message,) = self.alice.take()
        self.assertEqual((message.get("from"), message.get("to")), (BOB, "alice@localhost"))

    def test_whatEndsTheStream(self) -> None:
        """Every other pair, missing addresses, and what is no stanza."""
        for condition, text in (
            ("invalid-from", f"<message from='bob@other.example' to='alice@{OURS}' id='1'><body>x</body></message>"),
            ("invalid-from", f"<message from='alice@{OURS}' to='alice@{OURS}' id='1'><body>x</body></message>"),
            ("invalid-from", f"<message from='bob@sub.{THEIRS}' to='alice@{OURS}' id='1'><body>x</body></message>"),
            ("host-unknown", f"<message from='{BOB}' to='alice@elsewhere.example' id='1'/>"),
            ("not-authorized", f"<message from='{BOB}' to='a@second.example' id='1'/>"),
            ("improper-addressing", f"<message to='alice@{OURS}' id='1'><body>x</body></message>"),
            ("improper-addressing", f"<message from='{BOB}' id='1'><body>x</body></message>"),
            ("improper-addressing", f"<message from='@' to='alice@{OURS}' id='1'><body>x</body></message>"),
            ("improper-addressing", f"<message from='{BOB}' to='@' id='1'/>"),
            ("unsupported-stanza-type", "<other/>"),
            ("unsupported-stanza-type", "<bidi xmlns='urn:xmpp:bidi'/>"),
            ("unsupported-stanza-type", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>"),
        ):
            link, _ = self.kit.incoming(remote=THEIRS)
            self.assertEnds(link, condition, text)

    def test_nothingProved(self) -> None:
        """Not a stanza before a proof."""
        link, _ = self.kit.incoming()
        self.assertEnds(link, "not-authorized", MESSAGE)

    def test_errorsGoTheirOwnWay(self) -> None:
        """An answer goes over our own stream, not over the one that the question came by."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, f"<iq from='{BOB}' to='nobody@{OURS}' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        give(link, f"<iq from='{BOB}' to='alice@{OURS}' id='bad'/>")
        self.assertEqual(stream.take(), [])
        _, own = self.kit.connector.reach()
        self.assertEqual([(each.get("type"), each.get("id"), each.get("to")) for each in own.take()],
                         [("error", "q", BOB), ("error", "bad", BOB)])  # fmt: skip

    def test_onlyOneWay(self) -> None:
        """A stream that we opened brings no stanzas, unless both directions were agreed on (hardening S09)."""
        self.kit.say("1")
        link, _ = self.kit.connector.reach()
        self.assertEnds(link, "not-authorized", MESSAGE)


class ProofTests(LinkCase):
    """Dialback: we receive, initiate, and vouch (XEP-0220)."""

    policy = FederationPolicy(certificates=False, pairs=3, answerTime=30)
    ASK = f"<db:result from='{THEIRS}' to='{OURS}'>key</db:result>"

    def verification(self, answer: str | None = "valid") -> ServerStream:
        """We ask the authoritative server over a stream of our own, which answers."""
        link, stream = self.kit.connector.reach(authenticated=False)
        (asked,) = stream.take()
        self.assertEqual((asked.name, asked.get("from"), asked.get("to"), asked.get("id"), asked.text),
                         ("verify", OURS, THEIRS, "s1", "key"))  # fmt: skip
        if answer is not None:
            give(link, f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='{answer}'/>")
        return stream

    def test_receiving(self) -> None:
        """Asked, verified elsewhere, answered; then stanzas come."""
        link, stream = self.kit.incoming()
        give(link, self.ASK)
        self.assertEqual((stream.take(), stream.admitted), ([], 0))
        self.verification()
        (answer,) = stream.take()
        self.assertEqual((answer.name, answer.get("type"), answer.get("from")), ("result", "valid", OURS))
        self.assertEqual(stream.admitted, 1)
        give(link, MESSAGE)
        self.assertEqual(ids(self.alice.take()), ["m"])
        give(link, self.ASK)
        self.assertEqual([each.get("type") for each in stream.take()], ["valid"])

    def test_invalid(self) -> None:
        """A key that is not theirs: told, and the stream ends (2.2.1); with another pair only that is refused."""
        link, stream = self.kit.incoming()
        give(link, self.ASK)
        self.verification("invalid")
        self.assertEqual([each.get("type") for each in stream.take()], ["invalid"])
        self.assertTrue(stream.closed)
        shared, other = self.kit.incoming(remote="partner.example")
        give(shared, self.ASK)
        # The stream for questions is there still.
        (outgoing,) = [each for each in self.kit.federation.links if each.outgoing]
        give(outgoing, f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='invalid'/>")
        (answer,) = other.take()
        self.assertEqual(answer.get("type"), "error")
        self.assertFalse(other.closed)

    def test_authoritativeServerCannotBeReached(self) -> None:
        """``remote-server-not-found`` and the like; the stream stays."""
        link, stream = self.kit.incoming()
        give(link, self.ASK)
        self.kit.connector.fail("no such domain", "remote-server-not-found", lasting=True)
        (answer,) = stream.take()
        self.assertEqual(answer.get("type"), "error")
        error = answer.find(ns.CLIENT, "error")
        assert error is not None
        self.assertIsNotNone(error.find(ns.STANZA_ERRORS, "remote-server-not-found"))
        self.assertFalse(stream.closed)
        self.assertEnds(link, "not-authorized", MESSAGE)

    def test_noAnswer(self) -> None:
        """Nobody waits for ever, and nothing is left of it."""
        link, stream = self.kit.incoming()
        give(link, self.ASK)
        self.verification(None)
        self.kit.server.advance(31)
        self.assertEqual([each.get("type") for each in stream.take()], ["error"])
        self.assertEqual(self.kit.federation.proving, 0)

    def test_refusedAtOnce(self) -> None:
        """Domains that are not ours, or that are; those that the policy does not want; too many pairs."""
        link, stream = self.kit.incoming()
        give(link, f"<db:result from='{THEIRS}' to='elsewhere.example'>k</db:result>")
        self.assertEqual(_conditions(stream), ["item-not-found"])
        self.kit.federation.use(FederationPolicy(certificates=False, deny=(THEIRS,)))
        give(link, self.ASK)
        self.assertEqual(_conditions(stream), ["policy-violation"])
        self.kit.federation.use(FederationPolicy(certificates=False, proofs=0))
        give(link, self.ASK)
        self.assertEqual(_conditions(stream), ["resource-constraint"])
        self.assertEnds(link, "invalid-from", f"<db:result from='second.example' to='{OURS}'>k</db:result>")

    def test_certificatesWhereTheyAreWanted(self) -> None:
        """With the default policy a key is not even looked at without a certificate for that very domain (S03)."""
        self.kit.federation.use(FederationPolicy())
        link, stream = self.kit.incoming("another.example")
        give(link, self.ASK)
        self.assertEqual(_conditions(stream), ["not-authorized"])
        self.assertEqual(self.kit.connector.asked, [])
        good, _ = self.kit.incoming(THEIRS)
        give(good, self.ASK)
        self.verification()
        self.assertEqual(good.how, {(THEIRS, OURS): "dialback, pkix"})

    def test_unsolicited(self) -> None:
        """Answers that nobody asked for change nothing (S01): not asked at all, another pair, another id, a second."""
        link, stream = self.kit.incoming()
        forged = (
            f"<db:result from='{THEIRS}' to='{OURS}' type='valid'/>",
            f"<db:result from='{OURS}' to='{THEIRS}' type='valid'/>",
            f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='valid'/>",
        )
        self.assertIsNone(give(link, *forged))
        self.assertEqual((stream.admitted, link.accepts, link.carries), (0, {}, set()))
        give(link, self.ASK)
        outgoing, asking = self.kit.connector.reach(authenticated=False)
        self.assertIsNone(give(link, *forged))
        give(outgoing, f"<db:verify from='{THEIRS}' to='{OURS}' id='other' type='valid'/>",
             f"<db:verify from='{OURS}' to='{THEIRS}' id='s1' type='valid'/>")  # fmt: skip
        self.assertEqual((stream.admitted, link.accepts), (0, {}))
        give(outgoing, f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='invalid'/>",
             f"<db:verify from='{THEIRS}' to='{OURS}' id='s1' type='valid'/>")  # fmt: skip
        self.assertEqual((stream.admitted, link.accepts), (0, {}))

    def test_vouching(self) -> None:
        """Our own keys, computed again; nothing is remembered and nobody has to be known."""
        link, stream = self.kit.incoming()
        key = dialbackKey(self.kit.federation.secret, THEIRS, OURS, "id7")
        ask = f"<db:verify from='{THEIRS}' to='{OURS}' id='%s'>%s</db:verify>"
        give(link, ask % ("id7", key), ask % ("id8", key), ask % ("id7", key[:-1]))
        self.assertEqual([each.get("type") for each in stream.take()], ["valid", "invalid", "invalid"])
        give(link, f"<db:verify from='{THEIRS}' to='elsewhere.example' id='1'>k</db:verify>")
        self.assertEqual(_conditions(stream), ["item-not-found"])
        self.assertEqual(stream.admitted, 0)

    def test_initiating(self) -> None:
        """Our key is for their stream id; only "valid" lets stanzas out."""
        for type, came in (("valid", []), ("invalid", ["internal-server-error"]), ("error", ["remote-server-timeout"])):
            self.kit.federation.routes.clear()
            self.kit.say("1", to=f"bob@{type}.example")
            link, stream = self.kit.connector.reach(authenticated=False)
            (asked,) = stream.take()
            key = dialbackKey(self.kit.federation.secret, f"{type}.example", OURS, "s1")
            self.assertEqual((asked.name, asked.text), ("result", key))
            give(link, f"<db:result from='{type}.example' to='{OURS}' type='{type}'/>")
            self.assertEqual(ids(stream.take()), ["1"] if type == "valid" else [])
            self.kit.server.advance(0.1)
            while self.kit.connector.asked:
                self.kit.connector.fail(lasting=True)
            for _ in range(40):
                self.kit.server.advance(1)
                while self.kit.connector.asked:
                    self.kit.connector.fail("no", lasting=True)
            self.assertEqual(_errors(self.alice.take()), came)
            link.disconnect()

    def test_whoCallsUsProvesItself(self) -> None:
        """On a stream that we have opened the other side proves nothing."""
        self.kit.say("1")
        link, stream = self.kit.connector.reach()
        stream.take()
        give(link, self.ASK)
        self.assertEqual(_conditions(stream), ["not-allowed"])


class BidiTests(LinkCase):
    """Both directions on one stream (XEP-0288)."""

    policy = FederationPolicy(certificates=False)

    def test_theirStreamIsUsed(self) -> None:
        """Answers go the same way once the other side is known, and no other stream is opened."""
        link, stream = self.kit.incoming(bidi=True)
        self.kit.say("early")
        self.assertEqual(ids(stream.take()), [])
        link.accept(THEIRS, OURS, "pkix")
        # It may want to count what we send, and has a second to say so.
        self.assertEqual(ids(stream.take()), [])
        self.kit.server.advance(1.1)
        self.assertEqual(ids(stream.take()), ["early"])
        self.kit.say("late")
        self.assertEqual(ids(stream.take()), ["late"])
        self.kit.connector.fail()
        self.kit.say("later")
        self.assertEqual(ids(stream.take()), ["later"])

    def test_ourStreamBringsStanzas(self) -> None:
        """Of the pair that we opened it for, and of no other (S09)."""
        self.kit.say("1")
        link, _ = self.kit.connector.reach(bidi=True)
        self.assertIsNone(give(link, MESSAGE))
        self.assertEqual(ids(self.alice.take()), ["m"])
        self.assertEnds(link, "invalid-from", f"<message from='a@other.example' to='alice@{OURS}' id='1'/>")

    def test_cut(self) -> None:
        """What the kernel has not taken goes over a stream of our own."""
        link, stream = self.kit.incoming(remote=THEIRS, bidi=True)
        stream.holding = True
        self.kit.say("1", "2")
        cut(link, stream)
        _, own = self.kit.connector.reach()
        self.assertEqual(ids(own.take()), ["1", "2"])


class CountingTests(LinkCase):
    """What we have got is acknowledged when it is committed, and the other server may resume (XEP-0198)."""

    ENABLE = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
    REQUEST = "<r xmlns='urn:xmpp:sm:3'/>"

    def test_onlyAfterAProof(self) -> None:
        """Who is nobody yet counts nothing."""
        link, stream = self.kit.incoming()
        give(link, self.ENABLE, self.REQUEST)
        self.assertEqual([each.name for each in stream.take()], ["failed", "failed"])

    def test_counted(self) -> None:
        """Stanzas only, from ``<enable/>`` on."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, MESSAGE, self.ENABLE, MESSAGE, MESSAGE, self.REQUEST)
        self.kit.server.advance(1.5)
        enabled, answer = stream.take()[:2]
        self.assertEqual((enabled.name, enabled.get("resume"), bool(enabled.get("id"))), ("enabled", "true", True))
        self.assertEqual((answer.name, answer.get("h")), ("a", "2"))

    def test_resumed(self) -> None:
        """The count goes on over the cut; a token is good once, and for those who prove as much as before."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, self.ENABLE, MESSAGE, MESSAGE)
        token = stream.take()[0].get("id")
        cut(link, stream)
        resume = f"<resume xmlns='urn:xmpp:sm:3' previd='{token}' h='0'/>"
        stranger, strange = self.kit.incoming(remote="other.example")
        give(stranger, resume)
        self.assertEqual([each.name for each in strange.take()], ["failed"])
        again, second = self.kit.incoming(remote=THEIRS)
        give(again, resume, MESSAGE, self.REQUEST)
        self.kit.server.advance(1.5)
        self.assertEqual([(each.name, each.get("h")) for each in second.take()][:2], [("resumed", "2"), ("a", "3")])
        third, late = self.kit.incoming(remote=THEIRS)
        self.kit.federation.policy = FederationPolicy()
        give(third, "<resume xmlns='urn:xmpp:sm:3' previd='wrong' h='0'/>")
        self.assertEqual([each.name for each in late.take()], ["failed"])

    def test_breakNotNoticedYet(self) -> None:
        """The other server is back before we know that it was gone."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, self.ENABLE, MESSAGE)
        token = stream.take()[0].get("id")
        again, second = self.kit.incoming(remote=THEIRS)
        give(again, f"<resume xmlns='urn:xmpp:sm:3' previd='{token}' h='0'/>")
        self.assertEqual([(each.name, each.get("h")) for each in second.take()], [("resumed", "1")])
        self.assertTrue(stream.closed and link.ended)

    def test_resumptionEnds(self) -> None:
        """After its time the count is forgotten."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, self.ENABLE)
        token = stream.take()[0].get("id")
        cut(link, stream)
        self.kit.server.advance(301)
        again, second = self.kit.incoming(remote=THEIRS)
        give(again, f"<resume xmlns='urn:xmpp:sm:3' previd='{token}' h='0'/>")
        self.assertEqual([each.name for each in second.take()], ["failed"])

    def test_bothDirectionsAreNotResumed(self) -> None:
        """With XEP-0288 there is no resumption, but both sides count."""
        link, stream = self.kit.incoming(remote=THEIRS, bidi=True)
        give(link, self.ENABLE)
        self.kit.say("1")
        self.assertEqual([(each.name, each.get("id")) for each in stream.take()],
                         [("enabled", None), ("message", "1"), ("r", None)])  # fmt: skip
        cut(link, stream)
        _, own = self.kit.connector.reach()
        self.assertEqual(ids(own.take()), ["1"])

    def test_lastWord(self) -> None:
        """When a stream is closed in peace, the other side learns what we have."""
        link, stream = self.kit.incoming(remote=THEIRS)
        give(link, self.ENABLE, MESSAGE)
        link.prepareShutdown()
        self.assertEqual(stream.take()[-1].name, "a")


def _conditions(stream: ServerStream) -> list[str]:
    return _errors(stream.take())


def _errors(elements: list) -> list[str]:  # type: ignore[type-arg]
    found = []
    for each in elements:
        error = each.find(ns.CLIENT, "error")
        if error is not None:
            found.append(error.elements()[0].name)
    return found
