"""The command line of xmppctl, built from the catalogue and from what xmppctl does by itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from xmppservice import __version__
from xmppservice.hub.commands import Argument, CommandInfo

LOCAL = (
    CommandInfo(
        "init",
        "Write a configuration and a development certificate.",
        (Argument("domain", "Domain of the accounts.", "domain", named=True),),
        offline=True,
    ),
    CommandInfo(
        "check",
        "Check configuration, certificates, permissions, ports and libraries; with --dns also where others find us.",
        changes=False,
    ),
    CommandInfo("options", "List the keys of the configuration, with defaults.", changes=False),
    CommandInfo(
        "db backup",
        "Copy the database, as it is at one moment, to a new file; the server may be running.",
        (Argument("file", "The new file.", "text"),),
        offline=True,
        changes=False,
    ),
)
"""What needs no server and no database."""

_GROUPS = {"user": "Accounts.", "db": "The database.", "module": "Modules of the running server."}


def commonOptions(suppress: bool = False) -> argparse.ArgumentParser:
    """The options that every command takes, before or after its name."""
    missing: Any = argparse.SUPPRESS if suppress else None
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config", metavar="FILE", default=missing, help="configuration file")
    parser.add_argument("--data", metavar="DIR", default=missing, help="data folder, as given to the server")
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS if suppress else False, help="print JSON"
    )
    return parser


def buildParser(infos: Iterable[CommandInfo]) -> argparse.ArgumentParser:
    """A parser with a subparser per command; the name of the chosen one is in ``command``.

    If none is chosen, that is None, and ``unfinished`` is the parser that can tell which there are.
    """
    parser = argparse.ArgumentParser(
        prog="xmppctl",
        description="Operate the XMPP server, running or stopped.",
        parents=[commonOptions()],
        epilog="The configuration is the one given, else XMPPSERVICE_CONFIG, ./xmppservice.toml, "
        "the development server of this folder, /etc/xmppservice/xmppservice.toml.",
    )
    parser.add_argument("--version", action="version", version=f"xmppservice {__version__}")
    parser.set_defaults(command=None, unfinished=parser)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    groups: dict[str, Any] = {}
    # A command of one word may have others below it, such as "s2s" and "s2s try"; it comes first.
    alone: dict[str, argparse.ArgumentParser] = {}
    for info in sorted([*LOCAL, *infos], key=lambda info: info.name):
        first, _, second = info.name.partition(" ")
        target = subparsers
        if second:
            if first not in groups:
                group = alone.get(first) or subparsers.add_parser(first, help=_GROUPS.get(first, f"{first} …"))
                group.set_defaults(unfinished=group)
                groups[first] = group.add_subparsers(metavar="COMMAND")
            target = groups[first]
        command = target.add_parser(
            second or first, help=info.help, description=info.help, parents=[commonOptions(suppress=True)]
        )
        command.set_defaults(command=info.name)
        if not second:
            alone[first] = command
        for argument in info.arguments:
            _add(command, argument)
        if info.name == "init":
            command.add_argument("--force", action="store_true", help="replace an existing file")
        if info.name == "check":
            command.add_argument("--dns", action="store_true", help="ask the DNS too where other servers find us")
    return parser


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    """Required ones are positional, optional ones too unless they are named; secrets never come from here."""
    if argument.kind == "secret":
        return
    options: dict[str, Any] = {"help": argument.help}
    if argument.choices:
        options["choices"] = argument.choices
    if argument.kind == "integer":
        options["type"] = int
    if argument.kind == "table":
        options["metavar"] = "FILE"
    if argument.named:
        parser.add_argument(f"--{argument.name}", dest=argument.name, required=argument.required, **options)
        return
    options.setdefault("metavar", None if argument.choices else argument.name.upper())
    if not argument.required:
        options["nargs"] = "?"
    parser.add_argument(argument.name, **options)


def commandName(words: Sequence[str], names: Iterable[str]) -> str | None:
    """The command that the words on the line name, None if it is none of these."""
    found = [word for word in words if not word.startswith("-")]
    known = set(names)
    return next((name for name in (" ".join(found[:2]), " ".join(found[:1])) if name in known), None)


def argumentsOf(info: CommandInfo, parsed: argparse.Namespace) -> dict[str, Any]:
    """What the command line gave for a command, secrets and tables aside."""
    plain = [argument.name for argument in info.arguments if argument.kind not in ("secret", "table")]
    return {name: value for name in plain if (value := getattr(parsed, name, None)) is not None}
