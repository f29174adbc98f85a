"""Declarations and statements."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, select, update

from xmppservice.storage import faults
from xmppservice.storage.files import openMemory
from xmppservice.storage.frames import FrameBuffer, pack
from xmppservice.storage.operations import (
    ModuleTables,
    Operations,
    ReadOperation,
    Statement,
    Upgrade,
    WriteOperation,
    insertInto,
    upsertInto,
)

metadata = MetaData()
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("word", Text), Column("n", Integer))


def connection():
    """A database with one table."""
    made = openMemory(Operations())
    made.raw.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, word TEXT, n INTEGER)")
    return made


def test_orderOfParameters() -> None:
    """Values go where their names are, whatever order the compiled SQL has them in."""
    made = connection()
    made.executeMany(insertInto(things, "word", "id", "n"), [("a", 1, 10), ("b", 2, 20)])
    change = update(things).where(things.c.id == bindparam("which")).values(word=bindparam("to"))
    made.execute(Statement(change, ("which", "to")), (1, "c"))
    assert made.raw.execute("SELECT * FROM things").fetchall() == [(1, "c", 10), (2, "b", 20)]


def test_constants() -> None:
    """Constants of an expression are kept beside the parameters, and limits may be parameters."""
    made = connection()
    made.executeMany(insertInto(things, "word", "n"), [("a", 1), ("b", 1), ("c", 2)])
    query = (
        select(things.c.word).where(things.c.n == 1, things.c.word > bindparam("start")).limit(bindparam("most"))
    )
    statement = Statement(query, ("start", "most"))
    assert made.rows(statement, ("", 1)) == [("a",)]
    assert made.rows(statement, ("a", 5)) == [("b",)]


def test_repeatedParameter() -> None:
    """A text may use a parameter twice."""
    assert connection().rows(Statement("SELECT :b, :a, :b", ("a", "b")), (1, 2)) == [(2, 1, 2)]


def test_unknownParameter() -> None:
    """A parameter that the statement does not use is a mistake that is found at import."""
    with pytest.raises(ValueError, match="nothing"):
        Statement("SELECT :a", ("a", "nothing"))


def test_upsert() -> None:
    """An upsert changes the columns that it names and no others."""
    made = connection()
    made.execute(insertInto(things, "id", "word", "n"), (1, "a", 10))
    made.execute(upsertInto(things, "id", "word"), (1, "b"))
    made.execute(insertInto(things, "id", "word", ignore=True), (1, "c"))
    assert made.raw.execute("SELECT * FROM things").fetchall() == [(1, "b", 10)]


def test_consistentReads() -> None:
    """A function that reads several times sees one state, and its transaction ends even if it fails."""
    made = connection()

    def look(given):
        assert given.raw.in_transaction
        return given.raw.execute("SELECT count(*) FROM things").fetchall()

    assert ReadOperation("look", look).run(made, ()) == [(0,)]
    with pytest.raises(sqlite3.OperationalError):
        ReadOperation("bad", lambda given: given.raw.execute("SELECT nonsense").fetchall()).run(made, ())
    assert not made.raw.in_transaction


def test_names() -> None:
    """Two modules cannot claim one name, and a deletion must name a write that exists."""
    tables = ModuleTables("x", MetaData())
    write = WriteOperation("w", Statement("DELETE FROM things"))
    again = WriteOperation("w", Statement("DELETE FROM things"))
    read = ReadOperation("r", Statement("SELECT 1"))
    operations = Operations()
    operations.declare(SimpleNamespace(TABLES=tables, WRITES=(write,), READS=(read,)))
    other = ModuleTables("y", MetaData())
    for bad in (
        SimpleNamespace(TABLES=tables),
        SimpleNamespace(TABLES=other, WRITES=(again,)),
        SimpleNamespace(TABLES=ModuleTables("z", MetaData()), READS=(ReadOperation("r", Statement("SELECT 1")),)),
        SimpleNamespace(TABLES=ModuleTables("q", MetaData(), onAccountDeleted=("missing",))),
    ):
        with pytest.raises(ValueError):
            operations.declare(bad)


def test_gapsInUpgrades() -> None:
    """Upgrade steps are numbered without gaps up to the version."""
    step = Upgrade(3, lambda connection: None)
    ModuleTables("x", MetaData(), 3, (step,))
    for version, steps in ((4, (step,)), (3, (Upgrade(1, step.step), step))):
        with pytest.raises(ValueError):
            ModuleTables("x", MetaData(), version, steps)


def test_kindsOfFault() -> None:
    """What went wrong is sorted by whose fault it is."""
    made = connection()
    with pytest.raises(sqlite3.OperationalError) as syntax:
        made.raw.execute("NONSENSE")
    assert faults.kindOf(syntax.value) == faults.CONSTRAINT
    assert faults.kindOf(OSError(28, "no space")) == faults.FULL
    assert faults.kindOf(OSError(5, "I/O")) == faults.UNAVAILABLE
    assert faults.kindOf(KeyError("x")) == faults.CONSTRAINT
    made.raw.execute("PRAGMA max_page_count=2")
    with pytest.raises(sqlite3.OperationalError) as full:
        made.raw.executemany("INSERT INTO things (word) VALUES (?)", [("x" * 5000,)] * 5)
    assert faults.kindOf(full.value) == faults.FULL


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_frames(size: int) -> None:
    """Messages come out whole and in order however the stream is cut."""
    messages = [("ready", 1, []), ("done", 2, [(0, "full", "x" * 50)]), (), None]
    stream = b"".join(pack(message) for message in messages)
    buffer = FrameBuffer()
    found = []
    for start in range(0, len(stream), size):
        found += buffer.feed(stream[start : start + size])
    assert found == messages
    with pytest.raises(ValueError):
        pack(object())
