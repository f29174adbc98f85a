"""RFC 6121 8.5.4, table 1: every cell with its condition set up for real, with and without offline storage."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import bodies, chat, errors
from xmppservice.hub.delivery import BARE, FULL, Choice, Otherwise, choose
from xmppservice.protocol.stanza import MESSAGE_TYPES
from xmppservice.testing import MemoryClient, MemoryServer

COLUMNS = ("normal", "chat", "groupchat", "headline")

# Condition → (address → the RFC's letters for the four columns): Offline, Error, Silence, Delivered to the
# resource named or the only one, M to the most available, All with a non-negative priority.
TABLE: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "nobody": {"bare": ("SE", "SE", "E", "S"), "full": ("SE", "SE", "SE", "SE")},
    "absent": {"bare": ("OE", "OE", "E", "S"), "gone": ("SE", "OE", "SE", "SE")},
    "negative": {"bare": ("OE", "OE", "E", "S"), "full": ("D",) * 4, "gone": ("SE", "OE", "SE", "SE")},
    "one": {"bare": ("D", "D", "E", "D"), "full": ("D",) * 4, "gone": ("SE", "D", "SE", "SE")},
    "several": {"bare": ("MA", "MA", "E", "A"), "full": ("D", "DA", "D", "D"), "gone": ("SE", "MA", "SE", "SE")},
}

#: The recipient's sessions under each condition: resource → priority.
SESSIONS: dict[str, dict[str, int]] = {
    "nobody": {},
    "absent": {},
    "negative": {"first": -1, "second": -5},
    "one": {"first": 0, "second": -1},
    "several": {"first": 5, "second": 5, "third": 1, "fourth": -1},
}

ADDRESSES = {"bare": "bob@localhost", "full": "bob@localhost/first", "gone": "bob@localhost/gone"}


def outcome(server: MemoryServer, sender: MemoryClient, clients: dict[str, MemoryClient]) -> str:
    """What became of the one message that was sent, as letters of the table."""
    failed = errors(sender)
    got = {resource for resource, client in clients.items() if bodies(client) == ["hello"]}
    stored = 0 if "bob" not in server.host.accounts.known else getattr(server.host.accounts.known["bob"], "offline", 0)
    assert (len(failed) > 0) + (len(got) > 0) + (stored > 0) <= 1, (failed, got, stored)
    if failed:
        assert failed == ["service-unavailable"], failed
        return "E"
    if stored:
        return "O"
    if not got:
        return "S"
    willing = {resource for resource, client in clients.items() if client.session.priority >= 0}
    best = max((client.session.priority for client in clients.values()), default=0)
    mostAvailable = {resource for resource, client in clients.items() if client.session.priority == best}
    meanings = {"D": {"first"}, "A": willing, "M": mostAvailable}
    return "".join(letter for letter, wanted in meanings.items() if got == wanted)


class DeliveryTableTests(SynchronousTestCase):
    """Each cell of the table is one test, made below."""

    def check(self, modules: tuple[str, ...], condition: str, address: str, type: str, allowed: str) -> None:
        """Send one message under the condition and compare what became of it."""
        server = MemoryServer(modules)
        if condition != "nobody":
            server.account("bob")
        clients = {resource: server.client(f"bob/{resource}") for resource in SESSIONS[condition]}
        for resource, client in clients.items():
            client.available(SESSIONS[condition][resource])
        for client in clients.values():
            client.take()
        sender = server.client("alice/phone")
        chat(sender, ADDRESSES[address], "hello", type)
        found = outcome(server, sender, clients)
        self.assertTrue(set(found) & set(allowed), f"{found} is not one of {allowed}")


def _cell(condition: str, address: str, type: str, allowed: str, stores: bool) -> Callable[[DeliveryTableTests], None]:
    modules = ("offline",) if stores else ()
    # Where the RFC leaves storing or refusing open, the module decides.
    decided = allowed.replace("E", "") if stores and "O" in allowed else allowed.replace("O", "")

    def test(self: DeliveryTableTests) -> None:
        self.check(modules, condition, address, type, decided)

    test.__doc__ = f"{type} to {address}, {condition}: one of {decided}."
    return test


for _condition, _rows in TABLE.items():
    for _address, _cells in _rows.items():
        for _type, _letters in zip(COLUMNS, _cells, strict=True):
            for _stores in (True, False):
                _name = f"test_{_condition}_{_address}_{_type}_{'stored' if _stores else 'unstored'}"
                setattr(DeliveryTableTests, _name, _cell(_condition, _address, _type, _letters, _stores))


class ErrorMessageTests(SynchronousTestCase):
    """Messages of type error are never answered and never stored (8.5.2.1.1, 8.5.3.2.1)."""

    def test_neverAnswered(self) -> None:
        """Whatever the recipient's state, a bounce does not bounce."""
        for address in ("bob@localhost", "bob@localhost/gone", "nobody@localhost"):
            server = MemoryServer(("offline",))
            server.account("bob")
            sender = server.client("alice/phone")
            chat(sender, address, "oops", "error")
            self.assertEqual(sender.take(), [])
            self.assertEqual(server.account("bob").offline, 0)

    def test_toFullAddress(self) -> None:
        """An error for a resource that is there reaches it."""
        server = MemoryServer()
        bob = server.client("bob/first", available=True)
        chat(server.client("alice/phone"), "bob@localhost/first", "oops", "error")
        self.assertEqual(bob.next("message").get("id"), "oops")

    def test_toBareAddress(self) -> None:
        """An error for the bare address goes nowhere."""
        server = MemoryServer()
        bob = server.client("bob/first", available=True)
        chat(server.client("alice/phone"), "bob@localhost", "oops", "error")
        self.assertEqual(bob.take(), [])


