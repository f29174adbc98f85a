"""The command catalogue, and the built-in commands over a double of the administration."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import (
    Argument,
    Call,
    Catalogue,
    CommandError,
    CommandInfo,
    Result,
    Secret,
    command,
    declared,
)
from xmppservice.hub.contracts.administration import (
    AccountLine,
    IOpenedAdministration,
    Progress,
    Refusal,
    SchemaLine,
    SessionLine,
)
from xmppservice.protocol.jid import JID


@implementer(IOpenedAdministration)
class RecordedAdministration:
    """An administration that keeps accounts in a dict and writes down what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.users: dict[str, AccountLine] = {}
        self.passwords: dict[str, str] = {}
        self.closed = False

    def createAccount(self, jid: JID, password: str, role: str) -> Deferred[None]:
        """Refuse what exists."""
        if jid.bare in self.users:
            return fail(CommandError(f"the account {jid.bare} exists", "give another name"))
        self.users[jid.bare] = AccountLine(jid.bare, role, True, 0.0)
        self.passwords[jid.bare] = password
        return succeed(None)

    def importAccounts(self, accounts: Any, progress: Progress) -> Deferred[list[Refusal]]:
        """Take all but the existing ones."""
        refused = [Refusal(jid.bare, "exists") for jid, _ in accounts if jid.bare in self.users]
        for jid, password in accounts:
            self.createAccount(jid, password, "user").addErrback(lambda _: None)
        progress("working")
        return succeed(refused)

    def setPassword(self, jid: JID, password: str, keep: JID | None = None) -> Deferred[None]:
        """Keep it."""
        self.passwords[jid.bare] = password
        return succeed(None)

    def accounts(self, host: str | None) -> Deferred[list[AccountLine]]:
        """List them."""
        return succeed([line for line in self.users.values() if host is None or line.jid.endswith("@" + host)])

    def setEnabled(self, jid: JID, enabled: bool) -> Deferred[None]:
        """Record."""
        self.calls.append(("enabled", jid.bare, enabled))
        return succeed(None)

    def deleteAccount(self, jid: JID) -> Deferred[None]:
        """Forget it."""
        if self.users.pop(jid.bare, None) is None:
            return fail(CommandError(f"there is no account {jid.bare}"))
        return succeed(None)

    def setRole(self, jid: JID, role: str) -> Deferred[None]:
        """Record."""
        self.calls.append(("role", jid.bare, role))
        return succeed(None)

    def sessions(self, host: str | None) -> Deferred[list[SessionLine]]:
        """One session."""
        return succeed([SessionLine("a@localhost/x", "127.0.0.1", True, 1.0, "online")])

    def kick(self, jid: JID) -> Deferred[int]:
        """Only one can be kicked."""
        return succeed(1 if jid.full.startswith("a@localhost") else 0)

    def status(self) -> Deferred[list[tuple[str, str]]]:
        """Two figures."""
        return succeed([("sessions", "1"), ("uptime", "5 s")])

    def reload(self) -> Deferred[list[str]]:
        """Nothing new."""
        return succeed([])

    def databaseStatus(self) -> Deferred[list[SchemaLine]]:
        """One of each."""
        return succeed([SchemaLine("core", 2, 2), SchemaLine("vcard", 0, 1), SchemaLine("private", 3, 1)])

    def databaseUpgrade(self, progress: Progress) -> Deferred[list[str]]:
        """One step."""
        progress("vcard 1")
        return succeed(["vcard is at 1"])

    def close(self) -> Deferred[None]:
        """Record."""
        self.closed = True
        return succeed(None)


class Module:
    """A module with a command, as a third party writes it."""

    def __init__(self, host: str) -> None:
        self.host = host

    @command(
        "greet", "Greet.", (Argument("times", "How often.", "integer", False, 1), Argument("jid", "", "jid", False))
    )
    def greet(self, call: Call, times: int, jid: JID | None) -> str:
        """Greet."""
        return f"{self.host} greets {jid or 'all'} {times} times"


@command("ping", "Answer.", (Argument("host", "Host.", "domain", False),), offline=True, changes=False)
async def ping(call: Call, host: str | None) -> Result:
    """A plain function can be a command too, and a coroutine."""
    call.progress("soon")
    return Result(f"pong {host}")


