"""Elements to bytes: exact forms, escapes in each position, refusals."""

from __future__ import annotations

import pytest

from xmppservice.wire import ns, serializer
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.parser import parseDocument
from xmppservice.wire.serializer import (
    escapeAttribute,
    escapeText,
    innerBytes,
    serialize,
    startTag,
)

FORBIDDEN = ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"]
NASTY = "'\"<>&\t\n\r]]>é\U0001f600\x7f\x85\u2028"


def test_stanza_needs_no_declaration_in_its_own_namespace() -> None:
    """The context's namespace is never declared."""
    message = Element(ns.CLIENT, "message", {"to": "a"}, Element(ns.CLIENT, "body", None, "hi"))
    assert serialize(message) == b"<message to='a'><body>hi</body></message>"
    assert serialize(message, ns.SERVER) == b"<message xmlns='jabber:client' to='a'><body>hi</body></message>"


def test_other_namespaces_are_declared_where_they_begin() -> None:
    """A foreign child declares itself, and a stanza inside it comes back to its own."""
    inner = Element(ns.CLIENT, "message", None, Element(ns.CLIENT, "body", None, "hi"))
    message = Element(ns.CLIENT, "message", None, Element(ns.FORWARD, "forwarded", None, inner))
    assert innerBytes(message) == (
        b"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>hi</body></message></forwarded>"
    )


def test_no_namespace_undoes_the_default_one() -> None:
    """An element without a namespace does not fall into that of its parent."""
    assert serialize(Element("", "a", None, Element("", "b"))) == b"<a xmlns=''><b/></a>"


def test_inner_bytes_plus_start_tag_is_the_stanza() -> None:
    """Inner bytes once, a start tag for each recipient, give what `serialize` gives."""
    message = Element(ns.CLIENT, "message", {"to": "a'b", XML_LANG: "de"}, Element("urn:x", "x"), "t")
    whole = startTag("message", message.attrs) + innerBytes(message) + b"</message>"
    assert whole == serialize(message)
    assert innerBytes(Element(ns.CLIENT, "presence")) == b""


def test_inner_bytes_are_in_the_context_of_the_element() -> None:
    """Children of the element's own namespace stay undeclared, whichever it is."""
    assert innerBytes(Element("urn:x", "x", None, Element("urn:x", "y"), "z")) == b"<y/>z"


def test_attributes_with_namespaces_get_prefixes() -> None:
    """xml: is fixed, others are made up on the spot and do not clash."""
    node = Element("", "a", {XML_LANG: "en", "urn:x b": "1", "urn:y b": "2"})
    data = serialize(node, "")
    assert data.startswith(b"<a xml:lang='en' xmlns:")
    assert parseDocument(data) == node


def test_elements_in_the_xml_namespace_use_its_prefix() -> None:
    """That namespace cannot be declared as default, and its children keep the one outside."""
    node = Element(ns.XML, "a", None, Element(ns.CLIENT, "b"))
    assert serialize(node) == b"<xml:a><b/></xml:a>"


def test_escapes() -> None:
    """What would end a text or a value, or be changed on reading it, is written as a reference."""
    assert escapeText("a<b>&\r'\"\t\n") == "a&lt;b&gt;&amp;&#13;'\"\t\n"
    assert escapeAttribute("a<b>&\r'\"\t\n") == "a&lt;b&gt;&amp;&#13;&apos;&quot;&#9;&#10;"
    assert escapeText("plain") == "plain" == escapeAttribute("plain")


@pytest.mark.parametrize("bad", FORBIDDEN)
def test_forbidden_characters_are_refused_in_each_position(bad: str) -> None:
    """What XML cannot carry raises here and never reaches a stream (RFC 6120, 11)."""
    text = "ok " + bad
    for element in (
        Element("", "a", None, text),
        Element("", "a", {"b": text}),
        Element("u" + bad, "a"),
        Element("", "a" + bad),
        Element("", "a", {"b" + bad: ""}),
        Element("", "a", {f"u{bad} b": ""}),
    ):
        with pytest.raises(ValueError):
            serialize(element)
        with pytest.raises(ValueError):
            innerBytes(Element("", "top", None, element))
    for function in (escapeText, escapeAttribute):
        with pytest.raises(ValueError):
            function(text)
    with pytest.raises(ValueError):
        startTag("a", {"b": text})


@pytest.mark.parametrize(
    "name", ["", "1", "-a", "a b", "a:b", "a>", "a/", "a'", "a=", "é ", "\xd7", "a\n", "a\xa0b", "<", "\U00010000"]
)
def test_bad_names_are_refused(name: str) -> None:
    """A name is an NCName, in tags, attributes and start tags."""
    for _ in range(2):
        with pytest.raises(ValueError):
            serialize(Element("", name))
        with pytest.raises(ValueError):
            serialize(Element("", "a", {name.replace(" ", "<"): "x"}))
        with pytest.raises(ValueError):
            serialize(Element("", "a", {"urn:x " + name: "x"}))
        with pytest.raises(ValueError):
            startTag(name, {})


@pytest.mark.parametrize("name", ["a", "_", "é", "名", "a-b.c\xb7"])
def test_good_names_pass(name: str) -> None:
    """Every kind of character that names may have."""
    node = Element("", name, {name: "1"})
    assert parseDocument(serialize(node, "")) == node


def test_namespaces_that_cannot_be_declared() -> None:
    """A space would be split differently by others; xml and xmlns are fixed; xmlns is no attribute."""
    for element in (
        Element("urn:x y", "a"),
        Element(ns.XMLNS, "a"),
        Element("", "a", {"urn:x y b": "1"}),
        Element("", "a", {ns.XMLNS + " b": "1"}),
        Element("", "a", {"xmlns": "urn:x"}),
        Element("", "a", {" b": "1"}),
    ):
        with pytest.raises(ValueError):
            serialize(element)


def test_namespace_names_cannot_break_out() -> None:
    """X11: a namespace name with markup stays one namespace name."""
    uri = "u'/></message><iq\ttype='set'>\r\n&amp;\""
    node = Element(ns.CLIENT, "message", None, Element(uri, "x", {uri.replace(" ", "") + " b": NASTY}, NASTY))
    data = b"<top xmlns='jabber:client'>" + serialize(node) + b"</top>"
    if " " in uri:
        pytest.fail("the sample must be a name that can be declared")
    top = parseDocument(data)
    assert top.children == [node]


def test_nasty_text_everywhere_comes_back() -> None:
    """X11: quotes, markup, TAB, LF, CR in text, attributes and namespaces survive unchanged."""
    node = Element("urn:" + NASTY, "a", {"b": NASTY, "urn:" + NASTY + " c": NASTY}, NASTY, Element("", "x"), NASTY)
    assert parseDocument(serialize(node)) == node


def test_deep_trees() -> None:
    """X05: 100,000 levels, no recursion."""
    top = node = Element(ns.CLIENT, "a")
    for _ in range(100_000):
        node = node.child(ns.CLIENT, "a")
    data = serialize(top)
    assert data.startswith(b"<a><a>") and data.endswith(b"</a></a>")
    assert len(data) == 100_000 * 7 + 4


def test_caches_are_bounded() -> None:
    """D11: a million made-up names leave no more than the bound."""
    for number in range(6000):
        serialize(Element("", f"n{number}", {f"a{number}": "", f"urn:{number} x": "", f"{'l' * 200}{number}": ""}))
    assert len(serializer._names) <= serializer._CACHE_ENTRIES
    assert len(serializer._leads) <= serializer._CACHE_ENTRIES
    assert max(map(len, serializer._leads)) <= serializer._CACHE_KEY
