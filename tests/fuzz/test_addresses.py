"""F4: code points in each slot of an address. ``make fuzz ARGS=addresses`` looks at all 1.1 million."""

from __future__ import annotations

from tests.fuzz.addresses import checkPoint, disagreements
from xmppservice.protocol.jid import prepareLocal


def test_firstPlane() -> None:
    """All scripts in daily use, and a sample of the rest, as the RFCs have them."""
    assert disagreements(range(0x3400)) == []
    assert disagreements(range(0x3400, 0x110000, 211)) == []
    assert disagreements(range(0xF900, 0x10000)) == []


def test_seesSabotage() -> None:
    """Sabotage: a preparation that folds no case, no width, or lets symbols in, is found out."""
    assert checkPoint(ord("A"), str)
    assert checkPoint(0xFF41, str.lower)
    assert checkPoint(0x2603, lambda text: text if text == "\u2603" else prepareLocal(text))
    assert not checkPoint(0x2603)
