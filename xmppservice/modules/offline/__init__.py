"""Messages for accounts without a session that takes them (XEP-0160), and hints about keeping (XEP-0334)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.contracts.delivery import IOfflinePolicy
from xmppservice.hub.hooks import HANDLED, Phase, message, session
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import option
from xmppservice.modules.offline.copies import Deliveries
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.payloads.hints import NO_STORE, STORE
from xmppservice.protocol.stanza import isDelayBy
from xmppservice.wire import ns

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.session import Session
    from xmppservice.hub.transit import Transit
    from xmppservice.hub.unsettled import Unsettled
    from xmppservice.wire.element import Element

log = Logger()

#: Payloads that mean nothing by the time somebody comes online.
_FLEETING = frozenset({ns.CHAT_STATES, ns.HINTS, ns.SID, ns.DELAY, ns.NICK})


@implementer(IOfflinePolicy)
class Offline(HostModule):
    """Keeps messages that no session took, and delivers them to the next that is available."""

    name = "offline"
    xeps = (XEP(160, "1.0.1"), XEP(203, "2.0"), XEP(334, "0.4.0", note="what is kept"))
    features = (ns.OFFLINE, ns.HINTS)
    provides = (IOfflinePolicy,)

    @attrs.frozen
    class Options:
        """Bounds of offline storage."""

        limit: int = option(
            1000, "Messages kept for one account; a sender whose message does not fit is told.", range=(0, 1_000_000)
        )

    def __init__(self, host: VirtualHost, options: Any) -> None:
        super().__init__(host, options)
        self._deliveries = Deliveries(host)

    # -- the policy --------------------------------------------------------------------------------

    def keeps(self, transit: Transit) -> bool:
        """`IOfflinePolicy.keeps`: normal and chat messages with something lasting in them."""
        type = transit.type
        return (type == "chat" or type == "normal") and _lasts(transit.stanza)

    def accept(self, account: Account, message: Unsettled) -> bool:
        """`IOfflinePolicy.accept`: a message whose session died before it was taken."""
        if not account.id or account.offline >= self.options.limit:
            return False
        account.offline += 1
        if message.key:
            message.moved = True
            # A failure leaves the row in the spool, from where the next start recovers it.
            ticket = self.host.spool.moveOffline(
                (message.key,), lambda error: self._lost(account, f"stays in the spool: {error}")
            )
        else:
            ticket = self.host.services.offline.store(
                account.id, message.stamp, message.data, lambda error: self._refuse(account, message, error)
            )
        message.settled = True
        account.wrote(ticket)
        return True

    def _lost(self, account: Account, why: str) -> None:
        account.offline = max(0, account.offline - 1)
        log.error("a message to {jid} {why}", jid=account.jid.bare, why=why)

    def _refuse(self, account: Account, message: Unsettled, error: Exception) -> None:
        self._lost(account, f"was not stored: {error}")
        reply = message.error(_notStored())
        if reply is not None:
            self.host.send(reply)

    # -- storing -----------------------------------------------------------------------------------

    @message.receiving(Phase.AMEND, payload=ns.DELAY)
    def strip(self, transit: Transit) -> None:
        """A delay in our name that somebody else wrote is forged (XEP-0203 section 5)."""
        if transit.sender != self.host.jid:
            stanza, by = transit.stanza, self.host.name
            stanza.children = [node for node in stanza.children if not isDelayBy(node, by)]

    @message.receiving(Phase.FALLBACK, types=("normal", "chat"))
    def onUndelivered(self, transit: Transit) -> object:
        """No session took the message: keep it (XEP-0160 section 3)."""
        account = transit.account
        assert account is not None
        if not _lasts(transit.stanza):
            # A chat state that nobody saw is no loss; a message that must not be kept is refused.
            return HANDLED if _isFleeting(transit.stanza) else None
        if not account.id:
            # A guest will not come back.
            return None
        if account.offline >= self.options.limit:
            raise StanzaError("service-unavailable", text="the recipient's offline storage is full")
        account.offline += 1
        data = self.host.bytesOf(transit)
        ticket = self.host.services.offline.store(
            account.id, self.host.clock.now(), data, lambda error: self._failed(transit, error)
        )
        transit.depends(ticket)
        account.wrote(ticket)
        if account.catchingUp is not None:
            self._deliveries.queued(account)
        return HANDLED

    def _failed(self, transit: Transit, error: Exception) -> None:
        """The sender learns that its message is not kept; until now nothing was acknowledged."""
        assert transit.account is not None
        self._lost(transit.account, f"was not stored: {error}")
        self.host.bounce(transit, _notStored())

    # -- delivering --------------------------------------------------------------------------------

    @session.available
    def onAvailable(self, session: Session) -> None:
        """Deliver what waits (XEP-0160 section 3, step 5)."""
        if session.account.offline:
            self._deliveries.begin(session)


def _notStored() -> StanzaError:
    return StanzaError("resource-constraint", type="wait", text="the message could not be stored")


def _lasts(stanza: Element) -> bool:
    """Whether a message is worth keeping, and may be kept. On the hot path."""
    lasting = False
    for node in stanza.children:
        if type(node) is str:
            continue
        space: str = node.ns  # type: ignore[union-attr]
        if space == ns.CLIENT:
            lasting = lasting or node.name != "thread"  # type: ignore[union-attr]
        elif space == ns.HINTS:
            name = node.name  # type: ignore[union-attr]
            if name == STORE:
                lasting = True
            elif name == NO_STORE:
                # Not so for no-permanent-store: waiting for its recipient is part of delivery (XEP-0334 3.3).
                return False
        elif space not in _FLEETING:
            lasting = True
    return lasting


def _isFleeting(stanza: Element) -> bool:
    """Whether there is nothing in a message that its sender would miss."""
    return all(
        node.ns in _FLEETING or (node.ns == ns.CLIENT and node.name == "thread") for node in stanza.elements()
    )