class AddressTests(SynchronousTestCase):
    """Addresses are left as they are, and connected resources count when they are named."""

    def test_toIsKept(self) -> None:
        """The server does not rewrite the bare address to a full one (8.5.2.1.1)."""
        server = MemoryServer()
        bob = server.client("bob/first", available=True)
        chat(server.client("alice/phone"), "bob@localhost", "hello")
        self.assertEqual(bob.next("message").get("to"), "bob@localhost")

    def test_trueSender(self) -> None:
        """The recipient sees the sender's full address, whatever the sender wrote."""
        server = MemoryServer()
        bob = server.client("bob/first", available=True)
        server.client("alice/phone").send(
            "<message from='alice@localhost' to='bob@localhost'><body>hello</body></message>"
        )
        self.assertEqual(bob.next("message").get("from"), "alice@localhost/phone")

    def test_connectedResource(self) -> None:
        """A connected resource without presence gets what is sent to its full address (8.5.3.1)."""
        server = MemoryServer()
        bob = server.client("bob/first")
        chat(server.client("alice/phone"), "bob@localhost/first", "hello")
        self.assertEqual(bodies(bob), ["hello"])

    def test_connectedIsNotAvailable(self) -> None:
        """A connected resource without presence gets nothing that is sent to the bare address."""
        server = MemoryServer(("offline",))
        bob = server.client("bob/first")
        chat(server.client("alice/phone"), "bob@localhost", "hello")
        self.assertEqual(bob.take(), [])
        self.assertEqual(server.account("bob").offline, 1)

    def test_unknownTypeIsNormal(self) -> None:
        """A type that nobody knows counts as normal (5.2.2)."""
        server = MemoryServer(("offline",))
        server.account("bob")
        chat(server.client("alice/phone"), "bob@localhost", "hello", "whatever")
        self.assertEqual(server.account("bob").offline, 1)

    def test_toSelf(self) -> None:
        """A message to the sender's own bare address reaches its other resources."""
        server = MemoryServer()
        phone, desk = server.client("alice/phone", available=True), server.client("alice/desk", available=True)
        phone.take()
        chat(phone, "alice@localhost", "note")
        self.assertEqual((bodies(phone), bodies(desk)), (["note"], ["note"]))

    def test_withoutTo(self) -> None:
        """A message without ``to`` is for the sender's own account (RFC 6120 10.3)."""
        server = MemoryServer()
        phone, desk = server.client("alice/phone", available=True), server.client("alice/desk", available=True)
        phone.take()
        phone.send("<message type='chat'><body>note</body></message>")
        self.assertEqual(bodies(desk), ["note"])

    def test_hostAddress(self) -> None:
        """A message to the host itself is refused."""
        server = MemoryServer()
        alice = server.client("alice/phone")
        chat(alice, "localhost", "hello")
        self.assertEqual(errors(alice), ["service-unavailable"])

    def test_unknownDomain(self) -> None:
        """Without federation other domains do not exist."""
        server = MemoryServer()
        alice = server.client("alice/phone")
        chat(alice, "bob@elsewhere.example", "hello")
        self.assertEqual(errors(alice), ["remote-server-not-found"])


class TableDataTests(SynchronousTestCase):
    """The tables of `xmppservice.hub.delivery` themselves."""

    def test_complete(self) -> None:
        """Every message type has its row in both tables."""
        self.assertEqual(set(BARE), MESSAGE_TYPES)
        self.assertEqual(set(FULL), MESSAGE_TYPES)

    def test_nobodyNeverDelivers(self) -> None:
        """NOBODY chooses no session, whatever there is; errors are never bounced."""
        server = MemoryServer()
        session = server.client("bob/first", available=True).session
        self.assertEqual(choose((session,), Choice.NOBODY), ())
        self.assertIs(BARE["error"][1], Otherwise.IGNORE)
        self.assertIs(FULL["error"][1], Otherwise.IGNORE)
