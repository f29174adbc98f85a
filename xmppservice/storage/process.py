"""Starts the writer process, and starts it again if it dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from xmppservice.hub.contracts.storage import StorageRefused
from xmppservice.storage.frames import DONE, READY, REFUSED, FrameBuffer

_log = Logger()

#: Seconds before the first restart; doubled with each failure in a row.
FIRST_DELAY = 0.05
LONGEST_DELAY = 5.0
#: After so many failed starts in a row, waiting writes fail; starts go on.
PATIENCE = 8
#: Seconds between looks whether the process has ended.
_POLL = 0.01
#: Seconds that a process gets to end by itself once its socket is closed.
GRACE = 60.0

RowFailures = list[tuple[int, str, str]]


class Owner(Shape):
    """Who hears from the writer process."""

    def writerReady(self, number: int, failures: RowFailures) -> None:
        """It is up; `number` is the last committed batch, with what had failed in it."""

    def writerAnswered(self, number: int, failures: RowFailures) -> None:
        """A batch is settled."""

    def writerLost(self) -> None:
        """It died; it will be started again."""

    def writerDown(self, reason: str) -> None:
        """Several starts failed in a row; they go on."""


class IWriterProcess(Interface):
    """The writer process, as the store sees it; it tells an `Owner` what happens."""

    pid: int | None = Attribute("The process id; None while there is no process.")

    def start() -> Deferred[None]:
        """Fires when the database is open and up to date; errbacks `StorageRefused`."""

    def stop() -> Deferred[None]:
        """Let it finish what it has; fires when it is gone."""

    def send(frame: bytes) -> None:
        """Give it a frame; only between ready and lost, and when the last one has been answered."""

    def listen() -> None:
        """Take an answer that is there, without waiting for the reactor to find it."""


class _Channel(Protocol):
    """The server's end of the socket pair."""

    def __init__(self, process: WriterProcess) -> None:
        self._process = process
        self._frames = FrameBuffer()

    def connectionMade(self) -> None:
        """The process can be written to."""
        if self.transport is not None:
            self._process.connected(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Answers of the writer."""
        for message in self._frames.feed(data):
            self._process.heard(message)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The writer died, or we closed."""
        self._process.disconnected()


class _Link(Factory):
    """Makes the one channel of a process."""

    noisy = False

    def __init__(self, process: WriterProcess) -> None:
        self._process = process

    def buildProtocol(self, addr: object) -> Protocol:
        """The channel."""
        return _Channel(self._process)


@implementer(IWriterProcess)
class WriterProcess:
    """The child, its socket, and its restarts.

    :param reactor: provides `IReactorTime` and `IReactorSocket`
    :param arguments: what follows the two descriptors on the command line
    :param lock: the descriptor of the data folder's lock, inherited by the child
    """

    def __init__(self, reactor: Any, path: str, lock: int, arguments: Sequence[str], owner: Owner) -> None:
        self._reactor = reactor
        self._path = path
        self._lock = lock
        self._arguments = tuple(arguments)
        self._owner = owner
        self._child: subprocess.Popen[bytes] | None = None
        self._transport: Any = None
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._refusal = ""
        self._failedStarts = 0
        self._deadline = 0.0
        self._retry: Any = None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._child.pid if self._child is not None else None

    def start(self) -> Deferred[None]:
        """Fires when the database is open and up to date; errbacks `StorageRefused`."""
        self._starting = Deferred()
        self._launch()
        return self._starting

    def stop(self) -> Deferred[None]:
        """Close our end; fires when the child is gone."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._child is None:
            return succeed(None)
        self._stopping = Deferred()
        if self._transport is not None:
            self._transport.loseConnection()
        return self._stopping

    def send(self, frame: bytes) -> None:
        """See `IWriterProcess.send`.

        Written at once: the transport would first ask the reactor whether it may, and a busy reactor
        takes a whole pass over its readers to answer. Nothing of an earlier frame can be pending.
        """
        if self._transport is None:
            return
        try:
            taken = self._transport.getHandle().send(frame)
        except OSError:
            # Full, or broken: the transport finds out which, and reports it in the usual way.
            taken = 0
        if taken < len(frame):
            self._transport.write(frame[taken:])

    def listen(self) -> None:
        """See `IWriterProcess.listen`."""
        if self._transport is not None:
            self._transport.doRead()

    def _launch(self) -> None:
        self._retry = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            command = [
                sys.executable, "-P", "-m", "xmppservice.storage.writerprocess",
                self._path, str(theirs.fileno()), str(self._lock), *self._arguments,
            ]
            environment = dict(os.environ, PYTHONPATH=os.pathsep.join(entry or os.getcwd() for entry in sys.path))
            try:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), self._lock), env=environment
                )
            except OSError as error:
                self._ended(f"the writer process cannot be started: {error}")
                return
            ours.setblocking(False)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, _Link(self))

    def connected(self, transport: ITransport) -> None:
        """Our end of the socket is in the reactor."""
        self._transport = transport

    def heard(self, message: tuple[Any, ...]) -> None:
        """A message of the child."""
        if message[0] == DONE:
            # Only work done counts as a success: a batch may kill each process that tries it.
            self._failedStarts = 0
            self._owner.writerAnswered(message[1], message[2])
        elif message[0] == READY:
            starting, self._starting = self._starting, None
            self._owner.writerReady(message[1], message[2])
            if starting is not None:
                starting.callback(None)
        elif message[0] == REFUSED:
            self._refusal = message[1]

    def disconnected(self) -> None:
        """The socket is closed: wait for the child's end, which is near one way or the other."""
        self._transport = None
        if self._stopping is None:
            self._owner.writerLost()
            # Its successor must not meet it: whatever it still does, it ends now.
            if self._child is not None and not self._refusal:
                self._child.kill()
        self._deadline = self._reactor.seconds() + GRACE
        self._reap()

    def _reap(self) -> None:
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            if self._reactor.seconds() > self._deadline:
                child.kill()
            self._reactor.callLater(_POLL, self._reap)
            return
        self._child = None
        self._ended(self._refusal or f"the writer process ended with status {child.returncode}")

    def _ended(self, reason: str) -> None:
        """No child is left: that was asked for, or the start failed, or it is started again."""
        self._refusal = ""
        stopping, self._stopping = self._stopping, None
        starting, self._starting = self._starting, None
        if stopping is not None:
            stopping.callback(None)
        elif starting is not None:
            starting.errback(StorageRefused(reason))
        else:
            delay = min(FIRST_DELAY * 2**self._failedStarts, LONGEST_DELAY)
            self._failedStarts += 1
            _log.error("{reason}; it is started again in {delay} s", reason=reason, delay=delay)
            if self._failedStarts >= PATIENCE:
                self._owner.writerDown(reason)
            self._retry = self._reactor.callLater(delay, self._launch)
