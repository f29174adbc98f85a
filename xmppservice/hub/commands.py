"""One typed catalogue of administration commands, behind xmppctl and whatever other fronts there will be (XEP-0133).

A command is a function or method with `command` on it. The catalogue knows its arguments, so that each front can
offer, check and document it without knowing it; a module's commands come and go with the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred

from xmppservice.hub.options import closest
from xmppservice.protocol.jid import JID, InvalidJID, prepareDomain

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE = "xmppserviceCommand"
ROLES = ("user", "admin")


class CommandError(Exception):
    """A command that was understood cannot be done; the caller is to blame or the circumstances are.

    @ivar problem: what is wrong, as a sentence without full stop.
    @ivar mend: what to do about it, or empty.
    """

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(problem, mend)
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.problem} ({self.mend})" if self.mend else self.problem


@attrs.frozen
class Argument:
    """One argument of a command.

    @ivar name: the keyword under which the function gets it.
    @ivar kind: ``text``, ``integer``, ``account`` (a bare address with a local part, given as `JID`), ``jid``
        (any address, given as `JID`), ``domain`` (in normal form), ``choice``, ``secret`` or ``table``.
    @ivar required: without it the call is refused; otherwise `default` is passed.
    @ivar named: fronts with a command line take it as ``--name value``.
    @ivar columns: of a table, the names of the columns; its rows are lists of as many texts.
    """

    name: str
    help: str = ""
    kind: str = attrs.field(
        default="text",
        validator=attrs.validators.in_(
            ("text", "integer", "account", "jid", "domain", "choice", "secret", "table")
        ),
    )
    required: bool = True
    default: Any = None
    choices: tuple[str, ...] = ()
    named: bool = False
    columns: tuple[str, ...] = ()


def Secret(name: str, help: str = "") -> Argument:
    """An argument that fronts must ask for without echo and never show, log or take from a command line."""
    return Argument(name, help, "secret")


def Table(name: str, help: str, columns: tuple[str, ...]) -> Argument:
    """An argument of many rows, which a front may read from a file."""
    return Argument(name, help, "table", columns=columns)


@attrs.frozen
class CommandInfo:
    """What is known of a command without running it.

    @ivar name: one or two words.
    @ivar offline: it also works with the server stopped, on an opened store.
    @ivar role: the least role that a caller over the network needs.
    @ivar changes: it changes something; a front may want to ask first or to write it down.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()
    offline: bool = False
    role: str = "admin"
    changes: bool = True

    def toData(self) -> dict[str, Any]:
        """As JSON, for fronts in another process."""
        return attrs.asdict(self)

    @classmethod
    def fromData(cls, data: Mapping[str, Any]) -> CommandInfo:
        """The inverse of `toData`."""
        arguments = tuple(
            Argument(**{**entry, "choices": tuple(entry["choices"]), "columns": tuple(entry["columns"])})
            for entry in data["arguments"]
        )
        return cls(**{**data, "arguments": arguments})


@attrs.frozen
class Result:
    """What a command answers: a table, a text, or both.

    @ivar failed: the command did what it could, but not all; the text says what not.
    """

    text: str = ""
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[Any]] = ()
    failed: bool = False


def _silent(text: str) -> None:
    """Progress that nobody wants to see."""


@attrs.frozen
class Call:
    """Who calls a command, and how to tell them of progress.

    @ivar caller: for the log, such as ``uid 0`` or an address.
    @ivar progress: takes one line of text.
    """

    caller: str = "local"
    progress: Callable[[str], None] = _silent


def command(
    name: str,
    help: str,
    arguments: tuple[Argument, ...] = (),
    offline: bool = False,
    role: str = "admin",
    changes: bool = True,
) -> Callable[[_Function], _Function]:
    """Make a function or method a command; see `CommandInfo` for the parameters.

    The function is called with a `Call` and the arguments by keyword. It returns a `Result`, a text, None, or a
    Deferred or coroutine of one of these, and raises `CommandError`.
    """
    info = CommandInfo(name, help, arguments, offline, role, changes)

    def mark(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, info)
        return function

    return mark


def declared(cls: type) -> list[CommandInfo]:
    """What the methods of a class declare, without an instance."""
    marks = (getattr(getattr(cls, name, None), _ATTRIBUTE, None) for name in dir(cls))
    return [mark for mark in marks if isinstance(mark, CommandInfo)]


def commandsOf(owner: object) -> dict[str, tuple[CommandInfo, Callable[..., Any]]]:
    """The commands of an object (its methods), or of one function."""
    own = getattr(owner, _ATTRIBUTE, None)
    if own is not None and callable(owner):
        return {own.name: (own, owner)}
    found = {}
    for name in dir(type(owner)):
        info = getattr(getattr(type(owner), name, None), _ATTRIBUTE, None)
        if info is not None:
            found[info.name] = (info, getattr(owner, name))
    return found


