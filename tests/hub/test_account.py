"""Accounts: IQs on both kinds of address, who may ask, waiting, the cache (RFC 6121 8.5)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import ask, bodies, chat, condition
from xmppservice.hub.account import Account
from xmppservice.hub.accounts import AccountCache
from xmppservice.hub.contracts.storage import AccountRecord
from xmppservice.hub.hooks import ACCOUNT, HANDLED, HOST, iq
from xmppservice.hub.module import HostModule
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.subscription import FROM, KNOWN
from xmppservice.testing import MemoryServer
from xmppservice.wire.element import Element

NS = "urn:example:test"


class Answers(HostModule):
    """Answers IQs in every way there is."""

    name = "answers"
    waiting: list[Deferred[object]] = []

    @iq.get(NS, "anyone", to=ACCOUNT)
    @iq.get(NS, "anyone", to=HOST)
    def onAnyone(self, transit: Transit) -> Element:
        """For everybody."""
        return transit.result(Element(NS, "answer", {"for": transit.to.full}))

    @iq.get(NS, "owner", to=ACCOUNT, access="owner")
    @iq.get(NS, "subscribers", to=ACCOUNT, access="subscribers")
    def onSome(self, transit: Transit) -> Element:
        """For some."""
        return transit.result()

    @iq.get(NS, "later", to=ACCOUNT)
    def onLater(self, transit: Transit) -> Deferred[object]:
        """Later."""
        self.waiting.append(Deferred())
        return self.waiting[-1].addCallback(lambda outcome: outcome or transit.result())

    @iq.get(NS, "coroutine", to=ACCOUNT)
    async def onCoroutine(self, transit: Transit) -> Element:
        """As a coroutine."""
        return transit.result()

    @iq.get(NS, "refused", to=ACCOUNT)
    def onRefused(self, transit: Transit) -> None:
        """No."""
        raise StanzaError("forbidden")

    @iq.get(NS, "broken", to=ACCOUNT)
    def onBroken(self, transit: Transit) -> None:
        """A mistake."""
        raise ValueError("broken")

    @iq.get(NS, "nothing", to=ACCOUNT)
    def onNothing(self, transit: Transit) -> None:
        """No answer, which is a mistake too."""

    @iq.set(NS, "silent", to=ACCOUNT)
    def onSilent(self, transit: Transit) -> object:
        """Answered in another way."""
        return HANDLED


class AccountCase(SynchronousTestCase):
    """Alice asks Bob's account."""

    def setUp(self) -> None:
        """A host with the module above."""
        self.server = MemoryServer()
        self.waiting: list[Deferred[object]] = []
        Answers.waiting = self.waiting
        self.server.host.modulesChanged([Answers(self.server.host, None)])
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)

    def ask(self, name: str, to: str | None = "bob@localhost", type: str = "get") -> Element:
        """Ask, and take the answer."""
        return ask(self.alice, f"<{name} xmlns='{NS}'/>", type, to)


