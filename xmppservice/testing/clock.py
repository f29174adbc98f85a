"""Virtual time."""

from __future__ import annotations

from twisted.internet.task import Clock
from zope.interface import implementer

from xmppservice.hub.contracts.clock import IClock

#: The wall time at which every test begins: 2026-01-01T00:00:00Z.
BEGINNING = 1767225600.0


@implementer(IClock)
class MemoryClock(Clock):
    """Twisted's `Clock`, whose wall time runs along with it."""

    def now(self) -> float:
        """See `IClock.now`."""
        return BEGINNING + float(self.seconds())
