"""What the edge costs: CPU microseconds per delivered stanza, by way of flushing.

``python -m benchmarks.micro_edge [seconds]``

A child process serves bound streams with the real driver, parser and writer, and a session
that does nothing but serialise and send; so the figures are the floor for the whole server.
This process is the load. Ways of flushing:

edge
    what the server does: once per pass of the reactor, by its queue of calls
turn
    at the end of each read turn
pass
    once per pass of the reactor, by ``callLater(0)``
write
    not gathered: ``transport.write`` for each stanza, as Twisted programs usually do

Workloads: 50 pairs with 10 messages in flight; the same pairs one message at a time; the
same at 1,000 messages a second; presence of 50 streams, each to the 49 others.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from typing import Any

from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.writer import GatheredWriter
from xmppservice.protocol.jid import JID
from xmppservice.wire.element import Element
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import StreamParser
from xmppservice.wire.serializer import innerBytes, startTag

PAIRS = 50
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
MESSAGE = (
    b"<message to='%d' type='chat' id='a1b2c3d4'><body>Art thou not Romeo, and a Montague?</body>"
    b"<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)
PRESENCE = b"<presence><show>away</show><status>at lunch</status></presence>"


# -- the server ---------------------------------------------------------------------------

_NAMES = [f"u{number}@example.com/r" for number in range(2 * PAIRS)]
_streams: list[Bound] = []


class Bare:
    """A session that routes by number, or to all."""

    def __init__(self, number: int) -> None:
        self.jid = JID.parse(_NAMES[number])
        self.name = _NAMES[number]
        self.number = number

    def receive(self, element: Element) -> None:
        """Serialise and send."""
        inner = innerBytes(element)
        if element.name == "message":
            target = int(element.attrs["to"])
            attrs = {"from": self.name, "to": _NAMES[target], "type": "chat", "id": element.attrs["id"]}
            _streams[target].send(startTag("message", attrs) + inner + b"</message>")
            return
        for number, stream in enumerate(_streams):
            if number != self.number:
                start = startTag("presence", {"from": self.name, "to": _NAMES[number]})
                stream.send(start + inner + b"</presence>")

    def streamLost(self) -> None:
        """Nothing."""

    streamClosed = streamLost


class Bound(StreamDriver):
    """A driver that skips negotiation."""

    __slots__ = ()

    def connectionMade(self) -> None:
        """Bound at once."""
        self.transport.setTcpNoDelay(True)
        self.parser = StreamParser(AUTHENTICATED)
        self.parser.feed(HEADER)
        session: Any = Bare(len(_streams))
        self.session = self._fast = session
        _streams.append(self)
        self.send(b"<ready/>")


class Writing(Bound):
    """Writes each stanza through the transport."""

    __slots__ = ()

    def send(self, data: bytes) -> None:
        """Do not gather."""
        self.transport.write(data)


class Turning(GatheredWriter):
    """Flushes at the end of each read turn."""

    __slots__ = ()
    endTurn = GatheredWriter.flush


class Passing(GatheredWriter):
    """Flushes once per pass, by a timer."""

    __slots__ = ()

    def endTurn(self) -> None:
        """See to it."""
        self.reading = False
        if self.dirty:
            self.schedule()


def serve(way: str) -> None:
    """Serve until killed; the port is the first line of standard output."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    class BenchFactory(C2SFactory):
        """Makes the wanted drivers."""

        def buildProtocol(self, addr: Any) -> Any:
            """One of ours."""
            return (Writing if way == "write" else Bound)(self)

    clock: Any = reactor
    writer = {"turn": Turning, "pass": Passing}.get(way, GatheredWriter)(clock)
    factory = BenchFactory({}.get, "example.com", StreamSettings(enabled=False), clock, None, writer)
    listening = serverFromString(reactor, "tcp:0:interface=127.0.0.1:backlog=500").listen(factory)
    listening.addCallback(lambda port: print(port.getHost().port, flush=True))
    clock.run()


# -- the load -----------------------------------------------------------------------------


class Load:
    """A server and the streams to it."""

    def __init__(self, way: str) -> None:
        environment = dict(os.environ, PYTHONPATH=os.getcwd())
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.micro_edge", "--serve", way], stdout=subprocess.PIPE, env=environment
        )
        assert self.child.stdout is not None
        port = int(self.child.stdout.readline())
        self.sockets: list[socket.socket] = []
        self.poll = select.epoll()
        for _ in range(2 * PAIRS):
            one = socket.create_connection(("127.0.0.1", port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert one.recv(100) == b"<ready/>"
            self.poll.register(one, select.EPOLLIN)
            self.sockets.append(one)
        self.numbers = {one.fileno(): number for number, one in enumerate(self.sockets)}

    def close(self) -> None:
        """End the server."""
        self.child.kill()
        self.child.wait()
        for one in self.sockets:
            one.close()

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        with open(f"/proc/{self.child.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9

    def chat(self, seconds: float, inFlight: int) -> float:
        """Pairs, each with so many messages in flight; returns µs of CPU per message."""
        before, count, end = self.cpu(), 0, time.monotonic() + seconds
        for number in range(PAIRS):
            self.sockets[number].sendall(MESSAGE % (number + PAIRS) * inFlight)
        while time.monotonic() < end:
            for descriptor, _ in self.poll.poll():
                number = self.numbers[descriptor]
                got = self.sockets[number].recv(65536).count(b"</message>")
                count += got
                self.sockets[number - PAIRS].sendall(MESSAGE % number * got)
        self.drain()
        return (self.cpu() - before) / count * 1e6

    def paced(self, seconds: float, rate: int) -> float:
        """One message at a time at a fixed rate."""
        before, count, start = self.cpu(), 0, time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            while count < (now - start) * rate:
                number = count % PAIRS
                self.sockets[number].sendall(MESSAGE % (number + PAIRS))
                count += 1
            for descriptor, _ in self.poll.poll(0.0005):
                self.sockets[self.numbers[descriptor]].recv(65536)
        self.drain()
        return (self.cpu() - before) / count * 1e6

    def presence(self, seconds: float, together: int) -> float:
        """So many streams at a time change their presence, seen by all others."""
        before, count, end = self.cpu(), 0, time.monotonic() + seconds
        while time.monotonic() < end:
            expected = together * (2 * PAIRS - 1)
            for number in range(together):
                self.sockets[number].sendall(PRESENCE)
            while expected > 0:
                for descriptor, _ in self.poll.poll():
                    got = self.sockets[self.numbers[descriptor]].recv(65536).count(b"</presence>")
                    expected -= got
                    count += got
        return (self.cpu() - before) / count * 1e6

    def drain(self) -> None:
        """Read what is still under way."""
        while ready := self.poll.poll(0.2):
            for descriptor, _ in ready:
                self.sockets[self.numbers[descriptor]].recv(65536)


def main(seconds: float) -> None:
    """Measure every way and workload."""
    print(f"{'':8}{'chat x10':>10}{'chat x1':>10}{'1000/s':>10}{'presence':>10}{'x10':>10}   CPU µs per delivery")
    for way in ("edge", "turn", "pass", "write"):
        load = Load(way)
        try:
            figures = [
                load.chat(seconds, 10),
                load.chat(seconds, 1),
                load.paced(seconds, 1000),
                load.presence(seconds, 1),
                load.presence(seconds, 10),
            ]
        finally:
            load.close()
        print(f"{way:8}" + "".join(f"{figure:10.1f}" for figure in figures), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
