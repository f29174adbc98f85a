"""Schema versions: tables are created or brought up to date before anything else runs.

Each step is a transaction of its own, together with the note that it is done, so that a kill at
any point leaves the database at a step's border and the next start goes on from there.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.schema import CreateIndex, CreateTable

from xmppservice.storage.faults import Refusal, textOf
from xmppservice.storage.operations import Connection, ModuleTables, Statement, compileSQL, upsertInto

_versions = Table(
    "schema_versions", MetaData(),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)
_KNOWN = Statement("SELECT name, version FROM schema_versions")
_RECORD = upsertInto(_versions, "name", "version")
_TABLE_EXISTS = Statement("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name", ("name",))


class TableStatus(NamedTuple):
    """What `xmppctl db status` shows of one module: the version found (0: none) and wanted."""

    name: str
    current: int
    wanted: int


def status(connection: Connection) -> list[TableStatus]:
    """The schema versions of all declared modules."""
    found = _recorded(connection)
    declared = connection.operations.tables
    return [TableStatus(tables.name, found.get(tables.name, 0), tables.version) for tables in declared]


def prepare(connection: Connection) -> list[TableStatus]:
    """Create what is missing and run the steps that are due; return what was changed.

    :raises Refusal: the database was written by a newer version, or a step failed.
    """
    due = [entry for entry in status(connection) if entry.current != entry.wanted]
    for entry in due:
        if entry.current > entry.wanted:
            raise Refusal(
                f"the tables of {entry.name!r} have version {entry.current}, and this program knows up to"
                f" {entry.wanted}: the database was used with a newer version"
            )
    declared = {tables.name: tables for tables in connection.operations.tables}
    for entry in due:
        tables = declared[entry.name]
        try:
            _create(connection, tables) if not entry.current else _upgrade(connection, tables, entry.current)
        except sqlite3.Error as error:
            raise Refusal(f"upgrade of the tables of {entry.name!r} failed: {textOf(error)}") from error
    return due


def _recorded(connection: Connection) -> dict[str, int]:
    if not connection.rows(_TABLE_EXISTS, ("schema_versions",)):
        return {}
    return dict(connection.rows(_KNOWN))


def _create(connection: Connection, tables: ModuleTables) -> None:
    """All tables of a module at their newest version, in one transaction."""
    raw = connection.raw
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.execute(str(compileSQL(CreateTable(_versions, if_not_exists=True))))
        for table in tables.metadata.sorted_tables:
            raw.execute(str(compileSQL(CreateTable(table))))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                raw.execute(str(compileSQL(CreateIndex(index))))
        connection.execute(_RECORD, (tables.name, tables.version))
        raw.execute("COMMIT")
    except Exception:
        _rollBack(raw)
        raise


def _upgrade(connection: Connection, tables: ModuleTables, current: int) -> None:
    """The numbered steps above `current`, each until it has nothing left to do."""
    if current < tables.version - len(tables.upgrades):
        raise Refusal(
            f"the tables of {tables.name!r} have version {current}, which is too old to be upgraded by this program"
        )
    raw = connection.raw
    for upgrade in tables.upgrades:
        more = upgrade.version > current
        while more:
            raw.execute("BEGIN IMMEDIATE")
            try:
                more = bool(upgrade.step(connection))
                if not more:
                    connection.execute(_RECORD, (tables.name, upgrade.version))
                raw.execute("COMMIT")
            except Exception:
                _rollBack(raw)
                raise


def _rollBack(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")
