"""Private XML by account, namespace and name, as bytes in the client context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, bindparam, delete, func, select

from xmppservice.storage.operations import (
    Connection,
    ModuleTables,
    ReadOperation,
    Statement,
    WriteOperation,
    upsertInto,
)

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import Row

metadata = MetaData()

fragments = Table(
    "private_xml", metadata,
    Column("account_id", Integer, primary_key=True),
    Column("ns", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    # The number of the format that the bytes are in.
    Column("format", Integer, nullable=False, server_default="1"),
    # One element, or several with the same name in a row.
    Column("data", LargeBinary, nullable=False),
)

TABLES = ModuleTables("private_xml", metadata, version=1, onAccountDeleted=("private_xml.clear",))

_owned = fragments.c.account_id == bindparam("account")
_named = (fragments.c.ns == bindparam("ns")) & (fragments.c.name == bindparam("name"))
_PUT = upsertInto(fragments, "account_id", "ns", "name", "data")


def _put(connection: Connection, rows: list[Row]) -> None:
    """Each row is an account and then namespace, name and bytes of one fragment or more: all or none."""
    for account, *rest in rows:
        values = iter(rest)
        connection.executeMany(_PUT, [(account, *fragment) for fragment in zip(values, values, values, strict=True)])


WRITES = (
    WriteOperation("private_xml.put", _put, bulk=False),
    WriteOperation("private_xml.clear", Statement(delete(fragments).where(_owned), ("account",))),
)

READS = (
    ReadOperation(
        "private_xml.get", Statement(select(fragments.c.data).where(_owned & _named), ("account", "ns", "name"))
    ),
    ReadOperation(
        "private_xml.sizes",
        Statement(
            select(fragments.c.ns, fragments.c.name, func.length(fragments.c.data)).where(_owned), ("account",)
        ),
    ),
)
