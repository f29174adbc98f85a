"""Entity capabilities (XEP-0115): the hash that stands for a disco#info answer."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Final

from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element

ALGORITHMS: Final = {
    "sha-1": "sha1",
    "sha-224": "sha224",
    "sha-256": "sha256",
    "sha-384": "sha384",
    "sha-512": "sha512",
}
"""The hash functions we compute, by their IANA names, with their names in hashlib."""


class IllFormed(ValueError):
    """An answer that repeats itself, and so must not be taken for any hash (XEP-0115 5.4)."""


def capsElement(node: str, info: Element, algorithm: str = "sha-1") -> Element:
    """Return the `<c/>` that advertises a disco#info answer under the name `node`."""
    attrs = {"hash": algorithm, "node": node, "ver": verification(info, algorithm)}
    return Element(ns.CAPS, "c", attrs)


def verification(info: Element, algorithm: str = "sha-1") -> str:
    """Return the verification string of a disco#info `<query/>` (XEP-0115 5.1).

    Raises IllFormed as section 5.4 asks, and KeyError for an algorithm not in `ALGORITHMS`.
    """
    name = ALGORITHMS[algorithm]
    digest = hashlib.new(name, verificationInput(info).encode(), usedforsecurity=False)
    return b64encode(digest.digest()).decode("ascii")


def verificationInput(info: Element) -> str:
    """Return the string S of XEP-0115 5.1, before hashing.

    A "<" inside a name or value stands as "&lt;", so that it cannot pass for a separator.  Python
    compares strings by code point, which is the order of their UTF-8 octets ("i;octet").
    """
    parts = ["/".join(identity) for identity in _identities(info)]
    parts += _features(info)
    for formType, fields in _forms(info):
        parts.append(formType)
        for var, values in fields:
            parts.append(var)
            parts += values
    return "".join(part.replace("<", "&lt;") + "<" for part in parts)


def _identities(info: Element) -> list[tuple[str, str, str, str]]:
    found = []
    for identity in info.findAll(ns.DISCO_INFO, "identity"):
        attrs = identity.attrs
        found.append((attrs.get("category", ""), attrs.get("type", ""), attrs.get(XML_LANG, ""), attrs.get("name", "")))
    if len(set(found)) != len(found):
        raise IllFormed("an identity twice")
    return sorted(found)


def _features(info: Element) -> list[str]:
    found = [feature.get("var") or "" for feature in info.findAll(ns.DISCO_INFO, "feature")]
    if len(set(found)) != len(found):
        raise IllFormed("a feature twice")
    return sorted(found)


def _forms(info: Element) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for form in info.findAll(ns.DATA, "x"):
        formType = None
        fields = []
        for field in form.findAll(ns.DATA, "field"):
            values = sorted(value.text for value in field.findAll(ns.DATA, "value"))
            if field.get("var") != "FORM_TYPE":
                fields.append((field.get("var") or "", values))
            elif len(set(values)) > 1:
                raise IllFormed("a form of two types")
            elif values and field.get("type") == "hidden":
                formType = values[0]
        if formType is None:
            continue
        if formType in found:
            raise IllFormed("a form twice")
        found[formType] = sorted(fields)
    return sorted(found.items())
