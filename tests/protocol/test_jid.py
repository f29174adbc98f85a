"""Addresses: RFC 7622's examples, one normal form, boundaries, hostile text, the cache."""

import copy
import pickle
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmppservice.protocol import jid as module
from xmppservice.protocol.jid import JID, InvalidJID, prepareDomain, prepareLocal, prepareResource

LEGAL = [
    ("juliet@example.com", "juliet", "example.com", ""),
    ("juliet@example.com/foo", "juliet", "example.com", "foo"),
    ("juliet@example.com/foo bar", "juliet", "example.com", "foo bar"),
    ("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"),
    (r"foo\20bar@example.com", r"foo\20bar", "example.com", ""),
    ("fussball@example.com", "fussball", "example.com", ""),
    ("fu\xdfball@example.com", "fu\xdfball", "example.com", ""),
    ("\u03c0@example.com", "\u03c0", "example.com", ""),
    ("\u03a3@example.com/foo", "\u03c3", "example.com", "foo"),
    ("\u03c3@example.com/foo", "\u03c3", "example.com", "foo"),
    ("\u03c2@example.com/foo", "\u03c2", "example.com", "foo"),
    ("king@example.com/\u265a", "king", "example.com", "\u265a"),
    ("example.com", "", "example.com", ""),
    ("example.com/foobar", "", "example.com", "foobar"),
    ("a.example.com/b@example.net", "", "a.example.com", "b@example.net"),
]
"""RFC 7622 table 1."""

ILLEGAL = [
    '"juliet"@example.com',
    "foo bar@example.com",
    "juliet@example.com/ foo",
    "@example.com/",
    "henry\u2163@example.com",
    "\u265a@example.com",
    "juliet@",
    "/foobar",
]
"""RFC 7622 table 2."""


@pytest.mark.parametrize(("text", "local", "domain", "resource"), LEGAL)
def test_legal(text: str, local: str, domain: str, resource: str) -> None:
    """Every legal example of RFC 7622 is taken apart as printed."""
    jid = JID.parse(text)
    assert (jid.local, jid.domain, jid.resource) == (local, domain, resource)
    assert jid.isBare is (resource == "")
    assert jid.full == (f"{jid.bare}/{resource}" if resource else jid.bare)


@pytest.mark.parametrize("text", ILLEGAL)
def test_illegal(text: str) -> None:
    """Every illegal example of RFC 7622 is refused."""
    with pytest.raises(InvalidJID):
        JID.parse(text)


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("ALICE@EXAMPLE.COM/Phone", "alice@example.com/Phone"),
        ("alice@example.com.", "alice@example.com"),
        ("\uff21\uff2c\uff29\uff23\uff25@example.com", "alice@example.com"),
        ("alice@\uff45xample\u3002com\uff0e", "alice@example.com"),
        ("a\u0308rger@example.com", "\xe4rger@example.com"),
        ("A\u0308RGER@bu\u0308cher.example/u\u0308", "\xe4rger@b\xfccher.example/\xfc"),
        ("a@xn--bcher-kva.example", "a@b\xfccher.example"),
        ("a@XN--BCHER-KVA.example", "a@b\xfccher.example"),
        ("a@stra\xdfe.example", "a@stra\xdfe.example"),
        ("a@exam\xadple.com", "a@example.com"),
        ("\u0130@example.com", "i\u0307@example.com"),
        ("I@example.com", "i@example.com"),
        ("\u0131@example.com", "\u0131@example.com"),
        ("a@example.com/\u00a0x", None),
        ("a@example.com/x\u3000y", "a@example.com/x y"),
        ("\u0915\u094d\u200d@example.com", "\u0915\u094d\u200d@example.com"),
        ("a@[::1]/x", "a@[::1]/x"),
        ("a@[0:0:0:0:0:0:0:1]", "a@[::1]"),
        ("a@[2001:DB8::1]", "a@[2001:db8::1]"),
        ("a@127.0.0.1", "a@127.0.0.1"),
        ("a@localhost", "a@localhost"),
    ],
)
def test_oneNormalForm(spelling: str, normal: str | None) -> None:
    """Case, width, composition, dots and A-labels all end in one spelling (hardening I06)."""
    if normal is None:
        with pytest.raises(InvalidJID):
            JID.parse(spelling)
        return
    assert JID.parse(spelling).full == normal
    assert JID.parse(spelling) is JID.parse(normal)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "@",
        "/",
        "@@@",
        "a@",
        "@b",
        "a@b/",
        "a@b@c",
        "a b@x",
        "a\t@x",
        "a\u202eb@x",
        "a@x/\u202eb",
        "a@x\u202e",
        "a\u200d@x",
        "a\u200cb@x",
        "a\xad@x",
        "a\uff20b@x",
        "a\uff0fb@x",
        "a\x00@x",
        "a@x/\x00",
        "a@x/\x1b[0m",
        "a@x/line\nbreak",
        "a@x/\x7f",
        "a@x/\x85",
        "\ud800@x",
        "a@x/\udfff",
        "a@x/\ufffe",
        "a@b..c",
        "a@.b",
        "a@b...",
        "a@-b",
        "a@b-",
        "a@b_c",
        "a@b c",
        "a@ab--cd",
        "a@xn--",
        "a@xn--zzzzzzz99999",
        "a@xn---bbk",
        "a@b:5222",
        "a@[::1",
        "a@::1",
        "a@[::1%eth0]",
        "a@[v1.fe80::a]",
        "a@[127.0.0.1]",
        "a@" + "b" * 64,
        "a@" + ".".join(["b" * 49] * 6),
        "\u05d0a@x",
        "1\u05d0@x",
        "\u0378@x",
    ],
)
def test_refused(text: str) -> None:
    """Separators, controls, direction marks, broken names and literals are refused, and only with InvalidJID."""
    for _ in range(2):
        with pytest.raises(InvalidJID):
            JID.parse(text)


