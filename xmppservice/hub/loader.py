"""Attaching modules to hosts, at start and while the server runs (architecture section 5).

A module is imported only when it is asked for, and one that is asked for but cannot be
imported is an error that stops the start. Everything a module registers hangs on its place in
the host's list of modules (handlers, features, provided interfaces) or on its clean-ups, so
detaching needs no help from its author.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from xmppservice.hub.module import HostModule, IModuleMaker, ModuleMaker

if TYPE_CHECKING:
    from xmppservice.hub.host import VirtualHost

log = Logger()

#: Answers (host name, module's name in the configuration, its class) with its checked options.
OptionsOf = Callable[[str, str, type[HostModule]], Any]
#: Told which module came to or went from which host.
Listener = Callable[["VirtualHost", HostModule, bool], None]


class ModuleError(Exception):
    """A module cannot be used; the text says which and why, for the operator."""


class Loader:
    """Knows which modules there are, and puts them on hosts.

    `makers` are the plugins found (`twisted.plugin`); `optionsOf` gives a module's options on a
    host, by default those that nobody changed.
    """

    def __init__(self, makers: Iterable[IModuleMaker], optionsOf: OptionsOf | None = None) -> None:
        self.makers: dict[str, IModuleMaker] = {}
        for maker in makers:
            if maker.name in self.makers and self.makers[maker.name].module != maker.module:
                raise ModuleError(
                    f"two plugins are called {maker.name!r}: {self.makers[maker.name].module} and {maker.module}"
                )
            self.makers[maker.name] = maker
        self.optionsOf: OptionsOf = optionsOf or (lambda host, name, kind: kind.Options())
        self._listeners: list[Listener] = []

    def onChange(self, listener: Listener) -> None:
        """Call `listener(host, module, attached)` for each module that comes or goes."""
        self._listeners.append(listener)

    # -- finding ---------------------------------------------------------------------------------

    def defaults(self) -> list[str]:
        """The names of the modules that every host has unless it disables them."""
        return [name for name, maker in self.makers.items() if maker.default]

    def enabled(self, enable: Sequence[str], disable: Sequence[str]) -> list[str]:
        """The defaults and what is enabled, less what is disabled."""
        names = [*self.defaults(), *(name for name in enable if name not in self.defaults())]
        for name in disable:
            if name not in names and name not in self.makers:
                raise ModuleError(f"there is no module {name!r} to disable{self._hint(name)}")
        return [name for name in names if name not in disable]

    def maker(self, name: str) -> IModuleMaker:
        """The maker of a module, by its name or by a dotted path."""
        found = self.makers.get(name)
        if found is not None:
            return found
        if "." in name:
            return ModuleMaker(name, name, "named by its path")
        raise ModuleError(f"there is no module {name!r}{self._hint(name)}")

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.makers, 1)
        return f" (did you mean {close[0]!r}?)" if close else ""

    def moduleClass(self, name: str) -> type[HostModule]:
        """Import a module; raises `ModuleError` if that fails."""
        maker = self.maker(name)
        try:
            module = importlib.import_module(maker.module)
        except Exception as error:
            hint = "; is its folder in PYTHONPATH?" if isinstance(error, ModuleNotFoundError) else ""
            raise ModuleError(f"module {name!r} cannot be imported from {maker.module}: {error}{hint}") from error
        return _classOf(module, name)

    # -- attaching -------------------------------------------------------------------------------

    def attach(self, host: VirtualHost, names: Sequence[str]) -> None:
        """Put modules on a host, all or none; their options come from the configuration."""
        self.exchange(host, (), [name for name in names if self.find(host, name) is None])

    def detach(self, host: VirtualHost, name: str) -> HostModule:
        """Take a module off a host; what it registered goes with it."""
        module = self._attached(host, name)
        self._change(host, [module], [])
        return module

    def exchange(self, host: VirtualHost, gone: Iterable[str], come: Sequence[str]) -> None:
        """Take modules off a host and put others there in one step, all or nothing.

        A name in both is made anew, in its old place; that is how it gets other options.
        """
        self._change(host, [self._attached(host, name) for name in gone], [self._make(host, name) for name in come])

    def reload(self, host: VirtualHost, name: str) -> HostModule:
        """Import a module anew and put it in the place of the old one. Deferreds under way finish on that.

        If the new code cannot be used the old instance stays, or is attached again.
        """
        old = self._attached(host, name)
        own = type(old).__module__.removesuffix(".module")
        purged = {key: sys.modules.pop(key) for key in list(sys.modules) if key == own or key.startswith(own + ".")}
        importlib.invalidate_caches()
        try:
            fresh = self._make(host, old.enabledAs)
            self._change(host, [old], [fresh])
        except Exception:
            for key in [key for key in sys.modules if key == own or key.startswith(own + ".")]:
                del sys.modules[key]
            sys.modules.update(purged)
            raise
        return fresh

    def release(self, host: VirtualHost, name: str) -> None:
        """Let a module go as its host stops, without compiling the tables again."""
        self._release(host, host.modules[name])

    def find(self, host: VirtualHost, name: str) -> HostModule | None:
        """A host's module, by its own name or by that under which the configuration enables it."""
        found = host.modules.get(name)
        return found or next((module for module in host.modules.values() if module.enabledAs == name), None)

    def _attached(self, host: VirtualHost, name: str) -> HostModule:
        module = self.find(host, name)
        if module is None:
            raise ModuleError(f"module {name!r} is not attached to {host.name}")
        return module

    def _make(self, host: VirtualHost, name: str) -> HostModule:
        kind = self.moduleClass(name)
        try:
            module = kind(host, self.optionsOf(host.name, name, kind))
            module.enabledAs = name
            return module
        except Exception as error:
            raise ModuleError(f"module {name!r} cannot be made for {host.name}: {error}") from error

    def _change(self, host: VirtualHost, gone: Sequence[HostModule], come: Sequence[HostModule]) -> None:
        """The one place where a host's modules change; raises `ModuleError` with all as it was."""
        before = list(host.modules.values())
        self._install(host, before, _exchanged(before, gone, come))
        for module in reversed(gone):
            self._release(host, module)
        failing = self._start(host, come)
        if failing is None:
            return
        host.modulesChanged(before)
        self._start(host, gone)
        name, error = failing
        raise ModuleError(f"module {name!r} cannot be attached to {host.name}: {error}") from error

    def _install(self, host: VirtualHost, before: Sequence[HostModule], after: Sequence[HostModule]) -> None:
        """Compile the tables for other modules, if they fit together."""
        names = [module.name for module in after]
        for name in names:
            if names.count(name) > 1:
                raise ModuleError(f"two modules on {host.name} are called {name!r}")
        provided = {interface for module in after for interface in module.provides}
        for module in after:
            for interface in module.requires:
                if interface not in provided:
                    raise ModuleError(
                        f"module {module.name!r} on {host.name} needs another that provides {interface.__name__}"
                    )
        order = ordered(after)
        try:
            host.modulesChanged(order)
        except Exception as error:
            host.modulesChanged(before)
            raise ModuleError(f"the modules of {host.name} do not fit together: {error}") from error

    def _start(self, host: VirtualHost, modules: Sequence[HostModule]) -> tuple[str, Exception] | None:
        """Tell modules that they are attached; if one fails let all of them go, and say which and why."""
        done: list[HostModule] = []
        for module in modules:
            done.append(module)
            try:
                module.attached()
                self._tell(host, module, True)
            except Exception as error:
                for other in reversed(done):
                    self._release(host, other)
                return module.name, error
        return None

    def _release(self, host: VirtualHost, module: HostModule) -> None:
        self._tell(host, module, False)
        try:
            module.detached()
        except Exception:
            log.failure("module {name} failed while it was detached", name=module.name)
        module.cleanUp()

    def _tell(self, host: VirtualHost, module: HostModule, attached: bool) -> None:
        for listener in self._listeners:
            listener(host, module, attached)


