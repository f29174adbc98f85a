"""Private XML storage (XEP-0049): small things that clients keep for their user."""

from __future__ import annotations

import attrs

from xmppservice.hub.hooks import ACCOUNT, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import Size, option
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import XMLError
from xmppservice.wire.serializer import serialize

Key = tuple[str, str]


class PrivateXML(HostModule):
    """Keeps elements by namespace and name, for the owner of the account only.

    Others get service-unavailable, as at an address without account (section 3 allows it).
    """

    name = "private_xml"
    xeps = (XEP(49, "1.2"),)
    features = (ns.PRIVATE,)
    accountFeatures = (ns.PRIVATE,)
    namespaces = (ns.PRIVATE,)
    tables = "xmppservice.modules.private_xml.tables"

    @attrs.frozen
    class Options:
        """How much an account may keep."""

        size: Size = option(64 << 10, "The largest fragment that is kept.", range=(1 << 10, 240 << 10))
        total: Size = option(512 << 10, "Bytes of all fragments of an account.", range=(1 << 10, 16 << 20))
        count: int = option(100, "Number of fragments of an account.", range=(1, 10_000))

    @iq.get(ns.PRIVATE, "query", to=ACCOUNT, access="owner")
    async def onGet(self, transit: Transit) -> Element:
        """Hand out what is kept under the name of the child; the empty child if that is nothing."""
        account = transit.account
        assert account is not None
        wanted = _fragments(transit)
        if len(wanted) > 1:
            raise StanzaError("not-acceptable", text="Ask for one element at a time.")
        [(space, name)] = wanted
        rows = await self.host.store.read("private_xml.get", (account.id, space, name), account.ticket)
        query = Element(ns.PRIVATE, "query")
        if rows:
            # Parsed inside of an IQ, as it came: so no limit can be met that was not met then.
            query.children = [*self.host.parse(b"<iq>" + rows[0][0] + b"</iq>").children]
        else:
            query.child(space, name)
        return transit.result(query)

    @iq.set(ns.PRIVATE, "query", to=ACCOUNT, access="owner")
    async def onSet(self, transit: Transit) -> Element:
        """Keep the children; the answer tells that they are committed (section 2.2)."""
        account = transit.account
        assert account is not None
        if not account.id:
            raise StanzaError("not-allowed", text="Guests keep nothing here.")
        fragments = {key: b"".join(map(serialize, found)) for key, found in _fragments(transit).items()}
        try:
            for data in fragments.values():
                self.host.parse(b"<iq>" + data + b"</iq>")
        except XMLError:
            raise StanzaError("not-acceptable", text="Those elements are too complex.") from None
        sizes = await self.host.store.read("private_xml.sizes", (account.id,), account.ticket)
        self._check({(space, name): size for space, name, size in sizes}, fragments)
        row = [value for (space, name), data in fragments.items() for value in (space, name, data)]
        await self.host.store.execute("private_xml.put", (account.id, *row))
        return transit.result()

    def _check(self, kept: dict[Key, int], fragments: dict[Key, bytes]) -> None:
        """Refuse what is too much, alone or with what is kept already."""
        if any(len(data) > self.options.size for data in fragments.values()):
            raise StanzaError("not-acceptable", text=f"An element may have {self.options.size} bytes.")
        after = kept | {key: len(data) for key, data in fragments.items()}
        if len(after) > self.options.count or sum(after.values()) > self.options.total:
            raise StanzaError("resource-constraint", type="cancel", text="That is more than an account may keep.")


def _fragments(transit: Transit) -> dict[Key, list[Element]]:
    """The children by namespace and name; each needs a namespace of its own (sections 2.1 and 2.3)."""
    query = transit.payload
    found: dict[Key, list[Element]] = {}
    for child in [] if query is None else query.elements():
        if child.ns in ("", ns.PRIVATE, ns.CLIENT):
            raise StanzaError("not-acceptable", text="Each element needs a namespace of its own.")
        found.setdefault((child.ns, child.name), []).append(child)
    if not found:
        raise StanzaError("not-acceptable", text="There is no element in the query.")
    return found
