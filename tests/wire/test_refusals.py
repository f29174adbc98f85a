"""The stream parser on bad input: the right condition, once, last, in any pieces (RFC 6120, 4.9.3 and 11)."""

from __future__ import annotations

import pytest

from tests.wire.streams import HEADER, feedAll, items, verdict
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamParser

LAUGHS = (
    b"<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
    b"<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]>"
)

BEHIND_HEADER = [
    (b"<!-- x -->", "restricted-xml"),
    (b"<!-- > > x -->", "restricted-xml"),
    (b"<?x y?>", "restricted-xml"),
    (b"<?x > y?>", "restricted-xml"),
    (LAUGHS, "restricted-xml"),
    (b"<!DOCTYPE x>", "restricted-xml"),
    (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>", "restricted-xml"),
    (b"<!ENTITY x 'y'>", "restricted-xml"),
    (b"<!ELEMENT x ANY>", "restricted-xml"),
    (b"<a>&foo;</a>", "restricted-xml"),
    (b"<a b='&foo;'/>", "restricted-xml"),
    (b"<foo:message/>", "bad-namespace-prefix"),
    (b"<a foo:b='1'/>", "bad-namespace-prefix"),
    (b"<a></b>", "not-well-formed"),
    (b"<a b='<'/>", "not-well-formed"),
    (b"<a b='1' b='2'/>", "not-well-formed"),
    (b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "not-well-formed"),
    (b"<a b=1/>", "not-well-formed"),
    (b"<a b/>", "not-well-formed"),
    (b"<a:b:c xmlns:a='u'/>", "not-well-formed"),
    (b"<1/>", "not-well-formed"),
    (b"< a/>", "not-well-formed"),
    (b"<>", "not-well-formed"),
    (b"<a>]]></a>", "not-well-formed"),
    (b"<a>& </a>", "not-well-formed"),
    (b"<a>&#0;</a>", "not-well-formed"),
    (b"<a>&#1;</a>", "not-well-formed"),
    (b"<a>&#xD800;</a>", "not-well-formed"),
    (b"<a>&#xFFFE;</a>", "not-well-formed"),
    (b"<a>&#xFFFF;</a>", "not-well-formed"),
    (b"<a>&#x110000;</a>", "not-well-formed"),
    (b"<a b='&#xFFFF;'/>", "not-well-formed"),
    (b"<a>\x00</a>", "not-well-formed"),
    (b"<a>\x01</a>", "not-well-formed"),
    (b"<a>\x1f</a>", "not-well-formed"),
    (b"<a>\xc0\x80</a>", "not-well-formed"),
    (b"<a>\xc1\xbf</a>", "not-well-formed"),
    (b"<a>\xe0\x80\x80</a>", "not-well-formed"),
    (b"<a>\xe0\x9f\xbf</a>", "not-well-formed"),
    (b"<a>\xf0\x80\x80\x80</a>", "not-well-formed"),
    (b"<a>\xf4\x90\x80\x80</a>", "not-well-formed"),
    (b"<a>\xf5\x80\x80\x80</a>", "not-well-formed"),
    (b"<a>\xed\xa0\x80</a>", "not-well-formed"),
    (b"<a>\xed\xbf\xbf</a>", "not-well-formed"),
    (b"<a>\xef\xbf\xbe</a>", "not-well-formed"),
    (b"<a>\xef\xbf\xbf</a>", "not-well-formed"),
    (b"<a>\x80</a>", "not-well-formed"),
    (b"<a>\xff</a>", "not-well-formed"),
    (b"<a>\xc3</a>", "not-well-formed"),
    (b"<a>\xe2\x82</a>", "not-well-formed"),
    (b"<a b='\xc0\x80'/>", "not-well-formed"),
    (b"<a\xc0\x80/>", "not-well-formed"),
    (b"<\xef\xbf\xbf/>", "not-well-formed"),
    (b"<a xmlns='a b'/>", "not-well-formed"),
    (b"<p:a xmlns:p='a b'/>", "not-well-formed"),
    (b"<p:a xmlns:p=''/>", "not-well-formed"),
    (b"<a xmlns:xml='urn:x'/>", "not-well-formed"),
    (b"<a xmlns:xmlns='urn:x'/>", "not-well-formed"),
    (b"<a xmlns='http://www.w3.org/2000/xmlns/'/>", "not-well-formed"),
    (b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "not-well-formed"),
    (b"<?xml version='1.0'?>", "not-well-formed"),
    (b"<a><?xml version='1.0'?></a>", "not-well-formed"),
    (b"hello", "bad-format"),
    (b"hello<a/>", "bad-format"),
    (b"<a/>hello", "bad-format"),
    (b"\xc2\xa0", "bad-format"),
    (b"<![CDATA[x]]><a/>", "bad-format"),
    (b"&#32;x<a/>", "bad-format"),
    (HEADER[HEADER.index(b"<stream") :], "invalid-xml"),
    (b"</stream>", "not-well-formed"),
]


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(("data", "condition"), BEHIND_HEADER)
def test_behind_the_header(data: bytes, condition: str, step: int) -> None:
    """Between stanzas, at once and in pieces."""
    assert verdict(data, step) == condition


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("data", "condition"), [pair for pair in BEHIND_HEADER if pair[1] not in ("bad-format", "invalid-xml")]
)
def test_inside_a_stanza(data: bytes, condition: str, step: int) -> None:
    """The same within a stanza, where nothing of that stanza comes out."""
    found = items(b"<presence/><message><body>" + data + b"</body></message>", step)
    assert found[0] == Element(ns.CLIENT, "presence")
    assert len(found) == 2
    assert isinstance(found[1], ParseError) and found[1].condition == condition


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (LAUGHS + HEADER, "restricted-xml"),
        (b"<?xml version='1.0'?>" + LAUGHS, "restricted-xml"),
        (b"<!DOCTYPE x SYSTEM 'http://example.com/x.dtd'><x/>", "restricted-xml"),
        (b"<!-- x -->" + HEADER, "restricted-xml"),
        (b"<?x?>" + HEADER, "restricted-xml"),
        (b"<?xml version='1.0' encoding='iso-8859-1'?><x>", "unsupported-encoding"),
        (b"<?xml version='1.0' encoding='UTF-16'?><x>", "unsupported-encoding"),
        (b"<?xml version='1.0'\n\tencoding = \"us-ascii\"?><x>", "unsupported-encoding"),
        (b"\xef\xbb\xbf<?xml version='1.0' encoding='latin1'?><x>", "unsupported-encoding"),
        (b"<?xml version='1.1'?><x>", "unsupported-encoding"),
        (HEADER.decode().encode("utf-16"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-16-le"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-16-be"), "unsupported-encoding"),
        (b"\xfe\xff" + HEADER.decode().encode("utf-16-be"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-32"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-32-le"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-32-be"), "unsupported-encoding"),
        (b"\xef\xbb\xbf\xef\xbb\xbf" + HEADER, "not-well-formed"),
        (b"\xef\xbb\xbf " + HEADER, "not-well-formed"),
        (b"<?xml version='1.0'?>hello", "not-well-formed"),
        (b"\n<?xml version='1.0' encoding='latin1'?><x>", "unsupported-encoding"),
        (b"\n<?xml version='1.1'?><x>", "unsupported-encoding"),
        (b" " + HEADER.decode().encode("utf-16-le"), "unsupported-encoding"),
        (b"\n<!DOCTYPE x><x/>", "restricted-xml"),
        (b"hello there\n<x>", "not-well-formed"),
        (b"GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not-well-formed"),
        (b"<stream:stream>", "bad-namespace-prefix"),
        (b"</x>", "not-well-formed"),
    ],
)
def test_before_the_header(data: bytes, condition: str, step: int) -> None:
    """From the first byte on, no header comes out."""
    found = feedAll(data, step)
    assert len(found) == 1
    error = found[0][0]
    assert isinstance(error, ParseError) and error.condition == condition


@pytest.mark.parametrize("encoding", [b"UTF-8", b"utf-8", b"Utf-8"])
def test_utf8_may_be_named(encoding: bytes) -> None:
    """RFC 6120, 11.5: a declaration of UTF-8 is fine in any case of letters."""
    data = HEADER.replace(b"'1.0'?>", b'"1.0" encoding="%s" standalone="yes"?>' % encoding)
    assert not isinstance(feedAll(data)[-1][0], ParseError)


def test_a_dead_stream_stays_dead() -> None:
    """RFC 6120, 4.9.1.1: after an error nothing is read."""
    parser = StreamParser()
    parser.feed(HEADER)
    [(error, _)] = parser.feed(b"<!-- x -->")
    assert isinstance(error, ParseError)
    assert parser.feed(b"<presence/>") == []
    assert parser.feed(b"\0") == []


def test_what_precedes_an_error_still_counts() -> None:
    """Items come in order and the error is the last."""
    found = items(b"<presence/><iq/><a></b><presence/>")
    assert found[:2] == [Element(ns.CLIENT, "presence"), Element(ns.CLIENT, "iq")]
    assert isinstance(found[2], ParseError) and len(found) == 3
