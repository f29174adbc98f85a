"""Streams on an expat that puts off looking at unfinished tokens, as 2.6.0 and patched older ones do (X06, X07)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.streams import HEADER, feedAll, items, verdict
from tests.wire.test_parser import STREAM
from tests.wire.test_refusals import BEHIND_HEADER
from tests.wire.test_roundtrip import ATTRS, QUICK, TEXTS
from xmppservice.wire import ns, parser
from xmppservice.wire.element import Element
from xmppservice.wire.parser import AUTHENTICATED, PRE_AUTH, Limits, ParseError, StreamHeader, StreamParser
from xmppservice.wire.serializer import serialize

TEXT_UNFINISHED = 3


class Deferring:
    """An expat in front of which the rule of callProcessor in xmlparse.c of 2.6.0 is applied once more.

    Strict, it also asserts that nothing is ever left over but a short piece of text.
    """

    # What no token has been made of yet, how much of it the inner one has, and that one's total.
    waiting: bytes
    shown: int
    total: int
    # How much was waiting when nothing could be made of it, or 0.
    before: int

    def __init__(self, inner: Any, strict: bool) -> None:
        state = self.__dict__
        state["inner"] = inner
        state["strict"] = strict
        state["waiting"] = b""
        state["shown"] = 0
        state["total"] = 0
        state["before"] = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.inner, name, value)

    def Parse(self, data: bytes) -> int:
        """Look only if twice as much is there as when nothing could be made of it."""
        self.waiting += data
        had = len(self.waiting)
        if had < 2 * self.before:
            return 1
        unseen = self.waiting[self.shown :]
        self.total += len(unseen)
        found = int(self.inner.Parse(unseen))
        index = self.inner.CurrentByteIndex
        # An expat that defers by itself does not always know where it is.
        left = min(self.total - index, had) if index >= 0 else had
        self.before = had if left == had else 0
        self.waiting = self.waiting[had - left :]
        self.shown = left
        if self.strict:
            assert left <= TEXT_UNFINISHED and not self.waiting.startswith((b"<", b"&")), self.waiting
        return found


@pytest.fixture(params=["rule", "strict", "switch"])
def deferral(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Makes each new parser defer: by our own imitation, or by expat's switch where this Python has it."""
    plain = parser._newExpat

    def new() -> Any:
        expat = plain()
        if request.param == "switch":
            # Without the switch it is expat's own default, whichever that is.
            getattr(expat, "SetReparseDeferralEnabled", lambda on: None)(True)
            return expat
        return Deferring(expat, request.param == "strict")

    monkeypatch.setattr(parser, "_newExpat", new)
    yield request.param


def test_the_imitation_defers() -> None:
    """The guard guards: a bare tag with ``>`` in a value comes late, as on Debian 12."""
    expat = Deferring(parser._newExpat(), False)
    started: list[str] = []
    expat.StartElementHandler = lambda tag, attrs: started.append(tag)
    expat.Parse(b"<a>")
    for piece in (b"<message id='>", b"' a", b"=''>"):
        expat.Parse(piece)
    assert started == ["a"]
    expat.Parse(b"<body>long enough</body>")
    assert started == ["a", "message", "body"]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 11, 17, 64, 300])
def test_pieces_of_any_size(deferral: str, step: int) -> None:
    """X07: the same items at the same offsets."""
    assert feedAll(STREAM, step) == feedAll(STREAM)


