"""The core's named operations on the tables of :mod:`xmppservice.storage.schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BindParameter, bindparam, delete, func, select, update

from xmppservice.storage.operations import (
    Connection,
    ReadOperation,
    Statement,
    WriteOperation,
    insertInto,
    upsertInto,
)
from xmppservice.storage.schema import TABLES, accounts, blocks, hosts, keys, offline, roster, spool

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import ResultRow, Row

__all__ = ["READS", "TABLES", "WRITES"]

#: How many tombstones an account keeps before its oldest versions are forgotten.
TOMBSTONES = 256

_ACCOUNT: BindParameter[int] = bindparam("account")


# --- accounts ---------------------------------------------------------------------------------

def _deleteAccount(connection: Connection, rows: list[Row]) -> None:
    """Everything that the account owns, in all modules' tables, then the account."""
    for tables in connection.operations.tables:
        for name in tables.onAccountDeleted:
            connection.write(name, rows)
    connection.executeMany(_DELETE_ACCOUNT, rows)


_DELETE_ACCOUNT = Statement(delete(accounts).where(accounts.c.id == _ACCOUNT), ("account",))


def _set(column: str) -> Statement:
    change = update(accounts).where(accounts.c.id == _ACCOUNT).values({column: bindparam("value")})
    return Statement(change, ("account", "value"))


_ACCOUNT_COLUMNS = ("host_id", "local", "secrets", "role", "created")

# --- rosters ----------------------------------------------------------------------------------

# 8 is PENDING_IN: a kept request lives as long as the state says that one waits.
_PUT = Statement(
    "INSERT INTO roster (account_id, jid, name, state, groups, version)"
    " VALUES (:account, :jid, :name, :state, :groups, :version)"
    " ON CONFLICT (account_id, jid) DO UPDATE SET name = excluded.name, state = excluded.state,"
    " groups = excluded.groups, version = excluded.version, removed = 0,"
    " request = CASE WHEN (excluded.state & 8) != 0 THEN roster.request END",
    ("account", "jid", "name", "state", "groups", "version"),
)
_STATE = Statement(
    "INSERT INTO roster (account_id, jid, state, version, request)"
    " VALUES (:account, :jid, :state, :version, :request)"
    " ON CONFLICT (account_id, jid) DO UPDATE SET state = excluded.state, version = excluded.version,"
    " name = CASE WHEN roster.removed THEN '' ELSE roster.name END,"
    " groups = CASE WHEN roster.removed THEN '[]' ELSE roster.groups END, removed = 0,"
    " request = CASE WHEN (excluded.state & 8) != 0 THEN coalesce(excluded.request, roster.request) END",
    ("account", "jid", "state", "version", "request"),
)
_BURY = Statement(
    "UPDATE roster SET removed = 1, state = 0, name = '', groups = '[]', request = NULL, version = :version"
    " WHERE account_id = :account AND jid = :jid",
    ("account", "jid", "version"),
)
_RAISE_VERSION = Statement(
    "UPDATE accounts SET roster_version = :version WHERE id = :account AND roster_version < :version",
    ("account", "version"),
)
_COUNT_TOMBSTONES = Statement(
    select(func.count(), func.max(roster.c.version)).where(roster.c.account_id == _ACCOUNT, roster.c.removed == 1),
    ("account",),
)
_DROP_TOMBSTONES = Statement(
    delete(roster).where(roster.c.account_id == _ACCOUNT, roster.c.removed == 1), ("account",)
)
_RAISE_FLOOR = Statement(
    update(accounts).where(accounts.c.id == _ACCOUNT).values(roster_floor=bindparam("version")),
    ("account", "version"),
)


def _putContacts(connection: Connection, rows: list[Row]) -> None:
    connection.executeMany(_PUT, rows)
    connection.executeMany(_RAISE_VERSION, [(row[0], row[5]) for row in rows])


def _setStates(connection: Connection, rows: list[Row]) -> None:
    connection.executeMany(_STATE, rows)
    connection.executeMany(_RAISE_VERSION, [(row[0], row[3]) for row in rows])