def _exchanged(
    before: Sequence[HostModule], gone: Sequence[HostModule], come: Sequence[HostModule]
) -> list[HostModule]:
    """The modules of a host after a change; who comes under the name of who goes takes their place."""
    fresh = {module.name: module for module in come}
    places = [fresh.pop(module.name, None) if module in gone else module for module in before]
    kept = [module for module in places if module is not None]
    return [*kept, *fresh.values()]


def _classOf(module: ModuleType, name: str) -> type[HostModule]:
    named = getattr(module, "MODULE", None)
    if named is not None:
        return named  # type: ignore[no-any-return]
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, HostModule) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ModuleError(
            f"module {name!r}: {module.__name__} must define one subclass of HostModule (or name it as MODULE), "
            f"it has {len(found)}"
        )
    return found[0]


def ordered(modules: Sequence[HostModule]) -> list[HostModule]:
    """The modules so that `after` and `before` hold; otherwise in the order given.

    Names that are not attached do not matter; a circle is a `ModuleError`.
    """
    byName = {module.name: module for module in modules}
    earlier: dict[str, set[str]] = {name: set() for name in byName}
    for module in modules:
        earlier[module.name].update(name for name in module.after if name in byName)
        for name in module.before:
            if name in byName:
                earlier[name].add(module.name)
    result: list[HostModule] = []
    done: set[str] = set()
    while len(result) < len(byName):
        ready = next((name for name in byName if name not in done and earlier[name] <= done), None)
        if ready is None:
            circle = ", ".join(sorted(set(byName) - done))
            raise ModuleError(f"the modules {circle} each want to come after another of them")
        done.add(ready)
        result.append(byName[ready])
    return result
