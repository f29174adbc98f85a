"""XMPP ping (XEP-0199)."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import ask, refused
from xmppservice.modules import ping
from xmppservice.testing import MemoryServer

PING = "<ping xmlns='urn:xmpp:ping'/>"


class PingTests(SynchronousTestCase):
    """Pings to the server and to accounts."""

    def setUp(self) -> None:
        """Alice, and Bob who is a stranger to her."""
        self.server = MemoryServer(modules=("ping",))
        self.alice = self.server.client("alice/phone")
        self.bob = self.server.client("bob/desk")

    def test_server(self) -> None:
        """The server answers with an empty result (section 4.2)."""
        answer = ask(self.alice, PING, to="localhost")
        self.assertEqual((answer.get("type"), answer.get("from"), answer.children), ("result", "localhost", []))

    def test_ownAccount(self) -> None:
        """So it does for the account of the client, with or without `to` (section 4.2, note)."""
        for to in (None, "alice@localhost"):
            self.assertEqual(ask(self.alice, PING, to=to).get("type"), "result")

    def test_stranger(self) -> None:
        """A ping does not tell strangers which accounts exist."""
        self.assertEqual(refused(self.bob, PING, to="alice@localhost"), "service-unavailable")
        self.assertEqual(refused(self.bob, PING, to="nobody@localhost"), "service-unavailable")

    def test_friend(self) -> None:
        """A subscriber knows already."""
        self.server.befriend("alice", "bob")
        self.assertEqual(ask(self.bob, PING, to="alice@localhost").get("type"), "result")

    def test_resourceOfHost(self) -> None:
        """The host has no resources."""
        self.assertEqual(refused(self.alice, PING, to="localhost/x"), "service-unavailable")

    def test_small(self) -> None:
        """The smallest module stays small: it is the example that others learn from."""
        self.assertLess(len(Path(ping.__file__).read_text().splitlines()), 40)
