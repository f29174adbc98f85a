"""More than the server can or will do: floods, too many connections, too little memory (hardening D03, D08, R31)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attack.raw import DOMAIN, RawClient, header
from tests.attack.servers.own import AttackedServer
from tests.interop.processes import freePort
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader

pytestmark = pytest.mark.own("needs limits of its own")

RATE, BURST = 100_000, 200_000
ONE_READ = 1 << 16
GRAIN = 1 << 14
USERS = ("canary", *(f"user{number}" for number in range(1, 10)))


def _hasIPv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Limited(AttackedServer):
    """The real process with rates that a test can reach, and an IPv6 port beside the others."""

    extra = f"""
[limits]
stream_bytes = {RATE}
stream_bytes_burst = {BURST}
stream_stanzas = 10000
stream_stanzas_burst = 100000
per_address = 8
[hosts.localhost]
"""

    def start(self) -> None:
        """One more listener, which sees IPv4 addresses as mapped ones."""
        self.sixPort = self.port
        if _hasIPv6():
            self.sixPort = freePort()
            self.options += ["--c2s", f"tcp6:{self.sixPort}:interface=\\:\\:"]
        super().start()


class Unlimited(AttackedServer):
    """Without any rate: what is left is back-pressure."""

    extra = "[limits]\nenabled = false\n[hosts.localhost]\n"

    def setMark(self, text: str) -> None:
        """Another memory mark, by a reload."""
        (self.folder / "conf.d" / "attack.toml").write_text(
            f'[limits]\nenabled = false\nmemory = "{text}"\n[hosts.localhost]\n', encoding="utf-8"
        )
        os.kill(self.child.process.pid, signal.SIGHUP)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    """A server with small rates."""
    running = Limited(tmp_path_factory.mktemp("limited"))
    running.addUsers({user: user[::-1] for user in USERS})
    yield running
    assert running.stop() == 0, running.report()


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unlimited]:
    """A server without rates."""
    running = Unlimited(tmp_path_factory.mktemp("unlimited"))
    running.addUsers({user: user[::-1] for user in USERS})
    yield running
    assert running.stop() == 0, running.report()


class Flood(threading.Thread):
    """Sends one text again and again, as fast as it goes and without ever reading, for a while."""

    def __init__(self, client: RawClient, text: str, seconds: float) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.data = text.encode() * 200
        self.until = time.monotonic() + seconds
        self.sent = 0

    def run(self) -> None:
        """Until the time is over, or the server has had enough."""
        while (left := self.until - time.monotonic()) > 0:
            try:
                self.client.socket.settimeout(left)
                self.client.socket.sendall(self.data)
            except OSError:
                # The time is over, or the server has had enough.
                break
            self.sent += len(self.data)


def _flood(server: AttackedServer, targets: list[tuple[RawClient, str]], seconds: float = 2.5) -> tuple[int, float]:
    """Flood from several clients at once; returns the growth of memory and the canary's worst answer."""
    canary = server.login("canary")
    canary.ping()
    before = highest = server.memory
    floods = [Flood(client, text, seconds) for client, text in targets]
    for flood in floods:
        flood.start()
    worst = 0.0
    while any(flood.is_alive() for flood in floods):
        asked = time.monotonic()
        canary.ping()
        worst = max(worst, time.monotonic() - asked)
        highest = max(highest, server.memory)
        time.sleep(0.02)
    for client, _ in targets:
        client.close()
    canary.close()
    return highest - before, worst


# -- D08: rates ------------------------------------------------------------------------------------


def test_sustainedSender(limited: Limited) -> None:
    """D08: at no time has more got through than burst and rate allow, nothing is lost, and the order is kept."""
    alice, bob = limited.login("user1"), limited.login("user2")
    bob.available()
    stanza = "<message to='{to}' id='{id}'><body>{text}</body></message>"
    count, text = 600, "x" * 1000
    data = "".join(stanza.format(to=bob.jid, id=number, text=text) for number in range(count)).encode()
    began = time.monotonic()
    sender = threading.Thread(target=alice.send, args=(data,), daemon=True)
    sender.start()
    through, size = 0, len(data) / count
    for number in range(count):
        message = bob.find(lambda item: item.name == "message", 30)
        assert message.get("id") == str(number)
        through += 1
        bound = BURST + RATE * (time.monotonic() - began) + 2 * ONE_READ + GRAIN
        assert through * size <= bound
    # What is over the burst had to wait: a lower bound of the time is as certain as the upper one of the bytes.
    assert time.monotonic() - began >= (len(data) - BURST - 2 * ONE_READ - GRAIN) / RATE
    sender.join(60)
    assert not sender.is_alive()
    alice.ping()
    alice.close()
    bob.close()


