"""One vCard per account, as bytes in the client context."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, bindparam, delete, select

from xmppservice.storage.operations import ModuleTables, ReadOperation, Statement, WriteOperation, upsertInto

metadata = MetaData()

vcards = Table(
    "vcards", metadata,
    Column("account_id", Integer, primary_key=True),
    # The number of the format that the bytes are in.
    Column("format", Integer, nullable=False, server_default="1"),
    Column("data", LargeBinary, nullable=False),
)

TABLES = ModuleTables("vcard", metadata, version=1, onAccountDeleted=("vcard.clear",))

_owned = vcards.c.account_id == bindparam("account")

WRITES = (
    WriteOperation("vcard.set", upsertInto(vcards, "account_id", "data"), bulk=False),
    WriteOperation("vcard.clear", Statement(delete(vcards).where(_owned), ("account",))),
)

READS = (ReadOperation("vcard.get", Statement(select(vcards.c.data).where(_owned), ("account",))),)
