"""The limits of the stream parser, and what its guards cost (X04 to X08, D11)."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tests.wire.streams import HEADER, feedAll, items, verdict
from xmppservice.wire.element import Element
from xmppservice.wire.parser import AUTHENTICATED, PRE_AUTH, Limits, ParseError, StreamHeader, StreamParser

MEGABYTES = 10 * 1024 * 1024
HUGE = [
    (b"<message><body>", b"x"),
    (b"<message><body>", b"x>"),
    (b"<message><body>", b"&amp;"),
    (b"<message><body><![CDATA[", b"x>"),
    (b"<message a='", b"x"),
    (b"<message a='", b">"),
    (b'<message a="', b"'>"),
    (b"<message ", b"x"),
    (b"<message ", b" "),
    (b"<message", b"x"),
    (b"<message xmlns='", b"x"),
    (b"<message xmlns:", b"x"),
    (b"<message>", b"<x/>"),
    (b"<message>", b"<x>"),
    (b"<message>", b"\n"),
    (b"<!--", b"x"),
    (b"<message>&", b"x"),
]


def drive(parser: StreamParser, start: bytes, unit: bytes, step: int, total: int = MEGABYTES) -> tuple[object, int]:
    """Feed an endless stanza; the item that ended it and the bytes fed until then."""
    piece = unit * max(step // len(unit), 1)
    found = parser.feed(start)
    fed = len(start)
    if found:
        return found[0][0], fed
    while fed < total:
        found = parser.feed(piece)
        fed += len(piece)
        if found:
            return found[0][0], fed
    return None, fed


@pytest.mark.parametrize("step", [1460, 65536])
@pytest.mark.parametrize(("start", "unit"), HUGE)
@pytest.mark.parametrize("limits", [PRE_AUTH, AUTHENTICATED], ids=["before", "after"])
def test_endless_stanzas(limits: Limits, start: bytes, unit: bytes, step: int) -> None:
    """X04: whatever is endless, reading ends at the limit plus one piece."""
    parser = StreamParser(limits)
    parser.feed(HEADER)
    error, fed = drive(parser, start, unit, step)
    assert isinstance(error, ParseError)
    assert fed <= limits.stanzaBytes + len(start) + 2 * step
    if error.condition != "restricted-xml":
        assert (error.condition, error.app) == ("policy-violation", "stanza-too-big")


def test_endless_header() -> None:
    """X04: the header is bounded like a stanza."""
    for start, unit in ((b"<stream to='", b"x"), (b"<", b"x"), (b"<?xml", b" "), (b"<s a='", b">")):
        error, fed = drive(StreamParser(), start, unit, 100)
        assert isinstance(error, ParseError)
        assert fed < 9000


def test_endless_white_space() -> None:
    """X04: before authentication white space counts, afterwards it is keepalive."""
    parser = StreamParser(PRE_AUTH)
    parser.feed(HEADER)
    error, fed = drive(parser, b" ", b" ", 1000)
    assert isinstance(error, ParseError) and error.condition == "policy-violation"
    assert fed <= 67_000
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER)
    assert drive(parser, b" ", b" ", 65536)[0] is None


def test_total_before_authentication() -> None:
    """Many small stanzas do not get around the limit on the whole."""
    parser = StreamParser(PRE_AUTH)
    parser.feed(HEADER)
    fed = 0
    while True:
        found = parser.feed(b"<presence/>" * 10)
        fed += 110
        if isinstance(found[-1][0], ParseError):
            break
    assert 65_000 < fed <= 65_536 + 110
    parser = StreamParser(PRE_AUTH)
    parser.received = 65_000
    assert isinstance(parser.feed(HEADER + b" " * 600)[-1][0], ParseError)


def test_a_stanza_at_the_limit_passes() -> None:
    """Exactly the limit is allowed, one byte more is not, however it arrives."""
    for step in (0, 100, 1460):
        fits = b"<message>" + b"x" * (8192 - 19) + b"</message>"
        assert len(fits) == 8192
        assert verdict(fits, step, PRE_AUTH) is None
        assert verdict(fits.replace(b"xx", b"xxx", 1), step, PRE_AUTH) == "policy-violation"


def test_elements() -> None:
    """X05: so many elements in one stanza, itself included; the next starts anew."""
    limits = Limits(elements=10)
    fits = b"<m>" + b"<x/>" * 9 + b"</m>"
    assert verdict(fits * 3, 0, limits) is None
    assert verdict(b"<m>" + b"<x/>" * 10 + b"</m>", 0, limits) == "policy-violation"


def test_depth() -> None:
    """X05: so many levels, the stanza being the first."""
    limits = Limits(depth=5)
    assert verdict(b"<m>" * 5 + b"</m>" * 5, 0, limits) is None
    assert verdict(b"<m>" * 6 + b"</m>" * 6, 0, limits) == "policy-violation"
    assert verdict(b"<m>" * 200_000) == "policy-violation"
    [item] = items(b"<m>" * 64 + b"</m>" * 64)
    assert isinstance(item, Element)


def test_attributes() -> None:
    """X05: so many attributes of one element, at every level and in the header."""
    limits = Limits(attributes=3)
    assert verdict(b"<m a='' b='' c=''/>", 0, limits) is None
    assert verdict(b"<m a='' b='' c='' d=''/>", 0, limits) == "policy-violation"
    assert verdict(b"<m><x a='' b='' c='' d=''/></m>", 0, limits) == "policy-violation"
    assert verdict(b"<m " + b" ".join(b"a%d=''" % n for n in range(20_000)) + b"/>") == "policy-violation"


@pytest.mark.parametrize("step", [0, 300, 1460])
def test_declarations(step: int) -> None:
    """Namespace declarations are bounded per stanza, in one element or many."""
    one = b"<m " + b" ".join(b"xmlns:a%d='u'" % n for n in range(2000)) + b"/>"
    many = b"<m>" + b"<x xmlns='urn:aaaaaaaaaaa' />" * 2000 + b"</m>"
    assert verdict(one, step) == "policy-violation"
    assert verdict(many, step) == "policy-violation"
    usual = b"<m>" + b"<x xmlns='urn:x'/>" * 100 + b"</m>"
    assert verdict(usual * 50, step) is None
    header = b"<s " + b" ".join(b"xmlns:a%d='u'" % n for n in range(33)) + b">"
    [(error, _)] = StreamParser(PRE_AUTH).feed(header)
    assert isinstance(error, ParseError)


@pytest.mark.parametrize("step", [0, 7, 1460])
def test_prefixes_do_not_multiply(step: int) -> None:
    """X08: one long namespace name and many uses of its prefix cannot make megabytes out of kilobytes."""
    uri = b"u" * 6000
    elements = b"<p:a/>" * 2000
    attributes = b"<a " + b" ".join(b"p:a%d=''" % n for n in range(60)) + b"/>"
    for data in (
        b"<m xmlns:p='" + uri + b"'>" + elements + b"</m>",
        b"<m x='>' xmlns:p='" + uri + b"'>" + attributes * 10 + b"</m>",
        b"<m x='>' xmlns:p='" + uri + b"' y='>'>" + attributes * 30 + b"</m>",
    ):
        assert verdict(data, step) == "policy-violation"
    header = HEADER.replace(b" to=", b" xmlns:p='" + uri + b"' to=")
    last = feedAll(header + b"<m>" + elements + b"</m>", step)[-1][0]
    assert isinstance(last, ParseError) and last.condition == "policy-violation"
    usual = b"<m xmlns:p='urn:xmpp:example'>" + b"<p:a p:b='1'/>" * 1000 + b"</m>"
    assert verdict(usual * 5, step) is None
    assert verdict(usual + b"<m/>" * 10 + usual, step) is None


def test_counting_stops() -> None:
    """What is dear is done only while it is needed: ordinary stanzas meet the plain callbacks."""
    parser = StreamParser(AUTHENTICATED)
    for data in (HEADER, b"<m xmlns:p='u'><p:a/></m>", b"<m>" + b"x" * 20_000 + b"</m>"):
        parser.feed(data)
        parser.feed(b"<presence/>")
        assert parser._expat is not None
        assert parser._expat.StartElementHandler == parser._onStart
        assert parser._expat.StartNamespaceDeclHandler is None


def test_long_text_is_no_long_tag() -> None:
    """The bound on a tag leaves text alone: a photo in a vCard is one run of 200 KiB."""
    data = b"<iq><PHOTO xmlns='vcard-temp'>" + b"QUJD" * 50_000 + b"</PHOTO></iq>"
    for step in (0, 1460):
        [item] = items(data, step)
        assert isinstance(item, Element)


def test_long_tags() -> None:
    """One tag is bounded below the stanza, when it comes slowly."""
    limits = Limits(token=1000)
    for value in (b"x", b">"):
        assert verdict(b"<m a='" + value * 900 + b"'/>", 1, limits) is None
        assert verdict(b"<m a='" + value * 1100 + b"'/>", 1, limits) == "policy-violation"


@pytest.mark.parametrize("unit", [b"x", b">", b"'>", b"&gt;"])
@pytest.mark.parametrize("limits", [PRE_AUTH, Limits(token=300_000)], ids=["before", "after"])
def test_slow_attribute_costs_little(limits: Limits, unit: bytes) -> None:
    """X06: a quarter of a megabyte in one attribute, byte by byte, is linear (CVE-2023-52425)."""
    parser = StreamParser(limits)
    parser.feed(HEADER)
    data = b'<m a="' + unit * (262_000 // len(unit))
    started = time.process_time()
    for at in range(len(data)):
        if parser.feed(data[at : at + 1]):
            break
    assert time.process_time() - started < 2.0


def test_slow_text_costs_little() -> None:
    """The same with text, with and without markup characters, which old versions joined again and again."""
    for unit in (b"x", b">", b"\n", b"&amp;"):
        data = HEADER + b"<m>" + unit * (200_000 // len(unit)) + b"</m>"
        parser = StreamParser(AUTHENTICATED)
        started = time.process_time()
        found = [item for at in range(len(data)) for item, _ in parser.feed(data[at : at + 1])]
        assert time.process_time() - started < 2.5
        assert isinstance(found[0], StreamHeader) and isinstance(found[1], Element)


def test_huge_input_holds_no_memory() -> None:
    """X04: ten megabytes at once cost no more memory than the limit."""
    data = b"<m>" + b"<x>y</x>" * (MEGABYTES // 8)

    def peak() -> int:
        parser = StreamParser(AUTHENTICATED)
        parser.feed(HEADER)
        tracemalloc.start()
        try:
            parser.feed(data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # What other tests' threads do meanwhile counts too; it does not come each time.
    assert any(peak() < 3_000_000 for _ in range(3))


def _tracedHere() -> int:
    """Bytes in use that our own files asked for; what other tests' threads do meanwhile does not count."""
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/wire/*")])
    return sum(trace.size for trace in ours.traces)


def test_parsers_are_small_and_free_at_once() -> None:
    """D01: an idle stream costs what expat costs and little more; closing gives it back without the collector."""
    import gc

    stanza = b"<message to='a@example.com'><body>hello</body><x xmlns='urn:x'/></message>"
    gc.disable()
    tracemalloc.start()
    try:
        before = _tracedHere()
        parsers = [StreamParser(AUTHENTICATED) for _ in range(200)]
        for parser in parsers:
            parser.feed(HEADER)
            parser.feed(stanza)
        awake = (_tracedHere() - before) / 200
        for parser in parsers:
            parser.sleep()
        asleep = (_tracedHere() - before) / 200
        for parser in parsers:
            parser.close()
        del parser, parsers
        after = (_tracedHere() - before) / 200
    finally:
        tracemalloc.stop()
        gc.enable()
    # Most of it is expat's own, and builds differ: 11 to 14 kB. A text buffer would add eight.
    assert awake < 16_000
    assert asleep < 1_200
    assert after < 150
