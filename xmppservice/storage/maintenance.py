"""What the command line does with a database: versions, upgrades, backups.

These functions block; they are not for the server itself.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from xmppservice.hub.contracts.storage import StorageRefused
from xmppservice.storage.faults import Refusal, textOf
from xmppservice.storage.files import FILE, lockFolder, lockOwner, openReader, openWriter
from xmppservice.storage.operations import Operations
from xmppservice.storage.upgrades import TableStatus, prepare, status


def databaseStatus(folder: str, modules: Sequence[str] = ()) -> list[TableStatus]:
    """The schema versions found and wanted, by module; the server may be running.

    :raises StorageRefused: there is no database, or it cannot be read.
    """
    path = _existing(folder)
    try:
        connection = openReader(path, Operations.load(modules))
        try:
            return status(connection)
        finally:
            connection.raw.close()
    except sqlite3.Error as error:
        raise StorageRefused(f"the database {path} cannot be read: {textOf(error)}") from error


def upgradeDatabase(folder: str, modules: Sequence[str] = ()) -> list[TableStatus]:
    """Create or upgrade tables as a start of the server does; return what was changed.

    :raises StorageRefused: the server is running, or the database must not be opened.
    """
    lock = lockFolder(folder)
    if lock is None:
        raise StorageRefused(f"the data folder {folder} is in use by a server, process {lockOwner(folder)}")
    try:
        connection = openWriter(os.path.join(folder, FILE), Operations.load(modules))
        try:
            return prepare(connection)
        finally:
            connection.raw.close()
    except Refusal as refusal:
        raise StorageRefused(str(refusal)) from refusal
    finally:
        os.close(lock)


def backupDatabase(folder: str, target: str) -> None:
    """Copy the database as it is at one moment to a new file; the server may be running.

    :raises StorageRefused: there is no database, or the target exists or cannot be written.
    """
    path = _existing(folder)
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StorageRefused(f"the backup {target} cannot be made: {error}") from error
    try:
        source = openReader(path, Operations()).raw
        copy = sqlite3.connect(target)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()
    except sqlite3.Error as error:
        os.unlink(target)
        raise StorageRefused(f"the backup {target} cannot be made: {textOf(error)}") from error


def _existing(folder: str) -> str:
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        raise StorageRefused(f"there is no database in {folder}")
    return path
