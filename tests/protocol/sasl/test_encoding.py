"""Base64 as RFC 6120 has it: canonical or refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.encoding import (
    MAX_MESSAGE,
    decodeBase64,
    encodeChallenge,
    encodeSuccess,
    initialResponse,
)
from xmppservice.protocol.sasl.mechanism import SASLContext
from xmppservice.protocol.sasl.registry import MECHANISMS, mechanismFor


def conditionOf(text: str) -> str:
    """Return what decoding fails with."""
    with pytest.raises(SASLFailure) as caught:
        decodeBase64(text)
    return caught.value.condition


@pytest.mark.parametrize(
    "text",
    ["@@@", "YWJj\n", " YWJj", "YW Jj", "YWJjZA", "YWJjZA=", "YWJjZA===", "YWJjZB==", "YWJjZGV=", "==", "===", "====",
     "YWJj=", "YWI=YWJj", "YWJj-_==", "YWJj\xe4", "\u2665", "Y", "YW=J"],
)  # fmt: skip
def test_incorrectEncoding(text: str) -> None:
    """White space, other alphabets, wrong padding and stray bits are no base64 (RFC 6120 6.5.5)."""
    assert conditionOf(text) == "incorrect-encoding"


def test_empty() -> None:
    """"=" is a message without content, nothing at all is no message (RFC 6120 6.4.2)."""
    assert decodeBase64("=") == b""
    assert decodeBase64("") == b""
    assert initialResponse("=") == b""
    assert initialResponse("") is None
    assert initialResponse("YWJj") == b"abc"
    assert encodeChallenge(b"") == ""
    assert encodeSuccess(None) == ""
    assert encodeSuccess(b"") == "="
    assert encodeSuccess(b"abc") == "YWJj"


def test_tooLong() -> None:
    """What is too long to be meant is refused before it is decoded (A08)."""
    assert decodeBase64(base64.b64encode(b"x" * MAX_MESSAGE).decode()) == b"x" * MAX_MESSAGE
    assert conditionOf("A" * 1_000_000) == "malformed-request"
    assert conditionOf("@" * 1_000_000) == "malformed-request"


@given(st.binary(max_size=200))
def test_roundTrip(data: bytes) -> None:
    """Whatever is encoded comes back."""
    assert decodeBase64(encodeChallenge(data)) == data


@given(st.text(max_size=12))
def test_onlyCanonical(text: str) -> None:
    """A text that decodes is the one that encoding gives, so no two texts mean the same."""
    try:
        data = decodeBase64(text)
    except SASLFailure:
        return
    assert text in ("", "=") or encodeChallenge(data) == text


@given(st.sampled_from(sorted(MECHANISMS)), st.lists(st.binary(max_size=80), min_size=1, max_size=3))
def test_garbage(name: str, messages: list[bytes]) -> None:
    """Random octets never raise anything but a SASL failure."""
    machine = mechanismFor(name, SASLContext("example.com", tls=True, bindings={"tls-exporter": b"E"}))
    try:
        for message in messages:
            machine.respond(message)
    except SASLFailure:
        pass


@given(st.text(alphabet="npyamr=,2C3D:xe\u00e4-\0", max_size=40))
def test_scramGarbage(text: str) -> None:
    """Random texts in the alphabet of SCRAM never raise anything but a SASL failure."""
    for first, second in ((text, ""), ("n,,n=a,r=b", text)):
        machine = mechanismFor("SCRAM-SHA-1", SASLContext("example.com", nonce=lambda: "N"))
        try:
            machine.respond(first.encode())
            machine.secrets(b"salt", 4096)
            machine.respond(second.encode())
        except (SASLFailure, RuntimeError):
            pass
