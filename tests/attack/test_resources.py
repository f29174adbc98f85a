"""What one client may use up: queues, sessions, storage, acknowledgements (hardening 2.7, XEP-0198 errors)."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.raw import DOMAIN, LONG, STARTTLS, RawClient, condition, content, stanzaError
from xmppservice.wire import ns
from xmppservice.wire.element import Element

Clients = Callable[..., RawClient]


def _numbers(stanzas: list[Element]) -> set[int]:
    return {int(stanza.get("id") or -1) for stanza in stanzas if stanza.name == "message"}


def _collect(client: RawClient, found: set[int]) -> None:
    """All numbers of messages (or errors) that have come by now."""
    found |= _numbers(client.stanzas())


# -- stream management -------------------------------------------------------------------------


def test_enableTwice(clients: Clients) -> None:
    """XEP-0198 3: the second time is an unexpected request; the first stays in force."""
    client = clients()
    client.enable()
    client.send(f"<enable xmlns='{ns.SM}'/>")
    failed = client.element()
    assert (failed.name, condition(failed)) == ("failed", "unexpected-request")
    client.send(f"<r xmlns='{ns.SM}'/>")
    assert client.element().get("h") == "0"


def test_stanzasOfManagementTooEarly(server: AttackedServer, clients: Clients, spare: str) -> None:
    """Section 3: neither before binding nor, for acknowledgements, before enabling."""
    client = server.authenticated(spare)
    for name in ("enable", "r", "a"):
        client.send(f"<{name} xmlns='{ns.SM}' h='0'/>")
        assert condition(client.element()) == "unexpected-request"
    client.bind()
    for name in ("r", "a", "resume"):
        client.send(f"<{name} xmlns='{ns.SM}' h='0' previd='x'/>")
        assert condition(client.element()) == "unexpected-request"
    client.ping()
    client.close()


def test_acknowledgingTooMuch(clients: Clients) -> None:
    """Section 6: a count of stanzas that were never sent ends the stream with the counts in the error."""
    client = clients()
    client.enable()
    client.send(f"<a xmlns='{ns.SM}' h='7'/>")
    client.refused("undefined-condition", app="handled-count-too-high")
    assert b"h='7'" in client.raw and b"send-count='0'" in client.raw


def test_resumingWhatIsNotOnesOwn(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """Section 5: somebody else's id is as unknown as none, and its owner does not notice."""
    victim, name = clients(), user()
    token = victim.enable()
    mallory = server.authenticated(name)
    for previd in (token, token[:-1], token + "x", "x" * 4000, "\N{SNOWMAN}", "&#10;"):
        mallory.send(f"<resume xmlns='{ns.SM}' previd='{previd}' h='0'/>")
        failed = mallory.element()
        assert (failed.name, condition(failed)) == ("failed", "item-not-found")
    mallory.bind()
    mallory.ping()
    victim.ping()


