"""vcard-temp (XEP-0054)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import ask, payload, refused
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

GET = "<vCard xmlns='vcard-temp'/>"
CARD = (
    "<vCard xmlns='vcard-temp' version='3.0'><FN>Alice &amp; Ω</FN><N><FAMILY>Smith</FAMILY><MIDDLE/></N>"
    "<PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA\nBBBB</BINVAL></PHOTO><x xmlns='urn:example:more' a='&#10;'/></vCard>"
)


class VCardTests(SynchronousTestCase):
    """Setting one's own vCard, and reading those of others."""

    def _start(self, **options: object) -> tuple[MemoryClient, MemoryClient]:
        self.server = MemoryServer(modules=("vcard",), domains=("localhost", "b.test"), options={"vcard": options})
        return self.server.client("alice/phone"), self.server.client("bob/desk")

    def test_roundTrip(self) -> None:
        """What was set comes back as it was, to the owner and to others (sections 3.1 to 3.3)."""
        alice, bob = self._start()
        answer = ask(alice, CARD, "set")
        self.assertEqual((answer.get("type"), answer.children), ("result", []))
        card = payload(alice, GET)
        self.assertEqual(payload(bob, GET, to="alice@localhost"), card)
        self.assertEqual(payload(alice, GET, to="alice@localhost"), card)
        self.assertEqual(card.get("version"), "3.0")
        name, more = card.find(ns.VCARD, "FN"), card.find("urn:example:more", "x")
        assert name is not None and more is not None
        self.assertEqual((name.text, more.get("a")), ("Alice & Ω", "\n"))
        self.assertEqual(len(card.elements()), 4)

    def test_replaced(self) -> None:
        """There are no partial updates: the whole vCard is replaced (section 3.2)."""
        alice, _ = self._start()
        ask(alice, CARD, "set")
        ask(alice, "<vCard xmlns='vcard-temp'><FN>New</FN></vCard>", "set")
        self.assertEqual([each.name for each in payload(alice, GET)], ["FN"])

    def test_none(self) -> None:
        """The owner of no vCard gets an empty one; others get the error of an absent account (section 3.3)."""
        alice, bob = self._start()
        self.assertEqual(payload(alice, GET), Element(ns.VCARD, "vCard"))
        there, nowhere = ask(bob, GET, to="alice@localhost"), ask(bob, GET, to="nobody@localhost")
        self.assertEqual(refused(bob, GET, to="alice@localhost"), "service-unavailable")
        self.assertEqual(there.children, nowhere.children)

    def test_notOthers(self) -> None:
        """Nobody sets the vCard of somebody else, friend or not (section 3.2)."""
        alice, bob = self._start()
        self.server.befriend("alice", "bob")
        ask(alice, CARD, "set")
        before = payload(alice, GET)
        self.assertEqual(refused(bob, CARD, "set", "alice@localhost"), "service-unavailable")
        self.assertEqual(refused(bob, CARD, "set", "localhost"), "service-unavailable")
        self.assertEqual(payload(alice, GET), before)

    def test_size(self) -> None:
        """A vCard that is too large is refused and the old one stays."""
        alice, _ = self._start(size=2000)
        ask(alice, CARD, "set")
        large = f"<vCard xmlns='vcard-temp'><DESC>{'x' * 2000}</DESC></vCard>"
        self.assertEqual(refused(alice, large, "set"), "not-acceptable")
        self.assertEqual(len(payload(alice, GET).elements()), 4)

    def test_growsWhenWritten(self) -> None:
        """The size is that of the bytes that are kept: escapes can make them more than were sent."""
        alice, _ = self._start(size=4000)
        large = f"<vCard xmlns='vcard-temp'><x a='{'>' * 1500}'/></vCard>"
        self.assertEqual(refused(alice, large, "set"), "not-acceptable")

    def test_localReaders(self) -> None:
        """The administrator may keep vCards on the host."""
        alice, bob = self._start(readers="local")
        ask(alice, CARD, "set")
        self.assertEqual(len(payload(bob, GET, to="alice@localhost").elements()), 4)
        foreign = self.server.client("carol@b.test/1")
        self.assertEqual(refused(foreign, GET, to="alice@localhost"), "service-unavailable")

    def test_subscribedReaders(self) -> None:
        """Or among contacts."""
        alice, bob = self._start(readers="subscribers")
        ask(alice, CARD, "set")
        self.assertEqual(refused(bob, GET, to="alice@localhost"), "service-unavailable")
        self.server.befriend("alice", "bob")
        self.assertEqual(len(payload(bob, GET, to="alice@localhost").elements()), 4)

    def test_failingStorage(self) -> None:
        """What could not be stored is not confirmed."""
        alice, _ = self._start()
        memory = self.server.database._memory
        assert memory is not None
        memory.raw.execute("DROP TABLE vcards")
        self.assertEqual(refused(alice, CARD, "set"), "internal-server-error")
        self.assertEqual(refused(alice, GET), "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_deletedAccount(self) -> None:
        """A new account of the same name has no vCard."""
        alice, bob = self._start()
        ask(alice, CARD, "set")
        alice.close()
        self.successResultOf(self.server.database.accounts.delete(self.server.account("alice").id))
        self.server.host.accounts.forget("alice")
        self.server.account("alice")
        self.assertEqual(refused(bob, GET, to="alice@localhost"), "service-unavailable")
