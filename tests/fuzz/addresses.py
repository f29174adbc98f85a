"""F4: what RFC 8264, 8265 and 7622 say of single code points, written from the RFCs over ``unicodedata`` alone.

The product uses libraries for this; here are the rules themselves, so that the two can be compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from xmppservice.protocol.jid import InvalidJID, asciiDomain, prepareDomain, prepareLocal, prepareResource

PVALID, FREE, CONTEXT, DISALLOWED, UNASSIGNED = "PVALID", "FREE", "CONTEXT", "DISALLOWED", "UNASSIGNED"


def _ranges(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(found)


# RFC 5892 2.6, Unicode's Default_Ignorable_Code_Point, and the syllable types L, V and T.
_VALID = _ranges("DF 3C2 6FD 6FE F0B 3007")
_CONTEXTO = _ranges("B7 375 5F3 5F4 30FB 660-669 6F0-6F9")
_REFUSED = _ranges("640 7FA 302E 302F 3031-3035 303B")
_JOINERS = _ranges("200C 200D")
_IGNORABLE = _ranges(
    "AD 34F 61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8"
    " 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)
_JAMO = _ranges("1100-11FF A960-A97C D7B0-D7C6 D7CB-D7FB")
_LETTERS = frozenset(("Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"))


def kindOf(point: int) -> str:
    """The derived property of RFC 8264 section 8."""
    character = chr(point)
    category = unicodedata.category(character)
    noncharacter = point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF
    if point in _VALID:
        return PVALID
    if point in _CONTEXTO:
        return CONTEXT
    if point in _REFUSED:
        return DISALLOWED
    if category == "Cn" and not noncharacter:
        return UNASSIGNED
    if 0x21 <= point <= 0x7E:
        return PVALID
    if point in _JOINERS:
        return CONTEXT
    if point in _JAMO or point in _IGNORABLE or noncharacter or category in ("Cc", "Cs", "Co", "Cf", "Zl", "Zp"):
        return DISALLOWED
    if unicodedata.normalize("NFKC", character) != character:
        return FREE
    return PVALID if category in _LETTERS else FREE


def _wide(text: str) -> str:
    """Width mapping (RFC 8265 3.3.1)."""
    out = []
    for character in text:
        tag, _, mapped = unicodedata.decomposition(character).partition("> ")
        out.append(chr(int(mapped, 16)) if tag in ("<wide", "<narrow") else character)
    return "".join(out)


def _directed(text: str) -> bool:
    """The Bidi Rule (RFC 5893 section 2) where it applies."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    if not {"R", "AL", "AN"} & set(kinds):
        return True
    while kinds and kinds[-1] == "NSM":
        kinds.pop()
    allowed = {"R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}
    return kinds[0] in ("R", "AL") and set(kinds) <= allowed and kinds[-1] in ("R", "AL", "EN", "AN")


def _user(text: str) -> str:
    return unicodedata.normalize("NFC", _wide(text).lower())


def _opaque(text: str) -> str:
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)


def localOf(text: str) -> str | None:
    """A local part of one character, as RFC 7622 3.3 wants it; None if it is none."""
    prepared = _user(text)
    if _user(prepared) != prepared or not _directed(prepared):
        return None
    for character in prepared:
        kind = kindOf(ord(character))
        # The digits of Arabic scripts need no company; whatever else depends on context does.
        alone = kind == CONTEXT and ord(character) in range(0x660, 0x6FA)
        if not (kind == PVALID or alone) or character in "\"&'/:<>@":
            return None
    return prepared


def resourceOf(text: str) -> str | None:
    """A resource of one character, as RFC 7622 3.4 wants it; None if it is none."""
    prepared = _opaque(text)
    if prepared[:1] == " ":
        return None
    for character in prepared:
        kind = kindOf(ord(character))
        if kind not in (PVALID, FREE) and not (kind == CONTEXT and ord(character) in range(0x660, 0x6FA)):
            return None
    return prepared


def outcome(prepare: Callable[[str], str], text: str) -> str | None:
    """The normal form, or None."""
    try:
        return prepare(text)
    except InvalidJID:
        return None


def checkPoint(point: int, local: Callable[[str], str] = prepareLocal) -> str:
    """One code point in each slot: the same verdict as the RFCs', the same normal form, and that is final."""
    text = chr(point)
    for ours, theirs in ((local, localOf), (prepareResource, resourceOf)):
        found = outcome(ours, text)
        if found != theirs(text):
            return f"U+{point:04X}: {ours.__name__} gives {found!r}, {theirs.__name__} {theirs(text)!r}"
        if found is not None and outcome(ours, found) != found:
            return f"U+{point:04X}: {found!r} is not its own normal form"
    return _checkDomain(point)


def _checkDomain(point: int) -> str:
    for text in (f"x{chr(point)}y", chr(point)):
        domain = outcome(prepareDomain, text)
        if domain is None:
            continue
        if outcome(prepareDomain, domain) != domain or outcome(prepareDomain, asciiDomain(domain)) != domain:
            return f"U+{point:04X}: the domain {domain!r} is not its own normal form"
        for character in domain:
            kind = kindOf(ord(character))
            if kind not in (PVALID, UNASSIGNED, CONTEXT):
                return f"U+{point:04X}: the domain {domain!r} has U+{ord(character):04X}, {kind}"
    return ""


def disagreements(points: Iterable[int]) -> list[str]:
    """What is wrong with these code points."""
    return [problem for point in points if (problem := checkPoint(point))]