class Catalogue:
    """All commands there are, by name.

    A module is attached once per virtual host, so a command of a module has one function per host; which one is
    called follows from the ``host`` argument or from the domain of an address in the arguments.
    """

    def __init__(self) -> None:
        self._infos: dict[str, CommandInfo] = {}
        self._functions: dict[str, dict[str | None, Callable[..., Any]]] = {}

    def add(self, owner: object, host: str | None = None) -> None:
        """Add the commands of an object, for one virtual host or for the whole server.

        @raise ValueError: a name is taken; nothing is added then.
        """
        found = commandsOf(owner)
        for name, (info, _) in found.items():
            taken = self._functions.get(name, {})
            if host in taken or (taken and (host is None or None in taken or self._infos[name] != info)):
                raise ValueError(f"there is a command {name!r} already")
        for name, (info, function) in found.items():
            self._infos[name] = info
            self._functions.setdefault(name, {})[host] = function

    def remove(self, owner: object, host: str | None = None) -> None:
        """Take the commands of an object away again."""
        for name, (_, function) in commandsOf(owner).items():
            functions = self._functions.get(name, {})
            if functions.get(host) == function:
                del functions[host]
            if not functions:
                self._functions.pop(name, None)
                self._infos.pop(name, None)

    def describe(self) -> tuple[CommandInfo, ...]:
        """All commands, sorted by name, with the ``host`` argument that per-host commands have."""
        return tuple(self.info(name) for name in sorted(self._infos))

    def info(self, name: str) -> CommandInfo:
        """One command.

        @raise CommandError: there is none of that name.
        """
        info = self._infos.get(name)
        if info is None:
            near = closest(name, self._infos)
            raise CommandError(f"there is no command {name!r}", f"did you mean {near!r}?" if near else "")
        if None in self._functions[name] or any(argument.name == "host" for argument in info.arguments):
            return info
        host = Argument("host", "Virtual host.", "domain", required=False, named=True)
        return attrs.evolve(info, arguments=(*info.arguments, host))

    def run(
        self, name: str, arguments: Mapping[str, Any], call: Call | None = None, stopped: bool = False
    ) -> Deferred[Result]:
        """Check the arguments and run a command.

        @param stopped: the server does not run, there is just a store.
        @return: errbacks `CommandError` for whatever the caller can mend.
        """
        try:
            info = self.info(name)
            if stopped and not info.offline:
                raise CommandError("the server is not running", "start it first")
            values = checkArguments(info, arguments)
            function = self._choose(name, values)
        except CommandError as error:
            return fail(error)
        result: Deferred[Any] = maybeDeferred(function, call or Call(), **values)
        return result.addCallback(_asResult)

    def _choose(self, name: str, values: dict[str, Any]) -> Callable[..., Any]:
        functions = self._functions[name]
        if None in functions:
            return functions[None]
        own = any(argument.name == "host" for argument in self._infos[name].arguments)
        host = values.get("host") if own else values.pop("host")
        domains = [value.domain for value in values.values() if isinstance(value, JID)]
        wanted = host or next(iter(domains), None) or (next(iter(functions)) if len(functions) == 1 else None)
        if wanted is None:
            raise CommandError("several hosts have this command", f"say which: {', '.join(map(str, functions))}")
        if wanted not in functions:
            raise CommandError(f"the host {wanted!r} does not have this command")
        return functions[wanted]


def checkArguments(info: CommandInfo, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what a front was given (texts and JSON values) into what the function takes.

    @raise CommandError: one is missing, unknown or wrong.
    """
    known = {argument.name for argument in info.arguments}
    for name in arguments:
        if name not in known:
            near = closest(name, known)
            raise CommandError(f"{info.name} has no argument {name!r}", f"did you mean {near!r}?" if near else "")
    values = {}
    for argument in info.arguments:
        given = arguments.get(argument.name)
        if given is None and argument.required:
            raise CommandError(f"{info.name} needs the argument {argument.name!r}", argument.help)
        values[argument.name] = argument.default if given is None else _converted(argument, given)
    return values


def _converted(argument: Argument, value: Any) -> Any:
    if argument.kind == "table":
        return _rows(argument, value)
    if argument.kind == "integer":
        return _integer(argument, value)
    if not isinstance(value, str):
        raise CommandError(f"{argument.name} must be a text")
    if argument.kind == "choice" and value not in argument.choices:
        raise CommandError(f"{argument.name} must be one of {', '.join(argument.choices)}, not {value!r}")
    if argument.kind == "secret" and not value:
        raise CommandError(f"the {argument.name} is empty")
    if argument.kind in ("account", "jid", "domain"):
        return _address(argument, value)
    return value


def _address(argument: Argument, value: str) -> JID | str:
    try:
        if argument.kind == "domain":
            return prepareDomain(value)
        jid = JID.parse(value)
    except InvalidJID as error:
        raise CommandError(f"{value!r} is no address: {error}") from None
    if argument.kind == "account" and (not jid.local or jid.resource):
        raise CommandError(f"{value!r} is no account", "an account is written user@domain")
    return jid


def _integer(argument: Argument, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CommandError(f"{argument.name} must be a whole number")


def _rows(argument: Argument, value: Any) -> list[tuple[str, ...]]:
    width = len(argument.columns)
    rows: Sequence[Any] = value if isinstance(value, (list, tuple)) else [None]
    for row in rows:
        if not isinstance(row, (list, tuple)) or len(row) != width or not all(isinstance(cell, str) for cell in row):
            raise CommandError(f"{argument.name} must be rows of {', '.join(argument.columns)}")
    return [tuple(row) for row in rows]


def _asResult(value: Any) -> Result:
    if isinstance(value, Result):
        return value
    return Result(text="" if value is None else str(value))