class IQTests(AccountCase):
    """IQs to bare addresses are answered by the server (8.5.2.1.3)."""

    def test_answer(self) -> None:
        """The answer comes from the address that was asked; the account's sessions see nothing."""
        answer = self.ask("anyone")
        self.assertEqual((answer.get("type"), answer.get("from")), ("result", "bob@localhost"))
        self.assertEqual(answer.elements()[0].get("for"), "bob@localhost")
        self.assertEqual(self.bob.take(), [])

    def test_host(self) -> None:
        """The same payload at the host."""
        self.assertEqual(self.ask("anyone", "localhost").elements()[0].get("for"), "localhost")

    def test_hostResource(self) -> None:
        """The host has no resources."""
        self.assertEqual(condition(self.ask("anyone", "localhost/x")), "service-unavailable")

    def test_ownAccount(self) -> None:
        """Without ``to`` the own account answers (RFC 6120 10.3.3)."""
        self.assertEqual(self.ask("anyone", None).elements()[0].get("for"), "alice@localhost")

    def test_unknownPayload(self) -> None:
        """Nobody answers: service-unavailable, at account, host and unknown account alike."""
        for to in ("bob@localhost", "localhost", "nobody@localhost"):
            self.assertEqual(condition(self.ask("whatever", to)), "service-unavailable")
        self.assertEqual(condition(self.ask("anyone", "nobody@localhost")), "service-unavailable")

    def test_wrongType(self) -> None:
        """Get and set are different questions."""
        self.assertEqual(condition(self.ask("anyone", type="set")), "service-unavailable")

    def test_access(self) -> None:
        """Owner and subscribers, and who is neither."""
        self.assertEqual(condition(self.ask("owner")), "service-unavailable")
        self.assertEqual(condition(self.ask("subscribers")), "service-unavailable")
        self.assertEqual(self.ask("owner", "alice@localhost").get("type"), "result")
        self.assertEqual(self.ask("subscribers", "alice@localhost").get("type"), "result")
        self.server.account("bob").setState("alice@localhost", KNOWN | FROM)
        self.assertEqual(self.ask("subscribers").get("type"), "result")
        self.assertEqual(condition(self.ask("owner")), "service-unavailable")

    def test_refused(self) -> None:
        """A refusal and a mistake reach the requester; the mistake says no more than an incident's number."""
        self.assertEqual(condition(self.ask("refused")), "forbidden")
        answer = self.ask("broken")
        self.assertEqual(condition(answer), "internal-server-error")
        self.assertNotIn("broken", answer.elements()[0].elements()[1].text)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_noAnswer(self) -> None:
        """Every request is answered (RFC 6120 8.2.3), even if the module forgot."""
        self.assertEqual(condition(self.ask("nothing")), "service-unavailable")

    def test_handled(self) -> None:
        """HANDLED means that the module answers by itself."""
        self.alice.send(f"<iq type='set' id='s' to='bob@localhost'><silent xmlns='{NS}'/></iq>")
        self.assertEqual(self.alice.take(), [])

    def test_coroutine(self) -> None:
        """A coroutine is as good as a Deferred."""
        self.assertEqual(self.ask("coroutine").get("type"), "result")


