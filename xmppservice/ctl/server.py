"""The server's end of the control socket: runs commands of the catalogue for root and for our own user."""

from __future__ import annotations

import os
import socket
import stat
import struct
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmppservice.ctl import protocol
from xmppservice.hub.commands import Call, Catalogue, CommandError, CommandInfo, Result

_log = Logger()


def peerUser(transport: ITransport | None) -> int | None:
    """The user id of the process at the other end of a unix socket, as the kernel knows it; None if it cannot tell."""
    handle = getattr(transport, "getHandle", lambda: None)()
    if handle is None:
        return None
    try:
        credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[1])


class ControlProtocol(Protocol):
    """One xmppctl: one request after another, each answered before the next is read."""

    idleTime = 60.0

    def __init__(self, service: ControlService) -> None:
        self._service = service
        self._user: int | None = None
        self._buffer = bytearray()
        self._busy = False
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Let only root and our own user in; the mode of the socket says the same, but a folder can be moved."""
        self._user = self._service.peerUser(self.transport)
        if self._user not in (0, os.geteuid()):
            _log.warn("control socket: user {user} is refused", user=self._user)
            self._error(CommandError("only root and the server's own user may do this"))
            self.close()
            return
        self._service.connections.add(self)
        self._wait()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The xmppctl is gone; what it started goes on to its end."""
        self._work()
        self._service.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        """Gather requests; while one is worked on, little more than one longest request is kept."""
        self._buffer += data
        endless = b"\n" not in self._buffer[: protocol.MAX_REQUEST] and len(self._buffer) >= protocol.MAX_REQUEST
        if endless or len(self._buffer) > 2 * protocol.MAX_REQUEST:
            self._buffer.clear()
            self._error(CommandError(f"a request must be shorter than {protocol.MAX_REQUEST} bytes"))
            self.close()
        elif not self._busy:
            self._next()

    def _next(self) -> None:
        """Take up the next request, if it is complete."""
        self._busy = False
        line, end, rest = self._buffer.partition(b"\n")
        if self not in self._service.connections:
            return
        if not end:
            self._wait()
            return
        self._buffer = rest
        self._work()
        self._busy = True
        answered: Deferred[Any] = maybeDeferred(self._answer, bytes(line))
        answered.addErrback(self._failed)
        # By way of the reactor, so that many requests in one read do not nest.
        answered.addCallback(lambda _: self._service.clock.callLater(0, self._next))

    def _wait(self) -> None:
        """Wait for a request, but not for ever."""
        self._work()
        self._timer = self._service.clock.callLater(self.idleTime, self.close)

    def _work(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _answer(self, line: bytes) -> Deferred[None] | None:
        try:
            request = protocol.decode(line)
        except ValueError as error:
            raise CommandError(f"the request is no JSON object: {error}") from None
        if request.get("describe"):
            self._send({"commands": [info.toData() for info in self._service.catalogue.describe()]})
            return None
        name, arguments = request.get("command"), request.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise CommandError("the request names no command")
        self._record(self._service.catalogue.info(name), arguments)
        call = Call(f"uid {self._user}", lambda text: self._send({"progress": text}))
        return self._service.catalogue.run(name, arguments, call).addCallback(self._result)

    def _record(self, info: CommandInfo, arguments: dict[str, Any]) -> None:
        """Write down who changes what, without secrets."""
        if info.changes:
            plain = {a.name for a in info.arguments if a.kind not in ("secret", "table")}
            words = [info.name, *(str(value) for key, value in arguments.items() if key in plain)]
            _log.info("uid {user}: {command}", user=self._user, command=" ".join(words))

    def _result(self, result: Result) -> None:
        rows = [list(row) for row in result.rows]
        for start in range(0, len(rows), protocol.ROWS_AT_ONCE):
            self._send({"rows": rows[start : start + protocol.ROWS_AT_ONCE]})
        self._send({"result": {"text": result.text, "columns": list(result.columns), "failed": result.failed}})

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, CommandError):
            self._error(failure.value)
        else:
            _log.failure("a command failed", failure)
            self._error(CommandError("the server failed to do this", "its log says why"))

    def _error(self, error: CommandError) -> None:
        self._send({"error": {"problem": error.problem, "mend": error.mend}})

    def _send(self, message: dict[str, Any]) -> None:
        if self.transport is not None:
            self.transport.write(protocol.encode(message) + b"\n")

    def close(self) -> None:
        """End the connection once what was said is out."""
        if self.transport is not None:
            self.transport.loseConnection()


class ControlFactory(Factory):
    """Makes a protocol per connection, and no more than a few at a time."""

    noisy = False
    limit = 16

    def __init__(self, service: ControlService) -> None:
        self._service = service

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:
        """A protocol, or None (the connection is closed) when there are too many."""
        return ControlProtocol(self._service) if len(self._service.connections) < self.limit else None


class ControlService(Service):
    """Listens on ``<data>/control.sock``, mode 0600.

    @ivar catalogue: the commands it runs.
    """

    name = "control"

    def __init__(self, path: str, catalogue: Catalogue, clock: IReactorTime) -> None:
        """
        @param path: of the socket; its folder is made if missing.
        @param clock: the reactor; it must also be able to listen on unix sockets.
        """
        self.catalogue = catalogue
        self.clock = clock
        self.connections: set[ControlProtocol] = set()
        self.peerUser = peerUser
        self._path = path
        self._port: IListeningPort | None = None

    def startService(self) -> Deferred[None]:
        """Listen; a socket that a killed server left is replaced, as the lock on the data folder is ours."""
        self.running = 1
        return maybeDeferred(self._listen)

    def _listen(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        if os.path.lexists(self._path) and stat.S_ISSOCK(os.lstat(self._path).st_mode):
            os.unlink(self._path)
        # The reactor sets the mode after the bind; the mask closes the moment between.
        mask = os.umask(0o177)
        try:
            self._port = IReactorUNIX(self.clock).listenUNIX(self._path, ControlFactory(self), 8, 0o600, False)
        finally:
            os.umask(mask)

    async def _stop(self, port: IListeningPort | None) -> None:
        for connection in list(self.connections):
            connection.close()
        if port is not None:
            await maybeDeferred(port.stopListening)

    def stopService(self) -> Deferred[None]:
        """Stop listening and close what is open."""
        self.running = 0
        port, self._port = self._port, None
        return Deferred.fromCoroutine(self._stop(port))
