"""Stanza ids (XEP-0359): a message gets an id that its recipient's server vouches for.

The id is part of the bytes that are delivered, spooled and stored, so it is the same however often
and to however many sessions a message goes. Ids begin with the node, rise with time and end in 64
random bits, so that nobody can guess one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from xmppservice.hub.hooks import Phase, message
from xmppservice.hub.module import XEP, HostModule
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.wire import ns
from xmppservice.wire.serializer import escapeAttribute

if TYPE_CHECKING:
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit
    from xmppservice.wire.element import Element

#: Payloads that nobody will ever refer to.
_FLEETING = frozenset({ns.CHAT_STATES, ns.HINTS, ns.SID})

#: Random hexadecimal digits per id, and ids per draw from the system: one draw for each would cost more than the rest.
_DIGITS = 16
_DRAW = 512

_HEAD = b"<stanza-id xmlns='urn:xmpp:sid:0' by='"


class StanzaIds(HostModule):
    """Puts a ``<stanza-id/>`` into messages for accounts, and strips those that others forged."""

    name = "stanza_ids"
    xeps = (XEP(359, "0.7.0"),)
    features = (ns.SID,)
    accountFeatures = (ns.SID,)
    namespaces = (ns.SID,)

    def __init__(self, host: VirtualHost, options: Any) -> None:
        super().__init__(host, options)
        self._node = escapeAttribute(host.node).encode()
        # Microseconds since the epoch: higher than any id given out before a restart.
        self._count = int(host.clock.now() * 1_000_000)
        self._random = b""
        self._position = 0

    def make(self) -> bytes:
        """A new id, as bytes that need no escaping."""
        position = self._position
        if position >= len(self._random):
            self._random = secrets.token_hex(_DIGITS // 2 * _DRAW).encode()
            position = 0
        self._position = position + _DIGITS
        self._count = count = self._count + 1
        return b"%b-%x-%b" % (self._node, count, self._random[position : position + _DIGITS])

    @message.receiving(Phase.AMEND, payload=ns.SID)
    def strip(self, transit: Transit) -> None:
        """Only we may speak in the name of the recipient or of this host (section 4, I04)."""
        stanza = transit.stanza
        stanza.children = [
            node for node in stanza.children if isinstance(node, str) or not self._isForged(transit, node)
        ]

    def _isForged(self, transit: Transit, node: Element) -> bool:
        if node.ns != ns.SID or node.name != "stanza-id":
            return False
        try:
            by = JID.parse(node.get("by") or "")
        except InvalidJID:
            # Nobody can have such an address, but a lenient client might read ours into it.
            return True
        assert transit.account is not None
        return by.bare == transit.account.jid.bare or by.bare == self.host.name

    @message.receiving(Phase.AMEND, types=("normal", "chat"))
    def add(self, transit: Transit) -> None:
        """Put our id behind the content of a message that somebody may refer to."""
        for node in transit.stanza.children:
            if type(node) is not str and node.ns not in _FLEETING:  # type: ignore[union-attr]
                break
        else:
            return
        by: bytes = transit.account.address  # type: ignore[union-attr]
        transit.suffix += b"%b%b' id='%b'/>" % (_HEAD, by, self.make())
