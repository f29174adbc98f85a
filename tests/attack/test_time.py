"""Deadlines, caps of addresses and the end of the server, on a server of its own with short times (hardening D02, 3.1).

The deadlines are shortened by configuration. All silent clients connect when the first of these tests begins, and
wait at the same time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.raw import DOMAIN, STARTTLS, RawClient, header
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamEnd

pytestmark = pytest.mark.own("the deadlines are shortened by configuration")

AUTH_TIME, SILENCE, PING_TIME, SLACK = 3.0, 10.0, 2.0, 5.0
PER_ADDRESS = 8


class ShortServer(AttackedServer):
    """A server whose patience is short."""

    extra = f"""
[limits]
auth_time = "{AUTH_TIME:g} s"
silence = "{SILENCE:g} s"
ping_time = "{PING_TIME:g} s"
per_address = {PER_ADDRESS}
"""


class Waiting:
    """A client that does nothing but drip, and notes when it is put out."""

    def __init__(self, client: RawClient, drip: str = "") -> None:
        self.client = client
        self._drip = drip
        self.begun = time.monotonic()
        self.after = 0.0
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.thread.start()

    def _wait(self) -> None:
        at = 0
        while not self.client.closed:
            if at < len(self._drip):
                self.client.send(self._drip[at])
                at += 1
            try:
                while self.client.next(0.4) is not None:
                    pass
            except AssertionError:
                pass
        self.after = time.monotonic() - self.begun

    def seconds(self, limit: float) -> float:
        """How long it took."""
        self.thread.join(max(0.1, self.begun + limit + SLACK - time.monotonic()))
        assert self.client.closed, "still open"
        return self.after


def _half(server: ShortServer) -> RawClient:
    client = server.plain()
    client.send(STARTTLS)
    client.element()
    return client


SILENT: dict[str, tuple[Callable[[ShortServer], RawClient], str]] = {
    "nothing": (lambda server: RawClient(server.port), ""),
    "nothing on the TLS port": (lambda server: RawClient(server.directPort), ""),
    "a header byte by byte": (lambda server: RawClient(server.port), header()),
    "a handshake byte by byte": (lambda server: RawClient(server.directPort), "\x16\x03\x01\x02\x00" + "\x01" * 40),
    "nothing behind the features": (lambda server: server.plain(), ""),
    "white space": (lambda server: server.plain(), " " * 60),
    "a handshake that does not begin": (_half, ""),
    "nothing behind TLS": (lambda server: server.direct(), ""),
    "an authentication byte by byte": (lambda server: server.direct(), f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>"),
    "nothing behind authentication": (lambda server: server.authenticated("user1"), ""),
}


@pytest.fixture(scope="session", autouse=True)
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShortServer]:
    """The server with short times."""
    running = ShortServer(tmp_path_factory.mktemp("short"))
    running.addUsers({f"user{number}": f"user{number}"[::-1] for number in range(1, 6)})
    yield running
    running.stop()


@pytest.fixture(scope="session", autouse=True)
def waiting(short: ShortServer) -> dict[str, Waiting]:
    """Clients that wait to be put out, all at the same time."""
    return {name: Waiting(connect(short), drip) for name, (connect, drip) in SILENT.items()}


class Quiet:
    """Bound clients that say nothing any more."""

    def __init__(self, server: ShortServer) -> None:
        self.resumable = server.login("user2")
        self.resumable.available()
        self.token = self.resumable.enable()
        self.begun = time.monotonic()
        self.plain = server.login("user3")
        self.alive = server.login("user4")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keepAlive, daemon=True)
        self._thread.start()

    def _keepAlive(self) -> None:
        while not self._over.wait(1) and time.monotonic() < self.begun + SILENCE + PING_TIME + SLACK:
            with contextlib.suppress(OSError):
                self.alive.send(" ")

    def handOver(self) -> RawClient:
        """The one that was kept alive, which is the thread's no more: a TLS connection is for one thread at a time."""
        self._over.set()
        self._thread.join()
        return self.alive


@pytest.fixture(scope="session", autouse=True)
def quiet(short: ShortServer) -> Quiet:
    """They fall silent when the first of these tests begins."""
    return Quiet(short)


