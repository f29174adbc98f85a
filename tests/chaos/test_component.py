"""A component that dies under load, and comes back (hardening R27)."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.book import Book
from tests.chaos.client import DOMAIN, PATIENCE, Client, Loop, Sender, StreamOver
from tests.chaos.conftest import LONG, Say
from tests.chaos.victim import Victim
from tests.interop.processes import freePort
from xmppservice.protocol.stream.component import handshake
from xmppservice.wire import ns
from xmppservice.wire.items import StreamHeader
from xmppservice.wire.parser import Element, Limits, StreamParser

NAME = f"gateway.{DOMAIN}"
SECRET = "0123456789abcdef0123456789abcdef"
#: How often it dies.
DEATHS = 30 if LONG else 2
SENDERS = [f"sender{number}" for number in range(4)]
#: So much in a message that a component that does not read soon has its kernel full.
WINDOW = 250
#: A slow component is not to be sent away before the windows are full.
ROOM = 'queue = "8 MiB"'
LOAD = f"<x xmlns='urn:example:load'>{'x' * 8000}</x>"
SWALLOW = "from tests.chaos.inside import links; links.swallow(); "
_PORT = f'[ports."{NAME}"]\nkind = "component"\nsecret_file = "gateway.secret"\n'
_HEADER = f"<stream:stream xmlns='{ns.COMPONENT}' xmlns:stream='{ns.STREAM}' to='{NAME}'>"


class House(Victim):
    """A server that expects a component."""

    def __init__(self, folder: Path, sabotage: str = "") -> None:
        self.componentPort = freePort()
        listen = f'component = ["tcp:{self.componentPort}:interface=127.0.0.1"]\n'
        self.config = Victim.config.replace("[tls]", f"{listen}[tls]")
        secret = folder / "gateway.secret"
        secret.write_text(SECRET, "ascii")
        secret.chmod(0o600)
        super().__init__(folder, SENDERS, sabotage, more=_PORT, limits=ROOM)


class Gateway(Client):
    """The component; it notes what arrives and says nothing."""

    def __init__(self, book: Book) -> None:
        super().__init__(NAME, book, managed=False)

    def connect(self, port: int) -> None:
        """Open the stream and shake hands."""
        self._reset()
        self.sock = socket.socket()
        # The kernel shall not take everything.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.parser = StreamParser(Limits(stanzaBytes=1 << 20))
        self.sock.sendall(_HEADER.encode())
        header = self._next()
        assert isinstance(header, StreamHeader), header
        self.sock.sendall(f"<handshake>{handshake(header.attrs['id'], SECRET.encode())}</handshake>".encode())
        answer = self._next()
        if not isinstance(answer, Element) or answer.name != "handshake":
            raise StreamOver(repr(answer))
        self.sock.setblocking(False)
        self.deaf = False

    def _next(self) -> object:
        assert self.sock is not None
        while True:
            # A byte at a time: what comes behind is for the loop.
            data = self.sock.recv(1)
            if not data:
                raise StreamOver("the connection was closed")
            for item, _ in self.parser.feed(data):
                return item

    def _element(self, item: Element) -> None:
        if item.name == "message":
            self.book.arrive((item.get("to") or ""), item.get("id") or "", "")

    def kill(self) -> None:
        """End with a reset, as a process does that is killed with something unread."""
        assert self.sock is not None
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()


class Writer(Sender):
    """A sender of large messages, which counts what comes back."""

    def __init__(self, user: str, book: Book) -> None:
        super().__init__(user, book, [f"x@{NAME}"], WINDOW)
        self.back: Counter[str] = Counter()
        self.conditions: Counter[str] = Counter()

    def message(self, recipient: str, resource: str = "", more: str = "") -> bytes:
        """See `Client.message`."""
        return super().message(recipient, resource, more or LOAD)

    def _message(self, item: Element) -> None:
        super()._message(item)
        error = item.find(ns.CLIENT, "error")
        assert error is not None, item
        self.back[item.get("id") or ""] += 1
        self.conditions[error.elements()[0].name] += 1


class Scene:
    """Writers, and the component that they write to."""

    def __init__(self, house: House) -> None:
        self.house, self.book = house, Book("g")
        self.writers = [Writer(user, self.book) for user in SENDERS]
        self.gateway = Gateway(self.book)
        self.loop = Loop([*self.writers, self.gateway])
        for writer in self.writers:
            writer.connect(house.port)
        self.slowest = 0.0
        #: What the kernel had not taken when a component died.
        self.held: set[str] = set()

    def die(self, chance: random.Random) -> None:
        """Load, a component that reads no more, its end, a while without it, and its return."""
        self.loop.pause(chance.uniform(0.1, 0.4))
        self.gateway.deaf = True
        # The kernel fills; senders learn what it has taken, and wait for the rest.
        self.loop.run(_still(self.writers), 60.0)
        held = self.book.sent.keys() - self.book.acked
        self.held |= held
        self.gateway.kill()
        self.loop.pause(chance.uniform(0.0, 0.1))
        self.comeBack()
        # What the server had not even read goes to the next component; that shall not die with it.
        self.loop.run(lambda: self.book.acked >= held, 60.0)
        self.loop.run(lambda: not held & self.book.missing(), 10.0, must=False)

    @property
    def lost(self) -> set[str]:
        """What was neither in the kernel's hands, nor arrived or came back."""
        return self.held & self.book.missing()

    def comeBack(self) -> None:
        """Connect; until the server has noticed the end, it says that there is a component already."""
        begin = time.monotonic()
        while True:
            try:
                self.gateway.connect(self.house.componentPort)
                break
            except StreamOver as conflict:
                assert time.monotonic() < begin + 60.0, conflict
                self.loop.pause(0.05)
        self.slowest = max(self.slowest, time.monotonic() - begin)

    def settle(self) -> None:
        """Nobody sends; everything is acknowledged."""
        for writer in self.writers:
            writer.active = False
            writer.ask()
        self.loop.run(lambda: not any(writer.open for writer in self.writers), 60.0)
        self.loop.run(lambda: not self.book.missing(), 3.0, must=False)
        self.loop.pause(0.3)

    @property
    def conditions(self) -> Counter[str]:
        """How often which error came back."""
        return sum((writer.conditions for writer in self.writers), Counter())

    @property
    def most(self) -> int:
        """How often a message came back, at most."""
        return max((max(writer.back.values(), default=0) for writer in self.writers), default=0)

    def end(self) -> None:
        """All leave."""
        for client in self.loop.clients:
            client.drop()
        self.house.end()


