"""What xmppctl needs from the composition of the server, so that its own tests can bring another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.threads import deferToThread

from xmppservice.hub.contracts.administration import IOpenedAdministration
from xmppservice.settings import Modules, Settings

Main = Callable[[Any], "Deferred[None]"]


@attrs.frozen
class Composition:
    """
    @ivar modules: gives the known modules with their options, and the names of the default ones.
    @ivar openAdministration: opens the database of a stopped server.
    @ivar react: runs a function with a reactor until its Deferred fires.
    """

    modules: Callable[[], tuple[Modules, Sequence[str]]]
    openAdministration: Callable[[Settings, IReactorCore], Deferred[IOpenedAdministration]]
    react: Callable[[Main], None]


def reactOnce(main: Main) -> None:
    """Run the reactor for one thing; what becomes of it is for `main` to keep."""
    try:
        task.react(main)
    except SystemExit:
        # react always ends this way; the exit code is decided by the caller.
        return


def standardComposition() -> Composition:
    """That of the real server, imported when it is needed."""
    from xmppservice.server import ModuleCatalogue, openAdministration

    catalogue = ModuleCatalogue()

    def openStopped(settings: Settings, reactor: IReactorCore) -> Deferred[Any]:
        return openAdministration(settings, catalogue, reactor, deferToThread)

    return Composition(lambda: (catalogue, catalogue.defaults), openStopped, reactOnce)
