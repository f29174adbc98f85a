"""Makes the reference pages out of what the code declares: options, hooks, XEPs, commands, stream states."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from xmppservice.ctl.arguments import LOCAL
from xmppservice.ctl.main import CORE
from xmppservice.hub.commands import Argument, CommandInfo, declared
from xmppservice.hub.hooks import CATALOGUE, Phase
from xmppservice.hub.module import HostModule
from xmppservice.hub.options import OptionDescription, describeOptions
from xmppservice.protocol.stream.machine import FAULTS, TABLE
from xmppservice.server import ModuleCatalogue
from xmppservice.settings.sections import SECTIONS, ComponentKeys, HostKeys, Main, PortKeys


def writeAll(folder: Path) -> None:
    """Write every page into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, lines in pages().items():
        text = "\n".join(lines) + "\n"
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def pages() -> dict[str, list[str]]:
    """Page name → lines."""
    modules = allModules()
    return {
        "options": list(optionsPage(modules)),
        "hooks": list(hooksPage()),
        "xeps": list(xepsPage(modules)),
        "commands": list(commandsPage(modules)),
        "streams": list(streamsPage()),
    }


def allModules() -> dict[str, type[HostModule]]:
    """The modules that come with the server."""
    loader = ModuleCatalogue().loader
    own = [name for name, maker in loader.makers.items() if maker.module.startswith("xmppservice.")]
    return {name: loader.moduleClass(name) for name in own}


def title(text: str, line: str = "=") -> list[str]:
    """A heading."""
    return [text, line * len(text), ""]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A list table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        for index, cell in enumerate(row):
            lines.append(f"   {'*' if not index else ' '} - {cell}".rstrip())
    return [*lines, ""]


def literal(text: str) -> str:
    """Text as it is written in a file."""
    return f"``{text}``" if text else ""


def _range(option: OptionDescription) -> str:
    if option.choices:
        return ", ".join(map(literal, map(str, option.choices)))
    if option.range is None:
        return ""
    low, high = ("" if bound is None else f"{bound:g}" for bound in option.range)
    return f"{low} … {high}"


def _optionRows(cls: type) -> list[tuple[str, ...]]:
    # What a key is for is plain text, in which an asterisk is one.
    return [
        (literal(entry.key), entry.type, literal(entry.defaultText), _range(entry), entry.help.replace("*", r"\*"))
        for entry in describeOptions(cls)
    ]


_HEADER = ("key", "type", "default", "allowed", "meaning")


def optionsPage(modules: dict[str, type[HostModule]]) -> Iterable[str]:
    """Every key of the configuration file."""
    yield from title("Options")
    yield "Every key of ``xmppservice.toml``. Files in ``conf.d`` beside it are merged over it."
    yield ""
    yield from title("Top of the file", "-")
    yield from table(_HEADER, _optionRows(Main))
    for name, cls in SECTIONS.items():
        yield from title(f"[{name}]", "-")
        yield from table(_HEADER, _optionRows(cls))
    yield from title('[hosts."example.com"]', "-")
    yield from table(_HEADER, _optionRows(HostKeys))
    yield from title('[ports."irc.example.com"]', "-")
    yield from table(_HEADER, [*_optionRows(PortKeys), *_optionRows(ComponentKeys)])
    yield from title("Modules", "-")
    yield "In ``[modules.NAME]`` for every host, or in ``[hosts.\"example.com\".NAME]`` for one."
    yield ""
    for name, module in sorted(modules.items()):
        rows = _optionRows(module.Options)
        if rows:
            yield from title(name, "~")
            yield from table(_HEADER, rows)


def hooksPage() -> Iterable[str]:
    """Phases and hook points."""
    yield from title("Hooks")
    yield "Where a module can join in; ``docs/tutorial`` shows how."
    yield ""
    yield from title("Phases", "-")
    meanings = {
        "POLICY": "may refuse the stanza",
        "AMEND": "may change it; on the recipient's side only append or strip top-level children",
        "STORE": "keeps it",
        "OBSERVE": "only looks; an exception is logged and the stanza goes on",
        "DELIVER": "the core's own: sessions get the stanza",
        "FALLBACK": "runs on the recipient's side when no session took it",
    }
    yield from table(("phase", "what it is for"), [(phase.name, meanings[phase.name]) for phase in Phase])
    yield from title("Hook points", "-")
    rows = [(literal(point.name), point.when, point.returns, point.changes) for point in CATALOGUE]
    yield from table(("name", "when", "may return", "may change"), rows)


def xepsPage(modules: dict[str, type[HostModule]]) -> Iterable[str]:
    """The extensions that are implemented, by the modules that do."""
    yield from title("XEPs")
    rows = [
        (f"{xep.number:04}", xep.version, xep.status, literal(name), xep.note or (module.__doc__ or "").split("\n")[0])
        for name, module in modules.items()
        for xep in module.xeps
    ]
    rows += [
        ("0178", "1.2", "complete", "core", "SASL EXTERNAL with client certificates"),
        ("0368", "1.1.0", "complete", "core", "direct TLS for clients"),
        ("0440", "1.0.0", "complete", "core", "channel bindings announced"),
        ("0478", "0.2.0", "complete", "core", "stream limits advertised"),
    ]
    yield from table(("XEP", "version", "how far", "module", "what"), sorted(set(rows)))


def commandsPage(modules: dict[str, type[HostModule]]) -> Iterable[str]:
    """The commands of xmppctl."""
    yield from title("Commands")
    yield "What ``xmppctl`` runs; those of modules are there while the module is enabled."
    yield ""
    core = (*LOCAL, *(info for each in CORE for info in declared(each)))
    infos: list[tuple[CommandInfo, str]] = [(info, "") for info in core]
    for name, module in modules.items():
        infos += [(info, name) for info in declared(module)]
    rows = []
    for info, owner in sorted(infos, key=lambda entry: entry[0].name):
        words = [info.name, *(_argument(a) for a in info.arguments if a.kind != "secret")]
        stopped = "running or stopped" if info.offline or info in LOCAL else "running"
        rows.append((literal(" ".join(words)), stopped, info.help, literal(owner)))
    yield from table(("command", "server", "what it does", "module"), rows)


def _argument(argument: Argument) -> str:
    """An argument as it is typed; a secret is not."""
    value = "|".join(argument.choices) or ("FILE" if argument.kind == "table" else argument.name.upper())
    word = f"--{argument.name} {value}" if argument.named else value
    return word if argument.required else f"[{word}]"


def streamsPage() -> Iterable[str]:
    """The states of a stream, from the machine's own table."""
    yield from title("Stream states")
    yield "From the table in ``protocol/stream/machine.py`` that the server itself runs."
    yield ""
    rows = [
        (literal(state.name), literal(given.name), literal(method.strip("_")))
        for state, cells in TABLE.items()
        for given, method in cells.items()
    ]
    yield from table(("state", "input", "what happens"), rows)
    yield "What has no row is a fault of the peer, whatever the state:"
    yield ""
    yield from table(("input", "what happens"), [(literal(i.name), literal(m.strip("_"))) for i, m in FAULTS.items()])


if __name__ == "__main__":
    writeAll(Path(sys.argv[1]))
