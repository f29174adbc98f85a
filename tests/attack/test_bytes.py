"""Bytes that parsers have disagreed about, in every size of pieces (hardening X06-X10)."""

from __future__ import annotations

import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from lxml import etree  # type: ignore[import-untyped]

from tests.attack.conftest import Canary
from tests.attack.raw import LONG, RawClient, condition, header
from tests.attack.servers import Attacked
from xmppservice.wire.element import Element
from xmppservice.wire.parser import AUTHENTICATED, ParseError, StreamParser
from xmppservice.wire.serializer import serialize

Clients = Callable[..., RawClient]


# -- X10 -----------------------------------------------------------------------------------------


def sequences() -> Iterator[bytes]:
    """About 5,000: every lead byte with continuations at the edges of what is allowed, characters at the edges."""
    edges = (0x00, 0x3C, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    yield from (bytes([lead, *more]) for lead in range(0xC0, 0x100) for more in ((), *zip(edges)))
    yield from (bytes([lead, *more]) for lead in range(0xE0, 0x100) for more in itertools.product(edges, edges))
    for lead in (0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFC, 0xFF):
        yield from (bytes([lead, one, two, three]) for one in edges[3:9] for two in edges[2:6] for three in edges[6:])
    yield from (bytes([code]) for code in (*range(0x20), *range(0x7F, 0xC0)))
    edge = (0x80, 0x9F, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFDD0, 0xFDEF, 0xFEFF, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000)
    planes = [plane << 16 | low for plane in range(1, 17) for low in (0, 0xFFFD, 0xFFFE, 0xFFFF)]
    yield from (chr(code).encode() for code in (*edge, *planes, *range(0x80, 0xA0), 0x2028, 0x2029, 0x202E, 0x85))
    codes = (0, 1, 8, 9, 10, 11, 13, 31, 127, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x10FFFF, 0x110000, 1 << 32, 1 << 64)
    yield from (form % code for code in codes for form in (b"&#%d;", b"&#x%x;", b"&#0%d;"))
    yield from (b"]]>", b"]]&gt;", b"\r", b"\r\n", b"\n\r", b"a\r\rb", b"&#x;", b"&#;", b"&;", b"&amp", b"&#-1;")


#: What XML 1.0 allows (2.2), and what it says of line ends (2.11).
_CHARACTERS = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
_REFERENCE = re.compile("&(?:#([0-9]+)|#x([0-9A-Fa-f]+)|([A-Za-z]+));|&")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "apos": "'", "quot": '"'}


def text(data: bytes) -> str | None:
    """What the bytes are as character data, read by hand; None if they are none."""

    def refer(match: re.Match[str]) -> str:
        decimal, hexadecimal, name = match.groups()
        if name is not None:
            return _NAMED.get(name, "\0")
        if decimal is None and hexadecimal is None:
            return "\0"
        code = int(decimal) if decimal is not None else int(hexadecimal, 16)
        return chr(code) if code <= 0x10FFFF else "\0"

    try:
        read = data.decode()
    except UnicodeDecodeError:
        return None
    if "]]>" in read or "<" in read or not _CHARACTERS.fullmatch(read):
        return None
    found = _REFERENCE.sub(refer, read.replace("\r\n", "\n").replace("\r", "\n"))
    return found if _CHARACTERS.fullmatch(found) else None


SEQUENCES = list(dict.fromkeys(sequences()))


def test_theReaderByHand() -> None:
    """The third parser itself: what it takes and what it does not."""
    assert text(b"a&#x1F600;\r\nb") == "a\U0001f600\nb" and text(b"&lt;") == "<"
    bad = (b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"&#0;", b"]]>", b"\x01", b"&x;")
    assert [text(each) for each in bad] == [None] * 7
    assert len(SEQUENCES) > 4500


@pytest.mark.attack("X10")
def test_everySequenceIsJudged(server: Attacked) -> None:
    """In a stanza of a stranger: no XML is ``not-well-formed``, XML is only ``not-authorized``.

    Over sockets every tenth; all of them with XMPPSERVICE_ATTACK_LONG=1, and always in `test_everySequenceIsParsed`.
    """
    chosen = SEQUENCES if LONG else SEQUENCES[::10]
    for at in range(0, len(chosen), 100):
        batch = [(sequence, RawClient(server.port)) for sequence in chosen[at : at + 100]]
        for sequence, client in batch:
            client.send(header().encode() + b"<message><body>[" + sequence + b"]</body></message>")
        for sequence, client in batch:
            error = [item for item in client.rest() if isinstance(item, Element) and item.name == "error"][-1]
            wanted = {"not-well-formed", "restricted-xml"} if text(sequence) is None else {"not-authorized"}
            assert condition(error) in wanted, (sequence, condition(error))
            client.close()


@pytest.mark.own("looks into our parser")
@pytest.mark.attack("X10")
def test_everySequenceIsParsed() -> None:
    """All of them through the parser itself, and what it takes comes out of the serialiser to be read alike."""
    for sequence in SEQUENCES:
        parser = StreamParser(AUTHENTICATED)
        items = parser.feed(header().encode() + b"<message><body>[" + sequence + b"]</body></message>")
        item, wanted = items[-1][0], text(sequence)
        if wanted is None:
            assert isinstance(item, ParseError), sequence
            continue
        assert isinstance(item, Element), (sequence, item)
        assert item.elements()[0].text == f"[{wanted}]", sequence
        assert ElementTree.fromstring(serialize(item, "")).findtext("{jabber:client}body") == f"[{wanted}]", sequence


