"""Dialback: the keys of XEP-0185 and XEP-0220's own examples, and its elements."""

from __future__ import annotations

import pytest

from xmppservice.protocol.dialback import ERROR, INVALID, VALID, Dialback, dialbackKey, isKey
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import parseDocument

MONTAGUE, CAPULET = "montague.example", "capulet.example"
HEADER = b"<stream xmlns='jabber:client' xmlns:db='jabber:server:dialback'>"


@pytest.mark.parametrize(
    ("secret", "receiving", "originating", "id", "key"),
    [
        (
            b"s3cr3tf0rd14lb4ck", MONTAGUE, CAPULET, "D60000229F",
            "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
        ),
        (
            b"d14lb4ck43v3r", CAPULET, MONTAGUE, "417GAF25",
            "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
        ),
    ],
)  # fmt: skip
def test_keysOfTheSpecification(secret: bytes, receiving: str, originating: str, id: str, key: str) -> None:
    """XEP-0220 2.1.1 and 2.2.2."""
    assert dialbackKey(secret, receiving, originating, id) == key
    assert isKey(key, secret, receiving, originating, id)
    assert isKey(key.upper(), secret, receiving, originating, id)


def test_fieldsAreKeptApart() -> None:
    """Hardening S02: no two triples share a key, and a key is for one stream only."""
    keys = {
        dialbackKey(b"s", "a.b", "c", "1"), dialbackKey(b"s", "a", "b.c", "1"), dialbackKey(b"s", "a.b", "c", "11"),
        dialbackKey(b"s", "c", "a.b", "1"), dialbackKey(b"t", "a.b", "c", "1"),
    }  # fmt: skip
    assert len(keys) == 5
    key = dialbackKey(b"s", "a.b", "c", "1")
    assert not isKey(key, b"s", "a.b", "c", "2")
    wrong = key[:-1] + format(int(key[-1], 16) ^ 1, "x")
    for given in (wrong, "", key[:-1], key + "0", "é" * 64):
        assert not isKey(given, b"s", "a.b", "c", "1")


def _read(element: bytes) -> Dialback:
    return Dialback.read(parseDocument(HEADER + element + b"</stream>").elements()[0])


@pytest.mark.parametrize(
    "what",
    [
        Dialback("result", CAPULET, MONTAGUE, key="ab12"),
        Dialback("verify", CAPULET, MONTAGUE, "417&<'", key="ab12"),
        Dialback("result", MONTAGUE, CAPULET, type=VALID),
        Dialback("verify", MONTAGUE, CAPULET, "417", INVALID),
        Dialback("result", "bücher.example", CAPULET, type=VALID),
    ],
)
def test_roundTrip(what: Dialback) -> None:
    """What is written is read, whatever is in it."""
    assert _read(what.write()) == what


def test_errorsTravel() -> None:
    """Example 4: an error holds a stanza error."""
    asked = Dialback("result", CAPULET, MONTAGUE, key="ab")
    answer = _read(asked.answer(ERROR, StanzaError("item-not-found", text="who?")).write())
    assert (answer.sender, answer.target, answer.type) == (MONTAGUE, CAPULET, ERROR)
    assert answer.error is not None and answer.error.condition == "item-not-found"


def test_oddAnswersOfOthers() -> None:
    """Prosody repeats the key in its answers, and puts an id on results."""
    answer = _read(b"<db:result from='Montague.Example' to='capulet.example.' id='x' type='valid'>ab12</db:result>")
    assert (answer.pair, answer.type) == ((MONTAGUE, CAPULET), VALID)


@pytest.mark.parametrize(
    ("element", "condition"),
    [
        (b"<db:result to='a.example'>k</db:result>", "improper-addressing"),
        (b"<db:result from='a.example'>k</db:result>", "improper-addressing"),
        (b"<db:result from='a@b.example' to='a.example'>k</db:result>", "improper-addressing"),
        (b"<db:verify from='a.example' to='b.example'>k</db:verify>", "invalid-xml"),
        (b"<db:result from='a.example' to='b.example' type='perhaps'/>", "invalid-xml"),
        (b"<db:other from='a.example' to='b.example'/>", "unsupported-stanza-type"),
    ],
)
def test_whatIsRefused(element: bytes, condition: str) -> None:
    """Both addresses are domains, and a verification is about a stream."""
    with pytest.raises(StreamError) as caught:
        _read(element)
    assert caught.value.condition == condition


def test_prefix() -> None:
    """Some servers know the elements by the prefix db only (XEP-0220 2.4.1)."""
    assert Dialback("result", CAPULET, MONTAGUE, key="k").write().startswith(b"<db:result from='capulet.example' ")
    assert Element(ns.DIALBACK, "result").ns == "jabber:server:dialback"
