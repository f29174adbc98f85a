"""F7, F5: requests to every namespace that is served, valid and mutated, at a whole server in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.fuzz.mutate import mutateTree
from tests.fuzz.profile import TIMES
from tests.fuzz.sessions import DOMAIN, SERVED, fromClient, parsed
from xmppservice.protocol.errors import STANZA_CONDITIONS
from xmppservice.protocol.jid import JID
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import StreamHeader
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import StreamParser
from xmppservice.wire.serializer import serialize

MODULES = (
    "establishing", "roster", "offline", "stream_management", "disco", "caps", "ping", "version", "entity_time",
    "last_activity", "vcard", "private_xml", "contact_info", "register", "blocking", "stanza_ids",
)  # fmt: skip
REQUESTS = 500 * TIMES
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    """A server with all that it serves."""
    running = MemoryServer(MODULES, {"register": {"changes": 0}, "roster": {"items": 50}})
    yield running
    running.stop()


def request(chance: random.Random, payload: str, id: str) -> Element:
    """An IQ with this payload, mutated at none to three places; still a request with an id."""
    to = chance.choice(("", "", f" to='{DOMAIN}'", " to='alice@localhost'", " to='bob@localhost'"))
    iq = parsed(f"<iq{to}>{payload.format(contact='bob@localhost')}</iq>")
    iq = mutateTree(iq, chance, chance.randint(0, 3))
    iq.ns, iq.name = ns.CLIENT, "iq"
    iq.attrs |= {"id": id, "type": chance.choice(("get", "set"))}
    return iq


def acceptable(stanza: Element) -> bool:
    """Whether the limits of an installation let it in at all."""
    items = [item for item, _ in StreamParser(AUTHENTICATED).feed(HEADER + serialize(stanza))]
    return len(items) == 2 and isinstance(items[0], StreamHeader) and isinstance(items[1], Element)


def defined(answer: Element) -> bool:
    """Whether an answer is a result, or an error as RFC 6120 8.3 has it."""
    if answer.get("type") == "result":
        return True
    error = answer.find(ns.CLIENT, "error")
    if error is None or error.get("type") not in ("auth", "cancel", "continue", "modify", "wait"):
        return False
    conditions = [each.name for each in error.elements() if each.ns == ns.STANZA_ERRORS and each.name != "text"]
    return len(conditions) == 1 and conditions[0] in STANZA_CONDITIONS


def verdict(server: MemoryServer, client: MemoryClient, iq: Element) -> str:
    """Send a request; what is wrong with what comes back."""
    client.take()
    client.send(serialize(iq).decode())
    server.advance(1)
    answers = [
        each for each in client.take()
        if each.name == "iq" and each.get("id") == iq.get("id") and each.get("type") in ("result", "error")
    ]  # fmt: skip
    if client.stream.closed:
        return "" if len(answers) <= 1 else "answers, and more answers"
    if len(answers) != 1:
        return f"{len(answers)} answers"
    return "" if defined(answers[0]) else f"an error of no kind: {serialize(answers[0])!r}"


@pytest.mark.parametrize("payload", SERVED, ids=range(len(SERVED)))
def test_everyRequestIsAnsweredOnce(server: MemoryServer, payload: str) -> None:
    """F7: a get or set to a namespace that is served gets one result or one defined error, whatever it looks like."""
    server.account("bob")
    client = server.client("alice/a", available=True)
    for number in range(REQUESTS):
        chance = random.Random(f"{payload}:{number}")
        if client.stream.closed:
            server.account("bob")
            client = server.client("alice/a", available=True)
        iq = request(chance, payload, f"i{number}")
        if acceptable(iq):
            problem = verdict(server, client, iq)
            assert not problem, (problem, number, serialize(iq))
    client.close()


def test_fromIsAlwaysTheSenders(server: MemoryServer) -> None:
    """F5: whatever a client claims in `from`, what others receive has its own address (RFC 6120 8.1.2.1)."""
    erin = server.client("erin/b", available=True)
    claims = ("erin@localhost", "localhost", "mallory@localhost/x", "dave@localhost", "dave@localhost/b", "@", "x@y")
    heard = 0
    for number in range(4 * REQUESTS):
        chance = random.Random(f"from:{number}")
        dave = server.client("dave/a")
        stanza = fromClient(chance)
        stanza.attrs |= {"to": chance.choice(("erin@localhost", "erin@localhost/b")), "id": f"s{number}"}
        if chance.random() < 0.3:
            stanza.attrs["from"] = chance.choice(claims)
        if acceptable(stanza):
            dave.send(serialize(stanza).decode())
        server.advance(0.1)
        if erin.stream.closed:
            erin = server.client("erin/b", available=True)
        for each in erin.take():
            if each.get("id") == f"s{number}":
                heard += 1
                sender = JID.parse(each.get("from") or "localhost")
                # Subscriptions are from the account, all else from the session.
                assert sender.full == ("dave@localhost/a" if each.name != "presence" else sender.full)
                assert sender.bare == "dave@localhost", serialize(each)
        dave.close()
    assert heard > REQUESTS / 2


def test_seesSilenceAndTwoAnswers(server: MemoryServer) -> None:
    """Sabotage: a server that keeps quiet, answers twice, or with an error that nobody knows, is seen."""
    client = server.client("carol/c", available=True)
    iq = parsed("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert not verdict(server, client, iq)
    real = client.stream.send
    client.stream.send = lambda data: None  # type: ignore[method-assign]
    assert verdict(server, client, iq) == "0 answers"
    client.stream.send = lambda data: real(data + data)  # type: ignore[method-assign]
    assert verdict(server, client, iq) == "2 answers"
    odd = b"<iq type='error' id='x'><error type='cancel'><no xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    client.stream.send = lambda data: real(odd)  # type: ignore[method-assign]
    assert "no kind" in verdict(server, client, iq)
    client.stream.send = real  # type: ignore[method-assign]
    client.close()
