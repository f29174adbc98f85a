"""xmppctl as an operator uses it: words in, text and exit code out; the server and its database are doubles."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from tests.hub.test_commands import RecordedAdministration
from xmppservice.ctl.client import NotRunning
from xmppservice.ctl.composition import Composition, Main
from xmppservice.ctl.importing import batches, readAccounts
from xmppservice.ctl.main import Session
from xmppservice.ctl.output import plain, render, table
from xmppservice.ctl.passwords import askPassword
from xmppservice.hub.commands import CommandError, Result
from xmppservice.hub.contracts.storage import StorageRefused
from xmppservice.hub.options import option
from xmppservice.settings import Settings, loadSettings


@attrs.frozen
class Offline:
    """Options of a module."""

    limit: int = option(100, "Messages.")


MODULES: Mapping[str, type | None] = {"offline": Offline, "ping": None}


class World:
    """A folder, a double of the database, and what xmppctl said and returned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.administration = RecordedAdministration()
        self.opened: list[Settings] = []
        self.failure: Exception | None = None
        self.interrupted = False

    def composition(self) -> Composition:
        """A composition without reactor or database."""

        def openAdministration(settings: Settings, reactor: Any) -> Deferred[Any]:
            self.opened.append(settings)
            return fail(self.failure) if self.failure is not None else succeed(self.administration)

        def react(main: Main) -> None:
            if not self.interrupted:
                main(Clock())

        return Composition(lambda: (MODULES, ["ping"]), openAdministration, react)

    def run(self, *words: str, input: str = "") -> int:
        """Run xmppctl in the folder."""
        self.out, self.err = io.StringIO(), io.StringIO()
        session = Session(
            list(words), self.composition(), {}, str(self.folder), io.StringIO(input), self.out, self.err
        )
        return session.run()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A folder with a configuration."""
    (tmp_path / "xmppservice.toml").write_text("[hosts.localhost]\n")
    return World(tmp_path)


def test_addStopped(world: World) -> None:
    """With the server stopped an account is made in the database, which is closed afterwards."""
    assert world.run("user", "add", "alice@localhost", input="secret\nsecret\n") == 0
    assert world.out.getvalue() == "The account alice@localhost is ready.\n"
    assert world.administration.passwords == {"alice@localhost": "secret"}
    assert world.administration.closed
    assert world.opened[0].data == str(world.folder / "var")


@pytest.mark.parametrize(
    ("input", "complaint"),
    [
        ("", "the password is empty"),
        ("\n\n", "the password is empty"),
        ("a\n", "the password must come twice"),
        ("a\nb\n", "the two do not match"),
    ],
)
def test_passwords(world: World, input: str, complaint: str) -> None:
    """A password must come twice and be the same."""
    assert world.run("user", "passwd", "alice@localhost", input=input) == 1
    assert world.err.getvalue().startswith(f"xmppctl: {complaint}")
    assert world.opened == []


def test_passwordPrompt() -> None:
    """On a terminal it is prompted for twice, without echo."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            """It is one."""
            return True

    prompts: list[str] = []

    def prompt(text: str) -> str:
        prompts.append(text)
        return "pw"

    assert askPassword("Password", Terminal(), prompt) == "pw"
    assert prompts == ["Password: ", "Password, again: "]


def test_noPasswordOnTheCommandLine(world: World) -> None:
    """A password among the words is refused, as every user of the machine can read those."""
    with pytest.raises(SystemExit) as caught:
        world.run("user", "add", "alice@localhost", "secret")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("words", "commands"), [((), ("status", "user", "Operate the XMPP server")), (("user",), ("passwd", "import"))]
)
def test_noCommand(world: World, words: tuple[str, ...], commands: tuple[str, ...]) -> None:
    """Who names no command, or half of one, is shown those there are."""
    assert world.run(*words) == 2
    assert world.out.getvalue() == ""
    for command in commands:
        assert command in world.err.getvalue()


def test_argumentsBeforePassword(world: World) -> None:
    """Nobody is asked for a password in vain."""
    assert world.run("user", "add", "alice@@localhost") == 1
    assert "no address" in world.err.getvalue()
    assert "no account" not in world.err.getvalue()


def test_listing(world: World) -> None:
    """A table for people, objects for programs."""
    world.run("user", "add", "a@localhost", "--role", "admin", input="x\nx\n")
    assert world.run("user", "list") == 0
    assert world.out.getvalue().splitlines()[0].split() == ["account", "role", "state", "created"]
    assert world.run("--json", "user", "list") == 0
    before = json.loads(world.out.getvalue())
    assert world.run("user", "list", "--json") == 0
    assert json.loads(world.out.getvalue()) == before
    assert before["rows"] == [{"account": "a@localhost", "role": "admin", "state": "enabled", "created": ""}]
    assert world.run("user", "list", "other.example") == 0
    assert world.out.getvalue() == "none\n"


def test_errors(world: World) -> None:
    """What cannot be done is said in two lines with what to do, and the exit code is 1."""
    world.run("user", "add", "a@localhost", input="x\nx\n")
    assert world.run("user", "add", "a@localhost", input="x\nx\n") == 1
    assert world.err.getvalue() == "xmppctl: the account a@localhost exists\n  give another name\n"


def test_notRunning(world: World) -> None:
    """Commands that need the running server say so, with an exit code of their own."""
    plain = (("status",), ("sessions",), ("reload",), ("kick", "a@localhost"), ("components",))
    for words in (*plain, ("s2s",), ("s2s", "try", "other.example", "--from", "localhost"), ("--json", "s2s")):
        assert world.run(*words) == 3
        socket = world.folder / "var" / "control.sock"
        assert world.err.getvalue() == f"xmppctl: the server is not running\n  nobody listens on {socket}\n"


def test_database(world: World) -> None:
    """A database that cannot be opened is no traceback."""
    world.failure = StorageRefused("another server holds it")
    assert world.run("db", "status") == 1
    assert "another server holds it" in world.err.getvalue()
    world.failure = None
    assert world.run("db", "upgrade") == 0
    assert world.err.getvalue() == "vcard 1\n"


def test_interrupt(world: World) -> None:
    """Control-C ends it quietly."""
    world.interrupted = True
    assert world.run("db", "status") == 130


def test_memory(world: World) -> None:
    """A database in memory can only be changed while the server runs."""
    (world.folder / "xmppservice.toml").write_text('[hosts.localhost]\n[database]\nurl = "sqlite-memory"\n')
    assert world.run("user", "list") == 1
    assert "in memory" in world.err.getvalue()


def test_noConfiguration(tmp_path: Path) -> None:
    """Without any configuration the ways to one are named."""
    world = World(tmp_path)
    assert world.run("user", "list") == 1
    assert "xmppctl init --domain" in world.err.getvalue()
    assert world.run("--data", "d", "status") == 3


def test_wrongConfiguration(world: World) -> None:
    """A wrong configuration is one line with file, line and key."""
    (world.folder / "xmppservice.toml").write_text("[hosts.localhost]\n[limts]\n")
    assert world.run("user", "list") == 1
    expected = f"xmppctl: {world.folder}/xmppservice.toml:2: limts: unknown key (did you mean 'limits'?)\n"
    assert world.err.getvalue() == expected


def test_developmentServer(tmp_path: Path) -> None:
    """In a folder where the development server ran no option is needed; --data finds one that was moved."""
    (tmp_path / "var" / "certs").mkdir(parents=True)
    world = World(tmp_path)
    assert world.run("user", "list") == 0
    assert world.opened[0].development
    assert world.run("--data", "elsewhere", "user", "list") == 0
    assert world.opened[1].data == str(tmp_path / "elsewhere")


def test_import(world: World) -> None:
    """A file of accounts goes in as a whole; those that exist are named and the exit code says that not all went in."""
    (world.folder / "f").write_text("# a comment\na@localhost\tone\n\nB@localhost\ttwo words\r\n")
    assert world.run("user", "import", "f") == 0
    assert world.out.getvalue() == "2 accounts made.\n"
    assert world.administration.passwords == {"a@localhost": "one", "b@localhost": "two words"}
    assert world.run("user", "import", "f") == 1
    assert "exists" in world.out.getvalue()


def test_importChecksFirst(world: World) -> None:
    """Every wrong line is named with its number, and nothing is written."""
    (world.folder / "f").write_text(
        "a@localhost\t1\nb\nc@localhost\t\nlocalhost\t1\na@localhost/x\t1\nA@localhost\t2\n@\t1\n"
    )
    assert world.run("user", "import", "f") == 1
    lines = world.err.getvalue().splitlines()
    for number in (2, 3, 4, 5, 6, 7):
        assert any(f"/f:{number}: " in line for line in lines), number
    assert not any("/f:1: " in line for line in lines)
    assert world.administration.users == {}
    assert world.run("user", "import", "missing") == 1
    assert "cannot be read" in world.err.getvalue()


def test_importShowsTen(tmp_path: Path) -> None:
    """A file that is wrong throughout does not flood the terminal."""
    path = tmp_path / "f"
    path.write_text("x\n" * 50)
    with pytest.raises(CommandError) as caught:
        readAccounts(str(path))
    assert caught.value.problem.splitlines()[-1] == "… and 40 more"


def test_batches() -> None:
    """Parts stay below the size of a request and lose nothing."""
    accounts = [(f"{number}@localhost", "x" * (number % 7) * 1000) for number in range(1000)]
    parts = list(batches(accounts))
    assert [account for part in parts for account in part] == accounts
    assert all(len(part) <= 100 and len(json.dumps(part)) < 200_000 for part in parts)
    assert list(batches([])) == []


def test_init(tmp_path: Path) -> None:
    """A fresh folder gets a configuration that is accepted and a certificate, and the next steps are named."""
    world = World(tmp_path)
    assert world.run("init", "--domain", "Example.ORG") == 0
    said = world.out.getvalue()
    assert "user add alice@example.org" in said
    assert "twistd -n xmpp --config" in said
    settings = loadSettings(str(tmp_path / "xmppservice.toml"), MODULES)
    assert list(settings.hosts) == ["example.org"]
    assert stat.S_IMODE(os.stat(tmp_path / "certs" / "example.org.key").st_mode) == 0o600
    # Port 0 is any free one, so that whatever runs on this machine does not matter.
    file = tmp_path / "xmppservice.toml"
    file.write_text(file.read_text().replace("#c2s", "c2s").replace("tcp:5222", "tcp:0").replace("tcp:5223", "tcp:0"))
    assert world.run("check") == 0, world.out.getvalue()
    assert world.run("init", "--domain", "example.org") == 1
    assert "is there already" in world.err.getvalue()
    assert world.run("init", "--domain", "other.example", "--force") == 0
    assert "other.example" in (tmp_path / "xmppservice.toml").read_text()


def test_initElsewhere(tmp_path: Path) -> None:
    """File and data folder can be anywhere; a domain must be one."""
    world = World(tmp_path)
    assert world.run("--config", "etc/x.toml", "--data", str(tmp_path / "d"), "init", "--domain", "a.example") == 0
    assert loadSettings(str(tmp_path / "etc" / "x.toml"), MODULES).data == str(tmp_path / "d")
    assert world.run("init", "--domain", "a b") == 1
    assert "no address" in world.err.getvalue()


def test_options(world: World) -> None:
    """All keys are listed, those of modules too."""
    assert world.run("options") == 0
    for key in ("data", "tls.policy", "limits.auth_time", "modules.offline.limit"):
        assert any(line.startswith(key + " ") for line in world.out.getvalue().splitlines()), key


def test_help(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Help needs no configuration and no server; an unknown word is a usage error."""
    for words, code in ((["--help"], 0), (["user", "add", "--help"], 0), (["usr"], 2)):
        with pytest.raises(SystemExit) as caught:
            world.run(*words)
        assert caught.value.code == code
    assert "Make an account." in capsys.readouterr().out


