"""XEP-0115 verification strings."""

import pytest

from xmppservice.protocol.payloads.caps import IllFormed, capsElement, verification, verificationInput
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element


def info(*children: Element) -> Element:
    return Element(ns.DISCO_INFO, "query", None, *children)


def identity(category: str, type: str, name: str = "", lang: str = "") -> Element:
    attrs = {"category": category, "type": type}
    if name:
        attrs["name"] = name
    if lang:
        attrs[XML_LANG] = lang
    return Element(ns.DISCO_INFO, "identity", attrs)


def feature(var: str) -> Element:
    return Element(ns.DISCO_INFO, "feature", {"var": var})


def form(fields: dict[str, list[str]], hidden: str | None = "hidden") -> Element:
    x = Element(ns.DATA, "x", {"type": "result"})
    for var, values in fields.items():
        field = x.child(ns.DATA, "field", {"var": var})
        if var == "FORM_TYPE" and hidden:
            field.attrs["type"] = hidden
        for value in values:
            field.child(ns.DATA, "value", None, value)
    return x


FEATURES = [ns.DISCO_INFO, ns.MUC, ns.CAPS, ns.DISCO_ITEMS]
SOFTWARE = {
    "FORM_TYPE": ["urn:xmpp:dataforms:softwareinfo"],
    "software_version": ["0.11"],
    "ip_version": ["ipv6", "ipv4"],
    "os": ["Mac"],
    "os_version": ["10.5.1"],
    "software": ["Psi"],
}


def test_simpleExample() -> None:
    """Section 5.2, with the features out of order."""
    query = info(identity("client", "pc", "Exodus 0.9.1"), *map(feature, FEATURES))
    assert verification(query) == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_complexExample() -> None:
    """Section 5.3: two languages and an extension form, everything out of order."""
    query = info(
        form(SOFTWARE),
        *map(feature, FEATURES),
        identity("client", "pc", "Psi 0.11", "en"),
        identity("client", "pc", "\u03a8 0.11", "el"),
    )
    assert verification(query) == "q07IKJEyjvHSyhy//CH0CxmKi8w="


def test_algorithms() -> None:
    """Other hashes are of the same string; an unknown one is a KeyError."""
    query = info(identity("client", "pc"))
    assert len({verification(query, name) for name in ("sha-1", "sha-256", "sha-512")}) == 3
    with pytest.raises(KeyError):
        verification(query, "md5")


def test_element() -> None:
    """The advertisement names hash, node and string (section 6.1)."""
    query = info(identity("client", "pc", "Exodus 0.9.1"), *map(feature, FEATURES))
    expected = {"hash": "sha-1", "node": "http://code.google.com/p/exodus", "ver": "QgayPKawpkPSDYmwT/WM94uAlu0="}
    assert capsElement("http://code.google.com/p/exodus", query) == Element(ns.CAPS, "c", expected)


def test_octetOrder() -> None:
    """Sorting is by octets: capitals first, and beyond the first plane last."""
    query = info(*map(feature, ["\U0001f600", "b", "\uffee", "B", "a"]))
    assert verificationInput(query) == "B<a<b<\uffee<\U0001f600<"


def test_orderOfIdentities() -> None:
    """Category, type and language are compared one after the other, not as one text."""
    query = info(identity("a-b", "x"), identity("a", "y", "n", "en"), identity("a", "y", "z"))
    assert verificationInput(query) == "a/y//z<a/y/en/n<a-b/x//<"


def test_separatorInside() -> None:
    """A "<" in a name cannot pass for the end of it (the notes of 5.1 and 5.4)."""
    forged = info(identity("client", "pc", "SomeClient<" + ns.MUC))
    honest = info(identity("client", "pc", "SomeClient"), feature(ns.MUC))
    assert verificationInput(forged) == f"client/pc//SomeClient&lt;{ns.MUC}<"
    assert verification(forged) != verification(honest)


def test_repetition() -> None:
    """An answer that repeats an identity, a feature or a form is ill-formed (5.4, 3.3 to 3.5)."""
    for query in (
        info(identity("client", "pc", "x"), identity("client", "pc", "x")),
        info(feature("a"), feature("a")),
        info(form(SOFTWARE), form(SOFTWARE)),
        info(form({"FORM_TYPE": ["a", "b"]})),
    ):
        with pytest.raises(IllFormed):
            verification(query)
    assert verificationInput(info(identity("client", "pc", "x"), identity("client", "pc", "y"))).count("<") == 2
    assert verificationInput(info(form({"FORM_TYPE": ["a", "a"]}))) == "a<"


def test_ignoredForms() -> None:
    """A form without a hidden FORM_TYPE does not count (5.4, 3.6)."""
    for ignored in (form({"os": ["Mac"]}), form(SOFTWARE, None), form(SOFTWARE, "text-single")):
        assert verificationInput(info(feature("a"), ignored)) == "a<"
