"""Bytes to elements: the one hardened XML front end.

Theory of operation.  Expat calls back; a tree grows for one top-level element
at a time and is handed out when its end tag is there.  Expat itself is
guarded: it gets bytes only up to the last ``>`` that has arrived, and when a
``>`` turns out to stand inside an attribute value (expat then reports the tag
as unfinished), a scanner of quotes holds back everything until the tag really
ends.  So no tag is ever scanned twice, however small the pieces it comes in
(CVE-2023-52425), and no complete element is ever held back.
"""

from __future__ import annotations

import pyexpat
import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.limits import AUTHENTICATED, PRE_AUTH, Limits

__all__ = [
    "AUTHENTICATED",
    "PRE_AUTH",
    "Element",
    "Item",
    "Limits",
    "ParseError",
    "StreamEnd",
    "StreamHeader",
    "StreamParser",
    "XMLError",
    "parseDocument",
]


@dataclass(slots=True)
class StreamHeader:
    """The start tag of the root (RFC 6120, 4.7).

    :ivar contentNs: the default namespace that it declares, "" if none.
    :ivar lang: its ``xml:lang`` if that looks like a language tag, else "".
    :ivar prefixes: every declaration it made, prefix → namespace, without the default one.
    """

    ns: str
    name: str
    attrs: dict[str, str]
    contentNs: str
    lang: str
    prefixes: dict[str, str]


@dataclass(slots=True)
class StreamEnd:
    """The end tag of the root."""


@dataclass(slots=True)
class ParseError:
    """Why the stream is over: a condition of RFC 6120, 4.9.3, a text, and a condition of urn:xmpp:errors."""

    condition: str
    text: str
    app: str | None = None


class XMLError(ValueError):
    """A document that we refuse to read; the fields are those of `ParseError`."""

    def __init__(self, condition: str, text: str, app: str | None = None) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text
        self.app = app


Item: TypeAlias = "StreamHeader | Element | StreamEnd | ParseError"

_STANZAS = frozenset(("message", "presence", "iq"))
_WHITE = " \t\r\n"
_SLICE = 16384
_QUOTE_OR_END = re.compile(rb"[\"'>]")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7}")
_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*")
_UTF16 = (b"\xfe\xff", b"\xff\xfe")
_CONDITIONS = {11: "restricted-xml", 27: "bad-namespace-prefix"}
_new = Element.__new__


class _Names(dict[str, tuple[str, str]]):
    """What expat calls an element → (namespace, name); bounded, one for each content namespace."""

    __slots__ = ("content",)

    def __init__(self, content: str) -> None:
        self.content = content

    def __missing__(self, tag: str) -> tuple[str, str]:
        space, _, name = tag.rpartition(" ")
        if " " in space:
            _refuse("not-well-formed", "a namespace name with a space")
        pair = (ns.CLIENT if space == self.content else space, name)
        if len(tag) <= 160:
            if len(self) >= 2048:
                self.clear()
            self[tag] = pair
        return pair


_NAMES = {content: _Names(content) for content in (ns.CLIENT, ns.SERVER, ns.COMPONENT)}
_PLAIN_NAMES = _NAMES[ns.CLIENT]


def _refuse(condition: str, text: str, app: str | None = None) -> NoReturn:
    """Stop expat from inside a callback."""
    raise XMLError(condition, text, app)


def _tooBig(text: str) -> NoReturn:
    _refuse("policy-violation", text, "stanza-too-big")


def _onDoctype(*unused: object) -> None:
    _refuse("restricted-xml", "a document type declaration")


def _onEntity(*unused: object) -> None:
    _refuse("restricted-xml", "an entity declaration")


def _onInstruction(*unused: object) -> None:
    _refuse("restricted-xml", "a processing instruction")


def _onComment(*unused: object) -> None:
    _refuse("restricted-xml", "a comment")


def _onDeclaration(version: str, encoding: str | None, standalone: int) -> None:
    if version != "1.0":
        _refuse("unsupported-encoding", "XML other than version 1.0")
    if encoding is not None and encoding.lower() != "utf-8":
        _refuse("unsupported-encoding", "only UTF-8 is allowed")


