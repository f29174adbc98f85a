"""Contact lists (RFC 6121 section 2), with versions (2.6) and pre-approval (3.4).

The hub keeps the subscription states of an account in memory and changes them for subscription
stanzas; this module is what clients see and edit of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from zope.interface import implementer

from xmppservice.hub import presence as presences
from xmppservice.hub.contracts.roster import IContactLists
from xmppservice.hub.hooks import ACCOUNT, HANDLED, Phase, iq, presence, rosterChanged, stream
from xmppservice.hub.module import HostModule
from xmppservice.hub.options import option
from xmppservice.modules.roster.items import itemOf, readItem
from xmppservice.modules.roster.pushes import Pushes, push, queryBytes, versionText
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.subscription import BOTH, FROM, KNOWN, NONE, PENDING_IN, PENDING_OUT, TO, removal
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.storage import AccountRecord, RosterRow
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit
    from xmppservice.modules.roster.items import WantedItem

#: With more changes than this, and more than a third of the roster, the whole roster is sent.
_FEW = 20

#: What the values of 'subscription' stand for, where they count.
_GRANTED = {"none": NONE, "to": TO, "from": FROM, "both": BOTH}


@implementer(IContactLists)
class Roster(HostModule):
    """Answers roster requests of an account's own clients and tells them of changes."""

    name = "roster"
    features = (ns.ROSTER,)
    namespaces = (ns.ROSTER,)
    provides = (IContactLists,)

    @attrs.frozen
    class Options:
        """Bounds of one account's contact list."""

        items: int = option(
            10_000, "Contacts of one account, unanswered subscription requests included.", range=(1, None)
        )
        nameLength: int = option(
            1023, "Length of the name of a contact or group.", unit="characters", range=(16, 65535)
        )
        groups: int = option(100, "Groups that one contact can be in.", range=(1, 1000))

    def __init__(self, host: VirtualHost, options: Any) -> None:
        super().__init__(host, options)
        self._pushes = Pushes(host.rosters)

    @stream.features("bind")
    def streamFeatures(self, stream: IStream) -> list[Element]:
        """Roster versions (2.6.1) and pre-approved subscriptions (3.4.1) are to be had."""
        return [Element(ns.ROSTER_VERSION, "ver"), Element(ns.PRE_APPROVAL, "sub")]

    # -- reading -----------------------------------------------------------------------------------

    @iq.get(ns.ROSTER, "query", to=ACCOUNT, access="owner")
    def onGet(self, transit: Transit) -> Any:
        """Roster get (2.2), with or without a version that the client has (2.6.2)."""
        account, session, query = transit.account, transit.session, transit.payload
        assert account is not None and query is not None
        if query.elements():
            raise StanzaError("bad-request", text="a roster get has no items")
        if session is not None:
            session.interested = True
            self._pushes.hold(session)
        version = account.rosterVersion
        # Without a session there is nobody to push differences to.
        answer = self._read(account, version, None if session is None else query.get("ver"))

        def send(found: tuple[Element | None, list[RosterRow]]) -> Any:
            payload, changes = found
            self.host.reply(transit, transit.result(payload))
            if session is not None:
                for row in changes:
                    push(session, queryBytes(account, row))
            return HANDLED

        def release(outcome: Any) -> Any:
            if session is not None:
                self._pushes.release(session, version)
            return outcome

        return answer.addCallback(send).addBoth(release)

    def _read(self, account: Account, version: int, known: str | None) -> Deferred[Any]:
        """Fires with the result's payload and the changes to push after it."""
        since = _since(account, known)
        if since is None:
            return self._whole(account, version)
        if since == version:
            return self.host.store.whenCommitted(account.ticket).addCallback(lambda _: (None, []))

        def judge(record: AccountRecord | None) -> Any:
            if record is None or not record.rosterFloor <= since < version:
                return self._whole(account, version)
            return self.host.rosters.items(account.id, since, account.ticket).addCallback(choose)

        def choose(rows: list[RosterRow]) -> Any:
            if len(rows) > max(_FEW, len(account.roster) // 3):
                return self._whole(account, version)
            changes = [row for row in rows if row.version <= version]
            return None, sorted(changes, key=lambda row: row.version)

        # Only the storage knows for sure how far back its tombstones go.
        record = self.host.services.accounts.record(self.host.id, account.jid.local, account.ticket)
        return record.addCallback(judge)

    def _whole(self, account: Account, version: int) -> Deferred[tuple[Element, list[RosterRow]]]:
        def build(rows: list[RosterRow]) -> tuple[Element, list[RosterRow]]:
            payload = Element(ns.ROSTER, "query", {"ver": versionText(account, version)})
            payload.children.extend(itemOf(row) for row in rows if row.state & KNOWN)
            return payload, []

        return self.host.rosters.items(account.id, None, account.ticket).addCallback(build)

    # -- changing ----------------------------------------------------------------------------------

    @iq.set(ns.ROSTER, "query", to=ACCOUNT)
    def onSet(self, transit: Transit) -> Any:
        """Roster set: add or change a contact (2.3, 2.4), or remove one (2.5)."""
        account, query = transit.account, transit.payload
        assert account is not None and query is not None
        if transit.sender.bare != account.jid.bare:
            # Strangers must not even learn that the account exists (8.1).
            raise StanzaError("forbidden" if account.inRoster(transit.sender) else "service-unavailable")
        return self.changeFor(transit, "")

    def readFor(self, transit: Transit) -> Any:
        """See `IContactLists.readFor`."""
        return self.onGet(transit)

    def watch(self, watcher: Callable[[Account, Element], object]) -> Callable[[], None]:
        """See `IContactLists.watch`."""
        self._pushes.watchers.append(watcher)
        return lambda: self._pushes.watchers.remove(watcher)

    def changeFor(self, transit: Transit, domain: str) -> Any:
        """See `IContactLists.changeFor`."""
        account, query = transit.account, transit.payload
        assert account is not None and query is not None
        if not account.id:
            raise StanzaError("not-allowed", text="guests have no contacts")
        wanted = readItem(query, self.options.nameLength, self.options.groups)
        failures: list[Exception] = []
        if wanted.remove:
            ticket = self._remove(account, wanted.jid, failures)
        else:
            vouched = domain != "" and wanted.jid.domain == domain
            ticket = self._put(account, wanted, failures, _GRANTED.get(wanted.subscription) if vouched else None)
        transit.depends(ticket)
        self.host.store.whenCommitted(ticket).addCallbacks(
            lambda _: self._answer(transit, failures),
            lambda failure: self.host.bounce(transit, failure.value),
        )
        return HANDLED

    def _answer(self, transit: Transit, failures: list[Exception]) -> None:
        """The change is committed, or has failed: then the account's facts are ahead of the storage."""
        if not failures:
            self.host.reply(transit, transit.result())
            return
        assert transit.account is not None
        self.host.reloadFacts(transit.account)
        self.host.bounce(transit, StanzaError("internal-server-error", type="wait", text="the roster was not changed"))

    def _put(
        self, account: Account, wanted: WantedItem, failures: list[Exception], granted: int | None = None
    ) -> int:
        """Add or change a contact; `granted` are the subscriptions to have from now on, None for those there are."""
        contact = wanted.jid.bare
        if contact == account.jid.bare:
            raise StanzaError("not-allowed", text="nobody is a contact of their own")
        before = account.roster.get(contact, 0)
        if not before & KNOWN:
            self._checkRoom(account, contact)
        state = KNOWN | (before if granted is None else _withGranted(before, granted))
        version = account.rosterVersion = account.rosterVersion + 1
        account.roster[contact] = state
        ticket = self.host.rosters.put(
            account.id, contact, wanted.name, state, wanted.groups, version, failures.append
        )
        account.wrote(ticket)
        self.host.pushRoster(account)
        if (before ^ state) & FROM:
            presences.introduce(account, wanted.jid, bool(state & FROM))
        return ticket

    def _remove(self, account: Account, jid: JID, failures: list[Exception]) -> int:
        """Remove a contact and end the subscriptions with it (2.5.2)."""
        contact = jid.bare
        state = account.roster.get(contact, 0)
        if not state & KNOWN:
            raise StanzaError("item-not-found", text="there is no such contact")
        version = account.rosterVersion = account.rosterVersion + 1
        del account.roster[contact]
        ticket = self.host.rosters.remove(account.id, contact, version, failures.append)
        account.wrote(ticket)
        self.host.pushRoster(account)
        if state & FROM:
            presences.introduce(account, jid, False)
        for type in removal(state):
            self.host.send(
                Element(ns.CLIENT, "presence", {"from": account.jid.bare, "to": contact, "type": type})
            )
        return ticket

    @rosterChanged
    def onChanged(self, account: Account, version: int) -> None:
        """Push the change (2.1.6)."""
        self._pushes.changed(account, version)

    # -- bounds ------------------------------------------------------------------------------------

    def _checkRoom(self, account: Account, contact: str) -> None:
        if len(account.roster) >= self.options.items and contact not in account.roster:
            raise StanzaError(
                "not-allowed", text=f"a contact list holds {self.options.items} contacts and requests"
            )

    @presence.sending(Phase.POLICY, types=("subscribe", "subscribed"))
    def onSending(self, transit: Transit) -> None:
        """Asking and approving make contacts too (3.1.2, 3.4)."""
        assert transit.account is not None
        self._checkRoom(transit.account, transit.to.bare)

    @presence.receiving(Phase.POLICY, types=("subscribe",))
    def onReceiving(self, transit: Transit) -> None:
        """Requests are kept until they are answered (3.1.3); strangers must not fill the list with them."""
        assert transit.account is not None
        self._checkRoom(transit.account, transit.sender.bare)


def _withGranted(state: int, granted: int) -> int:
    """A state with other subscriptions; requests that are granted by that are no longer open."""
    state = (state & ~BOTH) | granted
    if granted & TO:
        state &= ~PENDING_OUT
    return state & ~PENDING_IN if granted & FROM else state


def _since(account: Account, known: str | None) -> int | None:
    """The version that a client has, if it can be one of this account."""
    id, dash, version = (known or "").partition("-")
    if not dash or id != str(account.id) or not (version.isascii() and version.isdigit()) or len(version) > 18:
        return None
    since = int(version)
    return since if since <= account.rosterVersion else None