def _still(writers: list[Writer]) -> Callable[[], bool]:
    """When nothing is acknowledged any more, though all ask; the server takes a second to say that it is less."""
    last, asked, since = -1, 0.0, 0.0

    def still() -> bool:
        nonlocal last, asked, since
        now, acked = time.monotonic(), sum(writer.acked for writer in writers)
        if acked != last:
            last, since = acked, now
        if now > asked + 0.5:
            asked = now
            for writer in writers:
                writer.ask()
        return now - since > 2.5

    return still


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Writers and their component; the test's parameter is the sabotage."""
    house = House(tmp_path, request.param)
    try:
        scene = Scene(house)
        scene.comeBack()
        yield scene
        scene.end()
    finally:
        house.end()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [""], indirect=True)
def test_componentThatIsKilled(scene: Scene, chance: random.Random, say: Say) -> None:
    """R27: a component dies with its kernel full. What was not in the kernel comes back, once; every sender gets
    its acknowledgements; and the component can connect again at once."""
    for _ in range(DEATHS):
        scene.die(chance)
    scene.settle()
    verdict, lost = scene.book.judge(), scene.lost
    say(f"{DEATHS} components killed: {verdict}; {len(scene.held)} not in the kernel, {len(lost)} of them lost;"
        f" {dict(scene.conditions)}; connected again within {scene.slowest:.2f} s\n")  # fmt: skip
    assert "Traceback" not in scene.house.log, scene.house.log[-4000:]
    assert scene.held and not lost
    assert not verdict.forged and not verdict.reordered
    assert verdict.acked == verdict.sent
    assert verdict.duplicated == 0 and scene.most == 1
    assert set(scene.conditions) <= {"service-unavailable", "remote-server-timeout"}
    assert scene.slowest < 5.0


@pytest.mark.slow
@pytest.mark.parametrize("scene", [SWALLOW], indirect=True)
def test_swallowingIsFoundOut(scene: Scene, chance: random.Random, say: Say) -> None:
    """R27: a build in which nothing comes back that the kernel did not take is seen to lose messages."""
    scene.die(chance)
    scene.settle()
    say(f"sabotaged, a component killed: {len(scene.held)} not in the kernel, {len(scene.lost)} of them lost\n")
    assert scene.lost
