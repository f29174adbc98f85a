"""The commented configuration, made from the typed options so that it cannot say anything else than they do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from xmppservice.hub.commands import Result
from xmppservice.hub.options import OptionDescription, describeOptions, dottedKey, tomlValue
from xmppservice.settings.build import Modules
from xmppservice.settings.sections import SECTIONS, HostKeys, Main

_HEAD = """\
# Configuration of xmppservice. Every key is here; one that is commented out shows its default.
# Files conf.d/*.toml beside this one are laid over it. Relative paths start at this file's folder.
# Check it with `xmppctl check`, apply changes with `xmppctl reload` or SIGHUP.
"""
_TAIL = """
# A module's options for every host; [hosts."{domain}".<module>] sets them for one host.
# `xmppctl options` lists all modules and options. For example, to keep more messages for accounts that are offline:
# [modules.offline]
# limit = 1000

# Whatever else owns an address: services and external components.
# [ports."irc.{domain}"]
# kind = "component"
# secret_file = "irc.secret"
"""


def exampleConfiguration(domain: str, values: Mapping[str, Any]) -> str:
    """A whole file for one domain.

    @param values: dotted key → value, for the keys that shall be set rather than shown.
    """
    lines = [_HEAD, *_section((), Main, values)]
    for name, cls in SECTIONS.items():
        lines += ["", f"[{name}]", *_section((name,), cls, values)]
    lines += ["", "# A virtual host; repeat for more.", f"[{dottedKey(('hosts', domain))}]"]
    lines += [*_section(("hosts", domain), HostKeys, values)]
    return "\n".join(lines) + "\n" + _TAIL.format(domain=domain)


def _section(path: tuple[str, ...], cls: type, values: Mapping[str, Any]) -> Iterator[str]:
    for entry in describeOptions(cls):
        yield from textwrap.wrap(_comment(entry), 108, initial_indent="# ", subsequent_indent="# ")
        key = dottedKey((*path, entry.key))
        if key in values:
            yield f"{entry.key} = {tomlValue(values[key], entry.type)}"
        else:
            yield f"#{entry.key} = {entry.defaultText}"


def _comment(entry: OptionDescription) -> str:
    """The help, and what the type and default do not say already."""
    extra = []
    if entry.choices and entry.type != "list":
        extra.append(" or ".join(tomlValue(choice) for choice in entry.choices))
    return entry.help + (f" ({', '.join(extra)})" if extra and extra[0] not in entry.help else "")


def optionsTable(modules: Modules) -> Result:
    """All keys there are: sections, then modules."""
    rows: list[tuple[str, ...]] = []
    for path, cls in [((), Main), *(((name,), cls) for name, cls in SECTIONS.items())]:
        rows += _rows(path, cls)
    for name in sorted(modules):
        options = modules[name]
        if options is not None:
            rows += _rows(("modules", name), options)
    return Result(columns=("key", "type", "default", "help"), rows=rows)


def _rows(path: tuple[str, ...], cls: type) -> Iterator[tuple[str, ...]]:
    for entry in describeOptions(cls):
        yield dottedKey((*path, entry.key)), entry.type, entry.defaultText, entry.help
