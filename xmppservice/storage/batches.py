"""Commits batches: all at once, or row by row where one is bad; each exactly once.

The number of a batch is written in its own transaction.  A writer that died between commit and
answer tells its successor's peer by that number that the batch needs no second run, and which
of its rows had failed.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

from xmppservice.storage.faults import kindOf, textOf
from xmppservice.storage.operations import Connection, Statement, upsertInto
from xmppservice.storage.schema import batches

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import Row

#: Operations in their order, each with its rows.
Groups = list[tuple[str, list["Row"]]]
#: Position in the batch, kind of :mod:`xmppservice.storage.faults`, text.
RowFailure = tuple[int, str, str]

_NOTE = upsertInto(batches, "id", "number", "failures")
_LAST = Statement("SELECT number, failures FROM writer_batches WHERE id = 1")
_NONE = marshal.dumps([])

#: Longest text that is kept of one failure.
_TEXT = 300


class Batches:
    """Runs batches on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._raw = connection.raw
        self._writes = connection.operations.writes

    def last(self) -> tuple[int, list[RowFailure]]:
        """The number of the last committed batch, and what had failed in it."""
        rows = self._connection.rows(_LAST)
        return (rows[0][0], marshal.loads(rows[0][1])) if rows else (0, [])

    def run(self, number: int, groups: Groups) -> list[RowFailure]:
        """Commit a batch; return its failed rows."""
        raw = self._raw
        writes = self._writes
        connection = self._connection
        try:
            raw.execute("BEGIN IMMEDIATE")
        except Exception as error:
            # Somebody else holds the file, or the disk is gone: no row would fare better alone.
            return self._allFailed(groups, error)
        try:
            for name, rows in groups:
                writes[name].run(connection, rows)
            connection.execute(_NOTE, (1, number, _NONE))
            raw.execute("COMMIT")
        except Exception:
            self._rollBack()
            return self._replay(number, groups)
        return []

    def _replay(self, number: int, groups: Groups) -> list[RowFailure]:
        """Once more, each row inside a savepoint, so that a bad one fails alone."""
        flat = [(name, row) for name, rows in groups for row in rows]
        failures: list[RowFailure] = []
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            for position, (name, row) in enumerate(flat):
                error = self._single(name, row)
                if error is not None:
                    failures.append((position, kindOf(error), textOf(error)[:_TEXT]))
            self._connection.execute(_NOTE, (1, number, marshal.dumps(failures)))
            self._raw.execute("COMMIT")
        except Exception as error:
            # The whole transaction is gone (disk full, I/O error): every row failed.
            self._rollBack()
            return self._allFailed(groups, error)
        return failures

    def _allFailed(self, groups: Groups, error: Exception) -> list[RowFailure]:
        kind, words = kindOf(error), textOf(error)[:_TEXT]
        return [(position, kind, words) for position in range(sum(len(rows) for _name, rows in groups))]

    def _single(self, name: str, row: Row) -> Exception | None:
        """Run one row; return what it failed with, after undoing it.

        Raises that error instead if it took the transaction with it.
        """
        raw = self._raw
        raw.execute("SAVEPOINT single")
        try:
            self._writes[name].run(self._connection, [row])
        except Exception as error:
            if not raw.in_transaction:
                raise
            raw.execute("ROLLBACK TO single")
            raw.execute("RELEASE single")
            return error
        raw.execute("RELEASE single")
        return None

    def _rollBack(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")
