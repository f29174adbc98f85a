"""Handing out what epoll reports, without a log context for each event.

Twisted's reactor enters a log context around every event (`twisted.python.log.callWithLogger`), for a log interface
that nothing here uses. For a message that comes alone these are nine calls and two copied dicts more, about a tenth
of what it costs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

_log = Logger()


def pollPlainly(reactor: Any) -> bool:
    """Let an epoll reactor hand out its events directly; False, and nothing changes, if it is of another kind.

    Does what `EPollReactor.doPoll` does. Exceptions of connections are taken and logged by
    `_doReadOrWrite`; one that it lets through is logged here, and the other events go on.
    """
    if type(reactor) is not EPollReactor:
        return False
    inside: Any = reactor
    poll, selectables, serve = inside._poller.poll, inside._selectables, inside._doReadOrWrite

    def iterate(timeout: float | None) -> None:
        for number, event in poll(-1 if timeout is None else timeout, len(selectables)):
            selectable = selectables.get(number)
            if selectable is not None:
                try:
                    serve(selectable, number, event)
                except Exception:
                    _log.failure("an event of a connection could not be served")

    inside.doIteration = inside.doPoll = iterate
    return True
