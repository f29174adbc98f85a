"""Where notes are kept."""

from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, delete, select

from xmppservice.storage.operations import ModuleTables, ReadOperation, Statement, WriteOperation, insertInto

metadata = MetaData()

notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, nullable=False, index=True),
    Column("text", Text, nullable=False),
)

TABLES = ModuleTables("notes", metadata, version=1, onAccountDeleted=("notes.clear",))

_owned = notes.c.account_id == bindparam("account")

WRITES = (
    WriteOperation("notes.add", insertInto(notes, "account_id", "text")),
    WriteOperation("notes.clear", Statement(delete(notes).where(_owned), ("account",))),
)

READS = (
    ReadOperation("notes.all", Statement(select(notes.c.text).where(_owned).order_by(notes.c.id), ("account",))),
)
