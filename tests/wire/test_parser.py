"""The stream parser on good input: items, offsets, pieces, languages, namespaces."""

from __future__ import annotations

import pytest

from tests.wire.streams import HEADER, feedAll, header, items
from xmppservice.wire import ns, tree
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.parser import (
    AUTHENTICATED,
    PRE_AUTH,
    Limits,
    ParseError,
    StreamEnd,
    StreamHeader,
    StreamParser,
    XMLError,
    parseDocument,
)

STREAM = (
    header(lang="en").replace(b"example.com", b"ex>am/>ple'".replace(b"'", b""))
    + b"<message to='a' id='>x'><body>hi &amp; \n<![CDATA[ <x> ]]> ]</body><x xmlns='urn:x' a='1'/></message>\n \n"
    + b"<presence/><iq></iq><iq>/></iq><iq a='/>'></iq><a:b xmlns:a='u' a:c='>>' d=\">'/>\" />"
    + "<message><body>h\u00e9 \u20ac \U0001f600</body></message>".encode()
    + b"</stream:stream >"
)


def test_header() -> None:
    """The header comes as soon as its tag ends, with all that it declares (RFC 6120, 4.7)."""
    parser = StreamParser()
    data = header("jabber:server", "de-CH").replace(b" xmlns=", b" xmlns:db='jabber:server:dialback' xmlns=")
    [(item, end)] = parser.feed(data)
    assert end == len(data)
    assert item == StreamHeader(
        ns.STREAM,
        "stream",
        {"to": "example.com", "version": "1.0", XML_LANG: "de-CH"},
        ns.SERVER,
        "de-CH",
        {"stream": ns.STREAM, "db": ns.DIALBACK},
    )


def test_header_in_prefix_free_style() -> None:
    """The other style of RFC 6120, 4.8.2: the stream namespace is the default one."""
    [(item, _)] = StreamParser().feed(b"<stream xmlns='http://etherx.jabber.org/streams' to='x'>")
    assert isinstance(item, StreamHeader)
    assert (item.ns, item.name, item.contentNs, item.prefixes) == (ns.STREAM, "stream", ns.STREAM, {})


def test_byte_order_mark_is_accepted() -> None:
    """UTF-8's own mark at the very start does no harm (RFC 6120, 11.6)."""
    found = feedAll(b"\xef\xbb\xbf" + HEADER + b"<presence/>")
    assert isinstance(found[0][0], StreamHeader)
    assert found[1][0] == Element(ns.CLIENT, "presence")


def test_whole_stream_at_once() -> None:
    """Each item with the offset just behind it."""
    found = feedAll(STREAM)
    kinds = [item.name if isinstance(item, Element) else type(item).__name__ for item, _ in found]
    assert kinds == ["StreamHeader", "message", "presence", "iq", "iq", "iq", "b", "message", "StreamEnd"]
    ends = [STREAM[:end].rpartition(b"<")[2] for _, end in found[1:]]
    assert ends[0] == b"/message>" and ends[1] == b"presence/>" and ends[-1] == b"/stream:stream >"
    assert found[-1][1] == len(STREAM)
    message = found[1][0]
    assert isinstance(message, Element)
    assert message == Element(
        ns.CLIENT,
        "message",
        {"to": "a", "id": ">x", XML_LANG: "en"},
        Element(ns.CLIENT, "body", None, "hi & \n <x>  ]"),
        Element("urn:x", "x", {"a": "1"}),
    )


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 17, 64])
def test_pieces_of_any_size_give_the_same(step: int) -> None:
    """X07: how bytes arrive never matters, offsets included."""
    assert feedAll(STREAM, step) == feedAll(STREAM)


def test_every_split_point_gives_the_same() -> None:
    """X07: one cut at each byte offset."""
    whole = feedAll(STREAM)
    for at in range(1, len(STREAM)):
        parser = StreamParser(AUTHENTICATED)
        found = parser.feed(STREAM[:at]) + [(item, end + at) for item, end in parser.feed(STREAM[at:])]
        assert found == whole, at


def test_an_item_comes_with_its_last_byte() -> None:
    """X07: nothing complete waits for what follows it."""
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER)
    for data in (b"<message id='>'><body>x</body></message>", b"<presence id='/>'/>", b"<iq>\n</iq>"):
        for at in range(len(data) - 1):
            assert parser.feed(data[at : at + 1]) == []
        [(item, end)] = parser.feed(data[-1:])
        assert isinstance(item, Element) and end == 1


