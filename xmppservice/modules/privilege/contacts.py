"""What is known of the presence of contacts on other servers, for components that may see it (XEP-0356 section 7.4).

It is kept only while such a component is configured, in a bounded number of entries. It serves two rules of section 8:
a component that connects later learns of everybody who is online, and what comes once for each of our accounts is
told once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from xmppservice.wire.element import XML_LANG
from xmppservice.wire.serializer import escapeAttribute, innerBytes

if TYPE_CHECKING:
    from xmppservice.hub.component import ComponentPort
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit
    from xmppservice.protocol.jid import JID

#: Full addresses that are remembered; the one that was silent longest is forgotten.
LIMIT = 20_000

#: Longer presence than this is passed on each time, and not remembered.
SIZE_LIMIT = 2048


class ContactPresence:
    """The last presence of each full address that a component was, or would have been, told of."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        #: Full JID → what stands behind the addresses.
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def clear(self) -> None:
        """Nobody may see it any more."""
        self._known.clear()

    def news(self, sender: JID, transit: Transit) -> bytes:
        """Take what somebody says; what stands behind the addresses, b"" if it was said to another account before."""
        tail = _tail(transit)
        if self._known.get(sender.full) == tail:
            self._known.move_to_end(sender.full)
            return b""
        self._known.pop(sender.full, None)
        if len(tail) <= SIZE_LIMIT:
            self._known[sender.full] = tail
            if len(self._known) > LIMIT:
                self._known.popitem(last=False)
        return tail

    def tellAll(self, port: ComponentPort) -> None:
        """Pass on all who are available (section 8 rule 1)."""
        for address, tail in list(self._known.items()):
            if not tail.startswith(_GONE):
                self.tell(port, address, tail)

    def tell(self, port: ComponentPort, sender: str, tail: bytes) -> None:
        """Pass on what `news` has given."""
        escape = self._host.escape
        self._host.send(
            self._host.parse(b"<presence from='%b' to='%b'%b" % (escape(sender), escape(port.name), tail))
        )


_GONE = b" type='unavailable'"


def _tail(transit: Transit) -> bytes:
    attrs = transit.stanza.attrs
    head = _GONE if transit.type == "unavailable" else b""
    for key, name in (("id", "id"), (XML_LANG, "xml:lang")):
        if key in attrs:
            head += f" {name}='{escapeAttribute(attrs[key])}'".encode()
    return head + b">" + innerBytes(transit.stanza) + b"</presence>"
