"""Service discovery (XEP-0030) and its extensions (XEP-0128)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.modules.asking import ask, condition, payload, refused
from xmppservice.hub.contracts.delivery import IPort
from xmppservice.hub.contracts.disco import IDiscoNodes, IHostInfo
from xmppservice.hub.loader import ModuleError
from xmppservice.hub.module import HostModule
from xmppservice.hub.transit import Transit
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

INFO = f"<query xmlns='{ns.DISCO_INFO}'/>"
ITEMS = f"<query xmlns='{ns.DISCO_ITEMS}'/>"


def features(info: Element) -> list[str | None]:
    """The features of an answer, in its order."""
    return [feature.get("var") for feature in info.findAll(ns.DISCO_INFO, "feature")]


def identities(info: Element) -> list[tuple[str | None, str | None]]:
    """Category and type of each identity of an answer."""
    return [(each.get("category"), each.get("type")) for each in info.findAll(ns.DISCO_INFO, "identity")]


def addresses(items: Element) -> list[str | None]:
    """The addresses of the items of an answer."""
    return [item.get("jid") for item in items.findAll(ns.DISCO_ITEMS, "item")]


@implementer(IPort)
class Service:
    """A port that only has a name."""

    def __init__(self, name: str, accepting: bool = True) -> None:
        self.name = name
        self.accepting = accepting

    def deliver(self, transit: Transit) -> Deferred[None] | None:
        """Take nothing."""
        return None


@implementer(IDiscoNodes)
class Library(HostModule):
    """A module with features, an identity, a form, and a node that is answered later."""

    name = "tests.modules.test_disco"
    features = ("urn:example:library", ns.DISCO_INFO)
    accountFeatures = ("urn:example:reader",)
    identities = (("directory", "user", "Books"),)
    provides = (IDiscoNodes,)

    def discoExtensions(self) -> list[Element]:
        """One form."""
        return [Element(ns.DATA, "x", {"type": "result"})]

    def nodeInfo(self, transit: Transit, node: str) -> Any:
        """The node "books" exists, everywhere."""
        query = Element(ns.DISCO_INFO, "query")
        query.child(ns.DISCO_INFO, "identity", {"category": "hierarchy", "type": "leaf"})
        return succeed(query) if node == "books" else None

    def nodeItems(self, transit: Transit, node: str) -> Sequence[Element] | None:
        """The node "books" has an item; the address itself has one more than others know of."""
        item = Element(ns.DISCO_ITEMS, "item", {"jid": "shelf.localhost", "node": node or "root"})
        return [item] if node in ("", "books") else None


MODULE = Library


class InfoTests(SynchronousTestCase):
    """disco#info."""

    def setUp(self) -> None:
        """Two friends and a stranger."""
        self.server = MemoryServer(modules=("disco", "ping"))
        self.alice = self.server.client("alice/phone", available=True)
        self.bob = self.server.client("bob/desk")
        self.mallory = self.server.client("mallory/pc")
        self.server.befriend("alice", "bob")

    def test_host(self) -> None:
        """The host is an IM server with the features of its modules (section 3.1)."""
        info = payload(self.alice, INFO, to="localhost")
        self.assertEqual(identities(info), [("server", "im")])
        self.assertEqual(features(info), [ns.DISCO_INFO, ns.DISCO_ITEMS, ns.PING])

    def test_contracts(self) -> None:
        """The module is what others are told it is."""
        verifyObject(IHostInfo, self.server.module("disco"))

    def test_attachAndDetach(self) -> None:
        """Features, identities and forms come and go with their module."""
        before = payload(self.alice, INFO, to="localhost")
        self.server.loader.attach(self.server.host, [Library.name])
        info = payload(self.alice, INFO, to="localhost")
        self.assertIn("urn:example:library", features(info))
        self.assertEqual(features(info).count(ns.DISCO_INFO), 1)
        self.assertIn(("directory", "user"), identities(info))
        self.assertEqual(len(info.findAll(ns.DATA, "x")), 1)
        self.assertIn("urn:example:reader", features(payload(self.alice, INFO)))
        self.server.loader.detach(self.server.host, Library.name)
        self.assertEqual(payload(self.alice, INFO, to="localhost"), before)
        self.assertNotIn("urn:example:reader", features(payload(self.alice, INFO)))

    def test_ownAccount(self) -> None:
        """The owner learns that the account is registered, with or without `to`."""
        info = payload(self.alice, INFO)
        self.assertEqual(identities(info), [("account", "registered")])
        self.assertIn(ns.DISCO_INFO, features(info))
        self.assertEqual(payload(self.alice, INFO, to="alice@localhost"), info)

    def test_subscriber(self) -> None:
        """Who gets the presence of an account may ask it (section 8)."""
        self.assertEqual(identities(payload(self.bob, INFO, to="alice@localhost")), [("account", "registered")])

    def test_strangersCannotHarvest(self) -> None:
        """A stranger gets the same error for an account, a node of it, and an address without account (section 8)."""
        nodes = [f"<query xmlns='{space}' node='x'/>" for space in (ns.DISCO_INFO, ns.DISCO_ITEMS)]
        for query in (INFO, ITEMS, *nodes):
            there = ask(self.mallory, query, to="alice@localhost")
            nowhere = ask(self.mallory, query, to="nobody@localhost")
            self.assertEqual(condition(there), "service-unavailable")
            self.assertEqual(there.children, nowhere.children)

    def test_unknownNode(self) -> None:
        """A node that nobody has does not exist."""
        for to in ("localhost", "alice@localhost"):
            for space in (ns.DISCO_INFO, ns.DISCO_ITEMS):
                self.assertEqual(refused(self.alice, f"<query xmlns='{space}' node='n'/>", to=to), "item-not-found")

    def test_nodeOfModule(self) -> None:
        """A module answers for its node, and the answer repeats the node (section 3.2)."""
        self.server.loader.attach(self.server.host, [Library.name])
        verifyObject(IDiscoNodes, self.server.module(Library.name))
        for to in ("localhost", "alice@localhost"):
            info = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}' node='books'/>", to=to)
            self.assertEqual((info.get("node"), identities(info)), ("books", [("hierarchy", "leaf")]))

    def test_longNode(self) -> None:
        """No answer repeats a node of any length."""
        for space in (ns.DISCO_INFO, ns.DISCO_ITEMS):
            query = f"<query xmlns='{space}' node='{'n' * 2000}'/>"
            self.assertEqual(refused(self.alice, query, to="localhost"), "item-not-found")

    def test_emptyNode(self) -> None:
        """An empty node is no node."""
        info = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}' node=''/>", to="localhost")
        self.assertIsNone(info.get("node"))

    def test_setIsNoRequest(self) -> None:
        """Discovery only answers gets."""
        self.assertEqual(refused(self.alice, INFO, "set", "localhost"), "service-unavailable")


