"""What went wrong in the driver, as one word that can cross a process border.

This file is imported by the writer process and therefore knows no Twisted.
"""

from __future__ import annotations

import errno
import sqlite3

#: The operation is at fault; the same again would fail again.
CONSTRAINT = "constraint"
#: No space left.
FULL = "full"
#: I/O error, lock held too long, damage.
UNAVAILABLE = "unavailable"

_OPERATION_FAULTS = frozenset({
    sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISUSE,
})


class Refusal(Exception):
    """The database must not be opened as it is; the text is for the administrator."""


def kindOf(error: BaseException) -> str:
    """Sort a driver's or an operation's exception."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            return FULL
        return CONSTRAINT if primary in _OPERATION_FAULTS else UNAVAILABLE
    if isinstance(error, OSError):
        return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else UNAVAILABLE
    return UNAVAILABLE if isinstance(error, MemoryError) else CONSTRAINT


def textOf(error: BaseException) -> str:
    """A line for the log: the exception's class, and its own words where those hold no values of a row."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, sqlite3.Error | OSError | Refusal) else name
