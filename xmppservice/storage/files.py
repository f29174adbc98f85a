"""The data folder and its database file: permissions, connections, the lock of the one server."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence

from xmppservice.storage.faults import Refusal, textOf
from xmppservice.storage.operations import Connection, Operations

#: The database file inside the data folder.
FILE = "xmppservice.sqlite3"
#: The lock file inside the data folder; it holds the process id of the server.
LOCK = "lock"

#: How long the writer waits for a lock that somebody else holds on the file.
WRITE_PATIENCE = 10.0
#: The same for reads, which may run in the reactor thread and practically never wait.
READ_PATIENCE = 1.0

#: Files up to this size are checked for damage when they are opened.
CHECKED_SIZE = 64 * 1024 * 1024


def makeFolder(path: str) -> None:
    """Create the data folder if needed, closed to other users; a new one survives a power loss."""
    if not os.path.isdir(path):
        os.makedirs(path, mode=0o700, exist_ok=True)
        # What is inside SQLite syncs; the folder's own name is an entry of its parent.
        _syncFolder(os.path.dirname(os.path.abspath(path)))
    if os.stat(path).st_mode & 0o077:
        os.chmod(path, 0o700)


def _syncFolder(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        # One may create in a folder that one may not read.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lockFolder(path: str) -> int | None:
    """Try to become the one server of a data folder; return the lock's descriptor.

    The lock belongs to the open file, so a writer process that inherits the descriptor holds it
    too: the next server cannot start while the writer of a killed one is still committing.
    """
    descriptor = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def lockOwner(path: str) -> str:
    """The process id that the lock file names."""
    try:
        with open(os.path.join(path, LOCK), encoding="ascii") as lock:
            return lock.read(32).strip() or "unknown"
    except (OSError, ValueError):
        return "unknown"


def openWriter(path: str, operations: Operations, pragmas: Sequence[str] = ()) -> Connection:
    """Open the database file for writing, created with mode 0600; commits reach the disk.

    :raises Refusal: the file is not a database, is damaged, or cannot be opened.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        raw = sqlite3.connect(path, timeout=WRITE_PATIENCE, isolation_level=None, cached_statements=512)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "journal_size_limit=67108864", *pragmas):
            raw.execute(f"PRAGMA {pragma}")
        if os.path.getsize(path) <= CHECKED_SIZE:
            _checkDamage(path, raw)
    except (sqlite3.Error, OSError) as error:
        raise Refusal(f"the database {path} cannot be opened: {textOf(error)}; restore it from a backup") from error
    return Connection(raw, operations)


def _checkDamage(path: str, raw: sqlite3.Connection) -> None:
    found = raw.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Refusal(f"the database {path} is damaged ({found}); restore it from a backup")


def openReader(path: str, operations: Operations) -> Connection:
    """Open the database file for reads; with the write-ahead log they never wait for the writer."""
    raw = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, timeout=READ_PATIENCE, isolation_level=None,
        cached_statements=256, check_same_thread=False,
    )
    raw.execute("PRAGMA query_only=1")
    return Connection(raw, operations)


def openMemory(operations: Operations) -> Connection:
    """A new database in memory."""
    return Connection(
        sqlite3.connect(":memory:", isolation_level=None, cached_statements=512, check_same_thread=False), operations
    )


def _quoted(path: str) -> str:
    return os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