class CatalogueTests(SynchronousTestCase):
    """Adding, removing, finding, checking and running."""

    def setUp(self) -> None:
        """A catalogue with one function."""
        self.catalogue = Catalogue()
        self.catalogue.add(ping)

    def run_(self, name: str, stopped: bool = False, **arguments: Any) -> str:
        """The text that a command gives."""
        return self.successResultOf(self.catalogue.run(name, arguments, stopped=stopped)).text

    def refused(self, name: str, stopped: bool = False, **arguments: Any) -> CommandError:
        """The error that a command gives."""
        error = self.failureResultOf(self.catalogue.run(name, arguments, stopped=stopped), CommandError).value
        assert isinstance(error, CommandError)
        return error

    def test_run(self) -> None:
        """A command runs with its arguments converted and its progress passed on."""
        lines: list[str] = []
        result = self.catalogue.run("ping", {"host": "LOCALHOST"}, Call("test", lines.append))
        self.assertEqual(self.successResultOf(result).text, "pong localhost")
        self.assertEqual(lines, ["soon"])

    def test_unknown(self) -> None:
        """An unknown command names the nearest."""
        self.assertIn("did you mean 'ping'?", self.refused("pnig").mend)

    def test_arguments(self) -> None:
        """Missing, unknown and wrong arguments are refused before anything runs."""
        self.catalogue.add(AdministrationCommands(RecordedAdministration()))
        self.assertIn("needs the argument 'password'", self.refused("user add", jid="a@b").problem)
        self.assertIn("'host'", self.refused("ping", hots="x").mend)
        self.assertIn("no account", self.refused("user delete", jid="localhost").problem)
        self.assertIn("no account", self.refused("user delete", jid="a@localhost/x").problem)
        self.assertIn("no address", self.refused("user delete", jid="@@").problem)
        self.assertIn("no address", self.refused("ping", host="a b").problem)
        self.assertIn("must be a text", self.refused("ping", host=5).problem)
        self.assertIn("one of user, admin", self.refused("user role", jid="a@b", role="king").problem)
        self.assertIn("password is empty", self.refused("user passwd", jid="a@b", password="").problem)
        for rows in ("x", [["a"]], [["a", 5]], [5]):
            self.assertIn("rows of jid, password", self.refused("user import", accounts=rows).problem)

    def test_integers(self) -> None:
        """Whole numbers come as numbers or as digits; long rows of digits are not even tried."""
        self.catalogue.add(Module("a.example"))
        self.assertEqual(self.run_("greet", times="3"), "a.example greets all 3 times")
        self.assertEqual(self.run_("greet", times=-4), "a.example greets all -4 times")
        for wrong in ("x", "1" * 5000, True, 1.5, "١"):
            self.refused("greet", times=wrong)

    def test_stopped(self) -> None:
        """With the server stopped only the commands that can do without it run."""
        self.catalogue.add(Module("a.example"))
        self.assertEqual(self.run_("ping", stopped=True), "pong None")
        self.assertEqual(self.refused("greet", stopped=True).problem, "the server is not running")

    def test_addAndRemove(self) -> None:
        """A module's commands come and go with it."""
        module = Module("a.example")
        self.catalogue.add(module)
        self.assertEqual([info.name for info in self.catalogue.describe()], ["greet", "ping"])
        self.catalogue.remove(module)
        self.refused("greet")
        self.catalogue.remove(module)

    def test_taken(self) -> None:
        """A name belongs to the first; nothing of the second is added."""
        self.assertRaises(ValueError, self.catalogue.add, ping)
        self.assertRaises(ValueError, self.catalogue.add, ping, "a.example")

    def test_perHost(self) -> None:
        """A module on two hosts has one command; the host is said, or follows from an address."""
        first, second = Module("a.example"), Module("b.example")
        self.catalogue.add(first, "a.example")
        self.assertEqual(self.run_("greet"), "a.example greets all 1 times")
        self.catalogue.add(second, "b.example")
        self.assertEqual(self.run_("greet", host="b.example"), "b.example greets all 1 times")
        self.assertEqual(self.run_("greet", jid="x@b.example"), "b.example greets x@b.example 1 times")
        self.assertIn("several hosts", self.refused("greet").problem)
        self.assertIn("does not have", self.refused("greet", host="c.example").problem)
        self.assertEqual(self.catalogue.info("greet").arguments[-1].name, "host")
        self.catalogue.remove(first, "a.example")
        self.assertEqual(self.run_("greet"), "b.example greets all 1 times")

    def test_description(self) -> None:
        """A description survives the way through JSON to another process."""
        import json

        self.catalogue.add(AdministrationCommands(RecordedAdministration()))
        infos = self.catalogue.describe()
        self.assertEqual([CommandInfo.fromData(json.loads(json.dumps(info.toData()))) for info in infos], list(infos))
        self.assertEqual({i.name for i in declared(AdministrationCommands)} | {"ping"}, {i.name for i in infos})

    def test_everyCommandIsDescribed(self) -> None:
        """Each built-in command and argument has a help text, and passwords are secrets."""
        for info in declared(AdministrationCommands):
            self.assertTrue(info.help.endswith("."), info.name)
            for argument in info.arguments:
                self.assertTrue(argument.help, f"{info.name} {argument.name}")
                self.assertEqual(argument.kind == "secret", argument.name == "password")

    def test_brokenCommand(self) -> None:
        """An unexpected exception is no CommandError, and is not swallowed."""

        @command("broken", "Break.", (Secret("key"),))
        def broken(call: Call, key: str) -> None:
            raise ZeroDivisionError

        self.catalogue.add(broken)
        self.failureResultOf(self.catalogue.run("broken", {"key": "x"}), ZeroDivisionError)


