"""Roster pushes (RFC 6121 2.1.6): every interested session learns of every change, in order.

Theory of operation. Pushes of one account are made by one reader at a time: it reads what changed
since the version pushed last, once that is committed, and goes on until nothing newer is wanted.
A session whose roster is being read gets no pushes before its result: they are kept here, and
those that the result already shows are left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from xmppservice.modules.roster.items import itemOf
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute, serialize

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.storage import IRosters, RosterRow
    from xmppservice.hub.session import Session

log = Logger()


def versionText(account: Account, version: int) -> str:
    """A roster version as clients see it.

    The account's id is in it, so that a client's cache from a deleted account of the same name is
    never taken for current.
    """
    return f"{account.id}-{version}"


def push(session: Session, query: bytes) -> None:
    """Send one push; `query` is the whole payload."""
    to = escapeAttribute(session.jid.full)
    head = f"<iq type='set' id='roster-{secrets.token_hex(4)}' to='{to}'>"
    session.deliver(head.encode() + query + b"</iq>")


def queryOf(account: Account, row: RosterRow) -> Element:
    """The payload of the push for one changed contact."""
    return Element(ns.ROSTER, "query", {"ver": versionText(account, row.version)}, itemOf(row))


def queryBytes(account: Account, row: RosterRow) -> bytes:
    """The same as bytes."""
    return serialize(queryOf(account, row))


class Pushes:
    """The pushes under way on one host."""

    def __init__(self, rosters: IRosters) -> None:
        self._rosters = rosters
        #: Who else wants to know, see `IContactLists.watch`.
        self.watchers: list[Callable[[Account, Element], object]] = []
        #: account id → the versions pushed last and wanted
        self._due: dict[int, list[int]] = {}
        #: sessions that wait for their roster → pushes held back, with their versions
        self._held: dict[Session, list[tuple[int, bytes]]] = {}

    def hold(self, session: Session) -> None:
        """The session's roster is being read."""
        self._held.setdefault(session, [])

    def release(self, session: Session, version: int) -> None:
        """The session has got its roster as of `version`; what is newer follows."""
        for changed, query in self._held.pop(session, ()):
            if changed > version:
                push(session, query)

    def changed(self, account: Account, version: int) -> None:
        """The roster has a new version."""
        due = self._due.get(account.id)
        if due is not None:
            due[1] = version
        elif self.watchers or any(session.interested for session in account.sessions.values()):
            self._due[account.id] = [version - 1, version]
            self._read(account)

    def _read(self, account: Account) -> Deferred[Any]:
        since, wanted = self._due[account.id]
        rows = self._rosters.items(account.id, since, account.ticket)
        return rows.addCallback(self._push, account, wanted).addErrback(self._failed, account)

    def _push(self, rows: list[RosterRow], account: Account, wanted: int) -> Deferred[Any] | None:
        rows = sorted(rows, key=lambda row: row.version)
        for row in rows:
            query = queryBytes(account, row)
            for session in list(account.sessions.values()):
                held = self._held.get(session)
                if held is not None:
                    held.append((row.version, query))
                elif session.interested:
                    push(session, query)
            for watcher in self.watchers:
                watcher(account, queryOf(account, row))
        due = self._due[account.id]
        due[0] = max(wanted, rows[-1].version if rows else 0)
        if due[1] > due[0]:
            return self._read(account)
        del self._due[account.id]
        return None

    def _failed(self, failure: Any, account: Account) -> None:
        self._due.pop(account.id, None)
        log.failure("roster pushes of {jid} failed", failure, jid=account.jid.bare)