class LaterTests(AccountCase):
    """Answers that take time."""

    def setUp(self) -> None:
        """One question is open."""
        super().setUp()
        self.alice.send(f"<iq type='get' id='l' to='bob@localhost'><later xmlns='{NS}'/></iq>")

    def test_answer(self) -> None:
        """What follows to the same address waits behind it."""
        chat(self.alice, "bob@localhost", "hi")
        self.assertEqual((self.alice.take(), self.bob.take()), ([], []))
        self.waiting[0].callback(None)
        self.assertEqual(self.alice.next("iq").get("type"), "result")
        self.assertEqual(bodies(self.bob), ["hi"])

    def test_refusal(self) -> None:
        """A refusal in the end."""
        self.waiting[0].errback(StanzaError("item-not-found"))
        self.assertEqual(condition(self.alice.next("iq")), "item-not-found")

    def test_mistake(self) -> None:
        """A mistake in the end."""
        self.waiting[0].errback(ValueError("broken"))
        self.assertEqual(condition(self.alice.next("iq")), "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_deadline(self) -> None:
        """No answer in time is an error."""
        self.server.advance(11)
        self.assertEqual(condition(self.alice.next("iq")), "internal-server-error")
        self.flushLoggedErrors()

    def test_askerGone(self) -> None:
        """The answer for a session that has gone is dropped."""
        self.alice.close()
        self.waiting[0].callback(None)
        self.assertEqual(self.bob.take(), [])


class FullAddressTests(AccountCase):
    """IQs to full addresses go to the session, if the sender may know that it is there (8.5.3.1)."""

    def test_stranger(self) -> None:
        """A stranger gets the same answer whether the resource is there or not."""
        self.assertEqual(condition(self.ask("x", "bob@localhost/desk")), "service-unavailable")
        self.assertEqual(condition(self.ask("x", "bob@localhost/gone")), "service-unavailable")
        self.assertEqual(self.bob.take(), [])

    def test_conversation(self) -> None:
        """A subscriber's request goes through, and the answer back, result or error."""
        self.server.befriend("alice", "bob")
        for kind in ("result", "error"):
            self.alice.send(f"<iq type='get' id='{kind}' to='bob@localhost/desk'><x xmlns='{NS}'/></iq>")
            request = self.bob.next("iq")
            self.assertEqual(request.get("from"), "alice@localhost/phone")
            error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
            content = error if kind == "error" else ""
            self.bob.send(f"<iq type='{kind}' id='{kind}' to='alice@localhost/phone'>{content}</iq>")
            self.assertEqual(self.alice.next("iq").get("type"), kind)

    def test_answerToNobody(self) -> None:
        """A result for a resource that has gone is dropped."""
        self.alice.send("<iq type='result' id='r' to='bob@localhost/gone'/>")
        self.assertEqual(self.alice.take(), [])


class LoadingTests(SynchronousTestCase):
    """Stanzas for accounts that are not in memory."""

    def setUp(self) -> None:
        """A host that reads records when the test says so."""
        self.server = MemoryServer(("offline",))
        self.alice = self.server.client("alice/phone")
        self.server.account("bob")
        self.server.host.accounts.forget("bob")
        self.gates: list[Callable[[], None]] = []
        read = self.server.host._record

        def later(local: str) -> Deferred[AccountRecord | None]:
            gate: Deferred[None] = Deferred()
            self.gates.append(lambda: gate.callback(None))
            return gate.addCallback(lambda _: read(local))

        self.patch(self.server.host.accounts, "_load", later)

    def test_order(self) -> None:
        """Messages wait for the account, which is read once, and keep their order."""
        for text in ("one", "two", "three"):
            chat(self.alice, "bob@localhost", text)
        self.assertEqual(len(self.gates), 1)
        self.gates[0]()
        bob = self.server.client("bob/desk")
        bob.available()
        self.assertEqual(bodies(bob), ["one", "two", "three"])

    def test_unknown(self) -> None:
        """An account that turns out not to exist bounces; the next time nothing is read."""
        for text in ("one", "two"):
            chat(self.alice, "nobody@localhost", text)
        self.gates[0]()
        self.assertEqual([condition(stanza) for stanza in self.alice.take()], ["service-unavailable"] * 2)
        chat(self.alice, "nobody@localhost", "three")
        self.assertEqual(len(self.gates), 1)


class CacheTests(SynchronousTestCase):
    """`AccountCache` by itself."""

    def setUp(self) -> None:
        """A cache that holds about three idle accounts."""
        self.server = MemoryServer()
        self.loads: list[str] = []
        self.cache = AccountCache(self.load, self.make, 3500)

    def load(self, local: str) -> Deferred[AccountRecord | None]:
        """A record for every name but "nobody"."""
        self.loads.append(local)
        done: Deferred[AccountRecord | None] = Deferred()
        done.callback(
            None if local == "nobody" else AccountRecord(1, local, True, "user", {}, 0, frozenset(), 0)
        )
        return done

    def make(self, record: AccountRecord) -> Account:
        """An account of the host."""
        return Account(self.server.host, self.server.host.jid, record)

    def get(self, *names: str) -> None:
        """Ask for accounts."""
        for name in names:
            self.successResultOf(self.cache.obtain(name))

    def test_remembers(self) -> None:
        """A second question reads nothing, for unknown names either."""
        self.get("a", "a", "nobody", "nobody")
        self.assertEqual(self.loads, ["a", "nobody"])

    def test_bounded(self) -> None:
        """The one that was not asked for longest goes first."""
        self.get("a", "b", "c", "a", "d")
        self.assertEqual(sorted(self.cache.known), ["a", "c", "d"])

    def test_floodOfUnknown(self) -> None:
        """Unknown names are bounded too."""
        self.patch(self.cache, "_load", lambda local: self.load("nobody"))
        self.get(*(f"x{number}" for number in range(1000)))
        self.assertLess(len(self.cache.known), 20)

    def test_forget(self) -> None:
        """What was forgotten is read again."""
        self.get("a")
        self.cache.forget("a")
        self.cache.forget("never")
        self.get("a")
        self.assertEqual(self.loads, ["a", "a"])

    def test_failure(self) -> None:
        """A read that fails fails for all who wait, and is tried again the next time."""
        broken: Deferred[AccountRecord | None] = Deferred()
        self.patch(self.cache, "_load", lambda local: broken)
        waiting = [self.cache.obtain("a"), self.cache.obtain("a")]
        broken.errback(ValueError("broken"))
        for one in waiting:
            self.failureResultOf(one, ValueError)
        self.patch(self.cache, "_load", self.load)
        self.get("a")

    def test_online(self) -> None:
        """An account with sessions is never dropped."""
        server = MemoryServer()
        cache = server.host.accounts
        client = server.client("alice/phone")
        cache._limit = 0
        for name in ("b", "c"):
            server.account(name)
        self.assertIn("alice", cache.known)
        self.assertEqual([account.jid.local for account in cache.online()], ["alice"])
        client.close()
        server.account("d")
        self.assertNotIn("alice", cache.known)
        self.assertEqual(cache.online(), [])