class AdministrationTests(SynchronousTestCase):
    """The built-in commands."""

    def setUp(self) -> None:
        """A catalogue over a double."""
        self.administration = RecordedAdministration()
        verifyObject(IOpenedAdministration, self.administration)
        self.catalogue = Catalogue()
        self.catalogue.add(AdministrationCommands(self.administration))

    def run_(self, name: str, **arguments: Any) -> Result:
        """The result of a command."""
        return self.successResultOf(self.catalogue.run(name, arguments))

    def test_accounts(self) -> None:
        """Accounts are made in normal form, listed, changed and deleted."""
        self.assertEqual(
            self.run_("user add", jid="Alice@localhost", password="p").text, "The account alice@localhost is ready."
        )
        self.run_("user add", jid="bob@other", password="p", role="admin")
        self.assertEqual(self.administration.passwords["alice@localhost"], "p")
        self.assertEqual(
            self.run_("user list").rows,
            [("alice@localhost", "user", "enabled", ""), ("bob@other", "admin", "enabled", "")],
        )
        self.assertEqual(len(self.run_("user list", host="other").rows), 1)
        self.run_("user passwd", jid="bob@other", password="q")
        self.assertEqual(self.administration.passwords["bob@other"], "q")
        self.run_("user disable", jid="bob@other")
        self.run_("user enable", jid="bob@other")
        self.run_("user role", jid="bob@other", role="user")
        self.assertEqual(
            self.administration.calls,
            [("enabled", "bob@other", False), ("enabled", "bob@other", True), ("role", "bob@other", "user")],
        )
        self.run_("user delete", jid="bob@other")
        self.failureResultOf(self.catalogue.run("user delete", {"jid": "bob@other"}), CommandError)

    def test_import(self) -> None:
        """Existing accounts are reported, a wrong address stops everything."""
        rows = [["a@x", "1"], ["b@x", "2"]]
        self.assertEqual(self.run_("user import", accounts=rows).text, "2 accounts made.")
        again = self.run_("user import", accounts=[*rows, ["c@x", "3"]])
        self.assertTrue(again.failed)
        self.assertEqual(again.text, "1 accounts made.")
        self.assertEqual(again.rows, [("a@x", "exists"), ("b@x", "exists")])
        wrong = self.catalogue.run("user import", {"accounts": [["d@x", "1"], ["x", "2"]]})
        self.failureResultOf(wrong, CommandError)
        self.assertNotIn("d@x", self.administration.users)

    def test_sessions(self) -> None:
        """Sessions are listed and kicked."""
        self.assertEqual(
            self.run_("sessions").rows, [("a@localhost/x", "127.0.0.1", "TLS", "1970-01-01 00:00:01", "online")]
        )
        self.assertEqual(self.run_("kick", jid="a@localhost").text, "1 session closed.")
        self.failureResultOf(self.catalogue.run("kick", {"jid": "b@localhost"}), CommandError)

    def test_server(self) -> None:
        """Status and reload say something in any case."""
        self.assertEqual(self.run_("status").rows[0], ("sessions", "1"))
        self.assertEqual(self.run_("reload").text, "Nothing has changed.")

    def test_database(self) -> None:
        """The state of each part is put into words."""
        states = [row[3] for row in self.run_("db status").rows]
        self.assertEqual(states, ["up to date", "needs an upgrade", "newer than this software"])
        self.assertEqual(self.run_("db upgrade").text, "vcard is at 1")
