"""`Origin`: where stanzas come from, a client's session or a link to another server or component.

It keeps the stanzas of one pair of addresses in order while a handler waits (architecture section 4, Waiting), and
slows down whoever writes more than the storage can take.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from xmppservice.hub.passage import logIncident
from xmppservice.hub.waiting import WaitingLine
from xmppservice.protocol.errors import StanzaError

if TYPE_CHECKING:
    from xmppservice.hub.acknowledge import AckLedger
    from xmppservice.hub.contracts.storage import IStore
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.transit import Transit
    from xmppservice.wire.element import Element


class Origin:
    """What a `Transit` knows of the peer that sent it; `store` is what its acknowledgements wait for."""

    #: Whether it is a client's session.
    isSession: ClassVar[bool] = False

    __slots__ = ("_paused", "_waiting", "ended", "ledger", "store", "stream")

    def __init__(self, stream: IStream, store: IStore) -> None:
        self.stream: IStream | None = stream
        self.store = store
        self.ledger: AckLedger | None = None
        self.ended = False
        self._waiting: WaitingLine | None = None
        #: The stream that is not read because too much waits.
        self._paused: IStream | None = None

    def reply(self, stanza: Element) -> None:
        """Send the peer an answer to one of its stanzas."""
        raise NotImplementedError

    def _dispatch(self, transit: Transit) -> None:
        """Pass a stanza on; must not raise, see `_failed`."""
        raise NotImplementedError

    def _take(self, transit: Transit) -> None:
        """Pass a stanza on, or have it wait behind those of its pair; slow down its stream if the storage lags."""
        if self._waiting and (key := (transit.sender.bare, transit.to.bare)) in self._waiting:
            transit.park()
            self._waiting.join(key, lambda: self._follow(transit))
        else:
            self._dispatch(transit)
        if transit.ticket and self.store.crowded:
            self._awaitStore(transit.ticket)

    def _failed(self, transit: Transit) -> None:
        """An exception is being handled: the stanza is refused, or could not be passed on, and its sender is told."""
        error = sys.exception()
        if not isinstance(error, StanzaError):
            incident = logIncident(f"a {transit.kind} could not be processed")
            error = StanzaError("internal-server-error", text=f"incident {incident}")
        transit.host.bounce(transit, error)

    def _awaitStore(self, ticket: int) -> None:
        """The storage cannot keep up: whoever writes is not read until its own is committed."""
        stream, store = self.stream, self.store
        if stream is not None and ticket > store.committed:
            stream.pause()
            store.whenCommitted(ticket).addBoth(lambda _: stream.resume())

    def _follow(self, transit: Transit) -> None:
        """What it waited behind is through."""
        self._dispatch(transit)
        transit.finish()

    # -- waiting ---------------------------------------------------------------------------------

    def hold(self, transit: Transit) -> None:
        """Keep later stanzas of this transit's pair back until `release`."""
        transit.park()
        if self._waiting is None:
            self._waiting = WaitingLine(self._pause, self._unpause)
        self._waiting.begin((transit.sender.bare, transit.to.bare))

    def release(self, transit: Transit) -> None:
        """The transit is through; what waited behind it follows."""
        transit.finish()
        if self._waiting is not None:
            self._waiting.end((transit.sender.bare, transit.to.bare))

    def _pause(self) -> None:
        self._paused = self.stream
        if self._paused is not None:
            self._paused.pause()

    def _unpause(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and paused is self.stream:
            paused.resume()

    @property
    def waiting(self) -> int:
        """How many of its stanzas wait behind another of their pair."""
        return 0 if self._waiting is None else len(self._waiting)