def test_every_split(deferral: str) -> None:
    """X07: a stream with ``>`` in every kind of place, cut twice, everywhere."""
    data = (
        "<m a='>\"/>' b=\"'>\"><![CDATA[ <b c='> ]] ]>]]]]><![CDATA[>]]>]]&#x20AC;é€\U0001f600\r</m>\r"
        "<r xmlns='urn:xmpp:sm:3' x=']]>'/><n c='/'/>"
    ).encode()
    whole = items(data)
    assert len(whole) == 3
    ends = [end for _, end in feedAll(HEADER + data)[1:]]
    for first in range(1, len(data) - 1):
        for second in range(first + 1, len(data), 3):
            stream = StreamParser(AUTHENTICATED)
            stream.feed(HEADER)
            found = []
            for at, to in ((0, first), (first, second), (second, len(data))):
                got = [(item, end + at) for item, end in stream.feed(data[at:to])]
                # What is complete is there at once.
                found += got
                assert len(found) == sum(end <= len(HEADER) + to for end in ends)
            assert [item for item, _ in found] == whole
            assert [end + len(HEADER) for _, end in found] == ends


def test_an_item_comes_with_its_last_byte(deferral: str) -> None:
    """X07: nothing complete waits for what follows it, whatever precedes it."""
    stream = StreamParser(AUTHENTICATED)
    stream.feed(HEADER)
    for data in (
        b"<message id='>'><body>x</body></message>",
        b"<presence id='/>'/>",
        b"<iq>\n</iq>",
        b"<a b='>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>'/>",
        b"<m>&#00000000000000000000000000000000000000000000065;</m>",
        b"<m><![CDATA[]]]]]></m>",
        b"<m>\xf0\x9f\x98\x80</m>",
        b"<m>x]]</m>",
        b"<m>\r</m>",
    ):
        for at in range(len(data) - 1):
            assert stream.feed(data[at : at + 1]) == []
        [(item, end)] = stream.feed(data[-1:])
        assert isinstance(item, Element) and end == 1


PIECES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@QUICK
@given(st.lists(st.tuples(ATTRS, TEXTS, st.booleans()), max_size=4), PIECES)
def test_whatever_is_sent_comes_at_once(parts: list[tuple[dict[str, str], str, bool]], steps: list[int]) -> None:
    """X07: stanzas with unescaped ``>`` and sections, in pieces, on an expat that must never see half a tag."""
    plain = parser._newExpat
    parser._newExpat = lambda: Deferring(plain(), True)  # type: ignore[assignment, return-value]
    try:
        data, ends = HEADER, [len(HEADER)]
        for attrs, text, section in parts:
            body = b"<![CDATA[" + text.encode().replace(b"]]>", b"") + b"]]>" if section else b"x>"
            stanza = serialize(Element(ns.CLIENT, "m", attrs, "x")).replace(b"&gt;", b">")
            data += stanza.replace(b"x</m>", body + b"</m>")
            ends.append(len(data))
        stream = StreamParser(AUTHENTICATED)
        at = count = number = 0
        while at < len(data):
            to = min(at + steps[number % len(steps)], len(data))
            number += 1
            for item, end in stream.feed(data[at:to]):
                assert not isinstance(item, ParseError)
                assert at + end == ends[count]
                count += 1
            assert count == sum(end <= to for end in ends)
            at = to
    finally:
        parser._newExpat = plain


@pytest.mark.parametrize("deferral", ["rule", "switch"], indirect=True)
@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_what_is_wrong_is_refused(deferral: str, step: int) -> None:
    """What expat could keep waiting for is an error at once, or with the tag that follows."""
    for data, condition in BEHIND_HEADER:
        assert verdict(data + b"<q/>", step) == condition, data
    for data in (b"<a b='<c", b"<a <", b"<a<b", b"<<", b"<m>&am<", b"<a b='1<2' c='"):
        assert verdict(data, step) == "not-well-formed", data