class StreamParser:
    """Turns the bytes of one XML stream into its header, top-level elements and end.

    :ivar limits: may be replaced between stanzas.
    :ivar received: bytes fed so far.
    """

    __slots__ = (
        "limits",
        "received",
        "_expat",
        "_names",
        "_lang",
        "_rooted",
        "_document",
        "_open",
        "_stack",
        "_parts",
        "_items",
        "_prefixes",
        "_declared",
        "_count",
        "_begin",
        "_fed",
        "_held",
        "_mark",
        "_raw",
        "_base",
        "_lead",
        "_partial",
        "_quote",
        "_tail",
    )

    def __init__(self, limits: Limits = PRE_AUTH, document: bool = False) -> None:
        self.limits = limits
        self.received = 0
        self._names = _PLAIN_NAMES
        self._lang = ""
        self._rooted = document
        self._document = document
        self._open: Element | None = None
        self._stack: list[Element] = []
        self._parts: list[str] = []
        self._items: list[tuple[Item, int]] = []
        self._prefixes: dict[str, str] | None = None if document else {}
        self._declared = 0
        self._count = 0
        self._begin = 0
        self._fed = 0
        self._held: bytes | bytearray = b""
        self._mark = -1
        self._raw = b""
        self._base = 0
        self._lead = 0
        self._partial = b""
        self._quote: bytes | None = None
        self._tail = b""
        self._expat: pyexpat.XMLParserType | None = self._newExpat()

    def _newExpat(self) -> pyexpat.XMLParserType:
        # No interning: expat's Python side would keep every name it ever saw.
        # No text buffer either: list.append as callback is as cheap, and small.
        expat = pyexpat.ParserCreate("UTF-8", " ", None)
        defer = getattr(expat, "SetReparseDeferralEnabled", None)
        if defer is not None:
            defer(False)
        expat.StartElementHandler = self._onStart
        expat.EndElementHandler = self._onEnd
        expat.CharacterDataHandler = self._parts.append
        expat.StartNamespaceDeclHandler = self._onNamespace
        expat.XmlDeclHandler = _onDeclaration
        expat.StartDoctypeDeclHandler = _onDoctype
        expat.EntityDeclHandler = _onEntity
        expat.ProcessingInstructionHandler = _onInstruction
        expat.CommentHandler = _onComment
        return expat

    def feed(self, data: bytes) -> list[tuple[Item, int]]:
        """Read on.

        :return: pairs of an item and the offset in `data` just behind it, so
            that ``data[end:]`` is all that was received after the item.  A
            `ParseError` can only be the last; after it nothing comes any more.
        """
        expat = self._expat
        if expat is None or not data:
            return []
        self.received += len(data)
        self._tail = b""
        try:
            self._take(expat, data)
        except XMLError as error:
            self._fail(ParseError(error.condition, error.text, error.app), len(data))
        except pyexpat.ExpatError as error:
            self._fail(self._judge(expat, error), len(data))
        self._raw = b""
        items = self._items
        if items:
            self._items = []
            if items[0][1] < len(data):
                self._tail = data
        return items

    def pending(self, end: int) -> bytes:
        """Every byte received after the item of that end offset in the latest `feed`."""
        return self._tail[end:]

    @property
    def unread(self) -> bytes:
        """What has arrived and waits for its end before it is read."""
        return bytes(self._held)

    def close(self) -> None:
        """Free expat and everything held; nothing is parsed afterwards."""
        self._expat = self._open = None
        self._held = self._raw = self._partial = self._tail = b""
        self._parts.clear()
        self._stack.clear()

    def _fail(self, error: ParseError, end: int) -> None:
        """The stream is over; no error is told behind a proper end."""
        over = self._expat is None
        self.close()
        if not over:
            self._items.append((error, end))

    def _take(self, expat: pyexpat.XMLParserType, data: bytes) -> None:
        """Decide how much expat may see, let it, and keep the rest."""
        cut = self._cut(data)
        held = self._held
        self._lead = len(held)
        if held:
            raw = bytes(held) + data
            cut += self._lead if cut else 0
        else:
            raw = data
        if not self._fed:
            cut = _checkStart(raw, cut)
        if not cut:
            self._hold(data)
            self._weigh()
            return
        self._held = b""
        self._mark = -1
        self._raw = raw
        self._base = self._fed
        self._run(expat, raw, cut)
        if cut < len(raw):
            self._hold(raw[cut:])
        if self._quote is not None or self._fed != expat.CurrentByteIndex:
            self._hesitate(expat, raw, cut)
        if self._parts and self._open is None:
            self._flushOutside()
        self._weigh()

    def _cut(self, data: bytes) -> int:
        """How much of new data expat may see: up to the last ``>`` that can end a tag, or pure text."""
        if self._quote is not None and not self._tagEnds(data):
            return 0
        cut = data.rfind(b">") + 1
        size = len(data)
        if cut == size or (not cut and self._held):
            return cut
        return cut if data.find(b"<", cut) >= 0 or data.find(b"&", cut) >= 0 else size

    def _run(self, expat: pyexpat.XMLParserType, raw: bytes, cut: int) -> None:
        """Give expat the first `cut` bytes, in slices, so that its buffer stays small and limits bite early."""
        if cut <= _SLICE:
            self._fed += cut
            expat.Parse(raw if cut == len(raw) else raw[:cut])
            return
        at = 0
        while at < cut and self._expat is not None:
            to = min(at + _SLICE, cut)
            if to < cut:
                to = raw.rfind(b">", at, to) + 1 or to
            self._fed += to - at
            expat.Parse(raw[at:to])
            at = to
            unfinished = self._fed - expat.CurrentByteIndex
            if unfinished > self.limits.token:
                _tooBig("a tag beyond the limit")
            self._weigh()

    def _hold(self, data: bytes) -> None:
        """Keep bytes that expat must not see yet."""
        held = self._held
        mark = data.rfind(b"<")
        if mark >= 0:
            self._mark = len(held) + mark
        if not held:
            self._held = data
        elif isinstance(held, bytearray):
            held += data
        else:
            self._held = bytearray(held) + data

    def _weigh(self) -> None:
        """Refuse a stanza, a tag or a stream that has grown too big."""
        limits = self.limits
        held = len(self._held)
        partial = len(self._partial)
        if self._open is not None or not self._rooted:
            size = held + self._fed - self._begin
        else:
            size = held + partial
        if size > limits.stanzaBytes:
            _tooBig("a stanza beyond the limit")
        if partial:
            held += partial
        elif self._mark >= 0:
            held -= self._mark
        else:
            held = 0
        if held > limits.token:
            _tooBig("a tag beyond the limit")
        if limits.totalBytes is not None and self.received > limits.totalBytes:
            _refuse("policy-violation", "too much before authentication")

    def _hesitate(self, expat: pyexpat.XMLParserType, raw: bytes, cut: int) -> None:
        """Expat may wait for more of a token: if of a tag, keep it and find where its quotes stand."""
        self._partial = b""
        self._quote = None
        if self._fed == expat.CurrentByteIndex:
            return
        partial = raw[max(expat.CurrentByteIndex - self._base, 0) : cut]
        if partial.startswith((b"<!", b"<?")) and not partial.startswith(b"<!["):
            _refuse("restricted-xml", "a comment or a processing instruction")
        if not partial.startswith(b"<"):
            return
        self._partial = partial
        match = _TAG.match(partial)
        self._quote = partial[match.end() : match.end() + 1] if match else b""
        self._tagEnds(bytes(self._held))

    def _tagEnds(self, data: bytes) -> bool:
        """Whether the unfinished tag ends in `data`; remembers in which quotes it is."""
        quote = self._quote or b""
        at = 0
        while True:
            if quote:
                at = data.find(quote, at) + 1
                if not at:
                    break
                quote = b""
                continue
            match = _QUOTE_OR_END.search(data, at)
            if match is None:
                break
            if match[0] == b">":
                return True
            quote = match[0]
            at = match.end()
        self._quote = quote
        return False

    def _judge(self, expat: pyexpat.XMLParserType, error: pyexpat.ExpatError) -> ParseError:
        """The stream error for what expat refused (RFC 6120, 4.9.3 and 11)."""
        condition = _CONDITIONS.get(error.code, "not-well-formed")
        at = expat.ErrorByteIndex - self._base
        if condition == "not-well-formed" and at > 1 and self._raw[at - 2 : at] == b"<!":
            condition = "restricted-xml"
        return ParseError(condition, pyexpat.ErrorString(error.code))

    # What expat calls.

    def _onStart(self, tag: str, attrs: dict[str, str]) -> None:
        if self._parts:
            self._flush()
        node = _new(Element)
        node.ns, node.name = self._names[tag]
        node.attrs = attrs
        node.children = []
        limits = self.limits
        if len(attrs) > limits.attributes:
            _tooBig("too many attributes")
        top = self._open
        if top is None:
            self._startTop(tag, node)
            return
        self._count += 1
        stack = self._stack
        if self._count > limits.elements or len(stack) + 2 > limits.depth:
            _tooBig("too many elements")
        top.children.append(node)
        stack.append(top)
        self._open = node

    def _onEnd(self, tag: str) -> None:
        if self._parts:
            self._flush()
        if self._stack:
            self._open = self._stack.pop()
        else:
            self._endTop()

    def _onNamespace(self, prefix: str | None, uri: str | None) -> None:
        self._declared += 1
        if self._declared > self.limits.declarations:
            _tooBig("too many namespace declarations")
        if self._prefixes is not None:
            self._prefixes[prefix or ""] = uri or ""

    def _flush(self) -> None:
        """Close a run of text: a child of the open element, or nothing but white space."""
        parts = self._parts
        if self._open is None:
            self._flushOutside()
            return
        self._open.children.append(parts[0] if len(parts) == 1 else "".join(parts))
        parts.clear()

    def _flushOutside(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        if text.strip(_WHITE):
            _refuse("bad-format", "text between stanzas")

    def _startTop(self, tag: str, node: Element) -> None:
        """The header, or the first tag of a top-level element."""
        if not self._rooted:
            self._startRoot(tag, node)
            return
        assert self._expat is not None
        self._begin = self._expat.CurrentByteIndex
        self._count = 1
        self._open = node
        space = node.ns
        if space == ns.CLIENT:
            if self._names is not _PLAIN_NAMES and tag.startswith("jabber:client "):
                _refuse("invalid-namespace", "a stanza of jabber:client")
            if self._lang and node.name in _STANZAS and XML_LANG not in node.attrs:
                node.attrs[XML_LANG] = self._lang
        elif space == ns.STREAM and node.name == "stream" and not self._document:
            _refuse("invalid-xml", "a second stream header")

    def _startRoot(self, tag: str, node: Element) -> None:
        assert self._expat is not None
        space, _, name = tag.rpartition(" ")
        prefixes = self._prefixes or {}
        self._prefixes = None
        self._declared = 0
        self._rooted = True
        content = prefixes.pop("", "")
        self._names = _NAMES.get(content, _PLAIN_NAMES)
        lang = node.attrs.get(XML_LANG, "")
        self._lang = lang if _LANGUAGE.fullmatch(lang) else ""
        at = self._expat.CurrentByteIndex - self._base
        raw = self._raw
        if at < 0:
            raw, at = self._partial + raw, 0
        match = _TAG.match(raw, at)
        end = (match.end() if match else len(raw)) + 1
        self._begin = self._base + end - (len(raw) - len(self._raw))
        header = StreamHeader(space, name, node.attrs, content, self._lang, prefixes)
        self._items.append((header, self._begin - self._base - self._lead))

    def _endTop(self) -> None:
        """A top-level element is complete, or the stream itself."""
        node, expat, raw = self._open, self._expat, self._raw
        assert expat is not None
        at = expat.CurrentByteIndex - self._base
        # Expat stands before an end tag, but behind the tag of an empty element.
        if node is None or node.children or raw[at - 2 : at] != b"/>":
            at = raw.find(b">", at) + 1
        if node is None:
            self._items.append((StreamEnd(), at - self._lead))
            self._expat = None
            return
        if self._base + at - self._begin > self.limits.stanzaBytes:
            _tooBig("a stanza beyond the limit")
        self._items.append((node, at - self._lead))
        self._open = None
        self._declared = 0


def _checkStart(raw: bytes, cut: int) -> int:
    """Refuse what expat would take for UTF-16, whatever we told it (RFC 6120, 11.6).

    :return: `cut`, or 0 while there is too little to tell.
    """
    if raw[:2] in _UTF16 or b"\0" in raw[:4]:
        _refuse("unsupported-encoding", "only UTF-8 is allowed")
    return cut if len(raw) >= 4 else 0


def parseDocument(data: bytes, limits: Limits = AUTHENTICATED) -> Element:
    """Read one whole document, as a WebSocket frame or a BOSH body is one.

    :raise XMLError: with the stream error condition that fits.
    """
    parser = StreamParser(limits, document=True)
    items = parser.feed(data)
    rest = parser.unread
    parser.close()
    last = items[-1][0] if items else None
    if isinstance(last, ParseError):
        raise XMLError(last.condition, last.text, last.app)
    if not isinstance(last, Element) or rest.strip():
        raise XMLError("not-well-formed", "not one whole document")
    return last
