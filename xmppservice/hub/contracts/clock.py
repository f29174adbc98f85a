"""Time, as it is handed to everything that needs it."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime


class IClock(IReactorTime):
    """Timers that run on monotonic time, and the time of day for stamps."""

    def now() -> float:
        """The wall time, in seconds since the epoch. It may jump: never subtract two of them."""
