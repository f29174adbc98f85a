"""The control socket: real sockets on both ends, the blocking client in a thread."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.hub.test_commands import RecordedAdministration
from xmppservice.ctl import protocol
from xmppservice.ctl.client import Client, NotRunning
from xmppservice.ctl.server import ControlProtocol, ControlService
from xmppservice.hub.administration import AdministrationCommands
from xmppservice.hub.commands import Argument, Call, Catalogue, CommandError, Result, command


@command("many", "Many rows.", (Argument("count", "How many.", "integer"),))
def many(call: Call, count: int) -> Result:
    """A table longer than one line of an answer."""
    call.progress("counting")
    return Result("", ("number", "text"), [(number, "x" * 100) for number in range(count)])


@command("broken", "Break.")
def broken(call: Call) -> None:
    """A command with an error of ours."""
    raise ZeroDivisionError


@command("wait", "Wait.")
def wait(call: Call) -> Deferred[str]:
    """A command that takes long."""
    return _waiting[-1]


_waiting: list[Deferred[str]] = []


def catalogue() -> Catalogue:
    """The built-in commands and the ones above."""
    made = Catalogue()
    made.add(AdministrationCommands(RecordedAdministration()))
    for function in (many, broken, wait):
        made.add(function)
    return made


class SocketTests(TestCase):
    """Server and client over a real unix socket."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Start the service in a fresh folder."""
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "data", "control.sock")
        self.service = ControlService(self.path, catalogue(), reactor)  # type: ignore[arg-type]
        await self.service.startService()

    async def tearDown(self) -> None:  # type: ignore[override]
        """Stop it."""
        await self.service.stopService()

    async def ask(self, work: Callable[[Client], Any]) -> Any:
        """Do something with a client in a thread."""

        def run() -> Any:
            client = Client(self.path)
            try:
                return work(client)
            finally:
                client.close()

        return await deferToThread(run)

    async def test_mode(self) -> None:
        """Nobody else may even connect, and the folder is closed too."""
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.path)).st_mode), 0o700)

    async def test_command(self) -> None:
        """A command goes there and its result comes back."""
        result = await self.ask(lambda client: client.run("user add", {"jid": "a@localhost", "password": "p"}))
        self.assertEqual(result.text, "The account a@localhost is ready.")

    async def test_secretsAreNotLogged(self) -> None:
        """What changes something is logged with who did it, but never with a password."""
        from twisted.logger import globalLogPublisher

        events: list[str] = []

        def observe(event: Any) -> None:
            events.append(str({**event}))

        globalLogPublisher.addObserver(observe)
        try:
            await self.ask(lambda client: client.run("user add", {"jid": "a@localhost", "password": "hunter2"}))
        finally:
            globalLogPublisher.removeObserver(observe)
        self.assertTrue(any("user add" in event and "a@localhost" in event for event in events))
        self.assertFalse(any("hunter2" in event for event in events))

    async def test_longTable(self) -> None:
        """A table of 5,000 rows comes in parts and progress before it."""
        lines: list[str] = []
        result = await self.ask(lambda client: client.run("many", {"count": 5000}, lines.append))
        self.assertEqual(len(result.rows), 5000)
        self.assertEqual(result.rows[4999][0], 4999)
        self.assertEqual(lines, ["counting"])

    async def test_errors(self) -> None:
        """Errors of the caller come back in words, ours as such, and the connection stays usable."""

        def work(client: Client) -> list[str]:
            problems = []
            for name in ("user delete", "broken", "nothing"):
                try:
                    client.run(name, {"jid": "x@y"} if name == "user delete" else {})
                except CommandError as error:
                    problems.append(error.problem)
            return [*problems, client.run("many", {"count": 1}).columns[0]]

        problems = await self.ask(work)
        self.assertEqual(problems[0], "there is no account x@y")
        self.assertEqual(problems[1], "the server failed to do this")
        self.assertEqual(problems[2], "there is no command 'nothing'")
        self.assertEqual(problems[3], "number")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_describe(self) -> None:
        """A client learns all commands, those of modules too."""
        infos = await self.ask(lambda client: client.describe())
        self.assertEqual([info.name for info in infos], [info.name for info in self.service.catalogue.describe()])

    async def test_severalAtOnce(self) -> None:
        """A long command on one connection does not stop another one."""
        _waiting.append(Deferred())
        slow = Deferred.fromCoroutine(self.ask(lambda client: client.run("wait", {})))
        await self.ask(lambda client: client.run("many", {"count": 1}))
        # Its request may still be under way; the answer then waits for it.
        _waiting[-1].callback("done")
        self.assertEqual((await slow).text, "done")
        _waiting.pop()

    async def test_stop(self) -> None:
        """After the stop the socket is gone, and a client says that nobody is there."""
        await self.service.stopService()
        self.assertFalse(os.path.exists(self.path))
        with self.assertRaises(NotRunning):
            Client(self.path)

    async def test_staleSocket(self) -> None:
        """The socket of a killed server is replaced; meanwhile clients see that nobody is there."""
        await self.service.stopService()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
        with self.assertRaises(NotRunning):
            Client(self.path)
        await self.service.startService()
        await self.ask(lambda client: client.run("many", {"count": 1}))

    async def test_notASocket(self) -> None:
        """Something else of that name is left alone, and the start fails."""
        await self.service.stopService()
        with open(self.path, "w") as stream:
            stream.write("precious")
        with self.assertRaises(Exception):  # noqa: B017 - whatever the reactor says
            await self.service.startService()
        with open(self.path) as stream:
            self.assertEqual(stream.read(), "precious")


