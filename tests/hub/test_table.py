"""Dispatch tables and the running of handlers: order, narrowing, failures (architecture section 5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import bodies, chat, errors
from xmppservice.hub import hooks
from xmppservice.hub.hooks import ACCOUNT, CATALOGUE, HANDLED, HOST, EventPoint, Phase, iq, message, session
from xmppservice.hub.module import HostModule
from xmppservice.hub.passage import run
from xmppservice.hub.table import DispatchTable, registrationsOf
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

NS = "urn:example:test"


def transit(*children: Element, type: str = "chat") -> Transit:
    """A message under way."""
    jid = JID.parse("a@localhost/b")
    return Transit(Element(ns.CLIENT, "message", None, *children), "message", type, jid, jid, None, None)  # type: ignore[arg-type]


class First(HostModule):
    """Hooks in all phases, written down in another order."""

    name = "first"

    @message.receiving(Phase.OBSERVE)
    def observe(self, transit: Transit) -> None:
        """Last."""

    @message.receiving(Phase.POLICY)
    def policy(self, transit: Transit) -> None:
        """First."""

    @message.receiving(Phase.STORE, types=("chat",), payload=NS)
    def store(self, transit: Transit) -> None:
        """For chat with a payload."""

    @message.receiving(Phase.FALLBACK)
    def fallback(self, transit: Transit) -> None:
        """Not before delivery."""

    @iq.get(NS, "query", to=HOST)
    def onHost(self, transit: Transit) -> None:
        """At the host."""

    @session.bound
    def onBound(self, session: object) -> None:
        """An event."""


class Second(HostModule):
    """Another module with some of the same."""

    name = "second"

    @message.receiving(Phase.AMEND)
    @message.sending(Phase.POLICY, types=("normal", "chat"))
    def both(self, transit: Transit) -> None:
        """Hooked twice."""

    @message.receiving(Phase.POLICY)
    def policy(self, transit: Transit) -> None:
        """After the first module's."""

    @iq.get(NS, "query", to=ACCOUNT)
    def onAccount(self, transit: Transit) -> None:
        """At accounts."""


class Derived(First):
    """Overrides a handler without hooking it anew, and another with."""

    name = "derived"

    def policy(self, transit: Transit) -> None:
        """Not hooked any more."""

    @message.receiving(Phase.AMEND)
    def observe(self, transit: Transit) -> None:
        """Hooked elsewhere now."""