def test_pending_is_all_that_follows_an_item() -> None:
    """A stream restart goes on with the raw remainder; nothing may follow <starttls/>."""
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER + b"<auth x='>")
    data = b"y'/><next><ha"
    found = parser.feed(data)
    assert [end for _, end in found] == [4]
    assert parser.pending(4) == b"<next><ha"
    assert parser.unread.endswith(b"<ha")
    [(_, end)] = StreamParser(AUTHENTICATED).feed(HEADER)
    parser = StreamParser()
    parser.feed(HEADER)
    [(_, end)] = parser.feed(b"<starttls/>")
    assert parser.pending(end) == b""
    [(_, end)] = parser.feed(b"<starttls/>\n")
    assert parser.pending(end) == b"\n"


def test_no_items_after_the_end() -> None:
    """What comes behind </stream:stream> is not read, and is no error."""
    for tail in (b"<x/>", b"junk", b"<!-- x -->", b"\0", b"</x>", b"<"):
        assert items(b"</stream:stream>" + tail) == [StreamEnd()]
    parser = StreamParser()
    parser.feed(HEADER)
    parser.feed(b"</stream:stream>")
    assert parser.feed(b"<presence/>") == []


def test_language_is_inherited_by_stanzas_only() -> None:
    """RFC 6120, 4.7.4: stamped on stanzas that have none of their own."""
    data = header(lang="de") + b"<message/><presence xml:lang='fr'/><iq/><r xmlns='urn:xmpp:sm:3'/><message xmlns='u'/>"
    langs = [item.get(XML_LANG) for item, _ in feedAll(data)[1:] if isinstance(item, Element)]
    assert langs == ["de", "fr", "de", None, None]


@pytest.mark.parametrize("lang", ["x" * 100, "de_DE", "&lt;", "é", " de", "de-"])
def test_a_bad_language_is_not_inherited(lang: str) -> None:
    """X15: what is no language tag, or too long, is not multiplied."""
    [(item, _), (stanza, _)] = feedAll(header(lang=lang) + b"<message/>")
    assert isinstance(item, StreamHeader) and item.lang == ""
    assert isinstance(stanza, Element) and stanza.attrs == {}


@pytest.mark.parametrize("content", [ns.SERVER, ns.COMPONENT])
def test_content_namespace_becomes_the_internal_one(content: str) -> None:
    """RFC 6120, 4.8.3: stanzas are re-scoped, what has another namespace is not."""
    data = header(content) + (
        b"<message><body>x</body><x xmlns='urn:x'><y/></x></message>"
        b"<c:iq xmlns:c='%s'><c:q/></c:iq><r xmlns='urn:xmpp:sm:3'/>" % content.encode()
    )
    found = [item for item, _ in feedAll(data)[1:]]
    inner = Element("urn:x", "x", None, Element("urn:x", "y"))
    assert found == [
        Element(ns.CLIENT, "message", None, Element(ns.CLIENT, "body", None, "x"), inner),
        Element(ns.CLIENT, "iq", None, Element(ns.CLIENT, "q")),
        Element(ns.SM, "r"),
    ]


def test_other_content_namespaces_are_left_alone() -> None:
    """A stanza of another kind of stream keeps its namespace, so that it can be refused."""
    assert items(b"<message xmlns='jabber:server'/>") == [Element(ns.SERVER, "message")]
    assert [item for item, _ in feedAll(header("jabber:foo") + b"<message/>")][1:] == [Element("jabber:foo", "message")]
    [error] = [item for item, _ in feedAll(header(ns.SERVER) + b"<message xmlns='jabber:client'/>")][1:]
    assert isinstance(error, ParseError) and error.condition == "invalid-namespace"


def test_forwarded_stanza_on_a_server_stream() -> None:
    """Deeper down, jabber:client is what extensions write (XEP-0297), on every stream."""
    data = header(ns.SERVER) + (
        b"<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded></message>"
    )
    [(item, _)] = feedAll(data)[1:]
    assert item == Element(
        ns.CLIENT, "message", None, Element(ns.FORWARD, "forwarded", None, Element(ns.CLIENT, "message"))
    )


def test_white_space_between_stanzas_is_nothing() -> None:
    """Keepalives (RFC 6120, 4.6.1) yield nothing and are not gathered."""
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER)
    for _ in range(3000):
        assert parser.feed(b" \r\n\t" * 40) == []
    assert parser.unread == b""
    assert parser.feed(b" <presence/>")[0][0] == Element(ns.CLIENT, "presence")


def test_namespace_names_with_markup() -> None:
    """X11: quotes and control characters in a namespace name neither split it nor are lost."""
    [item] = items(b'<x xmlns="u\'/&gt;&lt;/message&gt;&#9;&#10;"/>')
    assert item == Element("u'/></message>\t\n", "x")


def test_limits_can_be_changed_between_stanzas() -> None:
    """After authentication a peer may send more on the same stream."""
    parser = StreamParser(PRE_AUTH)
    parser.feed(HEADER)
    parser.limits = AUTHENTICATED
    data = b"<message>" + b"x" * 20_000 + b"</message>"
    [(item, _)] = parser.feed(data)
    assert isinstance(item, Element) and len(item.text) == 20_000