@pytest.mark.parametrize("size", [15_000, 16_384, 33_000, 60_000])
@pytest.mark.parametrize("step", [0, 1460, 16_384, 65_536])
def test_long_tags_do_not_stall(deferral: str, size: int, step: int) -> None:
    """A tag longer than what expat gets at a time is given to it whole, wherever it stands."""
    for value in (b"x", b">", b"/>", b'">'):
        tag = b"<a b='" + value * (size // len(value)) + b"'/>"
        assert len(items(tag + b"<q/>", step)) == 2
        assert len(items(b"<m>" + b"y" * 10_000 + tag + b"z" * 20_000 + b"</m><q/>", step)) == 2
        assert len(items(b"<m>" + b"y" * 10_000 + tag + b"</m>", step)) == 1


def test_long_sections_are_text(deferral: str) -> None:
    """A section is no tag: only the bound on the stanza applies."""
    for unit in (b"x", b"<", b"]", b"&", b"<a b='>"):
        for step in (0, 1000):
            data = b"<m><![CDATA[" + unit * (100_000 // len(unit)) + b"]]></m>"
            [item] = items(data, step)
            assert isinstance(item, Element) and len(item.text) == len(unit) * (100_000 // len(unit))


def test_a_tag_at_its_limit(deferral: str) -> None:
    """The bound on a tag holds for those that come whole, too, if they are long."""
    for step in (0, 1000, 30_000):
        assert verdict(b"<a b='" + b"x" * 65_000 + b"'/>", step) is None
        assert verdict(b"<a b='" + b"x" * 66_000 + b"'/>", step) == "policy-violation"


@pytest.mark.parametrize("deferral", ["switch"], indirect=True)
@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (b'<m a="', b">"),
        (b'<m a="', b"'>"),
        (b"<m a='", b"x"),
        (b"<m ", b"a='>' "),
        (b"</m", b" "),
        (b"<m>&", b"x"),
        (b"<m><![CDATA[", b"]"),
        (b"<m><![CDATA[", b"<"),
        (b"<m>", b"]"),
        (b"<?", b"x"),
        (b"<![", b"x"),
    ],
)
def test_slow_bytes_cost_little(deferral: str, start: bytes, unit: bytes) -> None:
    """X06: a quarter of a megabyte byte by byte is linear, whatever it belongs to."""
    stream = StreamParser(Limits(token=300_000))
    stream.feed(HEADER)
    data = start + unit * (250_000 // len(unit))
    started = time.process_time()
    for at in range(len(data)):
        if stream.feed(data[at : at + 1]):
            break
    assert time.process_time() - started < 2.5


def test_names_that_grow_are_replaced(deferral: str) -> None:
    """D11: a new expat in the middle of a piece, when every piece ends within a stanza, with ``>`` in its tags."""
    stream = StreamParser(AUTHENTICATED)
    stream.feed(HEADER + b"<message>")
    seen = 0
    for _ in range(200):
        seen += len(stream.feed(b"<body>" + b"x" * 4000 + b"</body></message><presence a='>>>'/><message b='>"))
        seen += len(stream.feed(b">'>"))
        assert stream._fed < 700_000
    assert seen == 400


@pytest.mark.parametrize("white", [b"\n", b" ", b"\r\n", b"\t\n \n", b"\n" * 5000])
@pytest.mark.parametrize("step", [0, 1, 2, 3, 1000])
def test_white_space_before_the_header(deferral: str, white: bytes, step: int) -> None:
    """Some clients end a line before a header; at connection and after a restart, which is a new parser."""
    plain = feedAll(HEADER + b"<presence/>")
    found = feedAll(white + HEADER + b"<presence/>", step)
    assert found == [(item, end + len(white)) for item, end in plain]
    bare = HEADER[HEADER.index(b"<stream") :]
    [(item, end)] = feedAll(white + bare, step)
    assert isinstance(item, StreamHeader) and end == len(white) + len(bare)
    stream = StreamParser(PRE_AUTH)
    assert stream.feed(white) == [] and stream.unread == b""
    [(item, end)] = stream.feed(HEADER)
    assert isinstance(item, StreamHeader) and end == len(HEADER)


def test_white_space_before_the_header_counts() -> None:
    """X04: it is part of all that may come before authentication."""
    stream = StreamParser(PRE_AUTH)
    for _ in range(65):
        assert stream.feed(b"\n" * 1000) == []
    assert stream.received == 65_000
    [(error, _)] = stream.feed(b"\n" * 1000)
    assert isinstance(error, ParseError) and error.condition == "policy-violation"
