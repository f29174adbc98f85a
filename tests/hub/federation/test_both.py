"""Streams that another server has opened for both directions: nothing is sent on them that nobody counts (R26)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.federation.kit import OURS, THEIRS, Kit, cut, give, ids
from xmppservice.hub.federation.link import ENABLE_TIME
from xmppservice.wire import ns

ENABLE = f"<enable xmlns='{ns.SM}' resume='true'/>"
MESSAGE = f"<message from='bob@{THEIRS}/r' to='alice@{OURS}' type='chat' id='m'><body>hi</body></message>"


class BothDirectionsTests(SynchronousTestCase):
    """Alice has written before the other server calls."""

    def setUp(self) -> None:
        """One message waits."""
        self.kit = Kit()
        self.addCleanup(self.kit.stop)
        self.kit.say("1")
        self.link, self.stream = self.kit.incoming(remote=THEIRS, bidi=True)

    def test_firstItIsCounted(self) -> None:
        """What waits comes behind ``<enabled/>``; unacknowledged it is sent again over the next stream."""
        self.kit.say("2")
        self.assertEqual(self.stream.take(), [])
        give(self.link, ENABLE)
        taken = self.stream.take()
        self.assertEqual(taken[0].name, "enabled")
        self.assertEqual(ids(taken), ["1", "2"])
        cut(self.link, self.stream)
        _, own = self.kit.connector.reach(managed=True)
        self.assertEqual(ids(own.take()), ["1", "2"])

    def test_whoDoesNotCount(self) -> None:
        """The first stanza shows that there is no ``<enable/>`` to come; so does a second."""
        give(self.link, MESSAGE)
        self.assertEqual(ids(self.stream.take()), ["1"])
        self.kit.say("2")
        self.assertEqual(ids(self.stream.take()), ["2"])

    def test_whoSaysNothing(self) -> None:
        """We do not wait long."""
        self.kit.server.clock.advance(ENABLE_TIME + 0.1)
        self.assertEqual(ids(self.stream.take()), ["1"])

    def test_cutBefore(self) -> None:
        """A stream that ends before that takes nothing with it."""
        cut(self.link, self.stream)
        self.kit.server.clock.advance(ENABLE_TIME + 0.1)
        _, own = self.kit.connector.reach()
        self.assertEqual(ids(own.take()), ["1"])

    def test_countedFromEnabled(self) -> None:
        """On a stream of ours we count what comes behind ``<enabled/>``: what came before the other server does not
        count either (XEP-0198 section 4)."""
        link, stream = self.kit.connector.reach(managed=True, bidi=True)
        give(link, MESSAGE, f"<enabled xmlns='{ns.SM}' id='t' resume='true'/>", MESSAGE)
        self.kit.server.clock.advance(1.0)
        stream.take()
        give(link, f"<r xmlns='{ns.SM}'/>")
        self.kit.server.clock.advance(2.0)
        self.assertEqual([each.get("h") for each in stream.take() if each.name == "a"], ["1"])
