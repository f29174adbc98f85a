"""Streams that other servers open, at a socket in memory."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.federation.kit import OURS, THEIRS, Kit
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.s2s.incoming import IncomingFactory
from xmppservice.edge.s2s.trust import Judge
from xmppservice.edge.settings import StreamSettings
from xmppservice.protocol.stream.s2s import Policy

HEADER = (
    f"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='{THEIRS}' "
    f"to='{OURS}' version='1.0'>"
).encode()


class NoCertificateTests(SynchronousTestCase):
    """A server that has no certificate, and is listened for by mistake."""

    def setUp(self) -> None:
        """A connection."""
        kit = Kit()
        self.addCleanup(kit.stop)
        factory = IncomingFactory(kit.federation, Judge(), Policy(), StreamSettings(), kit.server.clock, None)
        driver = factory.buildProtocol(None)
        assert isinstance(driver, StreamDriver)
        self.driver, self.transport = driver, StringTransport()
        driver.makeConnection(self.transport)

    def test_startTLS(self) -> None:
        """It says that it cannot (RFC 6120 5.4.2.2), and nothing has to be logged as a mistake of ours."""
        self.driver.dataReceived(HEADER)
        self.transport.clear()
        self.driver.dataReceived(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.assertEqual(
            self.transport.value(), b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"
        )
        self.assertTrue(self.transport.disconnecting)
