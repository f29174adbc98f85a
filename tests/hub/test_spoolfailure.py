"""A spool that cannot keep a message: its sender must not believe that we have it (architecture, durability)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.hub.kit import chat, condition, manage
from xmppservice.hub.contracts.storage import Failed, ISpool, StorageFull
from xmppservice.testing import MemoryServer


@implementer(ISpool)
class LateSpool:
    """A spool whose writes fail when the test says so."""

    def __init__(self) -> None:
        self.failures: list[Failed] = []
        self.moved: list[int] = []

    def hold(self, accountId: int, stamp: float, data: bytes, failed: Failed | None = None) -> tuple[int, int]:
        """Take a message; its ticket is settled already, so that nothing waits."""
        assert failed is not None
        self.failures.append(failed)
        return len(self.failures), 0

    def settle(self, key: int) -> None:
        """Nothing to forget."""

    def moveOffline(self, keys: Sequence[int], failed: Failed | None = None) -> int:
        """Remember what was to be moved."""
        self.moved += keys
        return 0


class SpoolFailureTests(SynchronousTestCase):
    """Alice sends to Bob, and the row cannot be written."""

    def setUp(self) -> None:
        """Both with XEP-0198."""
        self.server = MemoryServer(modules=("offline", "stream_management"))
        self.spool = LateSpool()
        self.assertTrue(verifyObject(ISpool, self.spool))
        self.server.host.spool = self.spool
        self.alice = self.server.client("alice/x", available=True)
        self.bob = self.server.client("bob/y", available=True)
        manage(self.alice)
        manage(self.bob)

    def failWrite(self) -> list[str]:
        """The write fails; what Alice hears of it."""
        self.alice.take()
        self.spool.failures[0](StorageFull("no space"))
        return [condition(stanza) for stanza in self.alice.take() if stanza.name == "message"]

    def test_notTakenYet(self) -> None:
        """The sender is told while the recipient has not acknowledged."""
        chat(self.alice, "bob@localhost/y", "hello")
        self.assertEqual(self.failWrite(), ["resource-constraint"])

    def test_takenMeanwhile(self) -> None:
        """Once the recipient has it there is nothing to tell."""
        chat(self.alice, "bob@localhost/y", "hello")
        self.bob.send("<a xmlns='urn:xmpp:sm:3' h='1'/>")
        self.assertEqual(self.failWrite(), [])

    def test_movedMeanwhile(self) -> None:
        """A row that never was cannot become an offline row: the sender is told."""
        chat(self.alice, "bob@localhost/y", "hello")
        self.bob.close()
        self.assertEqual(self.spool.moved, [1])
        self.assertEqual(self.failWrite(), ["resource-constraint"])
