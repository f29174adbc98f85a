"""Modules at run time as commands: look at them, attach, detach and reload them while clients stay connected."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xmppservice.hub.commands import Argument, Call, CommandError, Result, command
from xmppservice.hub.host import VirtualHost
from xmppservice.hub.loader import Loader, ModuleError

_NAME = Argument("name", "Module, by its name or its dotted path.")
_HOST = Argument("host", "Only on this virtual host.", "domain", required=False, named=True)


class ModuleCommands:
    """The commands of the running server for its modules; `hosts` gives the hosts that run.

    What they change lasts until the next start: the configuration says what is enabled then.
    """

    def __init__(self, loader: Loader, hosts: Callable[[], Iterable[VirtualHost]]) -> None:
        self._loader = loader
        self._hosts = hosts

    def _chosen(self, domain: str | None) -> list[VirtualHost]:
        hosts = list(self._hosts())
        chosen = [host for host in hosts if domain in (None, host.name)]
        if not chosen:
            known = ", ".join(host.name for host in hosts)
            raise CommandError(f"{domain} is no host of this server", f"its hosts are {known}")
        return chosen

    def _having(self, domain: str | None, name: str) -> list[VirtualHost]:
        chosen = [host for host in self._chosen(domain) if self._loader.find(host, name) is not None]
        if not chosen:
            raise CommandError(f"the module {name!r} is not attached", "`module list` shows which are")
        return chosen

    @command("module list", "List the modules, attached or not.", (_HOST,), changes=False)
    async def listModules(self, call: Call, host: str | None) -> Result:
        """All modules that can be had, host by host; attached ones in the order in which they run."""
        rows: list[tuple[str, ...]] = []
        makers = self._loader.makers
        for each in self._chosen(host):
            attached = {module.enabledAs: module for module in each.modules.values()}
            for name, module in attached.items():
                about = makers[name].summary if name in makers else f"from {type(module).__module__}"
                rows.append((each.name, module.name, "attached", about))
            rows += [(each.name, name, "", makers[name].summary) for name in sorted(makers) if name not in attached]
        return Result(columns=("host", "module", "state", "what for"), rows=rows)

    @command("module attach", "Attach a module until the next start.", (_NAME, _HOST))
    async def attach(self, call: Call, name: str, host: str | None) -> str:
        """Attach to one host or to all that have it not; to all of these or none."""
        chosen = [each for each in self._chosen(host) if self._loader.find(each, name) is None]
        if not chosen:
            raise CommandError(f"the module {name!r} is attached already")
        done: list[VirtualHost] = []
        try:
            for each in chosen:
                self._loader.attach(each, [name])
                done.append(each)
        except ModuleError as error:
            for each in done:
                self._loader.detach(each, name)
            raise CommandError(str(error), "nothing was changed") from None
        return f"The module {name} is attached to {_named(done)}; `enable` in the configuration makes that last."

    @command("module detach", "Detach a module until the next start.", (_NAME, _HOST))
    async def detach(self, call: Call, name: str, host: str | None) -> str:
        """Detach from one host or from all that have it."""
        done: list[VirtualHost] = []
        for each in self._having(host, name):
            try:
                self._loader.detach(each, name)
            except ModuleError as error:
                raise CommandError(str(error), _partly("detached from", done)) from None
            done.append(each)
        return f"The module {name} is detached from {_named(done)}; `disable` in the configuration makes that last."

    @command("module reload", "Import a module's code anew, while clients stay connected.", (_NAME, _HOST))
    async def reload(self, call: Call, name: str, host: str | None) -> str:
        """Replace the code on one host or on all that have it; code that cannot be used changes nothing."""
        done: list[VirtualHost] = []
        for each in self._having(host, name):
            try:
                self._loader.reload(each, name)
            except ModuleError as error:
                raise CommandError(str(error), _partly("reloaded on", done)) from None
            done.append(each)
        return f"The module {name} was reloaded on {_named(done)}."


def _named(hosts: Iterable[VirtualHost]) -> str:
    return ", ".join(host.name for host in hosts)


def _partly(what: str, done: list[VirtualHost]) -> str:
    return f"it was {what} {_named(done)} before" if done else "nothing was changed"
