"""Server Dialback: keys and elements (XEP-0220), the key as XEP-0185 makes it.

The elements are written with the prefix ``db``, which the header of every stream between servers declares: some
servers know them by that prefix only (XEP-0220 2.4.1).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute, escapeText, serialize

RESULT, VERIFY = "result", "verify"
VALID, INVALID, ERROR = "valid", "invalid", "error"

Pair = tuple[str, str]
"""Who sends, and who receives: two prepared domains."""


def dialbackKey(secret: bytes, receiving: str, originating: str, id: str) -> str:
    """The key of the originating server for a stream `id` of the receiving one (XEP-0185, RECOMMENDED form).

    The fields are kept apart by spaces, which no domain and no id of ours has (hardening S02).
    """
    inner = hashlib.sha256(secret).hexdigest().encode()
    return hmac.new(inner, f"{receiving} {originating} {id}".encode(), hashlib.sha256).hexdigest()


def isKey(given: str, secret: bytes, receiving: str, originating: str, id: str) -> bool:
    """Whether a key is ours, in constant time."""
    right = dialbackKey(secret, receiving, originating, id)
    return given.isascii() and hmac.compare_digest(given.lower(), right)


@dataclass(frozen=True, slots=True)
class Dialback:
    """One element of dialback: a request (no `type`) or an answer.

    `sender` and `target` are prepared domains; `id` that of a stream, for `VERIFY`; `key` what a request holds;
    `error` what an answer of the type `ERROR` says.
    """

    name: str
    sender: str
    target: str
    id: str = ""
    type: str = ""
    key: str = ""
    error: StanzaError | None = None

    @classmethod
    def read(cls, element: Element) -> Dialback:
        """Raises `StreamError` for an element that has no addresses, or is none of dialback's."""
        if element.name not in (RESULT, VERIFY):
            raise StreamError("unsupported-stanza-type")
        id, kind = element.get("id") or "", element.get("type") or ""
        if element.name == VERIFY and not id:
            raise StreamError("invalid-xml", "<db:verify/> needs the id of a stream")
        if kind not in ("", VALID, INVALID, ERROR):
            raise StreamError("invalid-xml", "dialback knows the types valid, invalid and error")
        error = StanzaError.fromStanza(element) if kind == ERROR else None
        sender, target = _domain(element, "from"), _domain(element, "to")
        return cls(element.name, sender, target, id, kind, element.text.strip(), error)

    def write(self) -> bytes:
        """As it goes out."""
        attributes = f"from='{escapeAttribute(self.sender)}' to='{escapeAttribute(self.target)}'"
        if self.id:
            attributes += f" id='{escapeAttribute(self.id)}'"
        if self.type:
            attributes += f" type='{self.type}'"
        inner = escapeText(self.key).encode()
        if self.error is not None:
            inner = serialize(self.error.toElement())
        start = f"<db:{self.name} {attributes}".encode()
        return start + b">" + inner + f"</db:{self.name}>".encode() if inner else start + b"/>"

    def answer(self, type: str, error: StanzaError | None = None) -> Dialback:
        """What answers this request (XEP-0220 2.2)."""
        return Dialback(self.name, self.target, self.sender, self.id, type, error=error)

    @property
    def pair(self) -> Pair:
        """Who asks, and whom."""
        return self.sender, self.target


def _domain(element: Element, key: str) -> str:
    try:
        return prepareDomain(element.get(key) or "")
    except InvalidJID:
        raise StreamError("improper-addressing", f"dialback needs a domain in '{key}'") from None
