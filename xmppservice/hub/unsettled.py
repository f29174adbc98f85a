"""What a session remembers of a stanza that its peer may never get.

When the peer has taken the stanza, it is settled; when the session dies first, `lost` says
what becomes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.payloads.delay import delay
from xmppservice.protocol.stanza import delayed, errorFor
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit
    from xmppservice.protocol.jid import JID


_END = b"</message>"
_DELAY = b"urn:xmpp:delay"


def stamped(host: VirtualHost, data: bytes, stamp: float) -> bytes:
    """A message's bytes with the time when it came (XEP-0203)."""
    if _DELAY in data or not data.endswith(_END):
        # Perhaps somebody forged a delay of ours: that one must go, and only the tree shows it.
        return serialize(delayed(host.parse(data), stamp, host.name))
    return data[: -len(_END)] + serialize(delay(stamp, host.name)) + _END


class Held(Protocol):
    """What a session remembers with bytes that it has sent."""

    def taken(self, account: Account) -> None:
        """The peer has it."""

    def lost(self, account: Account) -> Unsettled | None:
        """The session died without it; returns a message that must go elsewhere now, if it is one."""


class Unsettled:
    """One message on its way to one or several sessions of an account.

    `key` is its spool key, 0 if it has no row; `stamp` when it was delivered (seconds since the
    epoch); `data` its bytes; `sender`, `to`, `id` and `type` are for an error, should it come
    to one. `copies` counts the sessions that may still take it: it is settled when the first of
    them has, and goes elsewhere only when the last of them has died without. `moved` is set when
    its spool row became an offline row: then it is settled too, but nobody has it yet.
    """

    __slots__ = ("copies", "data", "id", "key", "moved", "sender", "settled", "stamp", "to", "type")

    def __init__(self, transit: Transit, data: bytes, stamp: float) -> None:
        self.data = data
        self.stamp = stamp
        self.sender: JID = transit.sender
        self.to: JID = transit.to
        self.id = transit.stanza.attrs.get("id")
        self.type = transit.type
        self.key = 0
        self.copies = 0
        self.settled = False
        self.moved = False

    def late(self, host: VirtualHost) -> bytes:
        """Its bytes for a session that gets it later than it should have been (XEP-0203)."""
        return stamped(host, self.data, self.stamp)

    def taken(self, account: Account) -> None:
        """A peer has it."""
        if not self.settled:
            self.settled = True
            if self.key:
                account.host.spool.settle(self.key)

    def lost(self, account: Account) -> Unsettled | None:
        """One session died without taking it; returns itself if it must go elsewhere now."""
        self.copies -= 1
        return self if self.copies <= 0 and not self.settled else None

    def error(self, error: StanzaError) -> Element | None:
        """The error stanza for its sender."""
        return _errorTo("message", self.sender, self.to, self.id, self.type, error)


class UnansweredIQ:
    """An IQ request on its way to a session: if that dies, the requester is told (XEP-0198 section 6)."""

    __slots__ = ("id", "sender", "to")

    def __init__(self, transit: Transit) -> None:
        self.sender: JID = transit.sender
        self.to: JID = transit.to
        self.id = transit.stanza.attrs.get("id")

    def taken(self, account: Account) -> None:
        """The peer has it; answering is its affair."""

    def lost(self, account: Account) -> None:
        """The session died: answer in its place."""
        error = StanzaError("recipient-unavailable", type="wait")
        reply = _errorTo("iq", self.sender, self.to, self.id, "get", error)
        if reply is not None:
            account.host.send(reply)


def _errorTo(kind: str, sender: JID, to: JID, id: str | None, type: str, error: StanzaError) -> Element | None:
    """An error stanza for a stanza of which only the addresses are left."""
    attrs = {"from": sender.full, "to": to.full, "type": type}
    if id is not None:
        attrs["id"] = id
    return errorFor(Element(ns.CLIENT, kind, attrs), error)
