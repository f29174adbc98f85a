"""`xmppctl s2s` and `xmppctl s2s try`, as the hub knows other servers; and the counts behind the figures."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.federation.kit import OURS, THEIRS, Certificate, Connector, Kit, ServerStream, cut, element, give
from xmppservice.hub.commands import Catalogue, CommandError, Result
from xmppservice.hub.contracts.federation import Step, Tell, Unreachable, untold
from xmppservice.hub.federation.advice import ADVICE, adviceFor, advices
from xmppservice.hub.federation.commands import FederationCommands
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.policy import FederationPolicy

OUT, IN = f"{OURS} → {THEIRS}", f"{THEIRS} → {OURS}"


class Telling(Connector):
    """One that says how it went, as that of the edge does."""

    tells: Tell = staticmethod(untold)

    def connect(self, local: str, remote: str, tell: Tell = untold) -> Deferred[ServerLink]:
        """See `IConnector.connect`."""
        self.tells = tell
        return super().connect(local, remote)


class CommandTests(SynchronousTestCase):
    """Alice's server, and an operator."""

    def setUp(self) -> None:
        """The commands, in a catalogue as the server has it."""
        self.kit = Kit(FederationPolicy(deny=("denied.example",)))
        self.addCleanup(self.kit.stop)
        self.connector = self.kit.federation.connector = self.kit.connector = Telling(self.kit)
        self.catalogue = Catalogue()
        self.catalogue.add(FederationCommands(self.kit.federation))

    def list(self) -> dict[str, dict[str, Any]]:
        """`xmppctl s2s`: the rows by pair."""
        result: Result = self.successResultOf(self.catalogue.run("s2s", {}))
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        self.assertEqual(len({row["pair"] for row in rows}), len(rows), "a pair stands there twice")
        return {row["pair"]: row for row in rows}

    def attempt(self, domain: str = THEIRS, **more: str) -> Deferred[Result]:
        """`xmppctl s2s try`."""
        return self.catalogue.run("s2s try", {"domain": domain, **more})

    # -- the list ------------------------------------------------------------------------------------

    def test_up(self) -> None:
        """A stream for both directions: two rows beside each other, with its counts and how each was proved."""
        self.kit.say("1", "2")
        link, _ = self.connector.reach(bidi=True)
        give(link, f"<presence from='bob@{THEIRS}' to='alice@{OURS}'/>")
        rows = self.list()
        self.assertEqual(list(rows), [OUT, IN])
        self.assertEqual((rows[OUT]["state"], rows[OUT]["authenticated"]), ("up", "certificate"))
        self.assertEqual((rows[IN]["state"], rows[IN]["authenticated"]), ("up", "bidi, pkix"))
        self.assertEqual((rows[OUT]["sent"], rows[OUT]["received"], rows[OUT]["opened by"]), (2, 1, "us"))

    def test_waitingAndUnreachable(self) -> None:
        """What waits is counted, with the whole reason of the last failure; then the pair is unreachable; when it is
        reached, nothing is said of the failure any more."""
        self.kit.say("1")
        reason = "connection refused by 192.0.2.1 port 5269" + ", and so on" * 50
        self.connector.fail(reason)
        row = self.list()[OUT]
        self.assertEqual((row["state"], row["waiting"], row["why"]), ("waiting", 1, reason))
        self.kit.server.advance(1)
        self.connector.fail("no such name", lasting=True)
        row = self.list()[OUT]
        self.assertEqual((row["state"], row["waiting"], row["why"]), ("unreachable", 0, "no such name"))
        self.assertNotEqual(row["since"], "")
        self.kit.server.advance(100)
        self.kit.say("2")
        link, stream = self.connector.reach()
        self.assertEqual(self.list()[OUT]["state"], "up")
        cut(link, stream)
        self.kit.federation.routes.clear()
        self.assertEqual(self.list(), {})

    def test_refused(self) -> None:
        """Somebody who called and was not believed, and a stream on which nothing is proved."""
        link, _ = self.kit.incoming()
        give(link, f"<db:result from='{THEIRS}' to='{OURS}'>key</db:result>")
        self.assertEqual(self.list()["unknown"]["state"], "nothing proved yet")
        row = self.list()[IN]
        self.assertEqual(row["state"], "refused")
        self.assertIn("its certificate is not accepted: it is for another domain", row["why"])
        self.assertEqual(self.kit.federation.tally.refused, 1)

    # -- trying --------------------------------------------------------------------------------------

    def test_try(self) -> None:
        """The steps of the edge, what came of it, and a stream that is closed again."""
        trial = self.attempt()
        self.connector.tells(Step("DNS", "ok", "1. here"))
        _, stream = self.connector.reach(managed=True)
        result = self.successResultOf(trial)
        self.assertEqual(list(result.rows), [("DNS", "ok", "1. here"),
                                             ("authentication", "ok", "it accepts our certificate")])  # fmt: skip
        self.assertEqual((result.text, result.failed), (f"{OURS} can send to {THEIRS}.", False))
        self.assertTrue(stream.closed)
        self.assertEqual((self.kit.federation.links, stream.take()), (set(), []))

    def test_tryKeepsWhatIsUsed(self) -> None:
        """Somebody who needs a stream meanwhile finds that of the trial: it stays."""
        trial = self.attempt()
        link, stream = self.connector.reach(authenticated=False)
        found = self.successResultOf(self.kit.federation.obtain(OURS, THEIRS))
        proof = found.prove("second.example", THEIRS)
        give(link, f"<db:result from='{THEIRS}' to='{OURS}' type='valid'/>")
        self.successResultOf(trial)
        self.assertFalse(stream.closed)
        give(link, f"<db:result from='{THEIRS}' to='second.example' type='valid'/>")
        self.successResultOf(proof)

    def test_tryDialback(self) -> None:
        """Where the certificate is not enough, dialback is tried; an answer ends it, either way."""
        trial = self.attempt()
        link, stream = self.connector.reach(authenticated=False)
        self.assertEqual([each.name for each in stream.take()], ["result"])
        self.assertNoResult(trial)
        give(link, f"<db:result from='{THEIRS}' to='{OURS}' type='valid'/>")
        last = list(self.successResultOf(trial).rows)[-1]
        self.assertEqual(last, ("authentication", "ok", "it accepts us by dialback"))
        trial = self.attempt()
        link, stream = self.connector.reach(authenticated=False)
        give(link, f"<db:result from='{THEIRS}' to='{OURS}' type='invalid'/>")
        result = self.successResultOf(trial)
        self.assertTrue(result.failed and stream.closed)
        self.assertIn("How to mend it: see that our DNS leads to this server alone", result.text)

    def test_trySilence(self) -> None:
        """A server that never answers dialback does not hold the operator."""
        trial = self.attempt()
        _, stream = self.connector.reach(authenticated=False)
        self.kit.server.advance(31)
        self.assertTrue(self.successResultOf(trial).failed)
        self.assertTrue(stream.closed)

    def test_tryFails(self) -> None:
        """Each reason is shown and has its advice once, and the operator learns what senders get."""
        trial = self.attempt()
        for step in ("connection refused by 192.0.2.1 port 5269", "connection refused by 192.0.2.2 port 5269"):
            self.connector.tells(Step("connection", "failed", step))
        self.connector.fail("nobody there", "remote-server-not-found")
        result = self.successResultOf(trial)
        self.assertEqual([row[1] for row in result.rows], ["failed", "failed"])
        self.assertEqual(result.text.count("How to mend it"), 1)
        self.assertIn("who tries gets remote-server-not-found", result.text)
        trial = self.attempt()
        self.connector.fail("no answer within the time")
        self.assertEqual(list(self.successResultOf(trial).rows), [("attempt", "failed", "no answer within the time")])

    def test_tryTellsOfOthers(self) -> None:
        """A stream that is up, and stanzas that wait."""
        self.kit.say("1")
        waiting = self.attempt()
        self.assertEqual(len(self.connector.asked), 2)
        self.connector.reach()
        self.connector.reach()
        self.assertEqual(self.successResultOf(waiting).rows[0], ("now", "note", "1 stanza waiting"))
        up = self.attempt()
        self.connector.reach()
        self.assertIn("a stream is up that we opened", self.successResultOf(up).rows[0][2])

    def test_noMatterOfOthers(self) -> None:
        """What the operator got wrong is said as such, and nobody is called."""
        wrong = ({"domain": OURS}, {"domain": "denied.example"}, {"domain": THEIRS, "from": "strange.example"})
        for arguments in wrong:
            error = self.failureResultOf(self.catalogue.run("s2s try", arguments), CommandError).value
            self.assertTrue(error.problem and error.mend, arguments)
        self.assertEqual(self.connector.asked, [])

    def test_withoutFederation(self) -> None:
        """A server that talks to no other says how it would."""
        alone = Catalogue()
        alone.add(FederationCommands(None))
        for name, arguments in (("s2s", {}), ("s2s try", {"domain": THEIRS})):
            error = self.failureResultOf(alone.run(name, arguments), CommandError).value
            self.assertIn("listen.s2s", error.mend)

    # -- figures -------------------------------------------------------------------------------------

    def test_tally(self) -> None:
        """Stanzas stay counted when their stream has gone; failures and proofs are counted by kind."""
        federation = self.kit.federation
        self.kit.say("1", "2")
        link, stream = self.connector.reach()
        give(link, "<db:verify from='x' to='y' id='1'/>")
        self.assertEqual(federation.tally.stanzas(federation.links), (2, 0))
        cut(link, stream)
        self.assertEqual((federation.links, federation.tally.stanzas(())), (set(), (2, 0)))
        back, _ = self.kit.incoming(THEIRS, remote=THEIRS)
        give(back, f"<presence from='bob@{THEIRS}' to='alice@{OURS}'/>")
        self.assertEqual(federation.tally.stanzas(federation.links), (2, 1))
        self.assertEqual(federation.tally.proofs, {("out", "certificate"): 1, ("in", "pkix"): 1})
        for how in ("dialback, posh", "bidi, by DNS", "dialback"):
            federation.tally.proved("in", how)
        ways = {way for _, way in federation.tally.proofs}
        self.assertEqual(ways, {"certificate", "pkix", "posh", "dns", "dialback"})
        self.kit.say("3", to="bob@other.example")
        self.connector.asked[-1][2].errback(Unreachable("x", "remote-server-not-found", lasting=True))
        self.assertEqual(federation.tally.failures, {"remote-server-not-found": 1})


