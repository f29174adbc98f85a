"""Base64 in SASL elements (RFC 6120 section 6.4 and 6.5.5, RFC 4648 section 4)."""

from __future__ import annotations

import binascii

from xmppservice.protocol.errors import SASLFailure

#: No message of our mechanisms needs more octets than this; longer ones are refused before any work.
MAX_MESSAGE = 4096
_MAX_ENCODED = (MAX_MESSAGE + 2) // 3 * 4


def strictBase64(text: str) -> bytes | None:
    """Decode canonical base64: no white space, whole padding, no stray bits. None if it is anything else."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return data if binascii.b2a_base64(data, newline=False).decode("ascii") == text else None


def decodeBase64(text: str) -> bytes:
    """Decode the character data of <auth/> or <response/>; "=" means present but empty.

    Raises SASLFailure incorrect-encoding for bad base64, malformed-request for what is too long to be meant.
    """
    if text in ("", "="):
        return b""
    if len(text) > _MAX_ENCODED:
        raise SASLFailure("malformed-request")
    data = strictBase64(text)
    if data is None:
        raise SASLFailure("incorrect-encoding")
    return data


def initialResponse(text: str) -> bytes | None:
    """Decode the character data of <auth/>: None when there is no initial response (RFC 6120 6.4.2)."""
    return decodeBase64(text) if text else None


def encodeChallenge(data: bytes) -> str:
    """Encode the data of <challenge/>; an empty challenge is an empty element."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def encodeSuccess(data: bytes | None) -> str:
    """Encode the additional data of <success/>; "=" for data of zero length (RFC 6120 6.4.6)."""
    if data is None:
        return ""
    return encodeChallenge(data) or "="
