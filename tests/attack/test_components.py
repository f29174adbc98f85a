"""The streams of components under attack: the exact refusals, and that nobody else notices (V11, 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.attack.inputs.xml import FORBIDDEN, MALFORMED, MEGABYTES
from tests.attack.raw import DOMAIN, PATIENCE, RawClient, condition, ownAddress, stanzaError
from tests.attack.servers.own import COMPONENT, SECRET, AttackedServer
from xmppservice.protocol.stream.component import handshake
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader

Clients = Callable[..., RawClient]


def header(to: str | None = COMPONENT, content: str = ns.COMPONENT) -> str:
    """A component's header."""
    target = "" if to is None else f" to='{to}'"
    return f"<stream:stream xmlns='{content}' xmlns:stream='{ns.STREAM}'{target}>"


@pytest.fixture
def stranger(server: AttackedServer) -> RawClient:
    """A connection before its header."""
    if not server.own:
        pytest.skip("not applicable: only ours has this component")
    return RawClient(server.componentPort)


def join(stranger: RawClient) -> RawClient:
    """From a connection to a connected component."""
    open_(stranger).send(f"<handshake>{handshake(stranger.jid, SECRET.encode())}</handshake>")
    assert stranger.element().name == "handshake"
    return stranger


def open_(stranger: RawClient) -> RawClient:
    """The header, and the answer, whose id is kept."""
    stranger.send(header())
    answer = stranger.next()
    assert isinstance(answer, StreamHeader)
    stranger.jid = answer.attrs["id"]
    return stranger


@pytest.fixture
def opened(stranger: RawClient) -> RawClient:
    """A stream before its handshake."""
    return open_(stranger)


@pytest.fixture
def component(stranger: RawClient) -> RawClient:
    """A connected component."""
    return join(stranger)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (header("nobody.test"), "host-unknown"),
        (header(DOMAIN), "host-unknown"),
        (header(None), "improper-addressing"),
        (header("a b"), "improper-addressing"),
        (header(content=ns.CLIENT), "invalid-namespace"),
        (header(content="jabber:server"), "invalid-namespace"),
        ("<?xml version='1.0' encoding='iso-8859-1'?>" + header(), "unsupported-encoding"),
        ("<html/>", "invalid-namespace"),
    ],
)
def test_wrongHeaders(stranger: RawClient, data: str, wanted: str) -> None:
    """XEP-0114 section 3, RFC 6120 4.9.3: the header is answered, then the error, then the end."""
    stranger.send(data)
    stranger.refused(wanted)


@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenInTheProlog(stranger: RawClient, bad: str) -> None:
    """X01: the same parser guards every entry."""
    stranger.send(bad + header())
    stranger.refused("restricted-xml")


@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenFromAComponent(component: RawClient, bad: str) -> None:
    """X01: nor may somebody who is trusted send it."""
    component.send(f"<message from='{COMPONENT}' to='x@{DOMAIN}'><body>{bad}</body></message>")
    component.refused("restricted-xml", "not-well-formed")


@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(component: RawClient, bad: bytes) -> None:
    """3.1: what is no XML ends the stream."""
    component.send(bad.replace(b"<message", f"<message from='{COMPONENT}' to='x@{DOMAIN}'".encode()))
    component.refused("not-well-formed", "bad-namespace-prefix", "restricted-xml", "invalid-xml", "improper-addressing")


@pytest.mark.parametrize("name", ["message", "presence", "iq", "handshake xmlns='urn:x'", "auth"])
def test_beforeTheHandshake(opened: RawClient, name: str) -> None:
    """3.1 not-authorized: nothing is taken from somebody who has proved nothing."""
    opened.send(f"<{name} from='{COMPONENT}' to='x@{DOMAIN}'/>")
    opened.refused("not-authorized")


@pytest.mark.parametrize("wrong", ["", "0" * 40, SECRET, "\u00e4" * 40, "x" * 4000])
def test_wrongSecret(opened: RawClient, wrong: str) -> None:
    """V11: one try for each connection."""
    opened.send(f"<handshake>{wrong}</handshake>")
    opened.refused("not-authorized")