@pytest.mark.attack("D02")
@pytest.mark.parametrize("kind", SILENT)
def test_whoDoesNotLogInIsPutOut(waiting: dict[str, Waiting], kind: str) -> None:
    """D02: silence or dripping before authentication or binding ends at the deadline, not before and not much later."""
    seconds = waiting[kind].seconds(AUTH_TIME)
    assert AUTH_TIME - 1.5 < seconds < AUTH_TIME + SLACK


@pytest.mark.attack("D02")
def test_tooManyOfOneAddress(short: ShortServer) -> None:
    """D02, XEP-0205: connections of one address are capped; another address logs in at once."""
    address = "127.9.9.9"
    crowd = [RawClient(short.port, address) for _ in range(PER_ADDRESS * 3)]
    time.sleep(0.2)
    served = []
    for client in crowd:
        client.send(header())
        try:
            served.append(client.next(5) is not None)
        except AssertionError:
            served.append(False)
    assert served.count(True) == PER_ADDRESS
    begun = time.monotonic()
    short.login("user5").close()
    assert time.monotonic() - begun < 2
    for client in crowd:
        client.close()
    deadline = time.monotonic() + 30
    while True:
        late = RawClient(short.port, address)
        late.send(header())
        if late.next() is not None:
            break
        assert time.monotonic() < deadline
    late.close()


def test_silentSessionIsAskedAndEnded(short: ShortServer, quiet: Quiet) -> None:
    """4.9.3.4: a silent peer is asked, then ended with connection-timeout; with XEP-0198 it can come back."""
    asked = quiet.plain.find(lambda item: item.name == "iq", SILENCE + SLACK)
    assert asked.get("type") == "get" and asked.elements()[0].ns == ns.PING
    quiet.plain.refused("connection-timeout", patience=PING_TIME + SLACK)
    quiet.resumable.refused("connection-timeout", patience=PING_TIME + SLACK)
    assert time.monotonic() - quiet.begun > SILENCE
    friend = short.login("user1")
    friend.send(f"<message to='user2@{DOMAIN}' type='chat'><body>while away</body></message>")
    friend.ping()
    back = short.authenticated("user2")
    back.send(f"<resume xmlns='{ns.SM}' previd='{quiet.token}' h='0'/>")
    assert back.element().name == "resumed"
    message = back.find(lambda item: item.name == "message")
    assert message.elements()[0].text == "while away"
    quiet.handOver().ping()
    back.close()
    friend.close()


def test_shutdown(short: ShortServer) -> None:
    """4.9.3.20: SIGTERM tells every stream; the last acknowledgement comes first; nothing acknowledged is lost."""
    alice = short.login("user1")
    alice.enable()
    strangers = [short.plain(), short.direct(), RawClient(short.port)]
    for number in range(50):
        alice.send(f"<message to='user5@{DOMAIN}' id='{number}'><body>{number}</body></message>")
    alice.send(f"<r xmlns='{ns.SM}'/>")
    assert alice.element(3).get("h") == "50"
    begun = time.monotonic()
    ended: list[int] = []
    stopping = threading.Thread(target=lambda: ended.append(short.stop()))
    stopping.start()
    items = alice.refused("system-shutdown")
    acknowledged = [item for item in items if isinstance(item, Element) and item.name == "a"]
    assert acknowledged and acknowledged[-1].get("h") == "50"
    for stranger in strangers:
        stranger.refused("system-shutdown")
    for client in (alice, *strangers):
        client.close()
    stopping.join(60)
    assert ended == [0] and time.monotonic() - begun < 10
    assert "Traceback" not in short.report(), short.report()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", short.port))
    short.start()
    late = short.login("user5")
    late.available()
    assert [message.get("id") for message in late.messages(50)] == [str(number) for number in range(50)]
    late.close()


def test_shutdownWithAClientThatDoesNotAnswer(short: ShortServer) -> None:
    """R23: nobody can keep the server from ending in time, neither by silence nor by never reading."""
    deaf = short.login("user3")
    slow = RawClient(short.directPort, small=True)
    begun = time.monotonic()
    assert short.stop() == 0
    assert time.monotonic() - begun < 10
    assert isinstance(deaf.rest()[-1], StreamEnd)
    slow.close()
    assert "Traceback" not in short.report(), short.report()
