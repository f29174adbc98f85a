"""Entity time (XEP-0202)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import payload, refused
from xmppservice.protocol.payloads.datetime import parseStamp
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns

TIME = "<time xmlns='urn:xmpp:time'/>"


class EntityTimeTests(SynchronousTestCase):
    """What time it is at the server."""

    def test_time(self) -> None:
        """The wall time in UTC, and no offset that tells where we are (section 6)."""
        server = MemoryServer(modules=("entity_time",))
        server.advance(90)
        time = payload(server.client("a/1"), TIME, to="localhost")
        utc, tzo = time.find(ns.TIME, "utc"), time.find(ns.TIME, "tzo")
        assert utc is not None and tzo is not None
        self.assertEqual((tzo.text, utc.text), ("+00:00", "2026-01-01T00:01:30Z"))
        self.assertEqual(parseStamp(utc.text), server.clock.now())

    def test_notForAccounts(self) -> None:
        """The server does not answer for a user's client."""
        client = MemoryServer(modules=("entity_time",)).client("a/1")
        self.assertEqual(refused(client, TIME), "service-unavailable")
