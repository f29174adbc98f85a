"""How a stream is written on TCP: header, first-level elements, footer (RFC 6120 4.2).

WebSocket (RFC 7395) and BOSH frame the same streams differently and will stand beside
`TCPFraming` with the same three methods.
"""

from __future__ import annotations

from typing import Protocol

from xmppservice.protocol.errors import StreamError
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute, serialize


class Framing(Protocol):
    """What a stream machine needs to write a stream."""

    def header(self, content: str, attributes: dict[str, str]) -> bytes:
        """The response header; `attributes` without namespace declarations."""

    def features(self, features: list[Element]) -> bytes:
        """The features element."""

    def error(self, error: StreamError) -> bytes:
        """A stream error, without the footer."""

    def footer(self) -> bytes:
        """What closes the stream."""


class TCPFraming:
    """Streams as RFC 6120 has them: one document whose root is the header."""

    def header(self, content: str, attributes: dict[str, str]) -> bytes:
        """XML declaration and start tag, with the customary prefix."""
        written = "".join(f" {name}='{escapeAttribute(value)}'" for name, value in attributes.items())
        return (
            f"<?xml version='1.0'?><stream:stream xmlns='{content}' xmlns:stream='{ns.STREAM}'{written}>"
        ).encode()

    def features(self, features: list[Element]) -> bytes:
        """Many clients look for the prefix, so it is always the customary one."""
        inner = b"".join(serialize(feature, ns.CLIENT) for feature in features)
        return b"<stream:features>" + inner + b"</stream:features>" if inner else b"<stream:features/>"

    def error(self, error: StreamError) -> bytes:
        """The children of the error element are written by the serialiser as any other."""
        inner = b"".join(
            serialize(child, ns.CLIENT) for child in error.toElement().children if isinstance(child, Element)
        )
        return b"<stream:error>" + inner + b"</stream:error>"

    def footer(self) -> bytes:
        """The closing tag of the root."""
        return b"</stream:stream>"


TCP = TCPFraming()
"""It has no state, so one is enough."""