class TableTests(SynchronousTestCase):
    """What is compiled."""

    def setUp(self) -> None:
        """A table of two modules."""
        host: Any = None
        self.table = DispatchTable([First(host, None), Second(host, None)])

    def names(self, side: str, transit: Transit, fallback: bool = False) -> list[str]:
        """The handlers for a message, as module.method."""
        chains = getattr(self.table, side)["message"]
        chain = (chains.fallback if fallback else chains.before)[transit.type]
        return [f"{method.__self__.name}.{method.__name__}" for method, _ in chain.steps(transit.stanza)]

    def test_phases(self) -> None:
        """Phases come in their order, modules in theirs within a phase."""
        self.assertEqual(
            self.names("receiving", transit()), ["first.policy", "second.policy", "second.both", "first.observe"]
        )

    def test_payload(self) -> None:
        """A handler for a payload joins for stanzas that have it, in its place."""
        found = self.names("receiving", transit(Element(ns.CLIENT, "body"), Element(NS, "x")))
        self.assertEqual(found[3:], ["first.store", "first.observe"])

    def test_types(self) -> None:
        """A handler for some types sees no others."""
        payload = Element(NS, "x")
        self.assertNotIn("first.store", self.names("receiving", transit(payload, type="normal")))
        self.assertEqual(self.names("sending", transit(type="headline")), [])
        self.assertEqual(self.names("sending", transit(type="normal")), ["second.both"])

    def test_fallback(self) -> None:
        """FALLBACK is a list of its own."""
        self.assertEqual(self.names("receiving", transit(), fallback=True), ["first.fallback"])

    def test_empty(self) -> None:
        """No handler: nothing to run, and one look is enough to know."""
        table = DispatchTable([])
        self.assertTrue(table.receiving["message"].before["chat"].empty)
        self.assertEqual(table.receiving["message"].before["chat"].steps(transit().stanza), ())

    def test_bounded(self) -> None:
        """Strangers' payloads do not make the table grow."""
        chain = self.table.receiving["message"].before["chat"]
        for number in range(100):
            chain.steps(transit(Element(f"urn:example:{number}", "x")).stanza)
        self.assertEqual(len(chain._met), 1)

    def test_iq(self) -> None:
        """The entry depends on the kind of address, the type and the payload."""
        payload = Element(NS, "query")
        host, account = self.table.iqEntry("get", payload, HOST), self.table.iqEntry("get", payload, ACCOUNT)
        assert host is not None and account is not None
        self.assertEqual((host.method.__name__, account.method.__name__), ("onHost", "onAccount"))
        self.assertIsNone(self.table.iqEntry("set", payload, HOST))
        self.assertIsNone(self.table.iqEntry("get", Element(NS, "other"), HOST))
        self.assertIsNone(self.table.iqEntry("get", Element("urn:example:other", "query"), HOST))

    def test_events(self) -> None:
        """Events go to the methods that are hooked."""
        self.assertEqual([method.__name__ for method in self.table.events[session.bound]], ["onBound"])
        self.assertNotIn(session.closed, self.table.events)

    def test_inheritance(self) -> None:
        """A derived module has its base's hooks; what it overrides counts as it stands there."""
        host: Any = None
        found = {bound.__name__: mark.phase for mark, bound in registrationsOf(Derived(host, None))}
        self.assertNotIn("policy", found)
        self.assertEqual((found["observe"], found["fallback"]), (Phase.AMEND, Phase.FALLBACK))


class CatalogueTests(SynchronousTestCase):
    """The catalogue, from which the reference is made."""

    def test_described(self) -> None:
        """Every point says when it fires, what may be returned and what may be changed; names are unique."""
        for point in CATALOGUE:
            self.assertTrue(point.name and point.when and point.returns and point.changes, point.name)
        self.assertEqual(len({point.name for point in CATALOGUE}), len(CATALOGUE))
        self.assertIn(hooks.rosterChanged, CATALOGUE)
        self.assertIsInstance(hooks.rosterChanged, EventPoint)

    def test_handled(self) -> None:
        """HANDLED shows itself in logs."""
        self.assertEqual(repr(HANDLED), "HANDLED")


