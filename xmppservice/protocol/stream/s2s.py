"""What both ends of a stream between servers have in common: policy, headers and features (RFC 6120 4, XEP-0220)."""

from __future__ import annotations

from dataclasses import dataclass

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.protocol.stream.roles import REQUIRED
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader

TRIES = 5

EXTERNAL = "EXTERNAL"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of the other server's certificate: whether it is valid for the domain, by which rules
    ("pkix", "posh", "dane"), and if not, why not."""

    valid: bool
    how: str = ""
    reason: str = ""


NO_CERTIFICATE = Verdict(False, reason="it showed no certificate")


@dataclass(frozen=True, slots=True)
class Policy:
    """What we ask of streams between servers.

    `tls`: REQUIRED or OPTIONAL. `dialback`: whether a server without a valid certificate may prove itself by
    dialback. `bidi` and `management`: whether XEP-0288 and XEP-0198 are used. `maxBytes`: the largest stanza.
    """

    tls: str = REQUIRED
    dialback: bool = False
    bidi: bool = True
    management: bool = True
    maxBytes: int = 0


def headerAttributes(local: str, remote: str, id: str = "") -> dict[str, str]:
    """The attributes of our header; the namespace of dialback says that we speak it (XEP-0220 2.4.1)."""
    attributes = {"xmlns:db": ns.DIALBACK, "from": local}
    if remote:
        attributes["to"] = remote
    if id:
        attributes["id"] = id
    return {**attributes, "version": "1.0", "xml:lang": "en"}


def domainOf(header: StreamHeader, key: str) -> str:
    """A domain in a header, "" if it has none; raises `StreamError` if that is no domain."""
    text = header.attrs.get(key)
    if text is None:
        return ""
    try:
        return prepareDomain(text)
    except InvalidJID:
        raise StreamError("improper-addressing", f"the '{key}' of the header is no domain") from None


def dialbackFeature() -> Element:
    """Dialback with errors (XEP-0220 2.4.2)."""
    feature = Element(ns.DIALBACK_FEATURE, "dialback")
    feature.child(ns.DIALBACK_FEATURE, "errors")
    return feature
