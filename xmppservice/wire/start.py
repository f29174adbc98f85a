"""The first bytes of a stream: white space, encoding, XML declaration."""

from __future__ import annotations

import re

from xmppservice.wire.items import refuse

_DECLARATION = re.compile(
    rb"""<\?xml\s+version\s*=\s*(['"])(.*?)\1(?:\s+encoding\s*=\s*(['"])(.*?)\3)?""",
    re.DOTALL,
)
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")
_UTF8_MARK = b"\xef\xbb\xbf"
_ENOUGH = 4


def trimmed(raw: bytes) -> tuple[bytes, bool]:
    """What is left without leading white space, and whether that is enough to begin with.

    Some clients send a line end before the header.  XML forbids white space
    before a declaration, but nothing is gained by being strict.  What is
    enough comes without UTF-8's byte order mark and begins with ``<``.
    """
    raw = raw.lstrip(b" \t\r\n")
    if raw[:2] in _UTF16_MARKS or b"\0" in raw[:4]:
        # Expat takes UTF-16 for what it is, whatever it is told.
        refuse("unsupported-encoding", "only UTF-8 is allowed")
    skip = len(_UTF8_MARK) if raw.startswith(_UTF8_MARK) else 0
    if len(raw) < skip + _ENOUGH:
        return raw, False
    if raw[skip : skip + 1] != b"<":
        refuse("not-well-formed", "no stream header")
    return raw[skip:], True


def checkDeclaration(raw: bytes) -> None:
    """Refuse encodings other than UTF-8 (RFC 6120, 11.6), and XML other than 1.0.

    Expat's callback for the declaration would cost a kilobyte for each stream.
    """
    declaration = _DECLARATION.match(raw)
    if declaration is not None:
        if declaration[2] != b"1.0":
            refuse("unsupported-encoding", "only XML 1.0 is allowed")
        if declaration[4] is not None and declaration[4].lower() != b"utf-8":
            refuse("unsupported-encoding", "only UTF-8 is allowed")
