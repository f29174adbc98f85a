"""The real clock: the reactor's timers, and the time of day."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from xmppservice.hub.contracts.clock import IClock


@implementer(IClock)
class SystemClock:
    """An `IClock` over a reactor, whose own time should be monotonic."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    #: See `IClock.now`. Without a frame of its own: every message is stamped.
    now = staticmethod(time.time)

    def seconds(self) -> float:
        """See `IReactorTime.seconds`."""
        return self._reactor.seconds()

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        return self._reactor.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Any:
        """See `IReactorTime.getDelayedCalls`."""
        return self._reactor.getDelayedCalls()