def test_recordedHandshake(server: AttackedServer, opened: RawClient) -> None:
    """V11: what proved somebody once proves nobody on another stream."""
    recorded = handshake(opened.jid, SECRET.encode())
    other = RawClient(server.componentPort)
    other.send(header())
    other.next()
    other.send(f"<handshake>{recorded}</handshake>")
    other.refused("not-authorized")


def test_guessing(server: AttackedServer) -> None:
    """V11: a hundred wrong secrets are not heard; another address is, and has the right one."""
    if not server.own:
        pytest.skip("not applicable: only ours has this component")
    address, answers = ownAddress(), []
    for _ in range(100):
        guesser = RawClient(server.componentPort, address)
        guesser.send(header() + "<handshake>wrong</handshake>")
        error = next(item for item in guesser.rest() if isinstance(item, Element))
        answers.append(condition(error))
        guesser.close()
    assert answers[0] == "not-authorized" and answers[-1] == "policy-violation"
    assert answers.count("not-authorized") <= 20
    other = RawClient(server.componentPort)
    other.send(header())
    answer = other.next()
    assert isinstance(answer, StreamHeader)
    other.send(f"<handshake>{handshake(answer.attrs['id'], SECRET.encode())}</handshake>")
    assert other.element().name == "handshake"
    other.close()


def test_tooMuchBeforeTheHandshake(server: AttackedServer, opened: RawClient) -> None:
    """X04: ten megabytes from a stranger cost nothing."""
    before = server.memory
    sent = opened.flood(b"<handshake>" + MEGABYTES)
    assert sent < len(MEGABYTES)
    opened.refused("policy-violation", app="stanza-too-big")
    assert server.memory - before < 4 << 20


def test_tooMuchFromAComponent(component: RawClient) -> None:
    """X04: a component has a limit too, twice that of a client."""
    start = f"<message from='{COMPONENT}' to='x@{DOMAIN}'><body>"
    component.flood(start.encode() + MEGABYTES)
    component.refused("policy-violation", app="stanza-too-big")


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        (f"from='user1@{DOMAIN}' to='user2@{DOMAIN}'", "invalid-from"),
        (f"from='{DOMAIN}' to='user2@{DOMAIN}'", "invalid-from"),
        (f"from='x@sub.{COMPONENT}' to='user2@{DOMAIN}'", "invalid-from"),
        (f"from='x@{COMPONENT}.evil.test' to='user2@{DOMAIN}'", "invalid-from"),
        ("from='@' to='x'", "invalid-from"),
        (f"to='user2@{DOMAIN}'", "improper-addressing"),
        (f"from='x@{COMPONENT}'", "improper-addressing"),
    ],
)
def test_forgedSenders(component: RawClient, clients: Clients, attributes: str, wanted: str) -> None:
    """V11, 3.1 invalid-from: a component speaks for its own domain; nothing else gets through."""
    victim = clients()
    component.send(f"<message {attributes.replace(f'user2@{DOMAIN}', victim.jid)}><body>forged</body></message>")
    component.refused(wanted)
    assert victim.silent()


def test_unknownElement(component: RawClient) -> None:
    """3.1 unsupported-stanza-type."""
    component.send("<frob xmlns='urn:x'/>")
    component.refused("unsupported-stanza-type")


def test_smuggling(component: RawClient, clients: Clients) -> None:
    """X11: whatever a client writes, the component reads one stanza, with the true sender."""
    alice = clients()
    evil = "u&apos;/&gt;&lt;/message&gt;&lt;presence/&gt;&lt;message&gt;"
    alice.send(f"<message to='x@{COMPONENT}' id='{evil}'><x xmlns='{evil}' a='&#10;&#9;{evil}'>{evil}</x></message>")
    alice.send(f"<message to='x@{COMPONENT}' id='last'/>")
    first, last = component.element(), component.element()
    assert (first.get("from"), first.get("id"), last.get("id")) == (alice.jid, evil_(evil), "last")
    (child,) = first.elements()
    assert (child.ns, child.get("a"), child.text) == (evil_(evil), "\n\t" + evil_(evil), evil_(evil))
    component.close()


