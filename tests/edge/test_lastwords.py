"""What a session says when its peer closes the stream in order (XEP-0198 section 4)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.edge.doubles import RecordingSession, boundPeer

ACK = b"<a xmlns='urn:xmpp:sm:3' h='7'/>"


class LastWordsTests(SynchronousTestCase):
    """They stand before the closing tag, or the peer would not read them."""

    def test_acknowledgement(self) -> None:
        """The last acknowledgement, then the footer."""
        self.patch(RecordingSession, "streamClosed", lambda session: session.stream.send(ACK))
        peer = boundPeer()
        self.assertEqual(peer.say("</stream:stream>"), ACK.decode() + "</stream:stream>")

    def test_failure(self) -> None:
        """A session that fails at its end does not keep the stream open."""

        def broken(session: object) -> None:
            raise ValueError("broken")

        self.patch(RecordingSession, "streamClosed", broken)
        peer = boundPeer()
        self.assertEqual(peer.say("</stream:stream>"), "</stream:stream>")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