@pytest.mark.parametrize("excluded", list("\"&'/:<>@ "))
def test_excludedFromLocal(excluded: str) -> None:
    """RFC 7622 3.3.1: these are refused in a local part, in ASCII and beside non-ASCII text."""
    for text in (excluded, f"a{excluded}b", f"\xe4{excluded}b"):
        with pytest.raises(InvalidJID):
            prepareLocal(text)


@pytest.mark.parametrize("tail", ["a", "\xe4", "\u20ac", "\U0001f600"], ids=["1", "2", "3", "4"])
@pytest.mark.parametrize("prepare", [prepareLocal, prepareResource])
def test_lengthBoundary(prepare: Callable[[str], str], tail: str) -> None:
    """1,023 octets pass whole and 1,024 are refused, whatever the size of the last character (hardening X12)."""
    if prepare is prepareLocal and tail in "\u20ac\U0001f600":
        tail = "\u4e2d" if tail == "\u20ac" else "\U00020000"
    room = 1023 - len(tail.encode())
    text = "b" * room + tail
    assert prepare(text) == text
    with pytest.raises(InvalidJID):
        prepare("b" + text)


def test_lengthIsCountedAfterNormalisation() -> None:
    """Decomposed text may be longer than the limit if its normal form is not."""
    decomposed = "u\u0308\u0304" * 511
    assert prepareResource(decomposed) == "\u01d6" * 511
    assert prepareLocal("\uff41" * 1023) == "a" * 1023
    with pytest.raises(InvalidJID):
        prepareLocal("\u01d6" * 512)


def test_rawLimitCutsNothingOff() -> None:
    """No composition shrinks text so much that the limit on raw text could refuse what would fit."""
    import unicodedata

    longest = 0.0
    for point in range(0xC0, 0x30000):
        character = chr(point)
        if not 0xD800 <= point < 0xE000 and unicodedata.normalize("NFC", character) == character:
            longest = max(longest, len(unicodedata.normalize("NFD", character)) / len(character.encode()))
    assert longest * 1023 <= module._MAX_RAW


def test_longAddress() -> None:
    """Three parts at their limits make one valid address; it is not kept in the cache."""
    label = "c" * 61
    text = f"{'a' * 1023}@{'.'.join([label] * 4)}/{'b' * 1023}"
    assert JID.parse(text).full == text
    assert text not in module._recent
    assert JID.parse(text) == JID.parse(text)


