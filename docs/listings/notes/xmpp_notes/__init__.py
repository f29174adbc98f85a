"""Notes that the devices of an account share: a module of its own distribution."""

import attrs

from xmppservice.hub.hooks import ACCOUNT, iq
from xmppservice.hub.module import HostModule, option
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire.element import Element

NOTES = "urn:example:notes"


class Notes(HostModule):
    """Keeps short notes for each account."""

    name = "notes"
    accountFeatures = (NOTES,)
    namespaces = (NOTES,)
    tables = "xmpp_notes.tables"

    @attrs.frozen
    class Options:
        """Bounds of one account's notes."""

        limit: int = option(100, "Notes of one account.", range=(1, 10_000))

    @iq.get(NOTES, "notes", to=ACCOUNT, access="owner")
    async def onRead(self, transit):
        """All notes, oldest first."""
        rows = await self._rows(transit.account)
        return transit.result(Element(NOTES, "notes", None, *(Element(NOTES, "note", None, row[0]) for row in rows)))

    @iq.set(NOTES, "note", to=ACCOUNT, access="owner")
    async def onWrite(self, transit):
        """One more note."""
        text = transit.payload.text
        if not text or len(text) > 1000:
            raise StanzaError("bad-request", text="A note has 1 to 1000 characters.")
        if len(await self._rows(transit.account)) >= self.options.limit:
            raise StanzaError("resource-constraint", text=f"There are {self.options.limit} notes already.")
        account = transit.account
        ticket = self.host.store.append("notes.add", (account.id, text))
        account.wrote(ticket)
        transit.depends(ticket)
        return transit.result()

    def _rows(self, account):
        return self.host.store.read("notes.all", (account.id,), after=account.ticket)