class RunTests(SynchronousTestCase):
    """`passage.run`: what handlers return and raise."""

    def setUp(self) -> None:
        """Steps are made of plain functions."""
        self.called: list[str] = []
        self.clock = Clock()

    def step(self, name: str, outcome: object = None, phase: Phase = Phase.POLICY) -> Any:
        """A handler that notes its call and returns, or raises, `outcome`."""

        def method(transit: Transit) -> object:
            self.called.append(name)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return method, phase

    def run_(self, *steps: Any) -> Any:
        """Run them."""
        return run(transit(), steps, self.clock)

    def test_allGoOn(self) -> None:
        """None from everybody is None."""
        self.assertIsNone(self.run_(self.step("a"), self.step("b")))
        self.assertEqual(self.called, ["a", "b"])

    def test_handled(self) -> None:
        """HANDLED and a reply end it."""
        reply = Element(ns.CLIENT, "iq")
        self.assertIs(self.run_(self.step("a", HANDLED), self.step("b")), HANDLED)
        self.assertIs(self.run_(self.step("c", reply), self.step("d")), reply)
        self.assertEqual(self.called, ["a", "c"])

    def test_refused(self) -> None:
        """A refusal is raised from every phase, and nobody else is asked."""
        for phase in Phase:
            error = StanzaError("forbidden")
            self.assertIs(self.assertRaises(StanzaError, self.run_, self.step("a", error, phase)), error)

    def test_mistakeFailsClosed(self) -> None:
        """A mistake stops the stanza in every phase but OBSERVE."""
        for phase in Phase:
            if phase is not Phase.OBSERVE:
                error = self.assertRaises(StanzaError, self.run_, self.step("a", ValueError("x"), phase))
                self.assertEqual(error.condition, "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), len(Phase) - 1)

    def test_observersFailOpen(self) -> None:
        """A mistake in OBSERVE is logged, and the stanza goes on."""
        outcome = self.run_(self.step("a", ValueError("x"), Phase.OBSERVE), self.step("b", phase=Phase.OBSERVE))
        self.assertIsNone(outcome)
        self.assertEqual(self.called, ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_later(self) -> None:
        """The rest runs when the Deferred has fired, and the outcome is the last's."""
        waiting: Deferred[object] = Deferred()
        outcome = self.run_(self.step("a", waiting), self.step("b", HANDLED), self.step("c"))
        self.assertEqual(self.called, ["a"])
        waiting.callback(None)
        self.assertIs(self.successResultOf(outcome), HANDLED)
        self.assertEqual(self.called, ["a", "b"])

    def test_laterTwice(self) -> None:
        """Several may wait, one after the other."""
        first: Deferred[object] = Deferred()
        second: Deferred[object] = Deferred()
        outcome = self.run_(self.step("a", first), self.step("b", second), self.step("c"))
        first.callback(None)
        self.assertNoResult(outcome)
        second.callback(None)
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(self.called, ["a", "b", "c"])

    def test_laterObserverFails(self) -> None:
        """OBSERVE fails open later too."""
        waiting: Deferred[object] = Deferred()
        outcome = self.run_(self.step("a", waiting, Phase.OBSERVE), self.step("b", phase=Phase.OBSERVE))
        waiting.errback(ValueError("x"))
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(self.called, ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_coroutine(self) -> None:
        """A coroutine is awaited."""

        async def answer() -> object:
            return HANDLED

        self.assertIs(self.successResultOf(self.run_(self.step("a", answer()))), HANDLED)

    def test_deadline(self) -> None:
        """Who does not answer in time has failed."""
        outcome = self.run_(self.step("a", Deferred()), self.step("b"))
        self.clock.advance(10)
        self.assertEqual(self.failureResultOf(outcome, StanzaError).value.condition, "internal-server-error")
        self.assertEqual(self.called, ["a"])
        self.flushLoggedErrors()


class Amending(HostModule):
    """Changes messages on both sides."""

    name = "amending"

    @message.sending(Phase.AMEND)
    def onSending(self, transit: Transit) -> None:
        """Add a child."""
        transit.stanza.child(NS, "sent")

    @message.receiving(Phase.AMEND)
    def onReceiving(self, transit: Transit) -> None:
        """Refuse one text, drop another, append bytes to the rest."""
        body = transit.stanza.find(ns.CLIENT, "body")
        if body is not None and body.text == "refused":
            raise StanzaError("policy-violation")
        transit.suffix += b"<got xmlns='urn:example:test'/>"


class SidesTests(SynchronousTestCase):
    """Handlers on both sides of a real message."""

    def setUp(self) -> None:
        """A host with the module above."""
        self.server = MemoryServer()
        self.server.host.modulesChanged([Amending(self.server.host, None)])
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)

    def test_amended(self) -> None:
        """The recipient sees what both sides have added, in order."""
        chat(self.alice, "bob@localhost", "hi")
        self.assertEqual([child.name for child in self.bob.next("message").elements()], ["body", "sent", "got"])

    def test_refusedByRecipient(self) -> None:
        """A refusal on the recipient's side reaches the sender."""
        chat(self.alice, "bob@localhost", "refused")
        self.assertEqual(errors(self.alice), ["policy-violation"])
        self.assertEqual(bodies(self.bob), [])
