"""What a module is: the base class that extensions derive from (architecture section 5).

Everything a module declares is a class attribute that the loader reads without running
anything. Handlers are methods with a decorator of `xmppservice.hub.hooks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface, implementer
from zope.interface.interface import InterfaceClass

from xmppservice.hub.figures import SECONDS, Counter, F, Gauge, Histogram
from xmppservice.hub.options import option

if TYPE_CHECKING:
    from xmppservice.hub.host import VirtualHost
    from xmppservice.wire.element import Element

log = Logger()


@attrs.frozen
class XEP:
    """An extension that a module implements: number, version of the text, and how far."""

    number: int
    version: str
    status: str = "complete"
    note: str = ""


class Scope(Enum):
    """What a module attaches to."""

    HOST = "host"
    """A virtual host with accounts."""
    ADDRESS = "address"
    """Any address the server owns, ports included."""


@attrs.frozen
class NoOptions:
    """The options of a module that has none."""


class IModuleMaker(Interface):
    """A module plugin: data only, found in ``xmppservice/plugins`` (twisted.plugin)."""

    name: str = Attribute("str: the name in the configuration, lower-case")
    module: str = Attribute("str: dotted name of the Python module or package, imported when enabled")
    summary: str = Attribute("str: one line for lists")
    default: bool = Attribute("bool: whether it is enabled without being asked for")


@implementer(IPlugin, IModuleMaker)
@attrs.frozen
class ModuleMaker:
    """One line in a plugin file: ``ModuleMaker("ping", "xmppservice.modules.ping", "…")``.

    The class is the only subclass of `HostModule` that the Python module defines itself,
    or the one it names as ``MODULE``.
    """

    name: str
    module: str
    summary: str
    default: bool = False


class HostModule:
    """Base class of modules. Derive, declare, decorate; see ``docs/tutorial``.

    The loader makes it with `host` (the virtual host) and `options` (an instance of
    `Options`), puts its handlers into the tables and then calls `attached`.
    """

    #: Name in the configuration and in `after`/`before`.
    name: ClassVar[str] = ""
    #: The XEPs that it implements.
    xeps: ClassVar[tuple[XEP, ...]] = ()
    #: Service discovery features of the host while attached (XEP-0030).
    features: ClassVar[tuple[str, ...]] = ()
    #: Service discovery features of each account while attached.
    accountFeatures: ClassVar[tuple[str, ...]] = ()
    #: Service discovery identities of the host: (category, type, name).
    identities: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    #: Payload namespaces that it owns, for the reference pages.
    namespaces: ClassVar[tuple[str, ...]] = ()
    #: A frozen attrs class of `xmppservice.hub.options.option` fields, often nested.
    Options: ClassVar[type] = NoOptions
    #: Dotted name of the Python module with TABLES, WRITES and READS, or "".
    tables: ClassVar[str] = ""
    #: Interfaces that the module provides to others through `VirtualHost.provider`.
    provides: ClassVar[tuple[InterfaceClass, ...]] = ()
    #: Interfaces that must be provided by somebody.
    requires: ClassVar[tuple[InterfaceClass, ...]] = ()
    #: Names of modules that run earlier (after) or later (before) inside a phase.
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    #: Web mounts: path → factory of an IResource.
    web: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    scope: ClassVar[Scope] = Scope.HOST

    #: The name or dotted path under which the configuration enables it (set by the loader).
    enabledAs: str = ""

    def __init__(self, host: VirtualHost, options: Any) -> None:
        self.host = host
        self.options = options
        self._cleanUps: list[Callable[[], object]] = []

    def attached(self) -> None:
        """The module's handlers are in the tables now."""

    def detached(self) -> None:
        """The module's handlers are out of the tables; give back what was taken."""

    def addCleanUp(self, undo: Callable[[], object]) -> None:
        """Have `undo` called when the module is detached, after those that were added later."""
        self._cleanUps.append(undo)

    def every(self, seconds: float, action: Callable[[], object]) -> None:
        """Call `action` again and again while the module is attached; what it raises is logged."""
        loop = LoopingCall(action)
        loop.clock = self.host.clock
        loop.start(seconds, now=False).addErrback(
            lambda failure: log.failure("a periodic action of module {name} failed", failure, name=self.name)
        )
        self.addCleanUp(lambda: loop.stop() if loop.running else None)

    # -- figures (see `xmppservice.hub.figures`); each is gone when the module is detached ---------------------------

    def counter(self, name: str, help: str, /, **labels: str) -> Counter:
        """A counter ``xmppservice_<module>_<name>`` of this host; `name` ends in ``_total``.

        Make no label of what a user has said: anybody could fill the memory of your monitoring, and read addresses.
        """
        return self._kept(self.host.figures.counter(self._figure(name), help, host=self.host.name, **labels))

    def gauge(self, name: str, help: str, read: Callable[[], float] | None = None, /, **labels: str) -> Gauge:
        """A gauge, read when asked for or, without `read`, set."""
        return self._kept(self.host.figures.gauge(self._figure(name), help, read, host=self.host.name, **labels))

    def histogram(self, name: str, help: str, bounds: Iterable[float] = SECONDS, /, **labels: str) -> Histogram:
        """A histogram."""
        return self._kept(self.host.figures.histogram(self._figure(name), help, bounds, host=self.host.name, **labels))

    def _figure(self, name: str) -> str:
        return f"xmppservice_{self.name}_{name}"

    def _kept(self, figure: F) -> F:
        self.addCleanUp(lambda: self.host.figures.remove(figure))
        return figure

    def cleanUp(self) -> None:
        """Undo what was registered (called by the loader)."""
        while self._cleanUps:
            self._cleanUps.pop()()

    def discoExtensions(self) -> list[Element]:
        """Data forms for the host's disco#info (XEP-0128)."""
        return []


__all__ = ["XEP", "HostModule", "IModuleMaker", "ModuleMaker", "NoOptions", "Scope", "option"]
