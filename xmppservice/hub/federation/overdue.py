"""Servers that take nothing of what they get: their streams are given up, so that nobody waits for them without end.

A message is not acknowledged to its sender before the other server has it. One that acknowledges nothing, or does not
read, while its connection stays up, would hold that back for ever, and with it all that the sender says to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmppservice.hub.management import REQUEST
from xmppservice.protocol.errors import StreamError

if TYPE_CHECKING:
    from xmppservice.hub.federation.link import ServerLink


def watch(link: ServerLink) -> None:
    """Something is under way: look after a while whether it has been taken. A link has one such timer at most."""
    if link.watching is None and not link.ended:
        _lookLater(link, False)


def _lookLater(link: ServerLink, asked: bool) -> None:
    federation = link.federation
    link.watching = federation.clock.callLater(federation.policy.answerTime, _look, link, link.taken, asked)


def _look(link: ServerLink, taken: int, asked: bool) -> None:
    """`taken` is what had been taken at the last look; `asked`: nothing had been then, and we have asked for it."""
    link.watching = None
    if link.ended or not link.pending:
        return
    if link.taken != taken:
        _lookLater(link, False)
        return
    if not asked:
        if link.queue is not None and link.stream is not None:
            link.stream.send(REQUEST)
        _lookLater(link, True)
        return
    link.reason = "it does not acknowledge what it gets" if link.queue is not None else "it does not read what it gets"
    link.disconnect(StreamError("connection-timeout", "what we send is not taken"))


def stop(link: ServerLink) -> None:
    """The link has ended."""
    watching, link.watching = link.watching, None
    if watching is not None and watching.active():
        watching.cancel()
