"""What is written can be read, and says the same: properties over generated trees and bytes (F1, F3, X10)."""

from __future__ import annotations

import pyexpat
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.streams import HEADER, feedAll, items
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamParser, parseDocument
from xmppservice.wire.serializer import innerBytes, serialize

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CHARACTERS = st.characters(
    exclude_categories=["Cs"],
    exclude_characters=[chr(n) for n in range(32) if n not in (9, 10, 13)] + ["\ufffe", "\uffff"],
)
TEXTS = st.text(CHARACTERS, max_size=12) | st.text(st.sampled_from("'\"<>&\t\n\r]/=; "), max_size=8)
NAMES = st.from_regex(r"[a-zA-Z_\u00e0][a-zA-Z0-9_.\-\u00e9]{0,6}", fullmatch=True)
NAMES = NAMES.filter(lambda name: name != "xmlns")
SPACES = st.sampled_from(["", ns.CLIENT, ns.SERVER, ns.XML, "urn:x"]) | TEXTS.map(lambda text: text.replace(" ", ""))
KEYS = NAMES | st.just(XML_LANG) | st.tuples(SPACES.filter(bool), NAMES).map(" ".join)
ATTRS = st.dictionaries(KEYS, TEXTS, max_size=4)


def build(space: str, name: str, attrs: dict[str, str], children: list[Element | str]) -> Element:
    return Element(space, name, attrs, *children)


TREES = st.recursive(
    st.builds(build, SPACES, NAMES, ATTRS, st.lists(TEXTS, max_size=1)),
    lambda below: st.builds(build, SPACES, NAMES, ATTRS, st.lists(below | TEXTS, max_size=4)),
    max_leaves=12,
)


@QUICK
@given(TREES, st.sampled_from(["", ns.CLIENT, "urn:x"]))
def test_documents_round_trip(tree: Element, context: str) -> None:
    """F3: any tree, in any context, reads back equal, and writes the same bytes again."""
    data = b"<top xmlns='" + context.encode() + b"'>" + serialize(tree, context) + b"</top>"
    [back] = parseDocument(data).children
    assert isinstance(back, Element)
    assert back == tree
    again = serialize(back, context)
    [twice] = parseDocument(b"<top xmlns='" + context.encode() + b"'>" + again + b"</top>").children
    assert isinstance(twice, Element) and serialize(twice, context) == again


@QUICK
@given(TREES, st.integers(1, 40))
def test_streams_round_trip_in_pieces(tree: Element, step: int) -> None:
    """F3, X11: a stanza around any tree stays one stanza, with the same tree, in pieces of any size."""
    stanza = Element(ns.CLIENT, "message", {"id": "1"}, tree, "x")
    data = HEADER + serialize(stanza) + b"<presence/>"
    found = feedAll(data, step)
    assert [item for item, _ in found[1:]] == [stanza, Element(ns.CLIENT, "presence")]
    assert found[1][1] == len(data) - len(b"<presence/>")
    whole = b"<message id='1'>" + innerBytes(stanza) + b"</message>"
    assert whole == serialize(stanza)


FRAGMENTS = st.sampled_from(
    b"<message>|</message>|<a b='|'/>|<a>|</a>|<a/>|xmlns='|xmlns:p='|<p:a/>|]]>|<![CDATA[|&amp;|&#9;|&|;|<|>|'|\"|/|"
    b" |\n|x|\xc3|\xa9|\xff|\x00|\xef\xbf\xbf|<!--|-->|<?|?>|<!DOCTYPE|</stream:stream>|=".split(b"|")
)
SOUPS = st.lists(FRAGMENTS | st.binary(max_size=3), max_size=14).map(b"".join)


@settings(QUICK, max_examples=300)
@given(SOUPS, st.integers(1, 9))
def test_any_bytes_give_items_or_one_error(soup: bytes, step: int) -> None:
    """F1: no exception, at most one error and that last; and pieces find what the whole finds, or wait for more."""
    closer = b">" * 3 + b"<q/>"
    one = items(soup + closer)
    two = items(soup + closer, step)
    assert one == two or _sameButText(one, two)
    assert not any(isinstance(item, ParseError) for item in one[:-1])
    for item in one:
        if isinstance(item, Element):
            assert parseDocument(serialize(item, "")) == item


def _sameButText(one: Sequence[object], two: Sequence[object]) -> bool:
    """Which of several errors is met first may depend on the pieces; what came before may not."""
    return (
        len(one) == len(two) > 0
        and one[:-1] == two[:-1]
        and isinstance(one[-1], ParseError)
        and isinstance(two[-1], ParseError)
    )


@settings(QUICK, max_examples=300)
@given(st.binary(min_size=1, max_size=6))
def test_accepted_bytes_are_what_strict_decoding_gives(body: bytes) -> None:
    """X10: text is accepted only if it is strict UTF-8, and then unchanged but for line ends."""
    found = items(b"<m>" + body + b"</m>")
    if len(found) == 1 and isinstance(found[0], Element) and not found[0].elements() and b"&" not in body:
        plain = body.decode("utf-8", "strict").replace("\r\n", "\n").replace("\r", "\n")
        assert found[0].text == plain


@settings(QUICK, max_examples=200)
@given(SOUPS)
def test_we_accept_no_more_than_expat(soup: bytes) -> None:
    """The guard only holds back and refuses: a stanza that we accept is well-formed for a bare parser too."""
    document = HEADER + soup + b"</stream:stream>"
    if b"</stream:stream>" in soup or items(soup + b"</stream:stream>")[-1:] != [StreamEnd()]:
        return
    bare = pyexpat.ParserCreate("UTF-8", " ")
    bare.Parse(document, True)


def test_every_split_of_tricky_stanzas() -> None:
    """X07: quotes, references, CDATA and multi-byte characters, cut everywhere, twice."""
    data = "<m a='>\"/>' b=\"'>\"><![CDATA[>]]]]><![CDATA[>]]>&#x20AC;é</m><n c='/'/>".encode()
    whole = items(data)
    assert len(whole) == 2
    for first in range(1, len(data) - 1):
        for second in range(first + 1, len(data)):
            parser = StreamParser()
            parser.feed(HEADER)
            found = parser.feed(data[:first]) + parser.feed(data[first:second]) + parser.feed(data[second:])
            assert [item for item, _ in found] == whole
