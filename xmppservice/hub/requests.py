"""IQs that the server sends itself: matched by id *and* address, with a time-out (I05)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit

#: How many of our own requests may be open per host.
OPEN_LIMIT = 10_000


class Requests:
    """The open requests of one virtual host."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self._open: dict[tuple[str, str], tuple[Deferred[Element], IDelayedCall]] = {}

    def send(
        self, iq: Element, timeout: float = 30.0, dispatch: Callable[[Element], None] | None = None
    ) -> Deferred[Element]:
        """Send an IQ get or set with ``from`` and ``to``; an id is put on it.

        `dispatch` sends it on its way, if it is not to go straight to the router; it may raise `StanzaError`.

        Fires with the result, fails with `StanzaError` (the peer's, or remote-server-timeout).
        """
        if len(self._open) >= OPEN_LIMIT:
            return fail(StanzaError("resource-constraint"))
        iq.attrs["id"] = secrets.token_urlsafe(12)
        key = (iq.attrs["id"], JID.parse(iq.attrs["to"]).full)
        answer: Deferred[Element] = Deferred()
        timer = self._host.clock.callLater(timeout, self._expired, key)
        self._open[key] = (answer, timer)
        try:
            (dispatch or self._host.send)(iq)
        except StanzaError as error:
            self._give(key, error)
        return answer

    def answered(self, transit: Transit) -> bool:
        """A result or error has come for us; True if it answers one of our requests."""
        entry = self._open.pop((transit.stanza.attrs.get("id", ""), transit.sender.full), None)
        if entry is None:
            return False
        answer, timer = entry
        timer.cancel()
        if transit.type == "error":
            answer.errback(StanzaError.fromStanza(transit.stanza))
        else:
            answer.callback(transit.stanza)
        return True

    def refused(self, transit: Transit, error: StanzaError) -> None:
        """One of our requests could not be delivered: nobody will answer it."""
        self._give((transit.stanza.attrs.get("id", ""), transit.to.full), error)

    def _give(self, key: tuple[str, str], error: StanzaError) -> None:
        entry = self._open.pop(key, None)
        if entry is not None:
            answer, timer = entry
            timer.cancel()
            answer.errback(error)

    def _expired(self, key: tuple[str, str]) -> None:
        answer, _ = self._open.pop(key)
        answer.errback(StanzaError("remote-server-timeout"))

    def cancelAll(self) -> None:
        """The host stops: nobody will answer any more."""
        for key in list(self._open):
            answer, timer = self._open.pop(key)
            timer.cancel()
            answer.errback(StanzaError("service-unavailable"))
