"""XEP-0198 counters: releases in order, refusal of impossible counts, wrap-around."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppservice.protocol.stream.resume import (
    MODULUS,
    HandledCountTooHigh,
    ResumeQueue,
    parseCount,
)


def queueAt(count: int) -> ResumeQueue:
    """A queue that has sent and seen acknowledged `count` stanzas."""
    queue = ResumeQueue()
    queue._acknowledged = count
    return queue


def test_releasesOldestFirst() -> None:
    """An acknowledgement releases exactly the stanzas up to it, with their keys."""
    queue = ResumeQueue()
    for number in range(4):
        queue.sent(b"<message/>%d" % number, number + 10)
    assert queue.acknowledge(3) == [(b"<message/>%d" % n, n + 10) for n in range(3)]
    assert queue.unacknowledged == [(b"<message/>3", 13)]
    assert queue.acknowledgedCount == 3
    assert queue.sentCount == 4


def test_repeatedAcknowledgementReleasesNothing() -> None:
    """The same h twice is harmless."""
    queue = ResumeQueue()
    queue.sent(b"a")
    assert len(queue.acknowledge(1)) == 1
    assert queue.acknowledge(1) == []


def test_tooHigh() -> None:
    """More than was sent raises, with both counts, and changes nothing."""
    queue = ResumeQueue()
    queue.sent(b"a")
    with pytest.raises(HandledCountTooHigh) as caught:
        queue.acknowledge(2)
    assert (caught.value.h, caught.value.sent) == (2, 1)
    assert len(queue) == 1


def test_countingBackwardsIsRefused() -> None:
    """An h lower than one already given is an impossible count too."""
    queue = ResumeQueue()
    queue.sent(b"a")
    queue.sent(b"b")
    queue.acknowledge(2)
    with pytest.raises(HandledCountTooHigh):
        queue.acknowledge(1)


def test_wrapAround() -> None:
    """Counts pass 2**32 - 1 to 0 (section 4)."""
    queue = queueAt(MODULUS - 2)
    for number in range(4):
        queue.sent(b"%d" % number)
    assert queue.sentCount == 2
    assert [data for data, _ in queue.acknowledge(MODULUS - 1)] == [b"0"]
    assert [data for data, _ in queue.acknowledge(1)] == [b"1", b"2"]
    assert [data for data, _ in queue.acknowledge(2)] == [b"3"]


def test_sizeAndFull() -> None:
    """Bytes are counted in and out, and either cap makes the queue full."""
    queue = ResumeQueue(maxBytes=10, maxCount=3)
    queue.sent(b"x" * 5)
    queue.sent(b"x" * 5)
    assert not queue.full
    queue.sent(b"y")
    assert queue.full
    queue.acknowledge(2)
    assert queue.size == 1
    assert not queue.full
    for _ in range(3):
        queue.sent(b"")
    assert queue.full


def test_largeStanzaFits() -> None:
    """A stanza that is larger than the queue weighs half of it, on its way in and out."""
    queue = ResumeQueue(maxBytes=10, maxCount=5)
    queue.sent(b"x" * 1000)
    queue.sent(b"y" * 5)
    assert not queue.full
    queue.sent(b"z")
    assert queue.full
    queue.acknowledge(1)
    assert queue.size == 6


def test_unacknowledgedIsACopy() -> None:
    """What a caller does to the list does not change the queue."""
    queue = ResumeQueue()
    queue.sent(b"a")
    queue.unacknowledged.clear()
    assert len(queue) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("4294967295", MODULUS - 1), ("007", 7)],
)
def test_parseCount(text: str, count: int) -> None:
    """Every unsignedInt is a count."""
    assert parseCount(text) == count


@pytest.mark.parametrize(
    "text",
    [None, "", "-1", "+1", " 1", "1.0", "abc", "4294967296", "9" * 1_000_000, "１２", "NaN", "²"],
)
def test_parseCountRefuses(text: str | None) -> None:
    """Anything else is not, and a million digits are not even converted."""
    assert parseCount(text) is None


@given(
    st.integers(0, MODULUS - 1),
    st.lists(st.integers(0, 5), max_size=30),
)
def test_neverLosesAndNeverRepeats(start: int, steps: list[int]) -> None:
    """Whatever the counts are, each stanza is released once and in order."""
    queue = queueAt(start)
    released: list[int] = []
    number = 0
    for step in steps:
        for _ in range(step):
            queue.sent(b"x", number)
            number += 1
        h = (queue.acknowledgedCount + len(queue) // 2) % MODULUS
        released += [key for _, key in queue.acknowledge(h)]
    released += [key for _, key in queue.unacknowledged]
    assert released == list(range(number))