def test_resumingWithAWrongCount(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """Section 5: a count too high at resumption ends the stream likewise."""
    name = user()
    token = clients(name).enable()
    other = server.authenticated(name)
    other.send(f"<resume xmlns='{ns.SM}' previd='{token}' h='9'/>")
    other.refused("undefined-condition", app="handled-count-too-high")


def test_resumingALivingStream(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """Section 5: the former stream gets a conflict; what it had not acknowledged comes again."""
    name, friend = user(), clients()
    old = clients(name)
    token = old.enable()
    friend.send(f"<message to='{old.jid}' id='1'><body>x</body></message>")
    friend.ping()
    new = server.authenticated(name)
    new.send(f"<resume xmlns='{ns.SM}' previd='{token}' h='0'/>")
    assert new.element().name == "resumed"
    assert new.find(lambda item: item.name == "message").get("id") == "1"
    old.refused("conflict")
    new.close()


def test_resumptionAttemptsAreLimited(server: AttackedServer, spare: str) -> None:
    """Guessing ids on one stream ends soon."""
    client = server.authenticated(spare)
    client.send(f"<resume xmlns='{ns.SM}' previd='x' h='0'/>" * 100)
    before = client.refused("policy-violation")
    assert len(before) <= 10


@pytest.mark.own("needs our limits")
@pytest.mark.attack("D05")
def test_neverAcknowledging(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """D05: who never acknowledges is ended at the cap; each message is stored or comes back to its author."""
    name, alice = user(), clients()
    victim = clients(name)
    victim.enable()
    count, told = 2500, set()
    memory = server.memory
    for start in range(0, count, 250):
        alice.send("".join(f"<message to='{name}@{DOMAIN}' type='chat' id='{n}'><body>x</body></message>"
                           for n in range(start, start + 250)))  # fmt: skip
        _collect(alice, told)
    victim.refused("resource-constraint")
    later = clients(name)
    stored = _numbers(later.messages(1))
    assert stored and told | stored == set(range(count))
    assert server.memory - memory < 16 << 20


@pytest.mark.own("needs our limits")
@pytest.mark.attack("D05")
def test_hibernatingSessionsAreCapped(server: AttackedServer, user: Callable[[], str]) -> None:
    """D05: of many sessions that wait for their return only the latest are kept, and they can be resumed."""
    name = user()
    tokens = []
    for _ in range(15):
        client = server.login(name)
        tokens.append(client.enable())
        client.close()
        time.sleep(0.01)
    results = []
    for token in (tokens[0], tokens[-1]):
        client = server.authenticated(name)
        client.send(f"<resume xmlns='{ns.SM}' previd='{token}' h='0'/>")
        results.append(client.element().name)
        client.close()
    assert results == ["failed", "resumed"]


# -- sessions, queues, storage -----------------------------------------------------------------


@pytest.mark.attack("D06")
def test_eleventhResource(server: AttackedServer, user: Callable[[], str]) -> None:
    """D06, 7.7.2.1: one session too many is refused with resource-constraint; the others stay."""
    name = user()
    ten = [server.login(name) for _ in range(10)]
    late = server.authenticated(name)
    reply = late.ask("set", f"<bind xmlns='{ns.BIND}'/>")
    assert stanzaError(reply) == ("wait", "resource-constraint")
    for client in ten:
        client.ping()
    ten.pop().send("</stream:stream>")
    ten[0].ping()
    deadline = time.monotonic() + 5
    while late.ask("set", f"<bind xmlns='{ns.BIND}'/>").get("type") == "error":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for client in (*ten, late):
        client.close()


def test_bindingForEver(server: AttackedServer, spare: str) -> None:
    """A peer that only ever fails to bind is let go."""
    client = server.authenticated(spare)
    client.send(f"<iq type='get' id='1'><bind xmlns='{ns.BIND}'/></iq>" * 100)
    assert len(client.refused("policy-violation")) <= 10


@pytest.mark.own("needs our limits")
@pytest.mark.attack("D07")
def test_fullOfflineStorage(clients: Clients, user: Callable[[], str]) -> None:
    """D07: what does not fit any more is refused with an error to its author, one by one."""
    alice, name = clients(), user()
    for number in range(25):
        alice.send(f"<message to='{name}@{DOMAIN}' id='{number}'><body>{number}</body></message>")
    errors = alice.messages()
    assert {stanzaError(error) for error in errors} == {("cancel", "service-unavailable")}
    assert _numbers(errors) == set(range(20, 25))
    later = clients(name)
    assert [content(message)[0].text for message in later.messages(20)] == [str(number) for number in range(20)]


@pytest.mark.own("needs our limits")
@pytest.mark.attack("D04")
def test_slowReader(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """D04: who does not read is closed at the cap of its queue; every message is read, stored, or comes back."""
    name, alice = user(), clients()
    victim = RawClient(server.directPort, small=True)
    victim.wrap(server.ca)
    victim.open()
    victim.authenticate(name)
    victim.bind()
    victim.available()
    memory, told, count = server.memory, set(), 12_000
    body = f"<body>{'x' * 1000}</body>"
    for start in range(0, count, 100):
        alice.send("".join(f"<message to='{victim.jid}' type='chat' id='{n}'>{body}</message>"
                           for n in range(start, start + 100)))  # fmt: skip
        _collect(alice, told)
        if told:
            count = start + 100
            break
    assert told, "the reader was never too slow"
    assert server.memory - memory < 8 << 20
    read = {int(item.get("id") or -1) for item in victim.rest() if isinstance(item, Element) and item.name == "message"}
    stored = _numbers(clients(name).messages(1))
    assert read and stored and read | stored | told == set(range(count))


@pytest.mark.attack("D03", "D04")
def test_slowReaderOfItsOwnAnswers(server: AttackedServer, clients: Clients, spare: str) -> None:
    """D03, D04: a client that asks and never reads costs no more than its queue."""
    client = clients(spare, presence=False)
    memory = server.memory
    request = f"<iq type='get' id='x' to='{DOMAIN}'><query xmlns='{ns.DISCO_INFO}'/></iq>".encode()
    for _ in range(200):
        client.send(request * 200)
        if client.reset:
            break
    assert client.rest(15) is not None and client.closed
    assert client.raw.count(b"id='x'") < 200 * 200 / 2
    assert server.memory - memory < 16 << 20


#: How often test_comingAndGoing comes and goes.
ROUNDS = int(os.environ.get("XMPPSERVICE_ATTACK_ROUNDS", "100000" if LONG else "1200"))


def _hello() -> bytes:
    """The first message of a TLS handshake."""
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=DOMAIN).do_handshake()
    return out.read()


def _comeAndGo(server: AttackedServer, number: int, hello: bytes) -> None:
    """One of eight ways to begin a stream and drop it; every second by a reset."""
    way = number % 8
    client = RawClient(server.directPort if way in (3, 4, 5) else server.port)
    if way == 1:
        client.open()
    elif way == 2:
        client.send("<stream:stream xmlns='jabber:client' ")
    elif way == 3:
        client.wrap(server.ca)
        client.open()
        client.send("<auth")
    elif way == 4:
        client.send(hello[: number % len(hello)])
    elif way == 5:
        # The server has answered and waits for the end of the handshake.
        client.send(hello)
        client.socket.recv(1)
    elif way == 6:
        client.open()
        client.send(STARTTLS)
        assert client.element().name == "proceed"
        client.send(hello[:100])
    elif way == 7:
        client.send("</nonsense>")
    if number // 8 % 2:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.attack("D01")
def test_comingAndGoing(server: AttackedServer) -> None:
    """D01: connections that come and go, at any stage, leave nothing behind.

    A hundred thousand with XMPPSERVICE_ATTACK_LONG=1; XMPPSERVICE_ATTACK_ROUNDS is another number.
    """
    hello = _hello()

    def calm() -> tuple[int, int]:
        """Memory and descriptors once all of it has come to an end."""
        server.plain().close()
        deadline, last = time.monotonic() + 30, -1
        while server.descriptors != last and time.monotonic() < deadline:
            last = server.descriptors
            time.sleep(0.2)
        return server.memory, server.descriptors

    # The table of addresses is bounded, but a long run fills it: its 16,384 entries are no leak.
    for number in range(25_000 if ROUNDS > 5000 else 400):
        _comeAndGo(server, number, hello)
    memory, descriptors = calm()
    for number in range(ROUNDS):
        _comeAndGo(server, number, hello)
    deadline = time.monotonic() + 30
    while (now := calm())[1] > descriptors and time.monotonic() < deadline:
        pass
    print(f"D01: {ROUNDS:,} rounds, memory {memory >> 10:,} -> {now[0] >> 10:,} KiB "
          f"({100 * (now[0] / memory - 1):+.1f} %), descriptors {descriptors} -> {now[1]}")  # fmt: skip
    assert now[1] <= descriptors
    assert now[0] - memory < max(3 << 20, memory // 20)
