"""The modules that can be had: plugins, and what is named by a dotted path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from twisted.plugin import getPlugins

from xmppservice import plugins
from xmppservice.hub.loader import Loader, ModuleError
from xmppservice.hub.module import IModuleMaker, NoOptions
from xmppservice.settings import Settings


class ModuleCatalogue(Mapping[str, type | None]):
    """Module name → its options class, as the configuration wants it; imports a module when asked.

    `loader` is what then puts modules on hosts.
    """

    def __init__(self, makers: Iterable[IModuleMaker] | None = None) -> None:
        self.loader = Loader(getPlugins(IModuleMaker, plugins) if makers is None else makers)

    def __getitem__(self, name: str) -> type | None:
        if name not in self.loader.makers and "." not in name:
            raise KeyError(name)
        options = self.loader.moduleClass(name).Options
        return None if options is NoOptions else options

    def __iter__(self) -> Iterator[str]:
        return iter(self.loader.makers)

    def __len__(self) -> int:
        return len(self.loader.makers)

    @property
    def defaults(self) -> list[str]:
        """The modules that every host has unless it disables them."""
        return self.loader.defaults()

    def tables(self, enabled: Iterable[str] = ()) -> list[str]:
        """Dotted paths of the declarations of tables of all modules, and of those `enabled` by a dotted path.

        A module that is switched off keeps its rows, and the deletion of an account reaches them.
        One that cannot be imported (and is not enabled, or the start would have failed) has none.
        """
        found = []
        for name in dict.fromkeys((*self.loader.makers, *enabled)):
            try:
                declared = self.loader.moduleClass(name).tables
            except ModuleError:
                continue
            if declared:
                found.append(declared)
        return list(dict.fromkeys(found))


def enabledModules(settings: Settings) -> list[str]:
    """The modules of all hosts."""
    return [name for host in settings.hosts.values() for name in host.enabled]