class ProtocolTests(SynchronousTestCase):
    """What arrives on the socket, byte by byte, without one."""

    def setUp(self) -> None:
        """A protocol on a transport in memory."""
        self.clock = Clock()
        self.service = ControlService("/nowhere", catalogue(), self.clock)
        self.service.peerUser = lambda transport: os.geteuid()

    def connect(self) -> ControlProtocol:
        """A connection."""
        self.transport = StringTransport()
        made = ControlProtocol(self.service)
        made.makeConnection(self.transport)
        return made

    def answers(self) -> list[dict[str, Any]]:
        """What the server said since the last time."""
        self.clock.advance(0)
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [protocol.decode(line) for line in lines]

    def test_stranger(self) -> None:
        """Another user is refused whatever the mode of the socket says."""
        for user in (os.geteuid() + 4711, None):
            self.service.peerUser = lambda transport, user=user: user  # type: ignore[misc]
            self.connect()
            self.assertIn("only root", self.answers()[0]["error"]["problem"])
            self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.service.connections, set())

    def test_pieces(self) -> None:
        """Requests may come in any pieces and several at once; each is answered in its turn."""
        made = self.connect()
        for byte in b'{"command":"many","arguments":{"count":1}}\n':
            made.dataReceived(bytes((byte,)))
        self.assertEqual([next(iter(a)) for a in self.answers()], ["progress", "rows", "result"])
        made.dataReceived(b'{"command":"status"}\n{"describe":true}\n{"comm')
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual([next(iter(a)) for a in self.answers()], ["rows", "result", "commands"])

    def test_rubbish(self) -> None:
        """What is no request is answered with an error."""
        made = self.connect()
        for line in (
            b"GET / HTTP/1.1",
            b"[]",
            b"{}",
            b'{"command":5}',
            b'{"command":"x","arguments":[]}',
            b"\xff",
            b"[" * 9999,
        ):
            made.dataReceived(line + b"\n")
            self.clock.advance(0)
            self.assertEqual([next(iter(a)) for a in self.answers()], ["error"], line[:20])
        self.assertFalse(self.transport.disconnecting)

    def test_tooLong(self) -> None:
        """An endless request is cut off at the limit."""
        made = self.connect()
        made.dataReceived(b"x" * (protocol.MAX_REQUEST - 1))
        self.assertFalse(self.transport.disconnecting)
        made.dataReceived(b"x")
        self.assertIn("shorter", self.answers()[0]["error"]["problem"])
        self.assertTrue(self.transport.disconnecting)

    def test_idle(self) -> None:
        """A connection that asks nothing is closed, one that waits for its answer is not."""
        made = self.connect()
        self.clock.advance(ControlProtocol.idleTime + 1)
        self.assertTrue(self.transport.disconnecting)
        made = self.connect()
        _waiting.append(Deferred())
        made.dataReceived(b'{"command":"wait"}\n')
        self.clock.advance(10 * ControlProtocol.idleTime)
        self.assertFalse(self.transport.disconnecting)
        _waiting.pop().callback("done")
        self.assertEqual(self.answers()[-1]["result"]["text"], "done")

    def test_goneMeanwhile(self) -> None:
        """A client that hangs up while its command runs leaves nothing behind."""
        made = self.connect()
        _waiting.append(Deferred())
        made.dataReceived(b'{"command":"wait"}\n')
        made.connectionLost()
        _waiting.pop().callback("done")
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.service.connections, set())
