"""Which of the bytes that have arrived expat may see, and what becomes of the others."""

from __future__ import annotations

import re
from collections.abc import Callable

_SECTION = b"<![CDATA["
_SECTION_END = b"]]>"
_MARK = re.compile(rb"[\"'<>]")
_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*")
isTag = re.compile(_TAG.pattern + b">").fullmatch
"""Whether ``isTag(raw, at)``: all of `raw` from `at` on is one tag, or XML that is never allowed."""
_REFERENCE_END = re.compile(rb"[;<]")
_END, _SLASH, _BANG, _QUESTION = b">/!?"


def tokenEnd(raw: bytes, at: int, stop: int) -> int:
    """The offset behind the markup that begins with the ``<`` at `at`; 0 if it does not end before `stop`.

    Of a CDATA section that is its opening only.  Other ``<!`` counts as whole:
    it is refused as soon as it is seen.
    """
    if at + 1 >= stop:
        return 0
    kind = raw[at + 1]
    if kind == _SLASH or kind == _QUESTION:
        return raw.find(b">", at, stop) + 1
    if kind == _BANG:
        start = raw[at : min(at + len(_SECTION), stop)]
        return 0 if len(start) < len(_SECTION) and _SECTION.startswith(start) else at + len(start)
    match = _TAG.match(raw, at, stop)
    end = match.end() if match is not None else stop
    return end + 1 if end < stop and raw[end] == _END else 0


def cut(raw: bytes, at: int, stop: int, section: bool) -> tuple[int, bool]:
    """How far expat may read in ``raw[at:stop]`` without meeting the beginning of a tag or reference only.

    Only the last ``<`` can begin what is not complete: in XML there is none
    within a tag, so what is wrong before it makes expat stop by itself.

    :param section: whether there is an open CDATA section at `at`.
    :return: the offset, and whether there is an open section there.
    """
    mark = raw.rfind(b"<", at, stop)
    text = at
    if mark >= 0:
        text = mark
        opening = raw.rfind(_SECTION, at, stop)
        if opening == mark:
            section = True
        else:
            closing = raw.rfind(_SECTION_END, at, mark)
            if opening != closing:
                section = opening > closing
    if section:
        closing = raw.find(_SECTION_END, text, stop)
        if closing < 0:
            # The beginning of its end is not shown either, so that the end is always seen whole.
            return stop - (2 if raw.endswith(b"]]", text, stop) else raw.endswith(b"]", text, stop)), True
        text = closing + len(_SECTION_END)
    elif mark >= 0:
        text = tokenEnd(raw, mark, stop)
        if not text:
            return mark, False
    reference = raw.rfind(b"&", text, stop)
    if reference >= 0 and raw.find(b";", reference, stop) < 0:
        return reference, False
    return stop, False


class Hold:
    """What `cut` has left over; exists only while there is something.

    :ivar held: the bytes.
    """

    __slots__ = ("held", "_completes", "_quote")

    def __init__(self, rest: bytes) -> None:
        self.held: bytes | bytearray = rest
        self._quote = b""
        self._completes: Callable[[bytes], object] | None = None
        if rest[:1] == b"&":
            self._completes = _REFERENCE_END.search
        elif rest[:1] == b"<" and len(rest) > 1:
            kind = rest[1]
            if kind == _SLASH or kind == _QUESTION:
                self._completes = _hasEnd
            elif kind != _BANG:
                self._completes = self._endsTag
                self._endsTag(rest[1:])

    def add(self, data: bytes) -> bytes:
        """Take more; linear, however small the pieces.

        :return: all of it, if there is now something complete; else nothing, and all is held.
        """
        held = self.held
        if self._completes is None or self._completes(data):
            return bytes(held) + data
        if isinstance(held, bytearray):
            held += data
        else:
            self.held = bytearray(held) + data
        return b""

    def _endsTag(self, data: bytes) -> bool:
        """Go on in a tag: whether it ends in `data`, or goes wrong."""
        quote = self._quote
        at = 0
        while True:
            if quote:
                end = data.find(quote, at)
                if data.find(b"<", at, end if end >= 0 else len(data)) >= 0:
                    return True
                if end < 0:
                    break
                at = end + 1
                quote = b""
            match = _MARK.search(data, at)
            if match is None:
                break
            quote = match[0]
            if quote == b">" or quote == b"<":
                return True
            at = match.end()
        self._quote = quote
        return False


def _hasEnd(data: bytes) -> bool:
    return b">" in data
