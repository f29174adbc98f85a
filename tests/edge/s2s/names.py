"""Names from a dict, for tests of what builds on a resolver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from zope.interface import implementer

from xmppservice.edge.s2s.questions import AAAA, SRV, A, Answer, INames, LookupFailed

Table = Mapping[tuple[str, int], Any]
MAKERS: Mapping[int, Any] = {A: dns.Record_A, AAAA: dns.Record_AAAA, SRV: lambda each: dns.Record_SRV(*each)}


@implementer(INames)
class TableNames:
    """Answers from a table: a list of records, an `Answer`, a text for a failure, or a Deferred to wait for.

    What the table does not have does not exist.
    """

    def __init__(self, table: Table) -> None:
        self.table = dict(table)
        self.asked: list[tuple[str, int]] = []

    def ask(self, name: str, kind: int) -> Deferred[Answer]:
        """See `INames`."""
        self.asked.append((name, kind))
        found = self.table.get((name, kind), Answer((), exists=False))
        if isinstance(found, Deferred):
            return found
        if isinstance(found, str):
            return fail(LookupFailed(found))
        return succeed(found if isinstance(found, Answer) else records(kind, *found))


def records(kind: int, *values: Any, secure: bool = False) -> Answer:
    """An answer that has records."""
    return Answer(tuple(MAKERS[kind](value) for value in values), secure=secure, ttl=60)
