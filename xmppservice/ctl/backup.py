"""`xmppctl db backup`: a copy of the database while the server goes on."""

from __future__ import annotations

from xmppservice.hub.commands import CommandError, Result
from xmppservice.hub.contracts.storage import StorageRefused
from xmppservice.settings import Settings
from xmppservice.storage.maintenance import backupDatabase


def backup(settings: Settings, target: str) -> Result:
    """Copy the database of these settings to a file that does not exist yet.

    @raise CommandError: there is nothing to copy, or the file cannot be made.
    """
    if settings.inMemory:
        raise CommandError("the database is kept in memory", "there is no file to copy")
    try:
        backupDatabase(settings.data, target)
    except StorageRefused as error:
        raise CommandError(str(error)) from None
    return Result(f"{target} holds the database as it was at the beginning of the copy, readable by you alone.")
