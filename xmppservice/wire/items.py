"""What a stream parser yields, and how parsing stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from xmppservice.wire.element import Element


@dataclass(slots=True)
class StreamHeader:
    """The start tag of the root (RFC 6120, 4.7).

    :ivar ns: its namespace; whether that is the right one is not judged here.
    :ivar contentNs: the default namespace that it declares, "" if none.
    :ivar lang: its ``xml:lang`` if that looks like a language tag, else "".
    :ivar prefixes: its other declarations, prefix → namespace.
    """

    ns: str
    name: str
    attrs: dict[str, str]
    contentNs: str
    lang: str
    prefixes: dict[str, str]


@dataclass(slots=True)
class StreamEnd:
    """The end tag of the root (RFC 6120, 4.4)."""


@dataclass(slots=True)
class ParseError:
    """Why the stream is over.

    :ivar condition: a stream error condition (RFC 6120, 4.9.3).
    :ivar text: what is wrong, in English.
    :ivar app: the name of a condition in urn:xmpp:errors that says more, or None.
    """

    condition: str
    text: str
    app: str | None = None


class XMLError(ValueError):
    """XML that we refuse to read; the fields are those of `ParseError`."""

    def __init__(self, condition: str, text: str, app: str | None = None) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text
        self.app = app


Item: TypeAlias = StreamHeader | Element | StreamEnd | ParseError
"""One thing that a stream parser yields."""


def refuse(condition: str, text: str, app: str | None = None) -> NoReturn:
    """Stop reading."""
    raise XMLError(condition, text, app)


def tooBig(text: str) -> NoReturn:
    """Stop reading, because a limit on one stanza is exceeded."""
    raise XMLError("policy-violation", text, "stanza-too-big")
