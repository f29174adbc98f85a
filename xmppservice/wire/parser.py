"""Bytes to elements: the one hardened XML front end.

Theory of operation.  Expat calls back; a tree grows for one top-level element
at a time and is handed out when its end tag is there.  Expat itself is
guarded in two ways.

It gets bytes only up to the last ``>`` that has arrived (and pure text).  When
a ``>`` turns out to stand inside an attribute value, expat reports the tag as
unfinished, and from then on a scanner of quotes (`hold.Hold`) keeps everything
back until the tag really ends.  So no tag is scanned over and over, however
small the pieces it comes in, and nothing complete is ever held back.

It is replaced by a new one now and then between two stanzas, primed with the
stream header: expat keeps every element name, attribute name and prefix that
it has ever met, and a peer can make up new ones for ever.
"""

from __future__ import annotations

import pyexpat
import re

from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.hold import Hold, tagEnd
from xmppservice.wire.items import (
    Item,
    ParseError,
    StreamEnd,
    StreamHeader,
    XMLError,
    refuse,
    tooBig,
)
from xmppservice.wire.limits import AUTHENTICATED, PRE_AUTH, Limits
from xmppservice.wire.tree import NAMES, PLAIN, TreeBuilder

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

_STANZAS = frozenset(("message", "presence", "iq"))
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7}")
_DECLARATION = re.compile(
    rb"""(?:\xef\xbb\xbf)?<\?xml\s+version\s*=\s*(['"])(.*?)\1(?:\s+encoding\s*=\s*(['"])(.*?)\3)?""",
    re.DOTALL,
)
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")
_END = ord(">")
# Expat's own buffer grows with the pieces it gets and never shrinks.
_SLICE = 16384
# Too short a piece to look for prefixes in: what can be made of them stays small.
_SMALL = 512
# Bytes after which expat is replaced at the next chance, and by force.
_RENEW = 262144
_OVERDUE = 2 * _RENEW
# A stream header is kept as long as its stream, so it is short whoever sends it.
_HEADER = 8192
# No namespace declaration is shorter.
_DECLARATION_BYTES = 11
# Codes of expat (expat.h): undefined entity, unbound prefix.
_CONDITIONS = {11: "restricted-xml", 27: "bad-namespace-prefix"}


def _onDoctype(*unused: object) -> None:
    refuse("restricted-xml", "a document type declaration")


def _onEntity(*unused: object) -> None:
    refuse("restricted-xml", "an entity declaration")


def _onInstruction(*unused: object) -> None:
    refuse("restricted-xml", "a processing instruction")


def _onComment(*unused: object) -> None:
    refuse("restricted-xml", "a comment")


def _newExpat() -> pyexpat.XMLParserType:
    """A parser that refuses what RFC 6120, 11.1, forbids; it does not build anything yet."""
    # No interning: the Python side would keep every name as well.
    expat = pyexpat.ParserCreate("UTF-8", " ", None)
    defer = getattr(expat, "SetReparseDeferralEnabled", None)
    if defer is not None:
        defer(False)
    expat.StartDoctypeDeclHandler = _onDoctype
    expat.EntityDeclHandler = _onEntity
    expat.ProcessingInstructionHandler = _onInstruction
    expat.CommentHandler = _onComment
    return expat


