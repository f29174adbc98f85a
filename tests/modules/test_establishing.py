"""Session and second bind on a bound stream."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xmppservice.testing import MemoryServer

SESSION = "<iq type='set' id='s'{to}><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
BIND = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>"


class EstablishingTests(SynchronousTestCase):
    """One client that asks again."""

    def setUp(self) -> None:
        """A bound stream."""
        self.client = MemoryServer(modules=("establishing",)).client("alice/phone")

    def test_session(self) -> None:
        """The session is a no-op, addressed to the host or to nobody (RFC 3921 section 3)."""
        for to in ("", " to='localhost'"):
            self.assertEqual(self.client.query(SESSION.format(to=to)).get("type"), "result")

    def test_secondBind(self) -> None:
        """A second resource is not allowed, and the stream goes on."""
        error = self.client.query(BIND).elements()[-1]
        self.assertEqual([error.get("type"), error.elements()[0].name], ["cancel", "not-allowed"])
        self.assertFalse(self.client.stream.closed)
