"""Stanza ids: ours on what is worth it, nobody else's in our name (XEP-0359, I04)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import chat, manage
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

MODULES = ("stanza_ids", "offline", "stream_management")


def ids(message: Element) -> list[tuple[str | None, str | None]]:
    """(by, id) of all stanza ids."""
    return [(node.get("by"), node.get("id")) for node in message.findAll(ns.SID, "stanza-id")]


class StanzaIdTests(SynchronousTestCase):
    """Alice writes to Bob."""

    def setUp(self) -> None:
        """Both are connected, Bob is available."""
        self.server = MemoryServer(MODULES)
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk", available=True)

    def got(self, inner: str, to: str = "bob@localhost", type: str = "chat") -> Element:
        """What Bob gets of a message with this content."""
        self.alice.send(f"<message to='{to}' type='{type}'>{inner}</message>")
        return self.bob.next("message")

    def test_added(self) -> None:
        """A chat message gets one id by the recipient's bare address, behind its content."""
        message = self.got("<body>hi</body>")
        ((by, id),) = ids(message)
        self.assertEqual(by, "bob@localhost")
        self.assertGreater(len(id or ""), 20)
        self.assertEqual(message.elements()[-1].name, "stanza-id")

    def test_toFullAddress(self) -> None:
        """Also when the message goes to one resource."""
        self.assertEqual([by for by, _ in ids(self.got("<body>hi</body>", "bob@localhost/desk"))], ["bob@localhost"])

    def test_differentAndRising(self) -> None:
        """Ids are never the same, and sort in the order of arrival."""
        found = [ids(self.got("<body>hi</body>"))[0][1] or "" for _ in range(1200)]
        self.assertEqual(len(set(found)), 1200)
        self.assertEqual(found, sorted(found))
        self.assertEqual(len({id[-16:] for id in found}), 1200)

    def test_notWorthIt(self) -> None:
        """A chat state, a headline, groupchat and errors get none."""
        state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        self.assertEqual(ids(self.got(state)), [])
        self.assertEqual(ids(self.got("<body>news</body>", type="headline")), [])
        self.assertEqual(ids(self.got("<body>hi</body>", "bob@localhost/desk", "groupchat")), [])
        self.assertEqual(ids(self.got("<body>hi</body>", "bob@localhost/desk", "error")), [])

    def test_forged(self) -> None:
        """Every id in the name of the recipient or the host goes, in any spelling and place (I04)."""
        forged = [
            "bob@localhost", "BOB@localhost", "bob@LOCALHOST", "ｂｏｂ@localhost", "bob@localhost/desk", "localhost",
            "LocalHost", "@@@", "",
        ]  # fmt: skip
        elements = [f"<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='forged'/>" for by in forged]
        message = self.got(elements[0] + elements[1] + "<body>hi</body>" + "".join(elements[2:]))
        ((by, id),) = ids(message)
        self.assertEqual(by, "bob@localhost")
        self.assertNotEqual(id, "forged")

    def test_withoutBy(self) -> None:
        """An id in nobody's name is no id."""
        self.assertEqual(len(ids(self.got("<body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' id='x'/>"))), 1)

    def test_forgedWithoutContent(self) -> None:
        """A forged id goes from a message that gets none of ours."""
        self.assertEqual(
            ids(self.got("<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='x'/>", type="headline")), []
        )

    def test_othersStay(self) -> None:
        """What a room or the sender's server says is theirs; an origin id stays."""
        message = self.got(
            "<body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='r'/>"
            "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>"
        )
        self.assertEqual([by for by, _ in ids(message)], ["room@muc.example", "bob@localhost"])
        self.assertIsNotNone(message.find(ns.SID, "origin-id"))

    def test_allSessionsTheSame(self) -> None:
        """All sessions of the recipient get the same id."""
        phone = self.server.client("bob/phone", available=True)
        self.bob.take()
        first = ids(self.got("<body>hi</body>"))
        self.assertEqual(ids(phone.next("message")), first)

    def test_sameAfterHibernation(self) -> None:
        """A message that a dead session had not taken keeps its id in offline storage."""
        manage(self.bob)
        chat(self.alice, "bob@localhost", "hi")
        first = ids(self.bob.next("message"))
        self.bob.lose()
        self.server.advance(601)
        later: MemoryClient = self.server.client("bob/phone")
        later.available()
        self.assertEqual(ids(later.next("message")), first)

    def test_afterRestart(self) -> None:
        """Ids of a later start are higher than those of an earlier one."""
        first = self.server.module("stanza_ids").make()
        self.server.advance(1)
        self.server.loader.detach(self.server.host, "stanza_ids")
        self.server.loader.attach(self.server.host, ("stanza_ids",))
        self.assertGreater(self.server.module("stanza_ids").make(), first)
