"""What the hub and the edge promise each other about streams between servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


class IConnector(Interface):
    """The edge as the federation sees it."""

    def connect(local: str, remote: str) -> Deferred[ServerLink]:
        """Open a stream from one of our domains to another server, and negotiate it.

        Fires with its link, which may have authenticated the pair already (`ServerLink.carries`) or not; fails with
        `Unreachable`.
        """


class IIdentity(Interface):
    """The other end of one stream, as its link sees it."""

    def judge(domain: str) -> Deferred[Verdict]:
        """Whether the certificate of the other end is valid for a domain."""
