"""xmppctl: finds the configuration, talks to the running server or opens its database, prints what comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import attrs

from xmppservice.ctl.arguments import LOCAL, argumentsOf, buildParser, commandName, commonOptions
from xmppservice.ctl.client import Client, NotRunning
from xmppservice.ctl.composition import Composition, standardComposition
from xmppservice.ctl.importing import batches, readAccounts
from xmppservice.ctl.offline import runStopped
from xmppservice.ctl.output import render
from xmppservice.ctl.passwords import askPassword
from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import CommandError, CommandInfo, Result, checkArguments, declared
from xmppservice.hub.componentcommands import ComponentCommands
from xmppservice.hub.federation.commands import FederationCommands
from xmppservice.hub.modulecommands import ModuleCommands
from xmppservice.settings import (
    Found,
    Overrides,
    Settings,
    SettingsError,
    controlSocket,
    dataFolder,
    discover,
    settingsFor,
)

SUCCESS, FAILURE, USAGE, NOT_RUNNING, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes; a wrong command line is 2, as argparse has it."""

CORE = (AdministrationCommands, ModuleCommands, ComponentCommands, FederationCommands)
"""What declares the commands that every server has."""

_NOWHERE = CommandError(
    "there is no configuration here",
    "give --config FILE, set XMPPSERVICE_CONFIG, or make one: xmppctl init --domain example.com",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return Session(list(sys.argv[1:] if argv is None else argv), standardComposition()).run()


@attrs.define
class Session:
    """One run of xmppctl.

    @ivar words: the command line without the program's name.
    """

    words: list[str]
    composition: Composition
    environ: dict[str, str] = attrs.field(factory=lambda: dict(os.environ))
    folder: str = attrs.field(factory=os.getcwd)
    input: TextIO = attrs.field(factory=lambda: sys.stdin)
    output: TextIO = attrs.field(factory=lambda: sys.stdout)
    errors: TextIO = attrs.field(factory=lambda: sys.stderr)
    password: Callable[[str, TextIO], str] = askPassword
    _unfinishedLine: bool = attrs.field(default=False, init=False)

    def run(self) -> int:
        """Do it.

        @return: the exit code.
        """
        common, _ = commonOptions().parse_known_args(self.words)
        known = [info for each in CORE for info in declared(each)]
        if commandName(self.words, [info.name for info in (*LOCAL, *known)]) is None:
            known = self._serverCommands(common) or known
        parsed = buildParser(known).parse_args(self.words)
        if parsed.command is None:
            parsed.unfinished.print_help(self.errors)
            return USAGE
        try:
            result = self._perform(next(i for i in (*LOCAL, *known) if i.name == parsed.command), parsed)
            return self._show(result, parsed.json)
        except NotRunning as error:
            return self._complain(CommandError("the server is not running", f"nobody listens on {error}"), NOT_RUNNING)
        except SettingsError as error:
            return self._complain(CommandError(str(error)), FAILURE)
        except CommandError as error:
            return self._complain(error, FAILURE)
        except KeyboardInterrupt:
            return INTERRUPTED

    def _serverCommands(self, common: Any) -> list[CommandInfo]:
        """The commands of the running server, for a name (or a call for help) that the built-in ones do not explain."""
        try:
            client = Client(self._socket(common)[0])
        except (NotRunning, CommandError, SettingsError):
            return []
        try:
            return client.describe()
        except CommandError:
            return []
        finally:
            client.close()

    def _found(self, parsed: Any) -> tuple[Found, str | None]:
        """The configuration that holds, and the data folder if the command line names it."""
        found = discover(parsed.config, self.environ, self.folder)
        if found is None and parsed.data:
            # A server started with nothing but --data; its socket is there whatever its hosts are.
            found = Found(folder=self.folder)
        if found is None:
            raise _NOWHERE
        return found, os.path.join(self.folder, parsed.data) if parsed.data else None

    def _settings(self, parsed: Any) -> Settings:
        found, data = self._found(parsed)
        modules, defaults = self.composition.modules()
        return settingsFor(found, modules, defaults, Overrides(data=data))

    def _socket(self, parsed: Any) -> tuple[str, Settings | SettingsError]:
        """Where the server listens, and its settings or what is wrong with them: a server that runs goes on with
        what it has read, and can be commanded whatever the files say now.
        """
        try:
            settings = self._settings(parsed)
        except SettingsError as error:
            data = dataFolder(*self._found(parsed))
            if data is None:
                raise
            return controlSocket(data), error
        return settings.controlSocket, settings

    def _perform(self, info: CommandInfo, parsed: Any) -> Result:
        if info.name == "init":
            from xmppservice.ctl.start import initialise

            arguments = checkArguments(info, {"domain": parsed.domain})
            return initialise(arguments["domain"], self.folder, parsed.config, parsed.data, parsed.force)
        if info.name == "options":
            from xmppservice.ctl.example import optionsTable

            return optionsTable(self.composition.modules()[0])
        if info.name == "check":
            from xmppservice.ctl.check import check

            return check(self._settings(parsed), lookUp=parsed.dns)
        if info.name == "db backup":
            from xmppservice.ctl.backup import backup

            return backup(self._settings(parsed), os.path.join(self.folder, parsed.file))
        return self._command(info, *self._socket(parsed), parsed)

    def _command(self, info: CommandInfo, path: str, settings: Settings | SettingsError, parsed: Any) -> Result:
        """Gather the arguments, first what can be judged at once, then run the command where it can run."""
        arguments = argumentsOf(info, parsed)
        tables = [argument.name for argument in info.arguments if argument.kind == "table"]
        secrets = [argument.name for argument in info.arguments if argument.kind == "secret"]
        checkArguments(info, {**arguments, **{name: [] for name in tables}, **dict.fromkeys(secrets, "?")})
        for name in tables:
            arguments[name] = readAccounts(os.path.join(self.folder, getattr(parsed, name)))
        try:
            client = Client(path)
        except NotRunning:
            if isinstance(settings, SettingsError):
                raise settings from None
            if not info.offline:
                raise
            self._ask(arguments, secrets)
            return runStopped(settings, info.name, arguments, self._progress, self.composition)
        try:
            self._ask(arguments, secrets)
            return self._running(client, info, arguments, tables)
        finally:
            client.close()

    def _ask(self, arguments: dict[str, Any], secrets: Sequence[str]) -> None:
        for name in secrets:
            arguments[name] = self.password(name.capitalize(), self.input)

    def _running(self, client: Client, info: CommandInfo, arguments: dict[str, Any], tables: list[str]) -> Result:
        """Run a command on the server; a table goes in parts."""
        if not tables:
            return client.run(info.name, arguments, self._progress)
        name, rows = tables[0], arguments[tables[0]]
        done, made, result = 0, 0, Result()
        refused: list[Any] = []
        for batch in batches(rows):
            result = client.run(info.name, {**arguments, name: batch})
            refused.extend(result.rows)
            done += len(batch)
            made = done - len(refused)
            self._progress(f"{done} of {len(rows)}")
        return Result(f"{made} accounts made.", result.columns, refused, bool(refused))

    def _progress(self, text: str) -> None:
        """On a terminal each line replaces the one before."""
        self._unfinishedLine = self.errors.isatty()
        print(f"\r{text}\x1b[K" if self._unfinishedLine else text, end="", file=self.errors, flush=True)
        if not self._unfinishedLine:
            print(file=self.errors)

    def _endProgress(self) -> None:
        if self._unfinishedLine:
            print(file=self.errors, flush=True)
            self._unfinishedLine = False

    def _show(self, result: Result, asJSON: bool) -> int:
        text = render(result, asJSON)
        self._endProgress()
        try:
            if text:
                print(text, file=self.output, flush=True)
        except BrokenPipeError:
            # The reader, `head` say, has seen enough; keep the interpreter from trying again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE if result.failed else SUCCESS

    def _complain(self, error: CommandError, code: int) -> int:
        self._endProgress()
        print(f"xmppctl: {error.problem}", file=self.errors)
        if error.mend:
            print(f"  {error.mend}", file=self.errors)
        return code


if __name__ == "__main__":
    sys.exit(main())
