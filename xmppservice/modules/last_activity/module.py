"""Last activity (XEP-0012): since when the host runs, and when an account was last online."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmppservice.hub.hooks import ACCOUNT, HOST, Phase, iq, presence, session
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.session import Session

#: Characters of a status text that are kept.
STATUS_LIMIT = 1024


class LastActivity(HostModule):
    """Tells the owner of an account, and who gets its presence, when it was last online.

    Others get service-unavailable, the error that an address without account gives: ``forbidden``,
    which section 3 names, would tell strangers which accounts exist (RFC 6121 8.5.1).
    """

    name = "last_activity"
    xeps = (XEP(12, "2.0"),)
    features = (ns.LAST,)
    accountFeatures = (ns.LAST,)
    namespaces = (ns.LAST,)
    tables = "xmppservice.modules.last_activity.tables"

    def attached(self) -> None:
        """The host's time begins when the module comes to it: at the start of the server."""
        self._since = self.host.clock.seconds()

    # -- keeping ---------------------------------------------------------------------------------

    @presence.sending(Phase.OBSERVE, types=("unavailable",))
    def onUnavailable(self, transit: Transit) -> None:
        """Remember the last words of a session (section 3)."""
        session = transit.session
        if session is None or "to" in transit.stanza.attrs:
            return
        status = transit.stanza.find(ns.CLIENT, "status")
        if session.notes is None:
            session.notes = {}
        session.notes[self.name] = "" if status is None else status.text[:STATUS_LIMIT]

    @session.closed
    def onClosed(self, session: Session) -> None:
        """The last session of an account has ended: that is its logout. Guests have id 0 and leave no trace."""
        account = session.account
        if account.id and not account.sessions:
            status = (session.notes or {}).get(self.name, "")
            row = (account.id, self.host.clock.now(), status)
            account.wrote(self.host.store.append("last_activity.set", row))

    # -- answering -------------------------------------------------------------------------------

    @iq.get(ns.LAST, "query", to=HOST)
    def onHost(self, transit: Transit) -> Element:
        """How long the host has been running (section 5)."""
        return transit.result(_answer(self.host.clock.seconds() - self._since))

    @iq.get(ns.LAST, "query", to=ACCOUNT, access="subscribers")
    async def onAccount(self, transit: Transit) -> Element:
        """How long ago the account logged out; 0 while it is connected (section 3)."""
        account = transit.account
        assert account is not None
        if account.sessions:
            return transit.result(_answer(0))
        rows = await self.host.store.read("last_activity.get", (account.id,), account.ticket)
        if not rows:
            raise StanzaError("item-not-found", text="The account has not been online yet.")
        [(stamp, status)] = rows
        return transit.result(_answer(self.host.clock.now() - stamp, status))


def _answer(seconds: float, status: str = "") -> Element:
    """The ``<query/>``; a wall clock that was set back makes no negative time."""
    attrs = {"seconds": str(max(0, int(seconds)))}
    return Element(ns.LAST, "query", attrs, *([status] if status else []))
