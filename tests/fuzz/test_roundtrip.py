"""F3: what is written reads back, for us and for others: every place that needs escaping, any depth."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.examples import trees
from tests.fuzz.mutate import mutateTree
from tests.fuzz.oracles import libxml, roundTrip
from tests.fuzz.profile import budget
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.serializer import serialize

DEEPEST = 5000
CHARACTERS = st.characters(
    exclude_categories=["Cs"],
    exclude_characters=[chr(n) for n in range(32) if n not in (9, 10, 13)] + ["\ufffe", "\uffff"],
)
TRICKY = st.text(st.sampled_from("<>&'\"\t\n\r] ;#x/=\x7f\x85\u2028\ufeff\U0010ffff"), max_size=8)
TEXTS = TRICKY | st.text(CHARACTERS, max_size=8)
# Names as in the fourth edition of XML 1.0, which is what parsers agree on.
NAMES = st.from_regex(r"[A-Za-z_\xc0\u0391\u4e00][A-Za-z0-9._\-\xb7\xe9\u0300]{0,6}", fullmatch=True)
NAMES = NAMES.filter(lambda name: not name.lower().startswith("xml"))
# libxml2 knows no namespace name that is empty but for what it folds; a space is refused by ourselves.
SPACES = st.sampled_from(["", ns.CLIENT, ns.SERVER, ns.STREAM, "urn:x"]) | TEXTS.map(lambda text: text.replace(" ", ""))
KEYS = NAMES | st.just(XML_LANG) | st.tuples(SPACES.filter(bool), NAMES).map(" ".join)


@st.composite
def randomTrees(draw: st.DrawFn) -> Element:
    """A stanza over a tree of a few elements in any shape."""
    top = Element(ns.CLIENT, draw(st.sampled_from(["message", "iq", "presence"])))
    places = [top]
    for _ in range(draw(st.integers(0, 6))):
        parent = draw(st.sampled_from(places))
        node = Element(draw(SPACES), draw(NAMES), draw(st.dictionaries(KEYS, TEXTS, max_size=3)))
        parent.children.append(node)
        places.append(node)
        if draw(st.booleans()):
            draw(st.sampled_from(places)).children.append(draw(TEXTS))
    return top


def chain(depth: int, spaces: tuple[str, ...] = ("",)) -> Element:
    """Elements in each other, with text on both sides."""
    top = node = Element(ns.CLIENT, "message")
    for level in range(depth - 1):
        inner = Element(spaces[level % len(spaces)], "a", {"n": "&'\"<"})
        node.children += ["<", inner, "&"]
        node = inner
    return top


@budget(250)
@given(randomTrees())
def test_trees(tree: Element) -> None:
    """Any tree, every position: names, namespaces, keys, values, texts."""
    assert not (problem := roundTrip(tree, serialize)), problem


@budget(1000)
@given(st.integers(0, 2**32))
def test_mutatedExamples(seed: int) -> None:
    """The examples of the specifications, mutated, are written so that they read back."""
    chance = random.Random(seed)
    tree = mutateTree(chance.choice(trees()), chance, chance.randint(0, 4))
    if tree.ns != ns.STREAM:
        assert not (problem := roundTrip(tree, serialize)), problem


def test_deep() -> None:
    """5,000 levels: nothing recurses, and copies and comparisons do not either."""
    for spaces in (("",), ("", "urn:x", ns.CLIENT)):
        tree = chain(DEEPEST, spaces)
        assert tree.copy() == tree
        # libxml2 stops at 2,048 levels, the builders of the standard library recurse.
        assert not (problem := roundTrip(tree, serialize, ())), problem
        assert not (problem := roundTrip(chain(1500, spaces), serialize, (libxml,))), problem


def test_seesMissingEscape() -> None:
    """Sabotage: a serialiser that leaves out one escape, or one declaration, is found out."""
    text = Element(ns.CLIENT, "message", {}, "a\rb")
    value = Element(ns.CLIENT, "message", {"id": "a\nb"})
    space = Element(ns.CLIENT, "message", {}, Element("urn:x", "x"))
    for tree, token in ((text, b"&#13;"), (value, b"&#10;"), (space, b" xmlns='urn:x'")):
        assert not roundTrip(tree, serialize)
        instead = b"\n" if token.startswith(b"&") else b""
        written = serialize(tree).replace(token, instead)
        assert roundTrip(tree, lambda _, written=written: written)  # type: ignore[misc]
