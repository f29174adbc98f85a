"""XML that RFC 6120 forbids, and XML that is too much (hardening X01-X13, 3.1, 3.4)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.inputs.xml import FORBIDDEN, HUGE, MALFORMED, MEGABYTES, MUCH, PLACES, SEQUENCES
from tests.attack.raw import DOMAIN, RawClient, content, header
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.parser import AUTHENTICATED, parseDocument
from xmppservice.wire.serializer import serialize

Clients = Callable[..., RawClient]




def connect(server: AttackedServer, direct: bool) -> RawClient:
    """A connection before its header."""
    client = RawClient(server.directPort if direct else server.port)
    if direct:
        client.wrap(server.ca)
    return client


@pytest.mark.attack("X01")
@pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])
@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenInTheProlog(server: AttackedServer, bad: str, direct: bool) -> None:
    """X01: a document type, instruction or comment as the first bytes, with and without a declaration."""
    for start in ("", "<?xml version='1.0'?>"):
        client = connect(server, direct)
        client.send(start + bad + header())
        client.refused("restricted-xml")
        client.close()


@pytest.mark.attack("X01")
@pytest.mark.parametrize("bad", [*FORBIDDEN.values(), "&nbsp;", "&a;"], ids=[*FORBIDDEN.keys(), "nbsp", "entity"])
def test_forbiddenBehindTheHeader(stranger: RawClient, bad: str) -> None:
    """11.1: the same between elements and inside of one, before authentication.

    A document type behind the header is no XML at all, which is as good a reason.
    """
    stranger.send(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{bad}</auth>")
    stranger.refused("restricted-xml")




@pytest.mark.attack("X01", "X02")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenOnABoundStream(server: AttackedServer, quick: RawClient, bad: str, place: str) -> None:
    """The same between and inside stanzas of a user."""
    quick.send(place.format(bad))
    quick.refused("restricted-xml")


@pytest.mark.parametrize("bad", ["&nbsp;", "&lol;"])
def test_unknownEntity(quick: RawClient, bad: str) -> None:
    """Entities other than the five, in text and in attributes."""
    quick.send(f"<message><body a='{bad}'>{bad}</body></message>")
    quick.refused("restricted-xml")




@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED.keys())
def test_notWellFormed(quick: RawClient, bad: bytes) -> None:
    """4.9.3.13: what is no XML, or no UTF-8."""
    quick.send(bad)
    quick.refused("not-well-formed")


@pytest.mark.parametrize("bad", [b"<foo:message/>", b"<message foo:id='1'/>", b"<message><foo:body/></message>"])
def test_unboundPrefix(quick: RawClient, bad: bytes) -> None:
    """4.9.3.2."""
    quick.send(bad)
    quick.refused("bad-namespace-prefix", "not-well-formed")


# -- too much ----------------------------------------------------------------------------------



def _huge(name: str) -> bytes:
    start, filling = HUGE[name]
    return start + (filling * (10_000_000 // len(filling)) if filling else MEGABYTES)


@pytest.mark.attack("X04", "X05")
@pytest.mark.parametrize("name", HUGE)
def test_hugeBeforeAuthentication(server: AttackedServer, stranger: RawClient, name: str) -> None:
    """X04, X05: ten megabytes of anything are refused after eight kilobytes, and cost neither memory nor time."""
    memory, cpu = server.memory, server.cpu
    sent = stranger.flood(_huge(name))
    stranger.refused("policy-violation", app="stanza-too-big")
    assert sent < 10_000_000
    assert server.memory - memory < 2 << 20
    assert server.cpu - cpu < 0.5


def test_whiteSpaceBeforeAuthentication(stranger: RawClient) -> None:
    """White space keeps nobody alive for ever: all that comes before authentication is counted."""
    stranger.flood(b" " * 10_000_000)
    stranger.refused("policy-violation")


@pytest.mark.attack("X04", "X05")
@pytest.mark.parametrize("name", HUGE)
def test_hugeStanza(server: AttackedServer, quick: RawClient, name: str) -> None:
    """X04, X05 for users: the limit is 256 KiB, and so much is also read, not ten megabytes."""
    memory, cpu = server.memory, server.cpu
    quick.flood(_huge(name))
    quick.refused("policy-violation", app="stanza-too-big")
    assert server.memory - memory < 4 << 20
    assert server.cpu - cpu < 1




@pytest.mark.attack("X05")
@pytest.mark.parametrize("inner", MUCH.values(), ids=MUCH.keys())
def test_tooMuchInOneStanza(quick: RawClient, inner: str) -> None:
    """X05: fewer bytes than the limit, but more of something else."""
    assert len(inner) < 256 * 1024
    quick.send(f"<message>{inner}</message>")
    quick.refused("policy-violation")


@pytest.mark.attack("X05")
def test_limitsAreReachable(clients: Clients) -> None:
    """X05, 13.12: what is just within the limits goes through unharmed, deep, wide and long."""
    alice, bob = clients(), clients()
    deep = "<a xmlns='urn:example:deep'>" + "<a>" * 61 + "</a>" * 61 + "</a>"
    wide = "<w xmlns='urn:example:wide' " + " ".join(f"a{n}='{n}'" for n in range(64)) + "/>"
    many = "<m xmlns='urn:example:many'>" + "<a/>" * 4000 + "</m>"
    long = f"<body>{'x' * 60_000}</body>"
    for inner in (deep, wide, many, long):
        alice.send(f"<message to='{bob.jid}'>{inner}</message>")
        message = bob.element()
        assert _inner(inner) == serialize(message.elements()[0])


def _inner(text: str) -> bytes:
    return serialize(parseDocument(f"<x xmlns='{ns.CLIENT}'>{text}</x>".encode(), AUTHENTICATED).elements()[0])


@pytest.mark.attack("X06")
def test_attributeInSingleBytes(server: AttackedServer, clients: Clients) -> None:
    """X06: a long attribute byte by byte costs the server a little, and others nothing (the canary listens)."""
    client = clients()
    cpu = server.cpu
    data = b"<message id='" + b"x" * 30_000
    for at in range(len(data)):
        client.send(data[at : at + 1])
    client.send(b"'/>")
    client.ping()
    assert server.cpu - cpu < 5


@pytest.mark.attack("X06")
def test_hugeAttributeInSmallPieces(server: AttackedServer, clients: Clients) -> None:
    """X06: 256 KiB of one attribute in pieces of 16 bytes end at the limit of a token."""
    client = clients()
    cpu = server.cpu
    client.send(b"<message id='")
    for _ in range(0, 256 * 1024, 16):
        client.send(b"0123456789abcdef")
        if client.reset:
            break
    client.refused("policy-violation", app="stanza-too-big")
    assert server.cpu - cpu < 2


@pytest.mark.attack("X07")
def test_stanzaInSinglePieces(clients: Clients) -> None:
    """X07: cut at every offset, a stanza is delivered as soon as its last byte is there."""
    alice, bob = clients(), clients()
    data = f"<message to='{bob.jid}' id='é&gt;&#128512;'><body>1 &lt; 2 <![CDATA[<&]]> ü</body></message>".encode()
    for at in range(1, len(data)):
        alice.send(data[:at])
        alice.send(data[at:])
    alice.ping()
    messages = bob.messages()
    assert len(messages) == len(data) - 1
    assert {(message.get("id"), message.elements()[0].text) for message in messages} == {("é>😀", "1 < 2 <& ü")}
    for at in range(len(data)):
        alice.send(data[at : at + 1])
    begun = time.monotonic()
    bob.element()
    # What waits for the next stanza does not come at all.
    assert time.monotonic() - begun < 5


# -- what goes in comes out --------------------------------------------------------------------


@pytest.mark.attack("X11")
def test_everyCharacterInEveryPlace(clients: Clients) -> None:
    """X11: quotes, brackets, line ends in every attribute, namespace, declaration and text; one stanza comes out."""
    alice, bob = clients(), clients()
    nasty = "&apos;&quot;&lt;&gt;&amp;&#9;&#10;&#13;/&gt;&lt;/message&gt;&lt;iq type=&apos;set&apos;/&gt;]]&gt;"
    plain = "'\"<>&\t\n\r/></message><iq type='set'/>]]>"
    # Expat takes no space in the name of a namespace.
    name, inName = nasty.replace(" ", "&#10;"), plain.replace(" ", "\n")
    alice.send(
        f"<message to='{bob.jid}' id='{nasty}' xml:lang='en' odd='{nasty}'><body xml:lang='{nasty}'>{nasty}</body>"
        f"<x xmlns='u{name}' a='{nasty}'><y/></x>"
        f"<p:x xmlns:p='v{name}' p:a='{nasty}'><p:y/></p:x></message>"
    )
    message = bob.element()
    body, x, prefixed = content(message)
    assert message.get("id") == message.get("odd") == plain
    assert body.text == plain and body.get(XML_LANG) == plain
    assert x == Element(f"u{inName}", "x", {"a": plain}, Element(f"u{inName}", "y"))
    assert prefixed == Element(f"v{inName}", "x", {f"v{inName} a": plain}, Element(f"v{inName}", "y"))
    assert bob.stanzas() == []




@pytest.mark.attack("X10")
def test_bytesAreRefusedOrDeliveredAsTheyAre(clients: Clients, user: Callable[[], str]) -> None:
    """X10: a sequence of bytes that is no XML ends the stream; any other comes out as the same characters."""
    bob, name = clients(), user()
    alice = clients(name)
    for sequence in SEQUENCES:
        alice.send(b"<message to='%s' id='a'><body>[" % bob.jid.encode() + sequence + b"]</body></message>")
        alice.send(f"<iq type='get' id='p' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>")
        answer = alice.element()
        expected = _text(sequence)
        if expected is not None:
            assert answer.name == "iq", sequence
            assert bob.element().elements()[0].text == f"[{expected}]", sequence
        else:
            assert answer.elements()[0].name == "not-well-formed", (sequence, answer)
            alice = clients(name)
    assert bob.messages() == []


def _text(sequence: bytes) -> str | None:
    """What XML 1.0 says that these bytes are as text; None if they may not be there (2.2, 2.4, 2.11)."""
    try:
        text = sequence.decode()
    except UnicodeDecodeError:
        return None
    if "]]>" in text or any((c < " " and c not in "\t\n\r") or c in "\ufffe\uffff" for c in text):
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("&gt;", ">")


@pytest.mark.attack("X11")
def test_meaningIsKept(clients: Clients) -> None:
    """3.4: CDATA, references, foreign attributes, prefixes, redeclared namespaces, white space."""
    alice, bob = clients(), clients()
    alice.send(
        f"<message to='{bob.jid}' xmlns:q='urn:example:q' q:mark='1' unknown='2'>\n <body>  a\n\tb  </body>"
        "<![CDATA[<cdata/>]]><q:a q:b='3' b='4'><c xmlns=''/><body xmlns='jabber:client'/></q:a></message>"
    )
    message = bob.element()
    assert message.get("urn:example:q mark") == "1" and message.get("unknown") == "2"
    body, other = content(message)
    assert body.text == "  a\n\tb  " and message.text.strip() == "<cdata/>"
    inner = (Element("", "c"), Element(ns.CLIENT, "body"))
    assert other == Element("urn:example:q", "a", {"urn:example:q b": "3", "b": "4"}, *inner)


def test_languageIsStamped(server: AttackedServer, user: Callable[[], str], clients: Clients) -> None:
    """4.7.4, 8.1.5: a stanza without a language leaves with its stream's; its own counts more."""
    bob, name = clients(), user()
    alice = server.direct()
    assert alice.scram(name, name[::-1]).name == "success"
    alice.restart()
    alice.open(**{"xml:lang": "de"})
    alice.bind()
    alice.send(f"<message to='{bob.jid}'><body/></message><message to='{bob.jid}' xml:lang='fr'><body/></message>")
    assert [bob.element().get(XML_LANG), bob.element().get(XML_LANG)] == ["de", "fr"]


