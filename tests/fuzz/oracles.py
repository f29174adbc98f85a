"""What must hold of parser and serialiser, as functions that say what is wrong ("" if nothing is).

Each takes the code under test as an argument, so that a broken one can be shown to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any
from xml.dom import minidom
from xml.etree import ElementTree

from lxml import etree  # type: ignore[import-untyped]

from tests.fuzz.examples import HEADER, ROOMY
from tests.fuzz.sessions import BREAKER, FOOTER
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import Item, ParseError, StreamEnd, StreamHeader
from xmppservice.wire.parser import StreamParser

Found = tuple[Item, int]
Read = Callable[[Iterable[bytes]], list[Found]]
Other = Callable[[bytes], list[Element]]


def read(chunks: Iterable[bytes]) -> list[Found]:
    """What our parser makes of pieces: items, and where in the whole each ends."""
    parser = StreamParser(ROOMY)
    found: list[Found] = []
    base = 0
    for chunk in chunks:
        found += [(item, base + end) for item, end in parser.feed(chunk)]
        base += len(chunk)
    return found


# -- F1: pieces -------------------------------------------------------------------------------


def differs(whole: Sequence[Found], pieces: Sequence[Found]) -> str:
    """Why two readings of the same bytes are not the same.

    Which of two errors in the same tag is met first may depend on the pieces; that there is one, and all that comes
    before it, may not.
    """
    if len(whole) != len(pieces):
        return f"{len(whole)} items, in pieces {len(pieces)}"
    for (one, end), (two, other) in zip(whole, pieces, strict=True):
        if isinstance(one, ParseError) and isinstance(two, ParseError):
            continue
        if one != two:
            return f"{one!r}, in pieces {two!r}"
        if end != other:
            return f"an item ends at {end}, in pieces at {other}"
    return ""


def splits(data: bytes, every: int = 1, reading: Read = read) -> str:
    """F1: at each split, and byte by byte, the bytes mean the same.

    In pieces a tag that is already wrong is not looked at before its end, so there has to be one.
    """
    data += BREAKER
    whole = reading([data])
    for at in range(1, len(data), every):
        if problem := differs(whole, reading([data[:at], data[at:]])):
            return f"cut at {at}: {problem}"
    problem = differs(whole, reading(data[at : at + 1] for at in range(len(data))))
    return f"byte by byte: {problem}" if problem else ""


# -- F2: other parsers ------------------------------------------------------------------------


def _attributes(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    # A namespace name may have a brace of its own, a local name has none.
    return {" ".join(key[1:].rsplit("}", 1)) if key[0] == "{" else key: value for key, value in attributes}


def _convert(root: object) -> list[Element]:
    """The children of an ElementTree or lxml root as our elements, without recursion."""
    top = Element("", "top")
    work = [(root, top)]
    while work:
        source, target = work.pop()
        for child in source:  # type: ignore[attr-defined]
            space, _, name = child.tag[1:].rpartition("}") if child.tag[0] == "{" else ("", "", child.tag)
            twin = Element(space, name, _attributes(child.attrib.items()))
            if child.text:
                twin.children.append(child.text)
            target.children.append(twin)
            if target is not top and child.tail:
                target.children.append(child.tail)
            work.append((child, twin))
    return top.elements()


def libxml(document: bytes) -> list[Element]:
    """As libxml2 reads it; ValueError if it does not.

    It complains about namespace names that are no URIs, which makes a document no less well-formed.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, load_dtd=False, recover=True)
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    for entry in parser.error_log:
        if entry.level > etree.ErrorLevels.WARNING and entry.type_name != "WAR_NS_URI":
            raise ValueError(f"{entry.type_name}: {entry.message}")
    return _convert(root)


def elementTree(document: bytes) -> list[Element]:
    """As the builder of the standard library reads it; it cannot read namespace names with a brace."""
    if b"}" in document:
        return libxml(document)
    try:
        return _convert(ElementTree.parse(BytesIO(document)).getroot())
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def dom(document: bytes) -> list[Element]:
    """As the DOM of the standard library reads it: a builder with its own idea of namespaces."""
    top = Element("", "top")
    with minidom.parseString(document) as tree:
        work: list[tuple[Any, Element]] = [(tree.documentElement, top)]
        while work:
            source, target = work.pop()
            for child in source.childNodes:
                if child.nodeType == child.ELEMENT_NODE:
                    attributes = {}
                    for space, name in child.attributes.keysNS():
                        if space != ns.XMLNS:
                            attributes[f"{space} {name}" if space else name] = child.getAttributeNS(space, name)
                    twin = Element(child.namespaceURI or "", child.localName, attributes)
                    target.children.append(twin)
                    work.append((child, twin))
                elif target is not top:
                    target.children.append(child.data)
    return top.elements()


OTHERS: tuple[Other, ...] = (libxml, elementTree, dom)


def disagreement(data: bytes, others: Sequence[Other] = OTHERS, reading: Read = read) -> str:
    """F2: what we take from a stream another parser takes too, and finds the same trees in it."""
    found = reading([data, FOOTER])
    items = [item for item, _ in found]
    if not items or not isinstance(items[0], StreamHeader) or not isinstance(items[-1], StreamEnd):
        return ""
    document = (data + FOOTER)[: found[-1][1]]
    ours = [item for item in items if isinstance(item, Element)]
    for other in others:
        try:
            theirs = other(document)
        except ValueError as error:
            return f"{other.__name__} refuses what we take: {error}"
        if ours != theirs:
            return f"{other.__name__} reads {theirs!r}, we {ours!r}"
    return ""


# -- F3: round trip ---------------------------------------------------------------------------


def roundTrip(tree: Element, write: Callable[[Element], bytes], others: Sequence[Other] = OTHERS) -> str:
    """F3: what is written reads back as the same tree, for us and for others."""
    document = HEADER + write(tree)
    items = [item for item, _ in read([document])]
    if len(items) != 2 or items[1] != tree:
        return f"read back as {items[1:]!r}"
    return disagreement(document, others)
