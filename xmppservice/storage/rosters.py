"""Contact lists and blocking lists."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from xmppservice.hub.contracts.storage import Failed, IBlocks, IRosters, IStore, ResultRow, RosterRow


@implementer(IRosters)
class Rosters:
    """Rosters of all accounts (RFC 6121 section 2)."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def items(self, accountId: int, since: int | None = None, after: int = 0) -> Deferred[list[RosterRow]]:
        """See `IRosters.items`."""
        if since is None:
            rows = self._store.read("roster.items", (accountId,), after)
        else:
            rows = self._store.read("roster.since", (accountId, since), after)
        return rows.addCallback(_toRows)

    def put(
        self, accountId: int, jid: str, name: str, state: int, groups: tuple[str, ...], version: int,
        failed: Failed | None = None,
    ) -> int:
        """See `IRosters.put`."""
        row = (accountId, jid, name, state, json.dumps(groups, ensure_ascii=False), version)
        return self._store.append("roster.put", row, failed)

    def setState(
        self, accountId: int, jid: str, state: int, version: int, request: bytes | None = None,
        failed: Failed | None = None,
    ) -> int:
        """See `IRosters.setState`."""
        return self._store.append("roster.state", (accountId, jid, state, version, request), failed)

    def remove(self, accountId: int, jid: str, version: int, failed: Failed | None = None) -> int:
        """See `IRosters.remove`."""
        return self._store.append("roster.remove", (accountId, jid, version), failed)

    def requests(self, accountId: int, after: int = 0) -> Deferred[list[tuple[str, bytes]]]:
        """See `IRosters.requests`."""
        return self._store.read("roster.requests", (accountId,), after).addCallback(
            lambda rows: [(row[0], row[1]) for row in rows]
        )


@implementer(IBlocks)
class Blocks:
    """Blocking lists of all accounts (XEP-0191)."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    def set(self, accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """See `IBlocks.set`."""
        return self._store.apply("blocks.set", (accountId, *jids), failed)

    def add(self, accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """See `IBlocks.add`."""
        return self._each("blocks.add", accountId, jids, failed)

    def remove(self, accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """See `IBlocks.remove`."""
        return self._each("blocks.remove", accountId, jids, failed)

    def _each(self, op: str, accountId: int, jids: Sequence[str], failed: Failed | None) -> int:
        ticket = 0
        for jid in jids:
            ticket = self._store.append(op, (accountId, jid), failed)
        return ticket


def _toRows(rows: list[ResultRow]) -> list[RosterRow]:
    return [
        RosterRow(jid, name, state, tuple(json.loads(groups)) if groups != "[]" else (), version, bool(removed))
        for jid, name, state, groups, version, removed in rows
    ]
