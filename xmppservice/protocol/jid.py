"""XMPP addresses (RFC 7622): one normal form, made once, at the edge.

A JID is `local@domain/resource`.  Each part has its own preparation: the local part is PRECIS
UsernameCaseMapped, the domain is an IDNA2008 name (in Unicode form) or an IP literal, the resource
is PRECIS OpaqueString (RFC 8265).  After that, equality is equality of strings.

Theory of operation.  Nearly every address in traffic was seen before, so `JID.parse` is first of all
a dict look-up.  A miss tries one regular expression over plain ASCII; only what that does not
match pays for Unicode.  Lengths are checked before any work, so that the cost of a hostile address
is bounded, and what is too long to be common never enters the cache.

Choices the RFCs leave open: domains are mapped by UTS 46 (non-transitional, so that `ß` stays)
before the IDNA2008 check; capital sigma is lower-cased by Unicode's toLowerCase(), as RFC 8265 3.3
prefers, so a word ending in it gets a final sigma; a resource must not begin with a space (RFC
7622 3.5, example 18).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from sys import intern
from typing import Final

import idna
from precis_i18n import get_profile
from precis_i18n.context import context_rule_error
from precis_i18n.derived import CONTEXTJ, CONTEXTO, FREE_PVAL, PVALID, derived_property
from precis_i18n.profile import Profile
from precis_i18n.unicode import UnicodeData

MAX_PART: Final = 1023
"""Octets of UTF-8 that each part may have (RFC 7622 3.2-3.4)."""

# Composition shrinks text: at most three code points become one of two octets, and four become one
# of three.  Raw text longer than this cannot fit, whatever it normalises to.
_MAX_RAW: Final = MAX_PART * 3 // 2 + 1
_MAX_TEXT: Final = 3 * _MAX_RAW + 2
_MAX_DOMAIN: Final = 253
_CACHED_LENGTH: Final = 256
_CACHED_COUNT: Final = 8192

_LOCAL = r"[!#-%(-.0-9;=?A-Z\[-~]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_RESOURCE = r"[!-~][ -~]*"
_plainLocal = re.compile(_LOCAL).fullmatch
_plainDomain = re.compile(_DOMAIN).fullmatch
_plainResource = re.compile(_RESOURCE).fullmatch
_plainAddress = re.compile(rf"(?:({_LOCAL})@)?({_DOMAIN})(?:/({_RESOURCE}))?").fullmatch

_excludedLocal = re.compile("[\"&'/:<>@]").search
_UCD = UnicodeData()
_USERNAME = get_profile("UsernameCaseMapped")
_OPAQUE = get_profile("OpaqueString")
_IDENTIFIER: Final = frozenset((PVALID,))
_FREEFORM: Final = frozenset((PVALID, FREE_PVAL))
_CONTEXTUAL: Final = frozenset((CONTEXTJ, CONTEXTO))
# These contextual rules look at the whole string, so one verdict holds for every occurrence.
_WHOLE_STRING: Final = frozenset(map(chr, (0x30FB, *range(0x660, 0x66A), *range(0x6F0, 0x6FA))))


class InvalidJID(ValueError):
    """The text is no XMPP address; over the wire this is `jid-malformed`."""


def prepareLocal(text: str) -> str:
    """Return the normal form of a local part (RFC 7622 3.3); raise InvalidJID."""
    if text.isascii() and _plainLocal(text) and len(text) <= MAX_PART:
        return text.lower()
    prepared = _enforce(_USERNAME, _IDENTIFIER, text, "local part")
    if _excludedLocal(prepared):
        raise InvalidJID("a character that local parts exclude")
    return prepared


def prepareResource(text: str) -> str:
    """Return the normal form of a resource (RFC 7622 3.4); raise InvalidJID."""
    if text.isascii() and _plainResource(text) and len(text) <= MAX_PART:
        return text
    prepared = _enforce(_OPAQUE, _FREEFORM, text, "resource")
    if prepared[0] == " ":
        raise InvalidJID("a resource that begins with a space")
    return prepared


def prepareDomain(text: str) -> str:
    """Return the normal form of a domain (RFC 7622 3.2); raise InvalidJID.

    Lower case, no trailing dot, every A-label as its U-label, IPv6 literals in their shortest spelling.
    """
    if len(text) > MAX_PART:
        raise InvalidJID("domain too long")
    text = text.removesuffix(".")
    # "--" may announce an A-label, or a reserved label to refuse.
    if text.isascii() and _plainDomain(text) and "--" not in text and len(text) <= _MAX_DOMAIN:
        return text.lower()
    if text.startswith("["):
        return _ipLiteral(text)
    return _idnaDomain(text)


def asciiDomain(domain: str) -> str:
    """Return a prepared domain as DNS and certificates have it, every U-label as its A-label (RFC 5890)."""
    return domain if domain.isascii() else ".".join(idna.alabel(label).decode("ascii") for label in domain.split("."))


def _ipLiteral(text: str) -> str:
    if not text.endswith("]") or "%" in text:
        raise InvalidJID("malformed IP literal")
    try:
        return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
    except ValueError as error:
        raise InvalidJID("malformed IP literal") from error


def _idnaDomain(text: str) -> str:
    try:
        labels = idna.uts46_remap(text, std3_rules=True).removesuffix(".").split(".")
        if any(not label or len(label) > 63 for label in labels):
            raise InvalidJID("a domain label that is empty or too long")
        unicodeLabels = [idna.ulabel(label) for label in labels]
        encoded = b".".join(map(idna.alabel, unicodeLabels))
    except ValueError as error:
        raise InvalidJID("invalid domain") from error
    domain = ".".join(unicodeLabels)
    if len(encoded) > _MAX_DOMAIN or len(domain.encode()) > MAX_PART:
        raise InvalidJID("domain too long")
    return domain


def _enforce(profile: Profile, allowed: frozenset[str], text: str, what: str) -> str:
    """Apply a PRECIS profile in linear time.

    The library's own `enforce` repeats rules that read the whole string for every occurrence; here
    each distinct code point is classified once.
    """
    if not text:
        raise InvalidJID(f"empty {what}")
    if len(text) > _MAX_RAW:
        raise InvalidJID(f"{what} too long")
    try:
        prepared = profile.apply_five_rules(text)
        if not prepared or len(prepared.encode()) > MAX_PART:
            raise InvalidJID(f"{what} empty or too long")
        if profile.apply_five_rules(prepared) != prepared:
            raise InvalidJID(f"a {what} without a stable normal form")
    except UnicodeError as error:
        raise InvalidJID(f"invalid {what}") from error
    contextual = set()
    for character in set(prepared):
        kind = derived_property(ord(character), _UCD)[0]
        if kind in _CONTEXTUAL:
            contextual.add(character)
        elif kind not in allowed:
            raise InvalidJID(f"U+{ord(character):04X} in a {what}")
    if contextual:
        _checkContext(prepared, contextual, what)
    return prepared


def _checkContext(prepared: str, contextual: set[str], what: str) -> None:
    for character in contextual & _WHOLE_STRING:
        if context_rule_error(prepared, prepared.index(character), _UCD):
            raise InvalidJID(f"U+{ord(character):04X} out of context in a {what}")
    positional = contextual - _WHOLE_STRING
    for offset, character in enumerate(prepared):
        if character in positional and context_rule_error(prepared, offset, _UCD):
            raise InvalidJID(f"U+{ord(character):04X} out of context in a {what}")


class JID:
    """An XMPP address in normal form; immutable, hashable, equal when the full texts are equal.

    `local` and `resource` are empty strings when absent.  `bare` is the text without the resource,
    `full` with it, if there is one.
    """

    __slots__ = ("_account", "bare", "domain", "full", "isBare", "local", "resource")

    local: str
    domain: str
    resource: str
    bare: str
    full: str
    isBare: bool
    _account: JID | None

    def __init__(self, text: str) -> None:
        """Not for use: `parse` and `of` share equal addresses, a constructor cannot."""
        raise TypeError("use JID.parse or JID.of")

    @staticmethod
    def parse(text: str) -> JID:
        """Return the address that `text` spells, in normal form; raise InvalidJID if it spells none."""
        return _recent.get(text) or _look(text)

    @staticmethod
    def of(local: str, domain: str, resource: str = "") -> JID:
        """Return the address with these parts, which are already prepared; raise InvalidJID if one is not."""
        text = f"{local}@{domain}" if local else domain
        if resource:
            text = f"{text}/{resource}"
        found = _recent.get(text) or _look(text)
        if found.local != local or found.domain != domain or found.resource != resource:
            raise InvalidJID("parts that are not in normal form")
        return found

    @property
    def bareJID(self) -> JID:
        """The same address without its resource."""
        return self._account or self

    def withResource(self, resource: str) -> JID:
        """Return the same bare address with this resource, which gets prepared; "" gives the bare one."""
        if not resource:
            return self.bareJID
        full = f"{self.bare}/{prepareResource(resource)}"
        return _recent.get(full) or _remember(full, _make(self.local, self.domain, full[len(self.bare) + 1 :]))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, JID):
            return self.full == other.full
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.full)

    def __str__(self) -> str:
        return self.full

    def __repr__(self) -> str:
        return f"JID({self.full!r})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a JID cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a JID cannot be changed")

    def __reduce__(self) -> tuple[Callable[[str], JID], tuple[str]]:
        return JID.parse, (self.full,)


# Two generations approximate "least recently used" while a hit stays one plain look-up: when the
# young one is full it becomes the old one, and what is asked for again moves up.
_recent: dict[str, JID] = {}
_older: dict[str, JID] = {}


def _remember(text: str, jid: JID) -> JID:
    if len(text) <= _CACHED_LENGTH:
        if len(_recent) >= _CACHED_COUNT:
            _older.clear()
            _older.update(_recent)
            _recent.clear()
        _recent[text] = jid
    return jid


def _look(text: str) -> JID:
    """Find `text` among the older addresses, else prepare it."""
    found = _older.get(text)
    if found is not None:
        return _remember(text, found)
    local, domain, resource = _split(text)
    full = _join(local, domain, resource)
    if full == text:
        return _remember(text, _make(local, domain, resource))
    # Every spelling of an address shares one object.
    found = _recent.get(full) or _older.get(full) or _remember(full, _make(local, domain, resource))
    return _remember(text, found)


def _split(text: str) -> tuple[str, str, str]:
    """Cut an address at the first "/" and then at the first "@" (RFC 7622 3.2); prepare the parts."""
    if len(text) > _MAX_TEXT:
        raise InvalidJID("address too long")
    if "--" not in text and (match := _plainAddress(text)):
        local, domain, resource = match.groups("")
        if len(local) <= MAX_PART and len(domain) <= _MAX_DOMAIN and len(resource) <= MAX_PART:
            return local.lower(), domain.lower(), resource
    rest, slash, resource = text.partition("/")
    head, at, tail = rest.partition("@")
    return (
        prepareLocal(head) if at else "",
        prepareDomain(tail if at else head),
        prepareResource(resource) if slash else "",
    )


def _join(local: str, domain: str, resource: str) -> str:
    bare = f"{local}@{domain}" if local else domain
    return f"{bare}/{resource}" if resource else bare


def _make(local: str, domain: str, resource: str) -> JID:
    """Build the object for prepared parts; addresses of one account share its bare one and its strings."""
    jid: JID = object.__new__(JID)
    put = object.__setattr__
    if resource:
        account = JID.parse(f"{local}@{domain}" if local else domain)
        local, domain, bare = account.local, account.domain, account.bare
        put(jid, "_account", account)
        full = f"{bare}/{resource}"
    else:
        domain = intern(domain)
        bare = full = f"{local}@{domain}" if local else domain
        put(jid, "_account", None)
    put(jid, "local", local)
    put(jid, "domain", domain)
    put(jid, "resource", resource)
    put(jid, "bare", bare)
    put(jid, "full", full)
    put(jid, "isBare", not resource)
    return jid