def evil_(text: str) -> str:
    """What a parser makes of these references."""
    return text.replace("&apos;", "'").replace("&gt;", ">").replace("&lt;", "<")


def test_errorsAreNotAnswered(component: RawClient) -> None:
    """3.3: an error is never answered with an error, a result not at all."""
    for kind in ("error", "result"):
        component.send(f"<iq type='{kind}' id='1' from='{COMPONENT}' to='nobody@{DOMAIN}'/>")
    component.send(f"<iq type='get' id='2' from='{COMPONENT}' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>")
    answer = component.element()
    assert isinstance(answer, Element) and (answer.get("id"), answer.get("type")) == ("2", "result")
    component.close()


def numbers(items: Iterable[object], type: str | None = None) -> set[int]:
    """The ids of the messages of a type."""
    messages = [item for item in items if isinstance(item, Element) and item.name == "message"]
    return {int(message.get("id") or -1) for message in messages if message.get("type") == type}


@pytest.mark.own("only ours has this component")
@pytest.mark.attack("D04")
def test_componentThatDoesNotRead(server: AttackedServer, clients: Clients) -> None:
    """D04, V11: at the cap of its queue its stream ends; who wrote to it in vain is told, and what waits is bounded."""
    component = join(RawClient(server.componentPort, small=True))
    alice, memory, sent = clients(), server.memory, 0
    told: set[int] = set()
    body = f"<body>{'x' * 1000}</body>"
    while not told and sent < 20_000:
        alice.send("".join(f"<message to='x@{COMPONENT}' id='{sent + n}'>{body}</message>" for n in range(100)))
        sent += 100
        told |= numbers(alice.stanzas(), "error")
    assert told, "the component was never too slow"
    assert server.memory - memory < 16 << 20
    alice.send(f"<message to='x@{COMPONENT}' id='0'>{body}</message>")
    assert stanzaError(alice.find(lambda stanza: stanza.get("id") == "0")) == ("wait", "service-unavailable")
    # What was on the way when the stream ended may do both, but nothing does neither.
    assert numbers(component.rest()) | told | numbers(alice.stanzas(), "error") == set(range(sent))
    component.close()


@pytest.mark.attack("D03", "D04")
@pytest.mark.parametrize("to", [f"nobody@{DOMAIN}", DOMAIN, f"user1@{DOMAIN}/none"])
def test_floodFromAComponent(server: AttackedServer, component: RawClient, to: str) -> None:
    """D04, V11: no rate slows a component; but if it does not take the answers, it gets no more than its queue."""
    memory = server.memory
    stanza = f"<iq from='x@{COMPONENT}' to='{to}' type='get' id='{'i' * 500}'><frob xmlns='urn:x'/></iq>"
    blocks = 0
    component.socket.settimeout(PATIENCE)
    try:
        while blocks < 200 and not component.reset:
            component.send(stanza * 100)
            blocks += 1
    except TimeoutError:
        pytest.fail("the stream neither ends nor is read")
    assert server.memory - memory < 16 << 20
    answers = component.rest()
    assert len(answers) < blocks * 100
    assert component.closed


@pytest.mark.own("only ours has this component")
@pytest.mark.attack("D02")
def test_floodOfStreams(server: AttackedServer) -> None:
    """D02, V11: streams without a handshake are few for each address; the component gets in from another."""
    address, streams = ownAddress(), []
    for _ in range(120):
        stranger = RawClient(server.componentPort, address)
        stranger.send(header())
        streams.append(stranger)
    refused = 0
    for stranger in streams:
        refused += stranger.next() is None
    assert refused == 20
    join(RawClient(server.componentPort)).close()
    for stranger in streams:
        stranger.close()
