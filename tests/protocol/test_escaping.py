r"""The tables and examples of XEP-0106, and that nothing is lost on the way there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppservice.protocol.escaping import FEATURE, escape, unescape
from xmppservice.protocol.jid import JID, InvalidJID

# Sections 3.2 and 3.3.
TRANSFORMATIONS = {
    " ": r"\20", '"': r"\22", "&": r"\26", "'": r"\27", "/": r"\2f", ":": r"\3a", "<": r"\3c", ">": r"\3e", "@": r"\40",
}  # fmt: skip

# Source and escaped local part: the table of 5.1, and the examples of 3.2 to 5.7 that differ from it.
NAMES = [
    ("space cadet", r"space\20cadet"),
    ('call me "ishmael"', r"call\20me\20\22ishmael\22"),
    ("at&t guy", r"at\26t\20guy"),
    ("d'artagnan", r"d\27artagnan"),
    ("/.fanboy", r"\2f.fanboy"),
    ("::foo::", r"\3a\3afoo\3a\3a"),
    ("<foo>", r"\3cfoo\3e"),
    ("user@host", r"user\40host"),
    (r"c:\net", r"c\3a\net"),
    (r"c:\\net", r"c\3a\\net"),
    (r"c:\cool stuff", r"c\3a\cool\20stuff"),
    (r"c:\5commas", r"c\3a\5c5commas"),
    ("treville@musketeers.lit", r"treville\40musketeers.lit"),
    ("here's_a_wild_&_/cr%zy/_address", r"here\27s_a_wild_\26_\2fcr%zy\2f_address"),
    (
        'here\'s_a_wild_&_/cr%zy/_address_for:<wv>("IMPS")',
        r"here\27s_a_wild_\26_\2fcr%zy\2f_address_for\3a\3cwv\3e(\22IMPS\22)",
    ),
    (r"\3and\2is\5cool", r"\5c3and\2is\5c5cool"),
    (
        r"CN=D'Artagnan Saint-Andr\E9,O=Example & Company, Inc.,DC=example,DC=com",
        r"CN=D\27Artagnan\20Saint-Andr\E9,O=Example\20\26\20Company,\20Inc.,DC=example,DC=com",
    ),
    ("somenick!user\"&'/:<>\\3address", r"somenick!user\22\26\27\2f\3a\3c\3e\5c3address"),
    (r"\27", r"\5c27"),
    (r"\5c", r"\5c5c"),
]


@pytest.mark.parametrize(("character", "sequence"), TRANSFORMATIONS.items())
def test_characters(character: str, sequence: str) -> None:
    """Sections 3.2 and 3.3, cell by cell, for a character between others."""
    assert escape(f"a{character}b") == f"a{sequence}b"
    assert unescape(f"a{sequence}b") == f"a{character}b"


def test_backslash() -> None:
    r"""The last line of both tables: ``\5c`` is a backslash always, a backslash is ``\5c`` only before a sequence."""
    assert unescape(r"a\5cb") == r"a\b"
    assert escape(r"a\b") == r"a\b"
    assert escape(r"a\20b") == r"a\5c20b"


@pytest.mark.parametrize(("name", "local"), NAMES)
def test_examples(name: str, local: str) -> None:
    """Both ways; and the escaped form is a local part, which the server leaves as it is but for its case."""
    assert escape(name) == local
    assert unescape(local) == name
    address = JID.parse(f"{local}@example.com")
    assert (address.local, address.domain) == (local.lower(), "example.com")


@pytest.mark.parametrize("text", [r"\2plus\2is\4", r"foo\bar", r"foob\41r", "\\", r"\2", r"a\5", r"\2é", "plain", ""])
def test_otherSequences(text: str) -> None:
    """Section 4.3: what is no sequence of the table is not touched in either direction."""
    assert escape(text) == text
    assert unescape(text) == text


def test_case() -> None:
    r"""Section 3.1: only ``\2f`` is a slash; and a name cannot become one by being lower-cased on its way."""
    assert unescape(r"a\2Fb") == r"a\2Fb"
    local = escape(r"a\2Fb")
    assert unescape(JID.parse(f"{local}@example.com").local) == r"a\2fb"


@pytest.mark.parametrize("name", [" ", " a", "a ", " a "])
def test_spacesAtTheEnds(name: str) -> None:
    r"""Section 3.2: ``\20`` is neither first nor last."""
    with pytest.raises(ValueError, match="space"):
        escape(name)
    wire = name.replace(" ", r"\20")
    assert unescape(wire) == wire


def test_doubly() -> None:
    """Section 4.1: one pass, so that what was a sequence in the source does not become a character."""
    assert unescape(r"\5c27") == r"\27"
    assert unescape(escape(escape("a b'c"))) == escape("a b'c")


_NASTY = st.text(st.sampled_from("a \\20254c5CfF7@'/:<>&\""), max_size=12) | st.text(max_size=12)


@given(_NASTY.filter(lambda name: not name.startswith(" ") and not name.endswith(" ")))
def test_roundTrip(name: str) -> None:
    """Whatever the name, its escaped form gives it back and has no character that local parts exclude."""
    local = escape(name)
    assert unescape(local) == name
    assert not set(local) & set(TRANSFORMATIONS)


@given(_NASTY.filter(lambda name: not name.startswith(" ") and not name.endswith(" ")))
def test_roundTripThroughTheWire(name: str) -> None:
    """Section 3.1: as an address, in lower case, it gives back the same as the lower-cased name."""
    try:
        local = JID.parse(f"{escape(name)}@example.com").local
    except InvalidJID:
        return
    if name.isascii():
        assert unescape(local) == name.lower()


def test_feature() -> None:
    """Section 6."""
    assert unescape(FEATURE) == "jid escaping"