def _removeContacts(connection: Connection, rows: list[Row]) -> None:
    """Bury contacts; an account with too many tombstones loses them and says so by its floor."""
    connection.executeMany(_BURY, rows)
    connection.executeMany(_RAISE_VERSION, [(row[0], row[2]) for row in rows])
    for account in {row[0] for row in rows}:
        count, newest = connection.rows(_COUNT_TOMBSTONES, (account,))[0]
        if count > TOMBSTONES:
            connection.execute(_DROP_TOMBSTONES, (account,))
            connection.execute(_RAISE_FLOOR, (account, newest))


# --- blocking lists ---------------------------------------------------------------------------

_CLEAR_BLOCKS = Statement(delete(blocks).where(blocks.c.account_id == _ACCOUNT), ("account",))
_ADD_BLOCK = insertInto(blocks, "account_id", "jid", ignore=True)


def _setBlocks(connection: Connection, rows: list[Row]) -> None:
    """Each row is an account id and then all JIDs of its new list."""
    for account, *jids in rows:
        connection.execute(_CLEAR_BLOCKS, (account,))
        connection.executeMany(_ADD_BLOCK, [(account, jid) for jid in jids])


# --- spool and offline ------------------------------------------------------------------------

_MOVE = Statement(
    "INSERT INTO offline (account_id, format, stamp, data)"
    " SELECT account_id, format, stamp, data FROM spool WHERE key = :key",
    ("key",),
)
_DROP_HELD = Statement(delete(spool).where(spool.c.key == bindparam("held")), ("held",))
_RECOVER = (
    Statement(
        "INSERT INTO offline (account_id, format, stamp, data)"
        " SELECT account_id, format, stamp, data FROM spool"
        " WHERE account_id IN (SELECT id FROM accounts) ORDER BY key"
    ),
    Statement("DELETE FROM spool"),
    Statement("DELETE FROM offline WHERE account_id NOT IN (SELECT id FROM accounts)"),
)


def _moveOffline(connection: Connection, rows: list[Row]) -> None:
    """Each row is the keys to move, in their order."""
    for row in rows:
        moved: list[Row] = [(key,) for key in row]
        connection.executeMany(_MOVE, moved)
        connection.executeMany(_DROP_HELD, moved)


def _settleHeld(connection: Connection, rows: list[Row]) -> None:
    """Each row is the keys to forget."""
    for row in rows:
        connection.executeMany(_DROP_HELD, [(key,) for key in row])


def _recover(connection: Connection, rows: list[Row]) -> None:
    """At start: what the last server left in the spool becomes offline rows."""
    for statement in _RECOVER:
        connection.execute(statement)


WRITES = (
    WriteOperation("host.add", insertInto(hosts, "domain", ignore=True)),
    WriteOperation("account.create", insertInto(accounts, *_ACCOUNT_COLUMNS)),
    WriteOperation("account.add", insertInto(accounts, *_ACCOUNT_COLUMNS, ignore=True)),
    WriteOperation("account.secrets", _set("secrets")),
    WriteOperation("account.enabled", _set("enabled")),
    WriteOperation("account.role", _set("role")),
    WriteOperation("account.delete", _deleteAccount, bulk=False),
    WriteOperation("roster.put", _putContacts),
    WriteOperation("roster.state", _setStates),
    WriteOperation("roster.remove", _removeContacts),
    WriteOperation("roster.clear", Statement(delete(roster).where(roster.c.account_id == _ACCOUNT), ("account",))),
    WriteOperation("blocks.add", _ADD_BLOCK),
    WriteOperation(
        "blocks.remove",
        Statement(
            delete(blocks).where(blocks.c.account_id == _ACCOUNT, blocks.c.jid == bindparam("other")),
            ("account", "other"),
        ),
    ),
    WriteOperation("blocks.set", _setBlocks, bulk=False),
    WriteOperation("blocks.clear", _CLEAR_BLOCKS),
    WriteOperation("spool.hold", insertInto(spool, "key", "account_id", "stamp", "data")),
    WriteOperation("spool.settle", _settleHeld, bulk=False),
    WriteOperation("spool.clear", Statement(delete(spool).where(spool.c.account_id == _ACCOUNT), ("account",))),
    WriteOperation("spool.move", _moveOffline, bulk=False),
    WriteOperation("spool.recover", _recover, bulk=False),
    WriteOperation("offline.store", insertInto(offline, "account_id", "stamp", "data")),
    WriteOperation(
        "offline.remove",
        Statement(
            delete(offline).where(offline.c.id == bindparam("row"), offline.c.account_id == _ACCOUNT),
            ("account", "row"),
        ),
    ),
    WriteOperation("offline.clear", Statement(delete(offline).where(offline.c.account_id == _ACCOUNT), ("account",))),
    WriteOperation("key.add", insertInto(keys, "name", "value", ignore=True)),
    WriteOperation("key.put", upsertInto(keys, "name", "value")),
)