class StreamParser(TreeBuilder):
    """Turns the bytes of one XML stream into its header, top-level elements and end.

    :ivar limits: may be replaced between stanzas.
    :ivar received: bytes fed so far; may be set, to count several streams of a connection as one.
    """

    __slots__ = (
        "received",
        "_expat",
        "_over",
        "_document",
        "_rooted",
        "_primer",
        "_lang",
        "_items",
        "_prefixes",
        "_declared",
        "_spread",
        "_sticky",
        "_fed",
        "_begin",
        "_raw",
        "_base",
        "_lead",
        "_hold",
        "_tail",
    )

    def __init__(self, limits: Limits = PRE_AUTH, document: bool = False) -> None:
        super().__init__(limits)
        self.received = 0
        self._over = False
        self._document = document
        self._rooted = document
        self._primer = b""
        self._lang = ""
        self._items: list[tuple[Item, int]] = []
        self._prefixes: dict[str, str] | None = None
        self._declared = -1
        # Characters of names with namespaces in this stanza; -1 where nobody counts.
        self._spread = -1
        self._sticky = False
        # Offsets in what expat was given: its end, and the start of the open stanza.
        self._fed = 0
        self._begin = 0
        # What is being fed, the offset of its first byte, and how much of it came earlier.
        self._raw = b""
        self._base = 0
        self._lead = 0
        self._hold: Hold | None = None
        self._tail = b""
        self._expat: pyexpat.XMLParserType | None = _newExpat()
        self._connect(self._expat)
        if not document:
            self._prefixes = {}
            self._declared = self._spread = 0
            self._expat.StartNamespaceDeclHandler = self._onNamespace
            self._expat.StartElementHandler = self._onSpreadStart

    def _connect(self, expat: pyexpat.XMLParserType) -> None:
        expat.StartElementHandler = self._onStart
        expat.EndElementHandler = self._onEnd
        expat.CharacterDataHandler = self._parts.append

    def feed(self, data: bytes) -> list[tuple[Item, int]]:
        """Read on.

        :return: pairs of an item and the offset in `data` just behind it, so
            that ``data[end:]`` is all that was received after the item.  A
            `ParseError` can only be the last; after it nothing comes any more.
        """
        expat = self._expat or self._wake()
        if expat is None or not data:
            return []
        size = len(data)
        self.received += size
        self._tail = b""
        try:
            fed = self._fed
            if (
                self._hold is None
                and data[-1] == _END
                and 0 < fed < _RENEW
                and size <= 4096
                and self._open is None
                and (size <= _SMALL or b"xmlns:" not in data)
            ):
                # By far the most frequent case: whole stanzas, a short one at least.
                self._raw = data
                self._base = fed
                self._lead = 0
                self._fed = fed = fed + size
                expat.Parse(data)
                if self._begin != fed or self.limits.totalBytes is not None:
                    self._settle(expat, data, size)
            else:
                self._take(expat, data)
        except XMLError as error:
            self._fail(ParseError(error.condition, error.text, error.app), size)
        except pyexpat.ExpatError as error:
            self._fail(self._judge(expat, error), size)
        self._raw = b""
        items = self._items
        if not items:
            return []
        self._items = []
        if items[0][1] < size:
            self._tail = data
        return items

    def pending(self, end: int) -> bytes:
        """Every byte received after the item with that end offset in the latest `feed`."""
        return self._tail[end:]

    @property
    def unread(self) -> bytes:
        """What has arrived and is not read yet because it is not complete."""
        return bytes(self._hold.seen + self._hold.held) if self._hold is not None else b""

    def close(self) -> None:
        """Free expat and all that is held; nothing is parsed afterwards."""
        self._over = True
        self._expat = self._open = self._hold = None
        self._raw = b""
        self._parts.clear()
        self._stack.clear()

    def sleep(self) -> None:
        """Free expat (10 KiB) until something arrives; for streams that have been silent for a while."""
        if self._rooted and self._open is None and self._hold is None and not self._document:
            self._expat = None

    def _wake(self) -> pyexpat.XMLParserType | None:
        return None if self._over else self._renew()

    def _renew(self) -> pyexpat.XMLParserType:
        """A new expat that stands where a stream stands between two stanzas."""
        expat = self._expat = _newExpat()
        expat.Parse(self._primer)
        self._fed = self._begin = len(self._primer)
        self._declared = self._spread = -1
        self._connect(expat)
        if self._sticky:
            self._spread = 0
            expat.StartElementHandler = self._onSpreadStart
        return expat

    def _fail(self, error: ParseError, end: int) -> None:
        """The stream is over; behind a proper end no error counts."""
        over = self._over
        self.close()
        if not over:
            self._items.append((error, end))

    # How much expat sees, and when.

    def _take(self, expat: pyexpat.XMLParserType, data: bytes) -> None:
        """Decide how much expat may see, let it, and keep the rest."""
        raw, cut = self._join(data)
        if not self._fed and (cut or self._lead < 4):
            cut = _checkStart(raw, cut)
        if not cut:
            self._keep(data)
            self._weigh()
            return
        self._raw = raw
        self._base = self._fed
        expat = self._run(expat, raw, cut)
        self._settle(expat, raw, cut)

    def _join(self, data: bytes) -> tuple[bytes, int]:
        """What is held with new data behind it, and how much of that may be read."""
        hold = self._hold
        if hold is None:
            self._lead = 0
            return data, _cut(data)
        lead = self._lead = len(hold.held)
        if lead < 4 and not self._fed:
            # At the very start a few bytes are held whatever they are.
            raw = bytes(hold.held) + data
            return raw, _cut(raw)
        if not hold.ends(data) or b">" not in data:
            return data, 0
        return bytes(hold.held) + data, lead + _cut(data)

    def _keep(self, data: bytes) -> None:
        if self._hold is None:
            self._hold = Hold()
        self._hold.keep(data)

    def _run(self, expat: pyexpat.XMLParserType, raw: bytes, cut: int) -> pyexpat.XMLParserType:
        """Give expat the first `cut` bytes, in slices, so that its buffer stays small and limits bite early."""
        at = 0
        while at < cut:
            to = cut
            if self._fed > _OVERDUE and self._rooted:
                to = raw.find(b">", at, min(at + _SLICE, cut)) + 1 or min(at + _SLICE, cut)
            elif cut - at > _SLICE:
                to = raw.rfind(b">", at, at + _SLICE) + 1 or at + _SLICE
            self._watchNamespaces(expat, raw, to - at)
            self._fed += to - at
            expat.Parse(raw[at:to])
            at = to
            if self._over:
                break
            unfinished = self._fed - expat.CurrentByteIndex
            if unfinished > self.limits.token:
                tooBig("a tag beyond the limit")
            if self._open is not None:
                self._weigh(0)
            elif self._fed > _RENEW and not unfinished and self._primer:
                expat = self._renew()
                self._base = self._fed - at
        return expat

    def _settle(self, expat: pyexpat.XMLParserType, raw: bytes, cut: int) -> None:
        """After expat has seen the first `cut` bytes of `raw`: see what it waits for, keep the rest."""
        if self._over:
            return
        hold = self._hold = None
        at = expat.CurrentByteIndex
        if at != self._fed:
            seen = raw[max(at - self._base, 0) : cut]
            if seen.startswith(b"<!["):
                refuse("not-well-formed", "no CDATA section")
            if seen.startswith((b"<!", b"<?")):
                refuse("restricted-xml", "a comment or a processing instruction")
            if seen.startswith(b"<"):
                hold = self._hold = Hold(seen)
        if cut < len(raw):
            rest = raw[cut:]
            if hold is not None:
                hold.ends(rest)
            self._keep(rest)
        if self._open is not None:
            self._watchNamespaces(expat, raw, 0)
        else:
            if self._parts:
                self._flush()
            if hold is None and self._rooted:
                # White space between stanzas is not part of the next one.
                self._begin = self._fed
                self._watchNamespaces(expat, b"", 0)
        self._weigh()

    def _weigh(self, held: int | None = None) -> None:
        """Refuse a stanza, a tag or, when all that came is read, a stream that has grown too big."""
        limits = self.limits
        hold = self._hold
        size = 0
        if hold is not None:
            if hold.tagLength() > limits.token:
                tooBig("a tag beyond the limit")
            size = len(hold.held) if held is None else held
        if self._open is not None or not self._rooted:
            size += self._fed - self._begin
        elif hold is not None:
            size += len(hold.seen)
        if size > limits.stanzaBytes:
            tooBig("a stanza beyond the limit")
        if held is None and limits.totalBytes is not None and self.received > limits.totalBytes:
            refuse("policy-violation", "too much before authentication")

    def _judge(self, expat: pyexpat.XMLParserType, error: pyexpat.ExpatError) -> ParseError:
        """The stream error for what expat refused (RFC 6120, 4.9.3 and 11)."""
        condition = _CONDITIONS.get(error.code, "not-well-formed")
        at = expat.ErrorByteIndex - self._base
        if at > 1 and self._raw[at - 2 : at] == b"<!":
            condition = "restricted-xml"
        return ParseError(condition, pyexpat.ErrorString(error.code))

    # Namespaces: to count is dear, so it is done only where there can be too much of them.

    def _watchNamespaces(self, expat: pyexpat.XMLParserType, raw: bytes, cut: int) -> None:
        """Count declarations in stanzas that have room for many, and names in those that declare prefixes."""
        if not self._rooted:
            return
        many = self._fed + cut - self._begin > self.limits.declarations * _DECLARATION_BYTES
        if many != (self._declared >= 0):
            self._declared = 0 if many else -1
            expat.StartNamespaceDeclHandler = self._onNamespace if many else None
        prefixed = self._sticky or self._hold is not None or b"xmlns:" in raw
        if prefixed and self._spread < 0:
            self._spread = 0
            expat.StartElementHandler = self._onSpreadStart
        elif not prefixed and self._spread >= 0 and self._open is None:
            self._spread = -1
            expat.StartElementHandler = self._onStart

    def _onSpreadStart(self, tag: str, attrs: dict[str, str]) -> None:
        """One long namespace name and thousands of uses of its prefix would be megabytes when written."""
        self._spread += len(tag) + sum(map(len, attrs))
        if self._spread > 2 * self.limits.stanzaBytes:
            tooBig("too many uses of long namespace names")
        self._onStart(tag, attrs)

    def _onNamespace(self, prefix: str | None, uri: str | None) -> None:
        self._declared += 1
        if self._declared > self.limits.declarations:
            tooBig("too many namespace declarations")
        if self._prefixes is not None:
            self._prefixes[prefix or ""] = uri or ""

    # The stream and its top-level elements.

    def _startTop(self, tag: str, node: Element) -> None:
        expat = self._expat
        assert expat is not None
        if not self._rooted:
            self._startRoot(expat, tag, node)
            return
        self._count = 1
        self._open = node
        space = node.ns
        if space == ns.CLIENT:
            if self._names is not PLAIN and tag.startswith("jabber:client "):
                refuse("invalid-namespace", "a stanza of jabber:client")
            if self._lang and node.name in _STANZAS and XML_LANG not in node.attrs:
                node.attrs[XML_LANG] = self._lang
        elif space == ns.STREAM and node.name == "stream" and not self._document:
            refuse("invalid-xml", "a second stream header")

    def _startRoot(self, expat: pyexpat.XMLParserType, tag: str, node: Element) -> None:
        prefixes = self._prefixes or {}
        self._prefixes = None
        self._declared = 0
        self._rooted = True
        content = prefixes.pop("", "")
        self._sticky = any(len(uri) > 64 for uri in prefixes.values())
        self._names = NAMES.get(content, PLAIN)
        lang = node.attrs.get(XML_LANG, "")
        self._lang = lang if _LANGUAGE.fullmatch(lang) else ""
        seen = self._hold.seen if self._hold is not None else b""
        whole = seen + self._raw
        at = expat.CurrentByteIndex - self._base + len(seen)
        end = tagEnd(whole, at)
        self._primer = whole[at:end]
        if len(self._primer) > min(_HEADER, self.limits.token):
            tooBig("a stream header beyond the limit")
        end -= len(seen)
        self._begin = self._base + end
        # The root itself is never renamed: it is not a stanza.
        space, _, name = tag.rpartition(" ")
        header = StreamHeader(space, name, node.attrs, content, self._lang, prefixes)
        self._items.append((header, end - self._lead))

    def _endTop(self) -> None:
        node, expat, raw = self._open, self._expat, self._raw
        assert expat is not None
        at = expat.CurrentByteIndex - self._base
        if node is None:
            self._items.append((StreamEnd(), raw.find(b">", at) + 1 - self._lead))
            self._over = True
            self._expat = None
            return
        # Expat stands before an end tag, but behind the tag of an empty element.
        if node.children or not self._isBehindEmpty(raw, at):
            at = raw.find(b">", at) + 1
        end = self._base + at
        if end - self._begin > self.limits.stanzaBytes:
            tooBig("a stanza beyond the limit")
        self._items.append((node, at - self._lead))
        self._begin = end
        self._open = None
        if self._declared > 0:
            self._declared = 0
        if self._spread > 0:
            self._spread = 0

    def _isBehindEmpty(self, raw: bytes, at: int) -> bool:
        if at > 1:
            return raw[at - 2 : at] == b"/>"
        return at == 1 and self._hold is not None and self._hold.seen.endswith(b"/")


