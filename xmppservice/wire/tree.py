"""Growing one top-level element from the parser's callbacks."""

from __future__ import annotations

from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import refuse, tooBig
from xmppservice.wire.limits import Limits

_CACHE_ENTRIES = 2048
_CACHE_KEY = 160
_WHITE = " \t\r\n"
_new = Element.__new__


class Names(dict[str, tuple[str, str]]):
    """What expat calls an element, "uri name" → (namespace, name).

    Bounded, so that names from outside never grow it; there is one for each
    content namespace, which it renames to the internal one.
    """

    __slots__ = ("content",)

    def __init__(self, content: str) -> None:
        self.content = content

    def __missing__(self, tag: str) -> tuple[str, str]:
        space, _, name = tag.rpartition(" ")
        if " " in space:
            refuse("not-well-formed", "a namespace name with a space")
        pair = (ns.CLIENT if space == self.content else space, name)
        if len(tag) <= _CACHE_KEY:
            if len(self) >= _CACHE_ENTRIES:
                self.clear()
            self[tag] = pair
        return pair


NAMES = {content: Names(content) for content in (ns.CLIENT, ns.SERVER, ns.COMPONENT)}
"""The caches by content namespace; `PLAIN` renames nothing."""
PLAIN = NAMES[ns.CLIENT]


class TreeBuilder:
    """The callbacks for tags and text; a subclass says what a top-level element is for."""

    __slots__ = ("limits", "_names", "_open", "_stack", "_parts", "_count")

    limits: Limits

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._names = PLAIN
        self._open: Element | None = None
        self._stack: list[Element] = []
        # Text comes in pieces (lines, references); they are joined at the next tag.
        self._parts: list[str] = []
        self._count = 0

    def _onStart(self, tag: str, attrs: dict[str, str]) -> None:
        if self._parts:
            self._flush()
        limits = self.limits
        if attrs and len(attrs) > limits.attributes:
            tooBig("too many attributes")
        node = _new(Element)
        node.ns, node.name = self._names[tag]
        node.attrs = attrs
        node.children = []
        parent = self._open
        if parent is None:
            self._startTop(tag, node)
            return
        self._count = count = self._count + 1
        stack = self._stack
        if count > limits.elements or len(stack) + 2 > limits.depth:
            tooBig("too many elements")
        parent.children.append(node)
        stack.append(parent)
        self._open = node

    def _onEnd(self, tag: str) -> None:
        if self._parts:
            self._flush()
        if self._stack:
            self._open = self._stack.pop()
        else:
            self._endTop()

    def _flush(self) -> None:
        """Close a run of text: a child of the open element, or white space between stanzas."""
        parts = self._parts
        text = parts[0] if len(parts) == 1 else "".join(parts)
        parts.clear()
        if self._open is not None:
            self._open.children.append(text)
        elif text.strip(_WHITE):
            refuse("bad-format", "text between stanzas")

    def _startTop(self, tag: str, node: Element) -> None:
        """The start tag of the root or of a top-level element."""
        raise NotImplementedError

    def _endTop(self) -> None:
        """The end tag of what `_startTop` began, or of the root."""
        raise NotImplementedError
