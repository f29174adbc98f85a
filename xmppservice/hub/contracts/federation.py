"""What the hub and the edge promise each other about streams between servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.hub.federation.link import ServerLink
    from xmppservice.protocol.stream.s2s import Verdict


class Unreachable(Exception):
    """Another server cannot be had. `condition` is what senders are told: ``remote-server-not-found`` or
    ``remote-server-timeout``; `lasting`: trying again soon is of no use."""

    def __init__(self, reason: str, condition: str = "remote-server-timeout", lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.condition = condition
        self.lasting = lasting


@attrs.frozen
class Step:
    """One step of an attempt, for people: its name, "ok", "note" or "failed", and what came of it."""

    name: str
    result: str
    what: str


Tell = Callable[[Step], object]
"""Takes the steps of an attempt as they are done."""


def untold(step: Step) -> None:
    """Nobody watches."""


class IConnector(Interface):
    """The edge as the federation sees it."""

    def connect(local: str, remote: str, tell: Tell = untold) -> Deferred[ServerLink]:
        """Open a stream from one of our domains to another server, and negotiate it.

        With `tell`, which is told of each step, it is a trial: the stream is for one direction, to be closed again.
        Fires with its link, which may have authenticated the pair already (`ServerLink.carries`) or not; fails with
        `Unreachable`.
        """


class IIdentity(Interface):
    """The other end of one stream, as its link sees it."""

    def judge(domain: str) -> Deferred[Verdict]:
        """Whether the certificate of the other end is valid for a domain."""