# --- reads ------------------------------------------------------------------------------------

_FACTS = Statement(
    select(
        accounts.c.id, accounts.c.local, accounts.c.enabled, accounts.c.role,
        accounts.c.roster_version, accounts.c.roster_floor,
    ).where(accounts.c.host_id == bindparam("host"), accounts.c.local == bindparam("name")),
    ("host", "name"),
)
_STATES = Statement(
    select(roster.c.jid, roster.c.state).where(roster.c.account_id == _ACCOUNT, roster.c.removed == 0), ("account",)
)
_BLOCKED = Statement(select(blocks.c.jid).where(blocks.c.account_id == _ACCOUNT), ("account",))
_OFFLINE_COUNT = Statement(
    select(func.count()).select_from(offline).where(offline.c.account_id == _ACCOUNT), ("account",)
)


def _record(connection: Connection, host: int, local: str) -> list[ResultRow]:
    """The account's row, then its contacts, blocks and offline count, as one consistent view."""
    found = connection.rows(_FACTS, (host, local))
    if not found:
        return []
    account = found[0][:1]
    count = connection.rows(_OFFLINE_COUNT, account)[0][0]
    return [(found[0], connection.rows(_STATES, account), connection.rows(_BLOCKED, account), count)]


# For a name without an account the first account's row is read instead, by the same steps.
_LOGIN = Statement(
    "SELECT id, secrets, enabled, host_id = :host AND local = :name FROM accounts WHERE id = coalesce("
    "(SELECT id FROM accounts WHERE host_id = :host AND local = :name), (SELECT min(id) FROM accounts))",
    ("host", "name"),
)


def _login(connection: Connection, host: int, local: str) -> list[ResultRow]:
    """The account's row. What was read only for the sake of time goes no further (hardening A05)."""
    found = connection.rows(_LOGIN, (host, local))
    return [row for row in found if row[3]]


_CONTACT = (roster.c.jid, roster.c.name, roster.c.state, roster.c.groups, roster.c.version, roster.c.removed)

READS = (
    ReadOperation("host.id", Statement(select(hosts.c.id).where(hosts.c.domain == bindparam("name")), ("name",))),
    ReadOperation("account.record", _record),
    ReadOperation("account.login", _login),
    ReadOperation(
        "account.count",
        Statement(
            select(func.count()).select_from(accounts).where(accounts.c.host_id == bindparam("host")), ("host",)
        ),
        small=False,
    ),
    ReadOperation(
        "account.list",
        Statement(
            select(accounts.c.id, accounts.c.local, accounts.c.enabled, accounts.c.role, accounts.c.created)
            .where(accounts.c.host_id == bindparam("host"), accounts.c.local > bindparam("start"))
            .order_by(accounts.c.local)
            .limit(bindparam("most")),
            ("host", "start", "most"),
        ),
        small=False,
    ),
    ReadOperation(
        "roster.items",
        Statement(select(*_CONTACT).where(roster.c.account_id == _ACCOUNT, roster.c.removed == 0), ("account",)),
    ),
    ReadOperation(
        "roster.since",
        Statement(
            select(*_CONTACT)
            .where(roster.c.account_id == _ACCOUNT, roster.c.version > bindparam("since"))
            .order_by(roster.c.version),
            ("account", "since"),
        ),
    ),
    ReadOperation(
        "roster.requests",
        Statement(
            select(roster.c.jid, roster.c.request)
            .where(roster.c.account_id == _ACCOUNT, roster.c.request.is_not(None))
            .order_by(roster.c.version),
            ("account",),
        ),
    ),
    ReadOperation(
        "offline.load",
        Statement(
            select(offline.c.id, offline.c.stamp, offline.c.data)
            .where(offline.c.account_id == _ACCOUNT, offline.c.id > bindparam("start"))
            .order_by(offline.c.id)
            .limit(bindparam("most")),
            ("account", "start", "most"),
        ),
    ),
    ReadOperation("key.get", Statement(select(keys.c.value).where(keys.c.name == bindparam("key")), ("key",))),
)
