"""Bytes that have arrived and that expat must not see yet."""

from __future__ import annotations

import re

from xmppservice.wire.items import refuse

_MARK = re.compile(rb"[\"'<>]")
_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*")


def tagEnd(raw: bytes, at: int) -> int:
    """The offset behind the ``>`` that ends the tag at `at`, quotes minded."""
    match = _TAG.match(raw, at)
    return (match.end() if match else len(raw)) + 1


class Hold:
    """The unread rest of a stream; exists only while there is one.

    Old expat scans an unfinished tag again from its start with every piece of it
    that comes (CVE-2023-52425).  So a tag is held here until it is complete,
    and then given over at once.

    :ivar held: the bytes.
    :ivar seen: the first part of a tag that expat has seen already, because a
        ``>`` in an attribute value looked like its end; else empty.
    """

    __slots__ = ("held", "seen", "_mark", "_quote")

    def __init__(self, seen: bytes = b"") -> None:
        self.held: bytes | bytearray = b""
        self.seen = seen
        self._mark = -1
        self._quote = b""
        if seen:
            self._quote = seen[tagEnd(seen, 0) - 1 :][:1]

    def keep(self, data: bytes) -> None:
        """Hold more; linear, however small the pieces."""
        held = self.held
        mark = data.rfind(b"<")
        if mark >= 0:
            self._mark = len(held) + mark
        if not held:
            self.held = data
        elif isinstance(held, bytearray):
            held += data
        else:
            self.held = bytearray(held) + data

    def tagLength(self) -> int:
        """How long the unfinished tag is already; 0 if what is held is text."""
        if self.seen:
            return len(self.seen) + len(self.held)
        return len(self.held) - self._mark if self._mark >= 0 else 0

    def ends(self, data: bytes) -> bool:
        """Whether new data can complete something: if a tag is seen in part, only what ends it.

        :raise XMLError: if a tag begins before that one ends.
        """
        if not self.seen:
            return True
        quote = self._quote
        at = 0
        while True:
            if quote:
                end = data.find(quote, at)
                if data.find(b"<", at, end if end >= 0 else len(data)) >= 0:
                    refuse("not-well-formed", "a tag within a tag")
                if end < 0:
                    break
                at = end + 1
                quote = b""
                continue
            match = _MARK.search(data, at)
            if match is None:
                break
            if match[0] == b">":
                return True
            if match[0] == b"<":
                refuse("not-well-formed", "a tag within a tag")
            quote = match[0]
            at = match.end()
        self._quote = quote
        return False