def test_runningServer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server running everything goes through its socket, an import in parts; module commands are learnt."""
    from xmppservice.ctl import main as mainModule
    from xmppservice.hub.commands import CommandInfo

    asked: list[tuple[str, dict[str, Any]]] = []

    class Connected:
        def __init__(self, path: str) -> None:
            assert path == str(world.folder / "var" / "control.sock")

        def describe(self) -> list[CommandInfo]:
            """A command of a module."""
            return [CommandInfo("greet", "Greet.")]

        def run(self, name: str, arguments: dict[str, Any], progress: Any = None) -> Result:
            """Record."""
            asked.append((name, arguments))
            return Result("done", ("account", "not made because"), [])

        def close(self) -> None:
            """Nothing to do."""

    monkeypatch.setattr(mainModule, "Client", Connected)
    assert world.run("status") == 0
    assert world.run("greet") == 0
    assert world.run("user", "add", "a@localhost", input="x\nx\n") == 0
    (world.folder / "f").write_text("".join(f"u{number}@localhost\tx\n" for number in range(250)))
    assert world.run("user", "import", "f") == 0
    assert world.out.getvalue() == "250 accounts made.\n"
    assert world.err.getvalue().splitlines() == ["100 of 250", "200 of 250", "250 of 250"]
    assert [name for name, _ in asked] == ["status", "greet", "user add"] + 3 * ["user import"]
    assert asked[2][1] == {"jid": "a@localhost", "password": "x"}
    assert world.opened == []
    with pytest.raises(NotRunning):
        from xmppservice.ctl.client import Client

        Client(str(world.folder / "nobody"))


def test_table() -> None:
    """Columns are aligned by what a terminal shows, numbers to the right; names cannot steer it."""
    text = table(("name", "n"), [("ä", 5), ("東京", 10), ("\x1b[2Jx\n", 100)])
    assert text.splitlines() == [
        "name      n",
        "------  ---",
        "ä         5",
        "東京     10",
        "?[2Jx?  100",
    ]
    assert plain("a\nb\tc\x00\u202e") == "a\nb\tc??"
    assert render(Result("done")) == "done"
    assert render(Result(columns=("a",))) == "none"
    assert render(Result("all fine", ("a",))) == "all fine"
