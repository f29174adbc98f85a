"""The judge is judged: each kind of broken promise is seen in a history that has it."""

from __future__ import annotations

from tests.chaos.book import Book, Verdict


def history(*numbers: int, acked: int = 3) -> Book:
    """Three messages of one pair, the first of them acknowledged, and what arrived of them in which order."""
    book = Book("b")
    ids = [book.send("anne", "ben") for _ in range(3)]
    book.acked.update(ids[:acked])
    for number in numbers:
        book.arrive("ben", ids[number - 1], f"s{number}")
    return book


def test_clean() -> None:
    """All arrived, in order, once."""
    verdict = history(1, 2, 3).judge()
    assert verdict.clean
    assert (verdict.sent, verdict.acked, verdict.arrived, verdict.duplicated) == (3, 3, 3, 0)


def test_lost() -> None:
    """What was acknowledged did not arrive; what was not may be missing."""
    assert history(1, 3).judge().lost == ["b-anne-ben-2"]
    assert history(1, acked=1).judge().clean


def test_bouncedIsNotLost() -> None:
    """A message that came back as an error is accounted for."""
    book = history(1, 3)
    book.bounced.add("b-anne-ben-2")
    assert book.judge().clean


def test_duplicated() -> None:
    """Twice the same is counted; twice with another stanza id is a forgery."""
    book = history(1, 2, 2, 3, 1)
    assert book.judge().clean
    assert book.judge().duplicated == 2
    book.arrive("ben", "b-anne-ben-3", "another")
    assert len(book.judge().forged) == 1


def test_strangers() -> None:
    """What was never sent, or not to this recipient, is a forgery."""
    book = history(1, 2, 3)
    book.arrive("ben", "unknown", "s")
    book.arrive("carl", "b-anne-ben-1", "s1")
    assert len(book.judge().forged) == 2


def test_reordered() -> None:
    """First arrivals of a pair follow its numbers; repetitions may come at any time."""
    assert history(1, 2, 1, 3).judge().clean
    assert history(1, 3, 2).judge().reordered == ["b-anne-ben-2 after number 3"]


def test_sum() -> None:
    """Verdicts of rounds add up."""
    total = Verdict()
    total += history(1, 2, 3).judge()
    total += history(1, 3).judge()
    assert (total.acked, total.arrived, len(total.lost)) == (6, 5, 1)