def test_domainLimit() -> None:
    """A domain name must fit the DNS: 253 octets in its encoded form."""
    text = ".".join(["b" * 49] * 5) + ".cde"
    assert len(text) == 253
    assert prepareDomain(text) == text
    with pytest.raises(InvalidJID):
        prepareDomain(text + "f")
    label = "".join(chr(0x4E00 + 997 * step) for step in range(14))
    assert prepareDomain(".".join([label] * 4)) == ".".join([label] * 4)
    with pytest.raises(InvalidJID):
        prepareDomain(".".join([label] * 7))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("l\xb7l", True),
        ("a\xb7l", False),
        ("\u0375\u03b1", True),
        ("\u0375a", False),
        ("\u05d0\u05f3", True),
        ("\u05f3", False),
        ("\u30a2\u30fb\u30a2", True),
        ("\u30fb", False),
        ("\u0627\u0661", True),
        ("\u0627\u06f1", True),
        ("\u0627\u0661\u06f1", False),
        ("\u0628\u200c\u0628", True),
        ("\u200c\u0628", False),
    ],
)
def test_contextualRules(text: str, valid: bool) -> None:
    """Characters that depend on their neighbours are judged in context (RFC 8264 9.5)."""
    for prepare in (prepareLocal, prepareResource):
        if valid:
            assert prepare(text) == text
        else:
            with pytest.raises(InvalidJID):
                prepare(text)