def _cut(data: bytes) -> int:
    """How much of `data` may be read: up to its last ``>``, and if only text follows, all."""
    cut = data.rfind(b">") + 1
    if cut == len(data) or data.find(b"<", cut) >= 0 or data.find(b"&", cut) >= 0:
        return cut
    return len(data)


def _checkStart(raw: bytes, cut: int) -> int:
    """Refuse encodings other than UTF-8 (RFC 6120, 11.6), and XML other than 1.0.

    Expat takes UTF-16 for what it is, whatever it is told; and its callback
    for the declaration costs a kilobyte for each stream.

    :return: `cut`, or 0 while there is too little to tell.
    """
    if raw[:2] in _UTF16_MARKS or b"\0" in raw[:4]:
        refuse("unsupported-encoding", "only UTF-8 is allowed")
    if len(raw) < 4:
        return 0
    declaration = _DECLARATION.match(raw, 0, cut)
    if declaration is not None:
        if declaration[2] != b"1.0":
            refuse("unsupported-encoding", "only XML 1.0 is allowed")
        if declaration[4] is not None and declaration[4].lower() != b"utf-8":
            refuse("unsupported-encoding", "only UTF-8 is allowed")
    return cut


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
    if not isinstance(last, Element) or rest.strip(b" \t\r\n"):
        raise XMLError("not-well-formed", "not one whole document")
    return last