def test_namespaceTricks(clients: Clients) -> None:
    """A stanza by another prefix is a stanza; one in the server's namespace is none; ours may not be claimed so."""
    alice, bob = clients(), clients()
    alice.send(f"<c:message xmlns:c='{ns.CLIENT}' to='{bob.jid}'><c:body>x</c:body></c:message>")
    assert bob.element().elements()[0] == Element(ns.CLIENT, "body", {}, "x")
    alice.send(f"<message xmlns='{ns.SERVER}' to='{bob.jid}'><body>x</body></message>")
    alice.refused("unsupported-stanza-type", "invalid-namespace")
    assert bob.messages() == []


@pytest.mark.attack("X15", "D11")
def test_languagesAreNotCollected(server: AttackedServer, clients: Clients) -> None:
    """X15, D11: a megabyte of made-up languages, names and namespaces leaves no trace in memory."""
    alice, bob = clients(), clients()

    def send(rounds: range) -> None:
        for number in rounds:
            parts = [f"<message to='{bob.jid}' xml:lang='x-{number}-{part}'><a{number}x{part} b{number}x{part}='' "
                     f"xmlns='urn:example:{number}:{part}'/></message>" for part in range(100)]  # fmt: skip
            alice.send("".join(parts))
            alice.ping()
            assert len(bob.messages()) == 100

    send(range(15))
    before = server.memory
    send(range(15, 75))
    assert server.memory - before < 3 << 20