class AdviceTests(SynchronousTestCase):
    """What to do about a reason."""

    def test_first(self) -> None:
        """The first that fits counts; nothing for what nobody knows; each thing once."""
        self.assertIn("s2s.authorities", adviceFor("its certificate is not accepted: issued by an authority that is "
                                                   "not trusted here"))  # fmt: skip
        theirs = "it refused dialback: not-authorized its certificate is not accepted: not trusted here"
        self.assertIn("our certificate", adviceFor(theirs))
        theirs = "it refused dialback: remote-server-timeout your server cannot be asked: connection refused by x"
        self.assertIn("can reach this server", adviceFor(theirs))
        self.assertEqual(adviceFor("something new"), "")
        self.assertEqual(len(advices(["connection refused by a", "connection refused by b", "something new"])), 1)

    def test_allCanBeReached(self) -> None:
        """None of them hides behind one that stands before it."""
        for phrase, advice in ADVICE:
            self.assertEqual(adviceFor(phrase), advice, phrase)

    def test_own(self) -> None:
        """What the hub itself says of failures has advice."""
        kit = Kit()
        self.addCleanup(kit.stop)
        link = ServerLink(kit.federation, ServerStream(), Certificate(), THEIRS, OURS)
        for answer in ("type='invalid'/>", "type='error'><error type='cancel'><remote-server-timeout "
                       "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"):  # fmt: skip
            link.dialback = True
            asked = link.prove(OURS, THEIRS)
            link.receive(element(f"<db:result from='{THEIRS}' to='{OURS}' {answer}"))
            self.assertTrue(adviceFor(self.failureResultOf(asked, Unreachable).value.reason))
        link.disconnect()
        self.assertTrue(adviceFor(self.failureResultOf(link.prove(OURS, THEIRS), Unreachable).value.reason))