@pytest.mark.attack("X10")
def test_whatIsDeliveredIsReadTheSame(clients: Clients) -> None:
    """What is XML arrives as bytes that expat, libxml2 and the reader by hand read alike."""
    alice, bob = clients(), clients()
    good = [sequence for sequence in SEQUENCES if text(sequence) is not None]
    assert len(good) > 300
    before = len(bob.raw)
    for sequence in good:
        alice.send(f"<message to='{bob.jid}'><body>[".encode() + sequence + b"]</body></message>")
    alice.ping()
    assert len(bob.messages(len(good))) == len(good)
    raw = bob.raw[before:]
    stanzas = [match.group() for match in re.finditer(rb"<message .*?</message>", raw, re.DOTALL)]
    assert len(stanzas) == len(good)
    for sequence, stanza in zip(good, stanzas, strict=True):
        wanted = f"[{text(sequence)}]"
        inner = re.search(rb"<body>(.*?)</body>", stanza, re.DOTALL)
        assert inner and text(inner.group(1)) == wanted, (sequence, stanza)
        assert ElementTree.fromstring(stanza).findtext("body") == wanted, (sequence, stanza)
    _libxml2(b"".join(stanzas), [f"[{text(sequence)}]" for sequence in good])


def _libxml2(stanzas: bytes, wanted: list[str]) -> None:
    tree = etree.fromstring(b"<all>" + stanzas + b"</all>", etree.XMLParser(resolve_entities=False, huge_tree=True))
    assert [body.text for body in tree.iter("body")] == wanted


# -- X09 -----------------------------------------------------------------------------------------


def colliding(count: int) -> list[str]:
    """Names with the same low 16 bits under expat's old hash (times 1000003, xor, from 0): pairs of blocks."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names, state = [""], 0
    while len(names) < count:
        seen: dict[int, str] = {}
        for block in map("".join, itertools.product(letters, repeat=3)):
            value = state
            for letter in block:
                value = (value * 0xF4243 ^ ord(letter)) & 0xFFFF
            if value in seen:
                names = [name + part for name in names for part in (seen[value], block)]
                state = value
                break
            seen[value] = block
    return names[:count]


@pytest.mark.attack("X09")
def test_collidingNames(server: Attacked, clients: Clients) -> None:
    """20,000 names that collide in a table without a salt cost about what 20,000 other names cost."""
    client = clients()
    names = colliding(20_000)
    assert len(set(names)) == 20_000
    others = [f"b{number:0{len(names[0]) - 1}d}" for number in range(20_000)]

    def cost(chosen: list[str]) -> float:
        before = server.cpu
        for at in range(0, len(chosen), 1000):
            elements = "".join(f"<{name} {name}=''/>" for name in chosen[at : at + 1000])
            client.send(f"<message to='nobody@localhost' type='error'><x xmlns='u'>{elements}</x></message>")
            client.ping()
        return server.cpu - before

    plain, bad = cost(others), cost(names)
    print(f"X09: {bad:.2f} s of CPU for names that collide, {plain:.2f} s for others")
    assert bad < 5 * plain + 1


# -- X06, X07 ------------------------------------------------------------------------------------


@pytest.mark.attack("X06")
def test_hugeAttributeByteByByte(server: Attacked, canary: Canary, clients: Clients) -> None:
    """256 KiB of one attribute in segments of one byte: refused at the limit of a tag; others hardly notice."""
    client = clients()
    cpu, canary.worst, delays = server.cpu, 0.0, []
    client.send(b"<message id='")
    for number in range(256 * 1024):
        client.send(b"x")
        if client.reset:
            break
        if not number % 2048:
            delays.append(canary.worst)
            canary.worst = 0.0
    used = server.cpu - cpu
    middle = statistics.median(delays)
    print(f"X06: worst ping {max(delays) * 1000:.0f} ms, median of the worst {middle * 1000:.1f} ms, "
          f"{used:.2f} s of CPU, {number} bytes taken")  # fmt: skip
    client.refused("policy-violation", app="stanza-too-big")
    # Each byte is a TLS record and a turn of the reactor; what grows with the square would be minutes.
    assert used < 30 and middle < 1


@pytest.mark.attack("X07")
def test_cutAtEveryOffset(clients: Clients) -> None:
    """In two pieces, cut at every offset, each stanza comes out with its last byte: no parser waits for more."""
    alice, bob = clients(), clients()
    data = f"<message to='{bob.jid}' id='é&gt;'><body>1 &lt; 2 <![CDATA[<&]]> ü</body><x xmlns='u'/></message>".encode()
    delays = []
    for at in range(1, len(data)):
        alice.send(data[:at])
        alice.send(data[at:])
        begun = time.monotonic()
        bob.find(lambda item: item.name == "message")
        delays.append(time.monotonic() - begun)
    print(f"X07: median {statistics.median(delays) * 1000:.2f} ms, worst {max(delays) * 1000:.1f} ms")
    assert statistics.median(delays) < 0.5

