"""Entity capabilities of the server itself (XEP-0115)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.modules.asking import payload, refused
from xmppservice.hub.contracts.disco import IDiscoNodes
from xmppservice.hub.loader import ModuleError
from xmppservice.protocol.payloads.caps import verification
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element


class CapsTests(SynchronousTestCase):
    """The stream feature, and the answer that its hash stands for."""

    def setUp(self) -> None:
        """A server with one client."""
        self.server = MemoryServer(modules=("disco", "caps"))
        self.alice = self.server.client("alice/phone")

    def _feature(self) -> Element:
        [feature] = self.server.host.streamFeatures("bind", self.alice.stream)
        return feature

    def _node(self) -> str:
        feature = self._feature()
        return f"{feature.get('node')}#{feature.get('ver')}"

    def test_feature(self) -> None:
        """Streams are told the hash of what disco#info answers (section 6.3)."""
        feature = self._feature()
        self.assertEqual((feature.ns, feature.name, feature.get("hash")), (ns.CAPS, "c", "sha-1"))
        info = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}'/>", to="localhost")
        self.assertEqual(feature.get("ver"), verification(info))
        self.assertIn(Element(ns.DISCO_INFO, "feature", {"var": ns.CAPS}), info.elements())

    def test_strangersGetNoFeature(self) -> None:
        """Before authentication nothing is told."""
        self.assertEqual(self.server.host.streamFeatures("auth", self.alice.stream), [])

    def test_node(self) -> None:
        """The node made of the hash has the same answer as the host (section 6.2)."""
        plain = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}'/>", to="localhost")
        info = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}' node='{self._node()}'/>", to="localhost")
        self.assertEqual(info.attrs, {"node": self._node()})
        self.assertEqual(info.elements(), plain.elements())

    def test_otherNodes(self) -> None:
        """Another hash is unknown, and accounts do not have the host's."""
        wrong = f"<query xmlns='{ns.DISCO_INFO}' node='{self._feature().get('node')}#AAAA'/>"
        right = f"<query xmlns='{ns.DISCO_INFO}' node='{self._node()}'/>"
        self.assertEqual(refused(self.alice, wrong, to="localhost"), "item-not-found")
        self.assertEqual(refused(self.alice, right, to="alice@localhost"), "item-not-found")

    def test_noItems(self) -> None:
        """The node is not one of those that have items (section 6.2, note)."""
        query = f"<query xmlns='{ns.DISCO_ITEMS}' node='{self._node()}'/>"
        self.assertEqual(refused(self.alice, query, to="localhost"), "item-not-found")

    def test_change(self) -> None:
        """The hash follows the modules, there and back (section 6.1)."""
        before = self._node()
        self.server.loader.attach(self.server.host, ["ping"])
        self.assertNotEqual(self._node(), before)
        query = f"<query xmlns='{ns.DISCO_INFO}' node='{before}'/>"
        self.assertEqual(refused(self.alice, query, to="localhost"), "item-not-found")
        self.server.loader.detach(self.server.host, "ping")
        self.assertEqual(self._node(), before)

    def test_contracts(self) -> None:
        """The module is what others are told it is, and it cannot do without disco."""
        verifyObject(IDiscoNodes, self.server.module("caps"))
        with self.assertRaises(ModuleError):
            MemoryServer(modules=("caps",))
