"""A declaring module as a protocol module would have one, with operations that misbehave."""

from __future__ import annotations

import os
import time

from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, delete, select

from xmppservice.storage.operations import (
    Connection,
    ModuleTables,
    ReadOperation,
    Statement,
    WriteOperation,
    insertInto,
)

metadata = MetaData()

marks = Table(
    "marks", metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("word", Text, nullable=False, unique=True),
)

TABLES = ModuleTables("marks", metadata, version=1, onAccountDeleted=("mark.clear",))


def _pragma(connection: Connection, rows: list[tuple[str]]) -> None:
    for (text,) in rows:
        connection.raw.execute(f"PRAGMA {text}")


def _commitThenDie(connection: Connection, rows: list[tuple[str]]) -> None:
    """Die as a killed process does, at the first sight of the file; later runs live."""
    for (path,) in rows:
        if os.path.exists(path):
            os.unlink(path)
            os._exit(9)


def _poison(connection: Connection, rows: list[tuple[()]]) -> None:
    """Kill whoever tries it."""
    os._exit(9)


def _endless(connection: Connection) -> list[tuple[int]]:
    """A read that would take hours."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    return connection.raw.execute(endless).fetchall()


def _slow(connection: Connection, rows: list[tuple[float]]) -> None:
    for (seconds,) in rows:
        time.sleep(seconds)


WRITES = (
    WriteOperation("mark.add", insertInto(marks, "account_id", "word")),
    WriteOperation(
        "mark.clear", Statement(delete(marks).where(marks.c.account_id == bindparam("account")), ("account",))
    ),
    WriteOperation("test.pragma", _pragma, bulk=False),
    WriteOperation("test.die", _commitThenDie, bulk=False),
    WriteOperation("test.poison", _poison, bulk=False),
    WriteOperation("test.slow", _slow, bulk=False),
)

READS = (
    ReadOperation("mark.words", Statement(select(marks.c.word).order_by(marks.c.id))),
    ReadOperation("mark.large", Statement(select(marks.c.word).order_by(marks.c.id)), small=False),
    ReadOperation("mark.endless", _endless, small=False),
    ReadOperation("mark.broken", lambda connection: connection.raw.execute("SELECT * FROM nowhere").fetchall()),
)
