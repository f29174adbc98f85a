"""The core's tables.

Ids of hosts and accounts are never used again, so that nobody inherits what a deleted account
left behind.  Rows with stanza bytes carry the number of the format that the bytes are in.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

from xmppservice.storage.operations import ModuleTables

metadata = MetaData()

hosts = Table(
    "hosts", metadata,
    Column("id", Integer, primary_key=True),
    Column("domain", Text, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts", metadata,
    Column("id", Integer, primary_key=True),
    Column("host_id", Integer, nullable=False),
    Column("local", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("role", Text, nullable=False, server_default="user"),
    Column("roster_version", Integer, nullable=False, server_default="0"),
    # Tombstones up to this roster version are gone.
    Column("roster_floor", Integer, nullable=False, server_default="0"),
    Column("created", Float, nullable=False),
    UniqueConstraint("host_id", "local"),
    sqlite_autoincrement=True,
)

roster = Table(
    "roster", metadata,
    Column("account_id", Integer, primary_key=True),
    Column("jid", Text, primary_key=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("state", Integer, nullable=False, server_default="0"),
    # A JSON list of strings.
    Column("groups", Text, nullable=False, server_default="[]"),
    Column("version", Integer, nullable=False),
    Column("removed", Integer, nullable=False, server_default="0"),
    # The subscription request that waits for an answer.
    Column("request", LargeBinary),
    Index("roster_by_version", "account_id", "version"),
    sqlite_with_rowid=False,
)

blocks = Table(
    "blocks", metadata,
    Column("account_id", Integer, primary_key=True),
    Column("jid", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# Short-lived rows, few at a time: an index by account would cost more than it ever saves.
spool = Table(
    "spool", metadata,
    Column("key", Integer, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("format", Integer, nullable=False, server_default="1"),
    Column("stamp", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

offline = Table(
    "offline", metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("format", Integer, nullable=False, server_default="1"),
    Column("stamp", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("offline_by_account", "account_id", "id"),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys", metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# One row: the last batch that was committed, with the failures that were answered for it.
batches = Table(
    "writer_batches", metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("failures", LargeBinary, nullable=False),
)

TABLES = ModuleTables(
    "core", metadata, version=1,
    onAccountDeleted=("roster.clear", "blocks.clear", "offline.clear", "spool.clear"),
)
