"""Private XML storage (XEP-0049)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import ask, payload, refused
from xmppservice.testing import MemoryClient, MemoryServer


def query(inner: str) -> str:
    """A query with these children."""
    return f"<query xmlns='jabber:iq:private'>{inner}</query>"


PREFERENCES = "<exodus xmlns='exodus:prefs' v='&#9;'><defaultnick>Hamlet &lt;1&gt;</defaultnick></exodus>"


class PrivateXMLTests(SynchronousTestCase):
    """What clients keep for their user."""

    def _start(self, **options: object) -> MemoryClient:
        self.server = MemoryServer(modules=("private_xml",), options={"private_xml": options})
        return self.server.client("alice/phone")

    def _keep(self, client: MemoryClient, inner: str) -> None:
        answer = ask(client, query(inner), "set")
        self.assertEqual((answer.get("type"), answer.children), ("result", []))

    def test_roundTrip(self) -> None:
        """What was set comes back, to every client of the user (section 2.3, examples 1 and 2)."""
        alice = self._start()
        self._keep(alice, PREFERENCES)
        found = payload(self.server.client("alice/desk"), query("<exodus xmlns='exodus:prefs'/>"))
        self.assertEqual([each.get("v") for each in found], ["\t"])
        self.assertEqual(found.elements()[0].elements()[0].text, "Hamlet <1>")

    def test_absent(self) -> None:
        """What was never set comes back empty, without what the question held."""
        alice = self._start()
        [found] = payload(alice, query("<a xmlns='urn:example:a' b='c'>d<e/></a>")).elements()
        self.assertEqual((found.ns, found.name, found.attrs, found.children), ("urn:example:a", "a", {}, []))

    def test_replaced(self) -> None:
        """An element replaces the one of its name; others stay, in the same namespace too."""
        alice = self._start()
        self._keep(alice, "<a xmlns='urn:x'>1</a><b xmlns='urn:x'>2</b>")
        self._keep(alice, "<a xmlns='urn:x'>3</a>")
        self.assertEqual(payload(alice, query("<a xmlns='urn:x'/>")).elements()[0].text, "3")
        self.assertEqual(payload(alice, query("<b xmlns='urn:x'/>")).elements()[0].text, "2")

    def test_several(self) -> None:
        """Elements of one name that come together stay together (section 2.3)."""
        alice = self._start()
        self._keep(alice, "<a xmlns='urn:x'>1</a><a xmlns='urn:x'>2</a>")
        self.assertEqual([each.text for each in payload(alice, query("<a xmlns='urn:x'/>"))], ["1", "2"])

    def test_nothingAsked(self) -> None:
        """A query without an element is not acceptable, to get and to set (section 2.3)."""
        alice = self._start()
        for type in ("get", "set"):
            for inner in ("", "text", "<a xmlns=''/>", "<a/>", "<a xmlns='jabber:client'/>"):
                self.assertEqual(refused(alice, query(inner), type), "not-acceptable")

    def test_twoAsked(self) -> None:
        """One get asks for one element (section 2.3)."""
        alice = self._start()
        self.assertEqual(refused(alice, query("<a xmlns='urn:x'/><a xmlns='urn:y'/>")), "not-acceptable")

    def test_notOthers(self) -> None:
        """Nobody reads or writes what belongs to somebody else (section 2.3, example 3)."""
        alice = self._start()
        self.server.befriend("alice", "bob")
        bob = self.server.client("bob/desk")
        self._keep(alice, PREFERENCES)
        for type in ("get", "set"):
            inner = query("<exodus xmlns='exodus:prefs'/>")
            for to in ("alice@localhost", "nobody@localhost", "localhost"):
                self.assertEqual(refused(bob, inner, type, to), "service-unavailable")
        self.assertTrue(payload(alice, query("<exodus xmlns='exodus:prefs'/>")).elements()[0].children)

    def test_size(self) -> None:
        """An element that is too large is refused, and nothing of that set is kept."""
        alice = self._start(size=1024)
        self.assertEqual(
            refused(alice, query(f"<b xmlns='urn:x'>1</b><a xmlns='urn:x'>{'1' * 1024}</a>"), "set"), "not-acceptable"
        )
        self.assertEqual(payload(alice, query("<b xmlns='urn:x'/>")).elements()[0].text, "")

    def test_count(self) -> None:
        """No more elements than allowed; replacing one is always possible."""
        alice = self._start(count=2)
        self._keep(alice, "<a xmlns='urn:x'/><b xmlns='urn:x'/>")
        self.assertEqual(refused(alice, query("<c xmlns='urn:x'/>"), "set"), "resource-constraint")
        self._keep(alice, "<b xmlns='urn:x'>new</b>")

    def test_total(self) -> None:
        """No more bytes than allowed, over all elements of the account, not of others."""
        alice = self._start(total=1500, size=1024)
        self._keep(alice, f"<a xmlns='urn:x'>{'1' * 900}</a>")
        self.assertEqual(refused(alice, query(f"<b xmlns='urn:x'>{'1' * 900}</b>"), "set"), "resource-constraint")
        self._keep(alice, f"<a xmlns='urn:x'>{'2' * 990}</a>")
        self._keep(self.server.client("bob/desk"), f"<b xmlns='urn:x'>{'1' * 900}</b>")

    def test_deletedAccount(self) -> None:
        """A new account of the same name has nothing."""
        alice = self._start()
        self._keep(alice, PREFERENCES)
        alice.close()
        self.successResultOf(self.server.database.accounts.delete(self.server.account("alice").id))
        self.server.host.accounts.forget("alice")
        [found] = payload(self.server.client("alice/phone"), query("<exodus xmlns='exodus:prefs'/>")).elements()
        self.assertEqual(found.children, [])

    def test_failingStorage(self) -> None:
        """What could not be stored is not confirmed."""
        alice = self._start()
        memory = self.server.database._memory
        assert memory is not None
        memory.raw.execute("DROP TABLE private_xml")
        self.assertEqual(refused(alice, query(PREFERENCES), "set"), "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors()), 1)
