"""Named operations: how the storage and the modules declare what can be written and read.

A declaring module (``tables.py`` of a protocol module, say) holds ``TABLES``, ``WRITES`` and
``READS``.  It is named by its dotted path, because the writer process imports it too; so it
should import SQLAlchemy and this file, and nothing heavy.

Statements are built with SQLAlchemy Core, compiled to the driver's SQL once, and run on the raw
driver connection: building them anew costs ten times more than running them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import MetaData, Table, bindparam, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import ResultRow, Row

#: The declarations of the core's own tables.
CORE = "xmppservice.storage.queries"

_DIALECT = sqlite.dialect(paramstyle="qmark")


def compileSQL(clause: ClauseElement) -> Any:
    """SQLAlchemy's compiled form of a statement or DDL element for the driver in use."""
    return clause.compile(dialect=_DIALECT)


class Statement:
    """SQL compiled for the driver; `parameters` names the values of a row, in their order.

    A text uses ``:name`` for its parameters.  Constants inside a SQLAlchemy expression are kept.
    """

    __slots__ = ("arrange", "parameters", "sql")

    def __init__(self, clause: ClauseElement | str, parameters: Sequence[str] = ()) -> None:
        compiled = compileSQL(text(clause) if isinstance(clause, str) else clause)
        self.sql = str(compiled)
        self.parameters = tuple(parameters)
        names: list[str] = list(compiled.positiontup or ())
        unused = set(self.parameters) - set(names)
        if unused:
            raise ValueError(f"parameters not in the statement: {sorted(unused)}: {self.sql}")
        self.arrange = self._arrangement(names, dict(compiled.params))

    def _arrangement(self, names: list[str], constants: dict[str, Any]) -> Callable[[Row], Row] | None:
        """What turns a row into the driver's order; None if it is in that order already."""
        if tuple(names) == self.parameters:
            return None
        indexes = {name: index for index, name in enumerate(self.parameters)}
        if len(names) > 1 and all(name in indexes for name in names):
            return cast("Callable[[Row], Row]", itemgetter(*(indexes[name] for name in names)))
        plan = [(indexes.get(name, -1), constants.get(name)) for name in names]
        return lambda row: tuple(row[index] if index >= 0 else value for index, value in plan)

    def __repr__(self) -> str:
        return f"<Statement {self.sql!r}>"


def insertInto(table: Table, *columns: str, ignore: bool = False) -> Statement:
    """Insert a row of these columns; with `ignore`, a row that exists already stays."""
    insert = sqlite.insert(table).values({name: bindparam(name) for name in columns})
    return Statement(insert.on_conflict_do_nothing() if ignore else insert, columns)


def upsertInto(table: Table, *columns: str) -> Statement:
    """Insert a row of these columns, or update them where the primary key exists already."""
    insert = sqlite.insert(table).values({name: bindparam(name) for name in columns})
    keys = [column.name for column in table.primary_key.columns]
    changes = {name: insert.excluded[name] for name in columns if name not in keys}
    return Statement(insert.on_conflict_do_update(index_elements=keys, set_=changes), columns)


class Connection:
    """The raw driver connection, as operations see it."""

    __slots__ = ("operations", "raw")

    def __init__(self, raw: sqlite3.Connection, operations: Operations) -> None:
        self.raw = raw
        self.operations = operations

    def execute(self, statement: Statement, values: Row = ()) -> sqlite3.Cursor:
        """Run a statement once."""
        arrange = statement.arrange
        return self.raw.execute(statement.sql, values if arrange is None else arrange(values))

    def executeMany(self, statement: Statement, rows: Iterable[Row]) -> None:
        """Run a statement for each row."""
        arrange = statement.arrange
        self.raw.executemany(statement.sql, rows if arrange is None else map(arrange, rows))

    def rows(self, statement: Statement, values: Row = ()) -> list[ResultRow]:
        """All rows of a query."""
        return self.execute(statement, values).fetchall()

    def write(self, name: str, rows: list[Row]) -> None:
        """Run another write operation as part of this one."""
        self.operations.writes[name].run(self, rows)


