"""The element tree: look-up, building, copying, comparing."""

from __future__ import annotations

import pytest

from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element


def sample() -> Element:
    body = Element(ns.CLIENT, "body", {XML_LANG: "en"}, "hello ", "there")
    return Element(
        ns.CLIENT, "message", {"id": "1"}, body, "\n", Element(ns.DELAY, "delay"), Element(ns.CLIENT, "body")
    )


def test_get_reads_attributes_and_defaults() -> None:
    """An absent attribute is None or the default given."""
    message = sample()
    assert message.get("id") == "1"
    assert message.get("to") is None
    assert message.get("to", "x") == "x"


def test_find_minds_name_and_namespace() -> None:
    """The first match in document order, text skipped, None if there is none."""
    message = sample()
    body = message.find(ns.CLIENT, "body")
    assert body is message.children[0]
    assert message.find(ns.DELAY, "body") is None
    assert message.find(ns.DELAY, "delay") is message.children[2]


def test_findAll_and_elements_keep_order() -> None:
    """Every match, and only elements."""
    message = sample()
    assert message.findAll(ns.CLIENT, "body") == [message.children[0], message.children[3]]
    assert [node.name for node in message.elements()] == ["body", "delay", "body"]
    assert [node.name for node in message] == ["body", "delay", "body"]


def test_text_is_only_that_directly_below() -> None:
    """Text of children does not leak upwards."""
    message = sample()
    assert message.text == "\n"
    body = message.find(ns.CLIENT, "body")
    assert body is not None and body.text == "hello there"
    assert Element("", "x").text == ""


def test_child_and_add_append_and_hand_back() -> None:
    """Building reads top down."""
    iq = Element(ns.CLIENT, "iq")
    query = iq.child(ns.VERSION, "query", {"node": "n"})
    name = query.child(ns.VERSION, "name", text="xmppservice")
    other = iq.add(Element("urn:x", "x"))
    assert iq.children == [query, other]
    assert name.children == ["xmppservice"]
    assert query.get("node") == "n"


def test_attributes_given_are_copied() -> None:
    """Two elements never share the caller's dict."""
    attrs = {"id": "1"}
    one, two = Element("", "a", attrs), Element("", "b", attrs)
    one.attrs["id"] = "2"
    assert two.get("id") == "1" and attrs == {"id": "1"}


def test_copy_is_deep() -> None:
    """Nothing changed in the copy shows in the original."""
    message = sample()
    twin = message.copy()
    assert twin == message
    inner = twin.find(ns.CLIENT, "body")
    assert inner is not None
    inner.attrs["x"] = "1"
    inner.children.append("!")
    assert twin != message
    assert message == sample()


def test_equality_is_structural() -> None:
    """Every part counts, except how a run of text is cut and empty text."""
    assert Element("u", "a", None, "x", "y") == Element("u", "a", None, "xy", "")
    assert Element("u", "a") != Element("v", "a")
    assert Element("u", "a") != Element("u", "b")
    assert Element("u", "a", {"x": "1"}) != Element("u", "a")
    assert Element("u", "a", None, "x") != Element("u", "a")
    assert Element("u", "a", None, "x") != Element("u", "a", None, Element("u", "x"))
    assert Element("u", "a", None, Element("u", "x"), "t") != Element("u", "a", None, "t", Element("u", "x"))
    assert Element("u", "a") != "a"


def test_deep_trees_copy_and_compare_without_recursion() -> None:
    """100,000 levels are no more than work."""
    top = node = Element("", "a")
    for _ in range(100_000):
        node = node.child("", "a")
    twin = top.copy()
    assert twin == top
    node.child("", "b")
    assert twin != top


def test_elements_are_not_hashable() -> None:
    """They change and compare by structure, so they cannot be keys."""
    with pytest.raises(TypeError):
        hash(Element("", "a"))


def test_repr_does_not_show_children() -> None:
    """A log line with an element stays short and holds no message text."""
    assert "hello" not in repr(sample())
