"""Bytes to elements: the one hardened XML front end.

Theory of operation.  Expat calls back; a tree grows for one top-level element
at a time and is handed out when its end tag is there.  Expat itself is
guarded in two ways.

It never sees the beginning of a tag or a reference without its end: those are
held back (`hold`) until they are complete.  For each version of expat has its
own trouble with them.  Old ones scan such a tag again from its start with
every piece of it that comes (CVE-2023-52425).  Those from 2.6.0 on, and older
ones into which a distribution has brought the remedy, put off looking again
until twice as much is there, so that a stanza may not come out when its last
byte has arrived, and not all of them can be told to stop that.  What may still
be incomplete is text, three bytes at most (a character, a line end, ``]]``);
the four bytes and more of any tag that ends an element always make expat look.

It is replaced by a new one now and then between two stanzas, primed with the
stream header: expat keeps every element name, attribute name and prefix that
it has ever met, and a peer can make up new ones for ever.
"""

from __future__ import annotations

import pyexpat
import re

from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.hold import Hold, cut, isTag, tokenEnd
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
from xmppservice.wire.start import checkDeclaration, trimmed
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
_OPENING = ord("<")
# How nearly all that is sent ends; nothing that ends so can be the beginning of a tag only.
_ENDINGS = (b"</iq>", b"</message>", b"</presence>")
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
        "_section",
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
        # Whether expat is in a CDATA section.
        self._section = False
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
                self._open is None
                and self._hold is None
                and 0 < fed < _RENEW
                and size <= 4096
                and (size <= _SMALL or b"xmlns:" not in data)
                and (data.endswith(_ENDINGS) or isTag(data, data.rfind(b"<")))
            ):
                # By far the most frequent case: whole stanzas, a short one at least.
                self._raw = data
                self._base = fed
                self._fed = fed = fed + size
                expat.Parse(data)
                if self._begin != fed or self.limits.totalBytes is not None:
                    self._section = cut(data, 0, size, False)[1]
                    self._settle(expat, data, size)
            else:
                self._take(expat, data)
                self._lead = 0
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
        return bytes(self._hold.held) if self._hold is not None else b""

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
        raw = data
        if self._hold is not None:
            lead = len(self._hold.held)
            raw = self._hold.add(data)
            if not raw:
                self._weigh()
                return
            self._lead = lead
            self._hold = None
        if not self._fed:
            size = len(raw)
            raw, enough = trimmed(raw)
            if not enough:
                self._hold = Hold(raw) if raw else None
                self._weigh()
                return
            self._lead -= size - len(raw)
        self._raw = raw
        self._base = self._fed
        expat, at = self._run(expat, raw)
        self._settle(expat, raw, at)

    def _run(self, expat: pyexpat.XMLParserType, raw: bytes) -> tuple[pyexpat.XMLParserType, int]:
        """Give expat what is complete, in slices, so that its buffer stays small and limits bite early.

        :return: the expat to go on with, and how much of `raw` has been read.
        """
        size = len(raw)
        at = stop = 0
        while stop < size:
            stop = min(at + _SLICE, size)
            if self._fed > _OVERDUE and self._rooted:
                stop = raw.find(b">", at, stop) + 1 or stop
            to, section = cut(raw, at, stop, self._section)
            if to == at and stop < size:
                # One token, longer than the slice.
                stop = self._tokenStop(raw, at)
                to, section = cut(raw, at, stop, self._section)
            if to == at:
                break
            self._section = section
            piece = raw if to - at == size else raw[at:to]
            if not self._rooted:
                self._checkProlog(piece)
            self._watchNamespaces(expat, piece, len(piece))
            self._fed += len(piece)
            expat.Parse(piece)
            at = to
            if self._over:
                break
            if self._open is not None:
                self._weigh(last=False)
            elif self._fed > _RENEW and self._primer and expat.CurrentByteIndex == self._fed:
                expat = self._renew()
                self._base = self._fed - at
        return expat, at

    def _tokenStop(self, raw: bytes, at: int) -> int:
        """The end of a long token, or of `raw` if that comes first."""
        end = tokenEnd(raw, at, len(raw)) if raw[at] == _OPENING else 0
        if end - at > self.limits.token:
            tooBig("a tag beyond the limit")
        return end or len(raw)

    def _checkProlog(self, piece: bytes) -> None:
        """What stands before the header is refused before expat learns of it."""
        if not self._fed:
            checkDeclaration(piece)
        if piece.lstrip(b" \t\r\n").startswith(b"<!"):
            refuse("restricted-xml", "a comment or a document type declaration")

    def _settle(self, expat: pyexpat.XMLParserType, raw: bytes, to: int) -> None:
        """After expat has seen the first `to` bytes of `raw`: see what it waits for, keep the rest."""
        if self._over:
            return
        at = expat.CurrentByteIndex - self._base
        if 0 <= at < to:
            self._refuseUnfinished(raw[at:to])
        if to < len(raw):
            self._hold = Hold(raw[to:])
        if self._open is not None:
            self._watchNamespaces(expat, raw, 0)
        else:
            if self._parts:
                self._flush()
            if self._section:
                refuse("bad-format", "text between stanzas")
            if self._rooted:
                # White space between stanzas is not part of the next one.
                self._begin = self._fed
                self._watchNamespaces(expat, b"", 0)
        self._weigh()

    def _refuseUnfinished(self, rest: bytes) -> None:
        """Only what is not allowed can be unfinished for expat, short pieces of text apart."""
        if rest.startswith((b"<!", b"<?")) and not rest.startswith(b"<!["):
            refuse("restricted-xml", "a comment or a processing instruction")
        if rest.startswith((b"<", b"&")) or not (self._rooted or rest.isspace()):
            refuse("not-well-formed", "a tag within a tag, or text before the header")

    def _weigh(self, last: bool = True) -> None:
        """Refuse a stanza, a tag or, when all that came is read, a stream that has grown too big."""
        limits = self.limits
        hold = self._hold
        size = 0
        if hold is not None:
            size = len(hold.held)
            if size > limits.token and hold.held[0] == _OPENING:
                tooBig("a tag beyond the limit")
        if self._open is not None or not self._rooted:
            size += self._fed - self._begin
        if size > limits.stanzaBytes:
            tooBig("a stanza beyond the limit")
        if last and limits.totalBytes is not None and self.received > limits.totalBytes:
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
        prefixed = self._sticky or b"xmlns:" in raw
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
        at = expat.CurrentByteIndex - self._base
        end = tokenEnd(self._raw, at, len(self._raw))
        self._primer = self._raw[at:end]
        if len(self._primer) > min(_HEADER, self.limits.token):
            tooBig("a stream header beyond the limit")
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
            # Expat stands before the end tag, but behind a root that is an empty element.
            end = at if self._primer.endswith(b"/>") else raw.find(b">", at) + 1
            self._items.append((StreamEnd(), end - self._lead))
            self._over = True
            self._expat = None
            return
        # Expat stands before an end tag, but behind the tag of an empty element.
        if node.children or raw[max(at - 2, 0) : at] != b"/>":
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