@dataclass(frozen=True, slots=True)
class WriteOperation:
    """A write by name: a statement run once per row, or a function of the connection and rows.

    ``bulk`` operations are given row by row with ``append``, and rows that follow each other run
    together; the others run alone, with ``apply``, and see a list of one row.  A function must
    leave the transaction alone: whoever runs it commits.
    """

    name: str
    action: Statement | Callable[[Connection, list[Row]], None]
    bulk: bool = True

    def run(self, connection: Connection, rows: list[Row]) -> None:
        """Do it, inside the transaction of whoever calls."""
        action = self.action
        if not isinstance(action, Statement):
            action(connection, rows)
        elif len(rows) == 1:
            connection.execute(action, rows[0])
        else:
            connection.executeMany(action, rows)


@dataclass(frozen=True, slots=True)
class ReadOperation:
    """A read by name: a query, or a function of the connection and the arguments.

    ``small`` reads go by key, touch few rows and may run in the reactor thread; the others run in
    a thread of the pool.
    """

    name: str
    action: Statement | Callable[..., list[ResultRow]]
    small: bool = True

    def run(self, connection: Connection, args: Row) -> list[ResultRow]:
        """The result; what a function reads is one consistent view of the data."""
        action = self.action
        if isinstance(action, Statement):
            return connection.rows(action, args)
        raw = connection.raw
        if raw.in_transaction:
            return action(connection, *args)
        raw.execute("BEGIN")
        try:
            return action(connection, *args)
        finally:
            raw.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One numbered step: brings the tables of a module to `version`.

    Runs in a transaction of its own together with the note that it is done.  A step that changes
    many rows does a part and returns True, and is called again for the rest.
    """

    version: int
    step: Callable[[Connection], bool | None]


@dataclass(frozen=True, slots=True)
class ModuleTables:
    """The tables of one module, with one schema version for all of them.

    ``onAccountDeleted`` names bulk operations that take (account id,) and delete what it owns.
    """

    name: str
    metadata: MetaData
    version: int = 1
    upgrades: tuple[Upgrade, ...] = ()
    onAccountDeleted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = [upgrade.version for upgrade in self.upgrades]
        if numbers != list(range(self.version - len(numbers) + 1, self.version + 1)):
            raise ValueError(f"{self.name}: upgrades {numbers} do not lead to version {self.version}")


@dataclass(slots=True)
class Operations:
    """All declarations of a database."""

    tables: list[ModuleTables] = field(default_factory=list)
    writes: dict[str, WriteOperation] = field(default_factory=dict)
    reads: dict[str, ReadOperation] = field(default_factory=dict)

    @classmethod
    def load(cls, modules: Sequence[str] = ()) -> Operations:
        """The core's declarations and those of the modules with these dotted paths."""
        operations = cls()
        for path in dict.fromkeys((CORE, *modules)):
            operations.declare(import_module(path))
        return operations

    def declare(self, module: object) -> None:
        """Take in a declaring module; a name that is taken is an error."""
        tables: ModuleTables = getattr(module, "TABLES")  # noqa: B009
        if any(known.name == tables.name for known in self.tables):
            raise ValueError(f"two modules declare tables as {tables.name!r}")
        self.tables.append(tables)
        for write in getattr(module, "WRITES", ()):
            if self.writes.setdefault(write.name, write) is not write:
                raise ValueError(f"two write operations are called {write.name!r}")
        for read in getattr(module, "READS", ()):
            if self.reads.setdefault(read.name, read) is not read:
                raise ValueError(f"two read operations are called {read.name!r}")
        for name in tables.onAccountDeleted:
            if name not in self.writes:
                raise ValueError(f"{tables.name}: no write operation {name!r} for deleted accounts")
