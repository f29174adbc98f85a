"""Elements to bytes: without recursion, every position escaped.

Inner bytes leave the stanza namespace undeclared and declare every other
themselves, so they fit any stream, archive or frame (RFC 6120, 4.8.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from xmppservice.wire import ns
from xmppservice.wire.element import Element

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NEEDS_TEXT = re.compile("[&<>\r]").search
_NEEDS_ATTRIBUTE = re.compile("[&<>'\"\t\n\r]").search
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "'": "&apos;",
        '"': "&quot;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)
_START = (
    "A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d"
    "\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd"
)
# XML 1.0 allows names beyond the first plane since its fifth edition; expat and others do not.
_NAME = re.compile(f"[{_START}][{_START}0-9.\xb7\u0300-\u036f\u203f\u2040\\-]*")
_CACHE_ENTRIES = 2048
_CACHE_KEY = 128


class _Names(dict[str, str]):
    """Name → the same name, once it has been found to be an NCName; bounded."""

    def __missing__(self, name: str) -> str:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a name for XML: {name[:64]!r}")
        return _remember(self, name, name)


class _Leads(dict[str, str]):
    """Attribute key → what precedes its value; "" for one that needs a prefix; bounded."""

    def __missing__(self, key: str) -> str:
        uri, _, name = key.rpartition(" ")
        _names[name]
        if not uri:
            if key != name or name == "xmlns":
                raise ValueError(f"not a name for an attribute: {key[:64]!r}")
            return _remember(self, key, f" {name}='")
        if uri == ns.XML:
            return _remember(self, key, f" xml:{name}='")
        return ""


def _remember(cache: dict[str, str], key: str, value: str) -> str:
    """Keep a pair, unless its key is long; names from outside never grow the cache beyond its bound."""
    if len(key) <= _CACHE_KEY:
        if len(cache) >= _CACHE_ENTRIES:
            cache.clear()
        cache[key] = value
    return value


_names = _Names()
_leads = _Leads()


def _checked(text: str) -> str:
    """`text`, if XML 1.0 allows every character of it."""
    if not text.isprintable() and _FORBIDDEN.search(text) is not None:
        raise ValueError("a character that XML 1.0 forbids")
    return text


def escapeText(text: str) -> str:
    """Character data as it may stand between tags; ValueError if XML cannot carry it."""
    _checked(text)
    return text.translate(_TEXT) if _NEEDS_TEXT(text) else text


def escapeAttribute(text: str) -> str:
    """An attribute value as it may stand between quotes of either kind; ValueError as in `escapeText`."""
    _checked(text)
    return text.translate(_ATTRIBUTE) if _NEEDS_ATTRIBUTE(text) else text


def serialize(element: Element, context: str = ns.CLIENT) -> bytes:
    """The whole element, for a place where `context` is the default namespace."""
    return _encode([element], context)


def innerBytes(element: Element) -> bytes:
    """The children only, to stand between tags of this element."""
    return _encode(element.children, element.ns) if element.children else b""


def startTag(name: str, attrs: Mapping[str, str]) -> bytes:
    """``<name key='value'…>``: the start tag of a stanza in the content namespace."""
    return _checked(f"<{_names[name]}{_attributes(attrs)}>").encode()


def _encode(nodes: list[Element | str] | list[Element], context: str) -> bytes:
    """Write nodes below a default namespace, with a stack of our own instead of calls."""
    out: list[str] = []
    write = out.append
    stack = []
    todo = iter(nodes)
    closing = ""
    default = context
    while True:
        for node in todo:
            if isinstance(node, str):
                if "&" in node or "<" in node or ">" in node or "\r" in node:
                    node = node.translate(_TEXT)
                write(node)
                continue
            space = node.ns
            name = _names[node.name]
            if space == default:
                declaration = ""
            elif space == ns.XML:
                name = "xml:" + name
                declaration = ""
                space = default
            else:
                declaration = f" xmlns='{_uri(space)}'"
            attrs = _attributes(node.attrs) if node.attrs else ""
            if not node.children:
                write(f"<{name}{declaration}{attrs}/>")
                continue
            write(f"<{name}{declaration}{attrs}>")
            stack.append((todo, closing, default))
            todo, closing, default = iter(node.children), f"</{name}>", space
            break
        else:
            if not stack:
                return _checked("".join(out)).encode()
            write(closing)
            todo, closing, default = stack.pop()


def _attributes(attrs: Mapping[str, str]) -> str:
    """Attributes, with a prefix made up for each that has a namespace of its own."""
    out = ""
    count = 0
    for key, value in attrs.items():
        lead = _leads[key]
        if not lead:
            uri, _, name = key.rpartition(" ")
            count += 1
            lead = f" xmlns:n{count}='{_uri(uri)}' n{count}:{name}='"
        # One test for each character is faster than a regular expression for all.
        if "'" in value or "&" in value or "<" in value or ">" in value or '"' in value or not value.isprintable():
            value = value.translate(_ATTRIBUTE)
        out += f"{lead}{value}'"
    return out


def _uri(uri: str) -> str:
    """A namespace name as it may be declared."""
    if " " in uri or uri == ns.XML or uri == ns.XMLNS:
        raise ValueError(f"not a namespace that can be declared: {uri[:64]!r}")
    return uri.translate(_ATTRIBUTE) if _NEEDS_ATTRIBUTE(uri) else uri