HOSTILE = {
    "katakana dots": "\u30fb" * 340 + "\u6f22",
    "arabic digits": "\u0627" + "\u0661" * 510,
    "combining marks": "a" + "\u0301\u0316" * 766,
    "joiners": "\u0628" + "\u0301\u200c" * 200,
    "viramas": "\u0915" + "\u094d\u200d" * 340,
    "decomposed": "u\u0308\u0304" * 511,
    "jamo": "\u1100\u1161\u11a8" * 511,
    "separators": "@" * 65536,
    "slashes": "/" * 65536,
    "letters": "a" * 65536,
    "labels": "a." * 32768,
    "hyphens": "a-" * 32768,
    "marks": "\u0301" * 65536,
    "spaces": "\u3000" * 65536,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_worstCaseCost(text: str) -> None:
    """No text of any length costs more than 5 ms in any slot (hardening D12)."""
    for prepare in (prepareLocal, prepareResource, prepareDomain, JID.parse):
        best = 1.0
        for _ in range(3):
            start = time.process_time()
            try:
                prepare(text)
            except InvalidJID:
                pass
            best = min(best, time.process_time() - start)
        assert best < 0.005


def outcome(prepare: Callable[[str], str], text: str) -> str | None:
    try:
        return prepare(text)
    except InvalidJID:
        return None


def checkIdempotence(points: range) -> None:
    """Prepare each code point alone and inside text, in every slot; what comes out must be stable.

    `checkIdempotence(range(0x110000))` is the exhaustive run of `make fuzz`.
    """
    for prepare in (prepareLocal, prepareResource, prepareDomain):
        for point in points:
            for text in (chr(point), f"a{chr(point)}b"):
                prepared = outcome(prepare, text)
                if prepared is not None:
                    assert prepare(prepared) == prepared, f"U+{point:04X} in {prepare.__name__}"


def test_idempotenceSampled() -> None:
    """Preparing twice is preparing once: all of the first planes' alphabets, and a sample of the rest."""
    checkIdempotence(range(0x0600))
    checkIdempotence(range(0x0600, 0x3000, 7))
    checkIdempotence(range(0xF900, 0x10000, 5))
    checkIdempotence(range(0x3000, 0x110000, 997))


def test_agreesWithTheLibrary() -> None:
    """Our linear check and the library's own enforcement accept the same text with the same result."""
    from precis_i18n import get_profile

    username, opaque = get_profile("UsernameCaseMapped"), get_profile("OpaqueString")
    for point in [*range(0x20, 0x700), *range(0x700, 0x110000, 1511)]:
        for text in (chr(point), f"l{chr(point)}l", f"\u05d0{chr(point)}"):
            expected: list[str | None] = []
            for profile in (username, opaque):
                try:
                    expected.append(profile.enforce(text))
                except UnicodeEncodeError:
                    expected.append(None)
            if expected[0] and module._excludedLocal(expected[0]):
                expected[0] = None
            if expected[1] and expected[1].startswith(" "):
                expected[1] = None
            assert [outcome(prepareLocal, text), outcome(prepareResource, text)] == expected, f"U+{point:04X}"


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_anyText(text: str) -> None:
    """Any text is either refused with InvalidJID or has a normal form that parses to itself."""
    try:
        jid = JID.parse(text)
    except InvalidJID:
        return
    assert JID.parse(jid.full) is jid
    assert JID.of(jid.local, jid.domain, jid.resource) is jid


def test_bareAndResource() -> None:
    """The account of a full address is one object, and leads back to each of its resources."""
    first, second = JID.parse("Alice@Example.com/a"), JID.parse("alice@example.com/b")
    assert first.bareJID is second.bareJID is JID.parse("alice@example.com")
    assert first.bare is second.bare
    assert first.domain is JID.parse("bob@example.com").domain
    assert first.bareJID.bareJID is first.bareJID
    assert first.withResource("b") is second
    assert first.withResource("") is first.bareJID
    assert first.withResource("u\u0308").resource == "\xfc"
    with pytest.raises(InvalidJID):
        first.withResource("\x00")


def test_ofTakesPreparedPartsOnly() -> None:
    """`of` neither prepares parts nor lets unprepared ones through."""
    assert JID.of("alice", "example.com", "x/y").full == "alice@example.com/x/y"
    assert JID.of("", "example.com").full == "example.com"
    for parts in [
        ("Alice", "example.com"),
        ("alice", "example.com."),
        ("a/b", "c"),
        ("a", "b/c"),
        ("", "a@b"),
        ("", ""),
    ]:
        with pytest.raises(InvalidJID):
            JID.of(*parts)


def test_identity() -> None:
    """Addresses compare and hash by their full text, and never equal a string."""
    jid = JID.parse("alice@example.com/x")
    assert jid == JID.parse("ALICE@example.com/x")
    assert jid != JID.parse("alice@example.com/X")
    assert jid != "alice@example.com/x"
    assert {jid: 1}[JID.parse("alice@EXAMPLE.com/x")] == 1
    assert str(jid) == jid.full
    assert repr(jid) == "JID('alice@example.com/x')"
    assert copy.deepcopy(jid) == jid == pickle.loads(pickle.dumps(jid))


def test_immutable() -> None:
    """Shared objects cannot be changed, extended or built past the preparation."""
    jid = JID.parse("alice@example.com/x")
    for name in ("local", "full", "isBare", "other"):
        with pytest.raises(AttributeError):
            setattr(jid, name, "mallory")
    with pytest.raises(AttributeError):
        del jid.local
    with pytest.raises(TypeError):
        JID("alice@example.com")


def test_cacheIsBounded() -> None:
    """However many addresses a peer invents, the two generations stay under their cap (hardening D11)."""
    survivor = JID.parse("survivor@cache.example")
    for number in range(3 * module._CACHED_COUNT):
        JID.parse(f"u{number}@cache.example")
        if number % 1000 == 0:
            assert JID.parse("survivor@cache.example") is survivor
    assert len(module._recent) <= module._CACHED_COUNT
    assert len(module._older) <= module._CACHED_COUNT
    assert JID.parse("u0@cache.example").full == "u0@cache.example"


def test_refusalsAreNotCached() -> None:
    """A refused address leaves nothing behind."""
    before = len(module._recent)
    for number in range(50):
        with pytest.raises(InvalidJID):
            JID.parse(f"a b{number}@refused.example/x")
    assert len(module._recent) == before


def test_size() -> None:
    """An address costs less than 100 bytes beside its strings."""
    assert sys.getsizeof(JID.parse("alice@example.com/x")) <= 100
