"""The three error families of XMPP, as exceptions that know their element.

Stream errors (RFC 6120 4.9) end the stream, stanza errors (8.3) answer one stanza, SASL failures (6.5)
answer one authentication attempt.  A condition that the RFC does not define is a ValueError of ours,
raised where the mistake is made and never seen by a peer.
"""

from __future__ import annotations

from typing import Final

from xmppservice.wire import ns
from xmppservice.wire.element import Element

STREAM_CONDITIONS: Final = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)
"""The conditions of RFC 6120 4.9.3."""

STANZA_CONDITIONS: Final[dict[str, str]] = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "cancel",
    "unexpected-request": "wait",
}
"""The conditions of RFC 6120 8.3.3, each with the type to send when the caller names none."""

SASL_CONDITIONS: Final = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)
"""The conditions of RFC 6120 6.5."""

ERROR_TYPES: Final = frozenset({"auth", "cancel", "continue", "modify", "wait"})
"""What a sender may do next (RFC 6120 8.3.2)."""

_LANG: Final = ns.XML + " lang"


def _fill(element: Element, space: str, condition: str, data: str | None, text: str | None) -> Element:
    """Append the condition, with its character data, and the human-readable text."""
    element.child(space, condition, None, data)
    if text:
        element.child(space, "text", {_LANG: "en"}, text)
    return element


class StreamError(Exception):
    """An error that ends the stream it is sent on (RFC 6120 4.9).

    `app` is an application-specific condition; `data` is the content of the condition's own element
    (the address of `see-other-host`).
    """

    def __init__(
        self, condition: str, text: str | None = None, app: Element | None = None, data: str | None = None
    ) -> None:
        if condition not in STREAM_CONDITIONS:
            raise ValueError(f"no stream error condition: {condition!r}")
        super().__init__(condition, text)
        self.condition = condition
        self.text = text
        self.app = app
        self.data = data

    def __str__(self) -> str:
        return _describe(self.condition, self.text)

    def toElement(self) -> Element:
        """Return the `<stream:error/>`."""
        element = _fill(Element(ns.STREAM, "error"), ns.STREAM_ERRORS, self.condition, self.data, self.text)
        if self.app is not None:
            element.add(self.app)
        return element


class StanzaError(Exception):
    """The refusal of one stanza (RFC 6120 8.3).

    `type` defaults to what the RFC recommends for the condition.  `by` is the address of who found the
    error, `app` an application-specific condition, `data` the content of the condition's own element
    (the address of `gone` and `redirect`).
    """

    def __init__(
        self,
        condition: str,
        type: str | None = None,
        text: str | None = None,
        app: Element | None = None,
        by: str | None = None,
        data: str | None = None,
    ) -> None:
        default = STANZA_CONDITIONS.get(condition)
        if default is None:
            raise ValueError(f"no stanza error condition: {condition!r}")
        if type is not None and type not in ERROR_TYPES:
            raise ValueError(f"no stanza error type: {type!r}")
        super().__init__(condition, text)
        self.condition = condition
        self.type = type or default
        self.text = text
        self.app = app
        self.by = by
        self.data = data

    def __str__(self) -> str:
        return _describe(self.condition, self.text)

    def toElement(self) -> Element:
        """Return the `<error/>` child of an error stanza."""
        attrs = {"type": self.type}
        if self.by:
            attrs["by"] = str(self.by)
        element = _fill(Element(ns.CLIENT, "error", attrs), ns.STANZA_ERRORS, self.condition, self.data, self.text)
        if self.app is not None:
            element.add(self.app)
        return element

    @classmethod
    def fromStanza(cls, stanza: Element) -> StanzaError:
        """Read what a received error stanza says; a condition we do not know is `undefined-condition` (8.3.2)."""
        error = stanza.find(ns.CLIENT, "error")
        if error is None:
            return cls("undefined-condition")
        kind = error.get("type")
        condition, data, text, app = "undefined-condition", None, None, None
        for child in error.elements():
            if child.ns != ns.STANZA_ERRORS:
                app = app or child
            elif child.name == "text":
                text = child.text
            elif child.name in STANZA_CONDITIONS:
                condition, data = child.name, child.text or None
        return cls(condition, kind if kind in ERROR_TYPES else None, text, app, error.get("by"), data)


class SASLFailure(Exception):
    """The refusal of one authentication attempt (RFC 6120 6.5)."""

    def __init__(self, condition: str, text: str | None = None) -> None:
        if condition not in SASL_CONDITIONS:
            raise ValueError(f"no SASL failure condition: {condition!r}")
        super().__init__(condition, text)
        self.condition = condition
        self.text = text

    def __str__(self) -> str:
        return _describe(self.condition, self.text)

    def toElement(self) -> Element:
        """Return the `<failure/>`."""
        return _fill(Element(ns.SASL, "failure"), ns.SASL, self.condition, None, self.text)


def _describe(condition: str, text: str | None) -> str:
    return f"{condition}: {text}" if text else condition
