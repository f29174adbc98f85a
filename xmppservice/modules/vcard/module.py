"""vcard-temp (XEP-0054): what people publish about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from xmppservice.hub.hooks import ACCOUNT, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import Size, option
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.subscription import FROM
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import XMLError
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.protocol.jid import JID


class VCard(HostModule):
    """Keeps a vCard for each account; the owner sets it, others read it.

    Who asks in vain gets service-unavailable, whether the account, the vCard or the right to see
    it is missing (section 3.3).
    """

    name = "vcard"
    xeps = (XEP(54, "1.3.0"),)
    features = (ns.VCARD,)
    accountFeatures = (ns.VCARD,)
    namespaces = (ns.VCARD,)
    tables = "xmppservice.modules.vcard.tables"

    @attrs.frozen
    class Options:
        """Who reads vCards, and how large they may be."""

        readers: str = option(
            "anyone", "Who may read an account's vCard beside its owner.", choices=("anyone", "local", "subscribers")
        )
        size: Size = option(128 << 10, "The largest vCard that is kept, pictures included.", range=(1 << 10, 240 << 10))

    @iq.get(ns.VCARD, "vCard", to=ACCOUNT)
    async def onGet(self, transit: Transit) -> Element:
        """Hand out a vCard (sections 3.1 and 3.3)."""
        account = transit.account
        assert account is not None
        own = transit.sender.bare == account.jid.bare
        if not own and not self._mayRead(account, transit.sender):
            raise StanzaError("service-unavailable")
        rows = await self.host.store.read("vcard.get", (account.id,), account.ticket)
        if rows:
            return transit.result(self.host.parse(rows[0][0]))
        if own:
            return transit.result(Element(ns.VCARD, "vCard"))
        raise StanzaError("service-unavailable")

    def _mayRead(self, account: Account, who: JID) -> bool:
        if self.options.readers == "anyone":
            return True
        if self.options.readers == "local":
            return who.domain == self.host.name
        return bool(account.roster.get(who.bare, 0) & FROM)

    @iq.set(ns.VCARD, "vCard", to=ACCOUNT, access="owner")
    async def onSet(self, transit: Transit) -> Element:
        """Replace the vCard; the answer tells that it is committed (section 3.2)."""
        account, card = transit.account, transit.payload
        assert account is not None and card is not None
        if not account.id:
            raise StanzaError("not-allowed", text="Guests keep nothing here.")
        data = serialize(card)
        if len(data) > self.options.size:
            raise StanzaError("not-acceptable", text=f"A vCard may have {self.options.size} bytes.")
        try:
            self.host.parse(data)
        except XMLError:
            # Larger limits on streams than on what is read back from the storage.
            raise StanzaError("not-acceptable", text="That vCard is too complex.") from None
        await self.host.store.execute("vcard.set", (account.id, data))
        return transit.result()
