"""F8: base64 and SASL messages, mutated."""

from __future__ import annotations

import base64
import random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.exchanges import ALPHABET, MECHANISMS, TALKS, checkBase64, checkExchange, claimed, talk
from tests.fuzz.profile import TIMES, budget
from xmppservice.protocol.sasl.mechanism import Mechanism
from xmppservice.protocol.sasl.registry import mechanismFor
from xmppservice.protocol.sasl.scram import Scram

ENCODED = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())


def test_shortBase64() -> None:
    """Every text of up to two letters, and a sample of those of four: canonical base64, or refused."""
    letters = [*ALPHABET, "=", " ", "\n", "-", "_", "é", "\0"]
    for first in letters:
        assert not (problem := checkBase64(first)), problem
        for second in letters:
            for rest in ("", "==", "=", "A=", "AA", "A", "=A"):
                assert not (problem := checkBase64(first + second + rest)), problem


@budget(1000)
@given(ENCODED, st.integers(0, 60), st.text(max_size=3))
def test_base64(text: str, at: int, more: str) -> None:
    """Canonical base64 is taken, with anything put in it is as the naive decoder has it."""
    assert not (problem := checkBase64(text)), problem
    assert not (problem := checkBase64(text[:at] + more + text[at:])), problem


def test_exchanges() -> None:
    """No message makes a mechanism fail otherwise than as RFC 6120 6.5 says, or claim what it may not."""
    for number in range(20_000 * TIMES):
        name, messages = talk(random.Random(number))
        assert not (problem := checkExchange(name, messages)), (problem, number, name, messages)


def test_talksSucceed() -> None:
    """The talks as they are lead to a claim: what is mutated is not rubbish to begin with."""
    names = ("PLAIN", "PLAIN", "ANONYMOUS", "ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1", MECHANISMS[-1])
    for name, messages in zip(names, TALKS, strict=True):
        claim, taken = claimed(name, messages)
        assert claim is not None and taken == len(messages)
        assert not checkExchange(name, messages)


def test_seesLaxBase64() -> None:
    """Sabotage: a decoder that overlooks what is not in the alphabet, or stray bits, is found out."""
    assert checkBase64("AA==\n", base64.b64decode)
    assert checkBase64("AB==", base64.b64decode)


class NoBinding(Scram):
    """Sabotage: takes any channel binding data."""

    __slots__ = ()

    def _final(self, message: str):  # type: ignore[no-untyped-def]
        self._gs2 = base64.b64decode(message.split(",")[0][2:]).decode()
        self._binding = ""
        return super()._final(message)


class Fragile(Scram):
    """Sabotage: an exception of another kind."""

    __slots__ = ()

    def _first(self, message: str):  # type: ignore[no-untyped-def]
        message.index("r=")
        return super()._first(message)


def test_seesSabotage() -> None:
    """Sabotage: a mechanism that does not compare the binding is seen, and one that lets exceptions out."""

    def start(name: str, context: object) -> Mechanism:
        return NoBinding(name, context, 20) if "SCRAM" in name else mechanismFor(name, context)  # type: ignore[arg-type]

    first, final = TALKS[4]
    other = final.replace(b"biws", base64.b64encode(b"y,,"))
    assert checkExchange("SCRAM-SHA-1", [first, final]) == checkExchange("SCRAM-SHA-1", [first, other]) == ""
    assert "GS2" in checkExchange("SCRAM-SHA-1", [first, other], start)
    try:
        checkExchange("SCRAM-SHA-1", [b"n,,n=a"], lambda name, context: Fragile(name, context, 20))
    except ValueError:
        return
    raise AssertionError("nothing came out")
