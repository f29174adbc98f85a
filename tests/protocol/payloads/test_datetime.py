"""XEP-0082 stamps and XEP-0203 delays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppservice.protocol.payloads.datetime import parseStamp, stamp
from xmppservice.protocol.payloads.delay import delay, delayOf
from xmppservice.wire import ns
from xmppservice.wire.element import Element

MOON = -14_159_025
"""The first human steps on the Moon, as XEP-0082 writes them twice."""


def test_examples() -> None:
    """The two spellings of XEP-0082 3.2 name one moment."""
    assert parseStamp("1969-07-21T02:56:15Z") == parseStamp("1969-07-20T21:56:15-05:00") == MOON
    assert stamp(MOON) == "1969-07-21T02:56:15Z"


def test_fraction() -> None:
    """Fractions are read to any length and written by cutting, never rounding up."""
    assert parseStamp("1970-01-01T00:00:00.5Z") == 0.5
    assert parseStamp("1970-01-01T00:00:00.1234567890123Z") == pytest.approx(0.123456789)
    assert stamp(0.9999, 3) == "1970-01-01T00:00:00.999Z"
    assert stamp(1.25, 3) == "1970-01-01T00:00:01.250Z"
    assert stamp(-0.5, 1) == "1969-12-31T23:59:59.5Z"
    assert stamp(0.9999) == "1970-01-01T00:00:00Z"


def test_edges() -> None:
    """Leap days, leap seconds, the ends of the calendar and of the time zones."""
    assert parseStamp("2000-02-29T00:00:00Z") == 951_782_400
    assert parseStamp("2016-12-31T23:59:60Z") == parseStamp("2017-01-01T00:00:00Z")
    assert stamp(parseStamp("9999-12-31T23:59:59Z")) == "9999-12-31T23:59:59Z"
    assert stamp(parseStamp("0001-01-01T00:00:00Z")) == "0001-01-01T00:00:00Z"
    assert parseStamp("0001-01-01T00:00:00+14:00") < parseStamp("0001-01-01T00:00:00Z")
    assert parseStamp("9999-12-31T23:59:59-14:00") > parseStamp("9999-12-31T23:59:59Z")
    assert parseStamp("2000-01-01T00:00:00-00:00") == parseStamp("2000-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2000-01-01",
        "2000-01-01T00:00:00",
        "2000-01-01 00:00:00Z",
        "2000-01-01t00:00:00z",
        "20000101T00:00:00",
        "0000-01-01T00:00:00Z",
        "-2000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2000-00-01T00:00:00Z",
        "2000-13-01T00:00:00Z",
        "2000-01-00T00:00:00Z",
        "2001-02-29T00:00:00Z",
        "2000-01-01T24:00:00Z",
        "2000-01-01T00:60:00Z",
        "2000-01-01T00:00:61Z",
        "2000-01-01T00:00:00.Z",
        "2000-01-01T00:00:00+15:00",
        "2000-01-01T00:00:00+00:60",
        "2000-01-01T00:00:00+0000",
        "2000-01-01T00:00:00Z\n",
        " 2000-01-01T00:00:00Z",
        "\uff12000-01-01T00:00:00Z",
        "2000-01-01T00:00:00." + "9" * 1_000_000 + "Z",
        "9" * 1_000_000,
    ],
)
def test_refused(text: str) -> None:
    """Anything else is a ValueError, however long (hardening X13)."""
    start = time.process_time()
    with pytest.raises(ValueError):
        parseStamp(text)
    assert time.process_time() - start < 0.005


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 1e300, -1e12, 2**63])
def test_unwritable(seconds: float) -> None:
    """No moment outside the calendar is written."""
    with pytest.raises(ValueError):
        stamp(seconds)


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_roundTrip(seconds: int) -> None:
    """Every whole second of the calendar comes back from its own stamp."""
    assert parseStamp(stamp(seconds)) == seconds


def test_delay() -> None:
    """The notice names the holder, the moment in UTC, and the reason if there is one (XEP-0203)."""
    plain = delay(1_031_699_305, "capulet.com")
    assert plain == Element(ns.DELAY, "delay", {"from": "capulet.com", "stamp": "2002-09-10T23:08:25Z"})
    assert delay(0, "capulet.com", "Offline Storage").text == "Offline Storage"


def test_delayOf() -> None:
    """The first readable notice counts, or the first by one holder."""
    message = Element(ns.CLIENT, "message")
    assert delayOf(message) is None
    message.add(Element(ns.DELAY, "delay", {"from": "a.example"}))
    message.add(Element(ns.DELAY, "delay", {"from": "a.example", "stamp": "yesterday"}))
    assert delayOf(message) is None
    message.add(delay(5, "b.example"))
    message.add(delay(7, "a.example"))
    assert delayOf(message) == 5
    assert delayOf(message, "a.example") == 7
    assert delayOf(message, "c.example") is None