class ItemTests(SynchronousTestCase):
    """disco#items."""

    def setUp(self) -> None:
        """Two hosts with services."""
        self.server = MemoryServer(
            modules=("disco",), domains=("localhost", "other.test"),
            options={"disco": {"services": ["Elsewhere.test"], "title": "Our place"}},
        )
        self.alice = self.server.client("alice/phone", available=True)

    def _serve(self, *services: Service) -> None:
        self.server.router.destinations.update({service.name: service for service in services})

    def test_services(self) -> None:
        """Listed are services below our domain or below none, not those of other hosts nor hosts."""
        self._serve(
            Service("rooms.localhost"), Service("rooms.other.test"), Service("irc.example"),
            Service("off.localhost", False),
        )
        found = addresses(payload(self.alice, ITEMS, to="localhost"))
        self.assertEqual(found, ["elsewhere.test", "rooms.localhost", "irc.example"])

    def test_title(self) -> None:
        """The name of the service can be chosen."""
        info = payload(self.alice, INFO, to="localhost")
        self.assertEqual([each.get("name") for each in info.findAll(ns.DISCO_INFO, "identity")], ["Our place"])

    def test_badService(self) -> None:
        """An address in the configuration that is none stops the start."""
        with self.assertRaises(ModuleError):
            MemoryServer(modules=("disco",), options={"disco": {"services": ["a@@b"]}})

    def test_resources(self) -> None:
        """The owner and subscribers see the available resources of an account (section 4.1)."""
        self.server.client("alice/silent")
        self.assertEqual(addresses(payload(self.alice, ITEMS)), ["alice@localhost/phone"])
        bob = self.server.client("bob/desk")
        self.server.befriend("alice", "bob")
        self.assertEqual(addresses(payload(bob, ITEMS, to="alice@localhost")), ["alice@localhost/phone"])

    def test_nobodyOnline(self) -> None:
        """Without items the answer is empty, not an error (section 7)."""
        bob = self.server.client("bob/desk")
        self.server.befriend("carol", "bob")
        self.assertEqual(addresses(payload(bob, ITEMS, to="carol@localhost")), [])

    def test_itemsOfModule(self) -> None:
        """Modules add items to addresses and have some below their nodes (section 4.2)."""
        self.server.loader.attach(self.server.host, [Library.name])
        for to in ("localhost", "alice@localhost"):
            self.assertIn("shelf.localhost", addresses(payload(self.alice, ITEMS, to=to)))
            items = payload(self.alice, f"<query xmlns='{ns.DISCO_ITEMS}' node='books'/>", to=to)
            self.assertEqual((items.get("node"), addresses(items)), ("books", ["shelf.localhost"]))