def test_sleeping_parsers_wake() -> None:
    """Expat may be given up between stanzas; content namespace, prefixes and language stay."""
    parser = StreamParser(AUTHENTICATED)
    data = header(ns.SERVER, "en").replace(b" xmlns=", b" xmlns:p='urn:p' xmlns=")
    parser.feed(data)
    for _ in range(3):
        parser.sleep()
        assert parser._expat is None
        assert parser.feed(b" ") == []
        parser.sleep()
        [(item, end)] = parser.feed(b"<message><p:x/></message>")
        assert item == Element(ns.CLIENT, "message", {XML_LANG: "en"}, Element("urn:p", "x"))
        assert end == 25
    parser.feed(b"<mess")
    parser.sleep()
    parser.feed(b"age>")
    parser.sleep()
    assert isinstance(parser.feed(b"</message>")[0][0], Element)
    parser.sleep()
    assert parser.feed(b"</stream:stream>") == [(StreamEnd(), 16)]
    parser.sleep()
    assert parser.feed(b"<x/>") == []


@pytest.mark.parametrize("step", [100, 1000, 1460, 65536])
def test_expat_is_replaced_and_nobody_notices(step: int) -> None:
    """D11: megabytes of new names, with the same items and offsets as ever, cuts within stanzas too."""
    stanzas = [b"<message id='%d'><n%d a%d='1' xmlns='urn:%d'/>text</message>\n" % (n, n, n, n) for n in range(14_000)]
    data = HEADER + b"".join(stanzas)
    found = feedAll(data, step)
    assert len(found) == 14_001
    at = len(HEADER)
    for number, stanza in enumerate(stanzas):
        item, end = found[number + 1]
        assert isinstance(item, Element) and item.get("id") == str(number)
        at += len(stanza)
        assert end == at - 1


def test_expat_is_replaced_even_when_every_piece_ends_within_a_stanza() -> None:
    """D11: a peer cannot keep old names alive by never pausing between two stanzas."""
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER + b"<message>")
    seen = 0
    for _ in range(200):
        seen += len(parser.feed(b"<body>" + b"x" * 4000 + b"</body></message><presence/><message>"))
        assert parser._fed < 700_000
    assert seen == 400


def test_names_cache_is_bounded() -> None:
    """D11: names from outside fill no cache beyond its bound."""
    for number in range(500):
        items(b"<a>" + b"".join(b"<x%dy%d/>" % (number, n) for n in range(20)) + b"<" + b"l" * 300 + b"/></a>")
    assert len(tree.PLAIN) <= tree._CACHE_ENTRIES
    assert max(map(len, tree.PLAIN)) <= tree._CACHE_KEY


def test_closed_parser_is_silent() -> None:
    """After close nothing is parsed and nothing is held."""
    parser = StreamParser()
    parser.feed(HEADER + b"<message><bo")
    parser.close()
    assert parser.feed(b"dy/></message>") == []
    assert parser.unread == b""


def test_documents() -> None:
    """WebSocket frames and the like: one element, white space around it."""
    assert parseDocument(b"<?xml version='1.0'?>\n<a b='1'> x </a>\n") == Element("", "a", {"b": "1"}, " x ")
    frame = parseDocument(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='x'/>")
    assert frame == Element(ns.FRAMING, "open", {"to": "x"})
    assert parseDocument(b"<stream xmlns='http://etherx.jabber.org/streams'/>") == Element(ns.STREAM, "stream")


@pytest.mark.parametrize(
    "data", [b"", b" ", b"<a", b"<a>", b"<a/>x", b"<a/><b/>", b"<a/><b", b"x", b"</a>", b"<a></b>"]
)
def test_bad_documents(data: bytes) -> None:
    """Everything that is not one whole document raises with a condition."""
    with pytest.raises(XMLError) as caught:
        parseDocument(data)
    assert caught.value.condition == "not-well-formed"


def test_documents_meet_the_same_refusals() -> None:
    """X02: there is no second, softer way in."""
    for data, condition in (
        (b"<!DOCTYPE a><a/>", "restricted-xml"),
        (b"<a><!-- x --></a>", "restricted-xml"),
        (b"<a/><?x?>", "restricted-xml"),
        (b"<a>&x;</a>", "restricted-xml"),
        (b"<x:a/>", "bad-namespace-prefix"),
        ("<a/>".encode("utf-16"), "unsupported-encoding"),
        (b"<a>" + b"x" * 300_000 + b"</a>", "policy-violation"),
    ):
        with pytest.raises(XMLError) as caught:
            parseDocument(data)
        assert caught.value.condition == condition
    with pytest.raises(XMLError):
        parseDocument(b"<a><b/><c/></a>", Limits(elements=2))
