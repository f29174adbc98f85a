"""Software version (XEP-0092)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import payload, refused
from xmppservice import __version__
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns

VERSION = "<query xmlns='jabber:iq:version'/>"


class VersionTests(SynchronousTestCase):
    """What the server tells about itself."""

    def test_hidesSystem(self) -> None:
        """Name and version are told, the operating system is not (section 5)."""
        query = payload(MemoryServer(modules=("version",)).client("a/1"), VERSION, to="localhost")
        told = [(each.name, each.text) for each in query]
        self.assertEqual(told, [("name", "xmppservice"), ("version", __version__)])

    def test_showsSystem(self) -> None:
        """The administrator may allow it."""
        server = MemoryServer(modules=("version",), options={"version": {"system": True}})
        found = payload(server.client("a/1"), VERSION, to="localhost").find(ns.VERSION, "os")
        assert found is not None
        self.assertTrue(found.text.strip())

    def test_notForAccounts(self) -> None:
        """The server does not answer for a user's client."""
        client = MemoryServer(modules=("version",)).client("a/1")
        self.assertEqual(refused(client, VERSION, to="a@localhost"), "service-unavailable")
