"""When each account logged out last."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text, bindparam, delete, select

from xmppservice.storage.operations import ModuleTables, ReadOperation, Statement, WriteOperation, upsertInto

metadata = MetaData()

logouts = Table(
    "last_activity", metadata,
    Column("account_id", Integer, primary_key=True),
    # Seconds since the epoch.
    Column("stamp", Float, nullable=False),
    # The status text of the last unavailable presence.
    Column("status", Text, nullable=False, server_default=""),
)

TABLES = ModuleTables("last_activity", metadata, version=1, onAccountDeleted=("last_activity.clear",))

_owned = logouts.c.account_id == bindparam("account")

WRITES = (
    WriteOperation("last_activity.set", upsertInto(logouts, "account_id", "stamp", "status")),
    WriteOperation("last_activity.clear", Statement(delete(logouts).where(_owned), ("account",))),
)

READS = (
    ReadOperation(
        "last_activity.get", Statement(select(logouts.c.stamp, logouts.c.status).where(_owned), ("account",))
    ),
)
