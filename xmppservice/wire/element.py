"""The tree that a stanza is: an element, its attributes, its children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xmppservice.wire import ns as _ns

XML_LANG = _ns.XML + " lang"
"""The attribute key of ``xml:lang``."""

_SHOWN = ("type", "id", "from", "to")


class Element:
    """One XML element: a namespace, a local name, attributes and children.

    An attribute without a namespace has its name as key, one with a namespace
    has "uri name" (`XML_LANG` is the one that matters).  A child is another
    element or a str of character data.  There are no prefixes: the serialiser
    makes them.
    """

    __slots__ = ("ns", "name", "attrs", "children")

    ns: str
    name: str
    attrs: dict[str, str]
    children: list[Element | str]

    def __init__(
        self,
        ns: str,
        name: str,
        attrs: Mapping[str, str] | None = None,
        *children: Element | str,
    ) -> None:
        self.ns = ns
        self.name = name
        self.attrs = dict(attrs) if attrs else {}
        self.children = list(children)

    def get(self, key: str, default: str | None = None) -> str | None:
        """The value of an attribute, or `default`."""
        return self.attrs.get(key, default)

    def find(self, ns: str, name: str) -> Element | None:
        """The first child element of that namespace and name, or None."""
        for child in self.children:
            if type(child) is not str and child.name == name and child.ns == ns:  # type: ignore[union-attr]
                return child  # type: ignore[return-value]
        return None

    def findAll(self, ns: str, name: str) -> list[Element]:
        """Every child element of that namespace and name, in order."""
        return [node for node in self.elements() if node.name == name and node.ns == ns]

    def elements(self) -> list[Element]:
        """The children that are elements, in order."""
        return [node for node in self.children if isinstance(node, Element)]

    @property
    def text(self) -> str:
        """The character data directly below this element, joined."""
        return "".join([node for node in self.children if isinstance(node, str)])

    def add(self, node: Element) -> Element:
        """Append an element and hand it back."""
        self.children.append(node)
        return node

    def child(
        self,
        ns: str,
        name: str,
        attrs: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> Element:
        """Append a new element, perhaps with text, and hand it back."""
        node = Element(ns, name, attrs)
        if text:
            node.children.append(text)
        self.children.append(node)
        return node

    def copy(self) -> Element:
        """A deep copy, made without recursion."""
        top = Element(self.ns, self.name, self.attrs)
        work = [(self, top)]
        while work:
            source, target = work.pop()
            for child in source.children:
                if isinstance(child, str):
                    target.children.append(child)
                else:
                    twin = Element(child.ns, child.name, child.attrs)
                    target.children.append(twin)
                    work.append((child, twin))
        return top

    def __eq__(self, other: object) -> bool:
        """Equal in structure; how text is cut into pieces does not count."""
        if not isinstance(other, Element):
            return NotImplemented
        work: list[tuple[Element, Element]] = [(self, other)]
        while work:
            one, two = work.pop()
            if one is two:
                continue
            if one.name != two.name or one.ns != two.ns or one.attrs != two.attrs:
                return False
            ours, theirs = _merged(one.children), _merged(two.children)
            if len(ours) != len(theirs):
                return False
            for left, right in zip(ours, theirs, strict=True):
                if isinstance(left, Element) and isinstance(right, Element):
                    work.append((left, right))
                elif isinstance(left, Element) or isinstance(right, Element) or left != right:
                    return False
        return True

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Element]:
        """Walk the children that are elements."""
        return iter(self.elements())

    def __repr__(self) -> str:
        # This ends up in logs and tracebacks: what a person wrote, and tokens, do not belong there.
        shown = {key: self.attrs[key][:100] for key in _SHOWN if key in self.attrs}
        return f"<Element {{{self.ns[:100]}}}{self.name[:100]} {shown!r} +{len(self.children)}>"


def _merged(children: Sequence[Element | str]) -> Sequence[Element | str]:
    """The children with neighbouring pieces of text joined, empty ones gone."""
    out: list[Element | str] = []
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(child)
            continue
        if parts and (text := "".join(parts)):
            out.append(text)
        parts.clear()
        out.append(child)
    if parts and (text := "".join(parts)):
        out.append(text)
    return out