def test_whiteSpaceBeforeAuthentication(limited: Limited) -> None:
    """D08: strangers are read as slowly, also when what they send means nothing; their end comes all the same."""
    client = limited.direct()
    sent = client.flood(b" " * (32 << 20), 4)
    assert sent < 32 << 20
    client.close()
    limited.login("user3").close()


def test_othersDoNotNotice(limited: Limited) -> None:
    """D03: one stream that is over its rate does not slow those of other addresses."""
    alice = limited.login("user1")
    growth, worst = _flood(limited, [(alice, f"<message to='user4@{DOMAIN}'><body>{'x' * 300}</body></message>")])
    assert growth < 64 << 20
    assert worst < 2.0


# -- D09: addresses --------------------------------------------------------------------------------


def _connect(port: int, address: str, family: int) -> socket.socket:
    connection = socket.socket(family)
    connection.settimeout(30)
    connection.bind((address, 0))
    connection.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    return connection


def _accepted(connection: socket.socket) -> bool:
    """Whether the server talks to it."""
    try:
        connection.sendall(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
                           b"to='localhost' version='1.0'>")  # fmt: skip
        return bool(connection.recv(1000))
    except OSError:
        return False


def test_mappedAddressesAreOne(limited: Limited) -> None:
    """D09: an IPv4 address counts as one, on whichever kind of port it comes in; IPv6 is capped likewise."""
    address = "127.99.1.1"
    held = [_connect((limited.port, limited.sixPort)[number % 2], address, socket.AF_INET) for number in range(8)]
    assert all(_accepted(connection) for connection in held)
    for port in (limited.port, limited.sixPort):
        assert not _accepted(_connect(port, address, socket.AF_INET))
    assert _accepted(_connect(limited.sixPort, "127.99.1.2", socket.AF_INET))
    if _hasIPv6():
        six = [_connect(limited.sixPort, "::1", socket.AF_INET6) for _ in range(9)]
        assert [_accepted(connection) for connection in six] == [True] * 8 + [False]
        held += six
    for connection in held:
        connection.close()


# -- D03 to D05: back-pressure without rates -------------------------------------------------------


def test_floodsWithoutRates(unlimited: Unlimited) -> None:
    """D03: to somebody who does not read, to somebody offline, to nobody, and with acknowledgements that never come."""
    slow = RawClient(unlimited.directPort, small=True)
    slow.wrap(unlimited.ca)
    slow.open()
    slow.authenticate("user1")
    slow.bind()
    slow.available()
    body = f"<body>{'x' * 500}</body>"
    managed = unlimited.login("user4")
    managed.enable()
    targets = [
        (unlimited.login("user2"), f"<message to='{slow.jid}' type='chat'>{body}</message>"),
        (unlimited.login("user3"), f"<message to='user9@{DOMAIN}' type='chat'>{body}</message>"),
        (managed, f"<message to='{managed.jid}' type='chat'>{body}</message><r xmlns='urn:xmpp:sm:3'/>"),
        (unlimited.login("user5"), f"<message to='nobody@{DOMAIN}'>{body}</message>"),
    ]
    growth, worst = _flood(unlimited, targets)
    slow.close()
    assert growth < 64 << 20
    # Four senders share one core with it; a server that queued all of this would answer in many seconds.
    assert worst < 10.0


# -- R31: memory -----------------------------------------------------------------------------------


def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_shortOfMemory(unlimited: Unlimited) -> None:
    """R31: over the mark new streams are told so and closed, sessions go on, and it is said once in the log."""
    friend, unbound = unlimited.login("user6"), unlimited.authenticated("user7")
    stranger = unlimited.direct()
    unlimited.news()
    mark = unlimited.memory + (4 << 20)
    unlimited.setMark(str(mark))
    crowd: list[RawClient] = []
    for _ in range(1000):
        client = RawClient(unlimited.directPort)
        crowd.append(client)
        client.wrap(unlimited.ca)
        client.send(header())
        assert isinstance(client.next(), StreamHeader)
        if client.element().name == "error":
            break
    else:
        raise AssertionError("nothing was refused")
    told = unlimited.news()
    assert told.count("memory is short") == 1 and "MiB of addresses (no mark)" in told
    stranger.refused("resource-constraint")
    late = RawClient(unlimited.port)
    late.send("<?xml version='1.0'?>")
    late.refused("resource-constraint")
    friend.ping()
    reply = unbound.ask("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
    assert isinstance(reply, Element) and reply.get("type") == "error"
    for client in crowd:
        client.close()
    assert unlimited.memory < mark + (32 << 20)
    unlimited.setMark("0")
    _until(lambda: "memory suffices again" in unlimited.news())
    unbound.bind()
    unlimited.login("user8").close()
    friend.ping()
