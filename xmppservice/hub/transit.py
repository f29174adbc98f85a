"""`Transit`: one stanza's passage through the server, as plain data (architecture section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from xmppservice.protocol.stanza import resultFor

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.origin import Origin
    from xmppservice.hub.session import Session
    from xmppservice.protocol.jid import JID
    from xmppservice.wire.element import Element


class Transit:
    """One stanza on its way.

    `stanza` is the element, whose ``from`` and ``to`` are already normal; `kind` its name;
    `type` its type with the default filled in; `sender` the true full JID (or bare JID, or
    domain); `to` where it goes; `origin` the session or link it came from, None for the server's
    own stanzas; `account` the account on whose side it is now, None on a host's own address;
    `host` the virtual host that looks at it; `ticket` the highest storage ticket that its
    passage caused, 0 for none.
    """

    __slots__ = (
        "account",
        "finished",
        "host",
        "kind",
        "notes",
        "origin",
        "pending",
        "sender",
        "stanza",
        "suffix",
        "ticket",
        "to",
        "type",
    )

    def __init__(
        self,
        stanza: Element,
        kind: str,
        type: str,
        sender: JID,
        to: JID,
        origin: Origin | None,
        host: VirtualHost,
    ) -> None:
        self.stanza = stanza
        self.kind = kind
        self.type = type
        self.sender = sender
        self.to = to
        self.origin = origin
        self.host = host
        self.account: Account | None = None
        self.notes: dict[str, Any] | None = None
        self.ticket = 0
        # Bytes that AMEND on the recipient's side puts behind the children.
        self.suffix = b""
        # How many waits are open: until it is none the acknowledgement must not count this stanza.
        self.pending = 0
        self.finished: Callable[[], None] | None = None

    @property
    def payload(self) -> Element | None:
        """The first child element: an IQ's payload (RFC 6120 8.2.3)."""
        for node in self.stanza.children:
            if type(node) is not str:
                return node  # type: ignore[return-value]
        return None

    @property
    def session(self) -> Session | None:
        """The client's session that it came from; None for stanzas from elsewhere and for the server's own."""
        origin = self.origin
        return cast("Session", origin) if origin is not None and origin.isSession else None

    def result(self, payload: Element | None = None) -> Element:
        """The IQ result for this IQ, with an optional payload."""
        return resultFor(self.stanza, payload)

    def note(self, key: str, value: Any) -> None:
        """Leave a note for later phases; keys are the module's name or start with it."""
        if self.notes is None:
            self.notes = {}
        self.notes[key] = value

    def depends(self, ticket: int) -> None:
        """The acknowledgement of this stanza waits for `ticket` as well."""
        if ticket > self.ticket:
            self.ticket = ticket

    def park(self) -> None:
        """Something waits for this stanza; `finish` must follow."""
        self.pending += 1

    def finish(self) -> None:
        """One wait is over; with the last, whoever counts the stanza is told."""
        self.pending -= 1
        if not self.pending and self.finished is not None:
            finished, self.finished = self.finished, None
            finished()
