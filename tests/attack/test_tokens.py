"""What strangers must not guess: a hundred thousand stream ids and resumption tokens, as the product makes them (A07).

Monobit and runs are the first and the third test of NIST SP 800-22.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator

import pytest

from tests.protocol.stream.test_machine import header, machine
from xmppservice.hub import management
from xmppservice.protocol.sasl.mechanism import freshNonce
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

pytestmark = [pytest.mark.own("looks into our code"), pytest.mark.attack("A07")]

COUNT = 100_000
BITS = 128
#: Good randomness fails a test once in a thousand million runs.
CHANCE = 1e-9


def streamIds() -> Iterator[str]:
    """By the answer to a header, each on a machine of its own."""
    begun = header()
    for _ in range(COUNT):
        fresh = machine()
        fresh.receive(begun)
        yield fresh.id


def resumptionTokens() -> Iterator[str]:
    """By enabling stream management, again and again for one session."""
    server = MemoryServer(["stream_management"])
    session = server.client("alice/phone").session
    session.stream = None
    enable = Element(ns.SM, "enable", {"resume": "true"})
    for _ in range(COUNT):
        management.receive(session, enable)
        assert session.management is not None
        (token,) = server.host.resumables
        assert token == session.management.token
        yield token.removeprefix(server.host.node)
        server.host.resumables.clear()
        session.management = None
    server.stop()


def nonces() -> Iterator[str]:
    """Of SASL."""
    return (freshNonce() for _ in range(COUNT))


def bits(tokens: list[str]) -> tuple[int, int]:
    """All tokens behind each other as one number, and how many bits that is."""
    data = b"".join(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) for token in tokens)
    return int.from_bytes(data, "big"), 8 * len(data)


def monobit(number: int, size: int) -> float:
    """How probable it is that random bits are as uneven as these (2.1)."""
    return math.erfc(abs(2 * number.bit_count() - size) / math.sqrt(2 * size))


def runs(number: int, size: int) -> float:
    """How probable it is that random bits change as seldom, or as often, as these (2.3)."""
    share = number.bit_count() / size
    spread = share * (1 - share)
    found = 1 + ((number ^ number >> 1) & ((1 << size - 1) - 1)).bit_count()
    return math.erfc(abs(found - 2 * size * spread) / (2 * math.sqrt(2 * size) * spread)) if spread else 0.0


@pytest.mark.parametrize("make", [streamIds, resumptionTokens, nonces])
def test_tokens(make: Callable[[], Iterator[str]]) -> None:
    """No two are alike, each has 128 bits or more, and zeros, ones and changes are as frequent as by chance."""
    tokens = list(make())
    assert len(set(tokens)) == len(tokens) == COUNT
    number, size = bits(tokens)
    assert size >= BITS * COUNT and min(map(len, tokens)) * 6 >= BITS
    one, two = monobit(number, size), runs(number, size)
    print(f"{make.__name__}: {size // COUNT} bits each, monobit p = {one:.3f}, runs p = {two:.3f}")
    assert one > CHANCE and two > CHANCE


def test_theTests() -> None:
    """The example of the publication; bits that are uneven, alternate, or repeat themselves fail."""
    assert round(monobit(0b1011010101, 10), 6) == 0.527089
    assert round(runs(0b1001101011, 10), 6) == 0.147232
    size = 1 << 20
    alternating = int("10" * (size // 2), 2)
    assert monobit(alternating, size) == 1 and runs(alternating, size) < CHANCE
    assert monobit(int("1101" * (size // 4), 2), size) < CHANCE
    assert runs(int("1100" * (size // 4), 2), size) == 1 and runs(int("11110000" * (size // 8), 2), size) < CHANCE
    assert runs(0, size) == monobit(0, size) == 0
