"""Commands on a stopped server: open its database, run the command, close it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python.failure import Failure

from xmppservice.ctl.composition import Composition
from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import Call, Catalogue, CommandError, Result
from xmppservice.hub.contracts.storage import StorageFailure
from xmppservice.settings import Settings


def runStopped(
    settings: Settings,
    name: str,
    arguments: dict[str, Any],
    progress: Callable[[str], None],
    composition: Composition,
) -> Result:
    """Run one command.

    @raise CommandError: it cannot be done.
    """
    if settings.inMemory:
        raise CommandError("the database is kept in memory, and the server is not running", "start it first")
    becomeOwner(settings.data)
    outcome: list[Result | Failure] = []

    async def work(reactor: IReactorCore) -> Result:
        administration = await composition.openAdministration(settings, reactor)
        try:
            catalogue = Catalogue()
            catalogue.add(AdministrationCommands(administration))
            return await catalogue.run(name, arguments, Call("xmppctl", progress), stopped=True)
        finally:
            await administration.close()

    def start(reactor: Any) -> Deferred[None]:
        done: Deferred[Any] = Deferred.fromCoroutine(work(reactor))
        return done.addBoth(outcome.append)

    composition.react(start)
    if not outcome:
        raise KeyboardInterrupt
    return _judge(outcome[0])


def _judge(outcome: Result | Failure) -> Result:
    if isinstance(outcome, Result):
        return outcome
    if isinstance(outcome.value, StorageFailure):
        raise CommandError(f"the database cannot be used: {outcome.value}")
    outcome.raiseException()
    raise AssertionError("not reached")


def becomeOwner(folder: str) -> None:
    """As root, become the user who owns the data folder, lest files there end up as root's; else do nothing."""
    if os.geteuid() != 0 or not os.path.isdir(folder):
        return
    status = os.stat(folder)
    if status.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(status.st_uid).pw_name, status.st_gid)
    except KeyError:
        os.setgroups([])
    os.setgid(status.st_gid)
    os.setuid(status.st_uid)
