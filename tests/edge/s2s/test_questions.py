"""What counts as an answer, over bytes that a liar may send (S08; F10 of the catalogue)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.names import dns

from xmppservice.edge.s2s.questions import MAX_RECORDS, SRV, A, Answer, Question, Truncated, Useless

QUESTION = Question("a.test", A, 4711)


def reply(*answers: tuple[str, Any], **flags: Any) -> bytes:
    """A reply to the question."""
    message = dns.Message(4711, answer=1, maxSize=0, **flags)
    message.addQuery("a.test", A)
    message.answers = [dns.RRHeader(name, record.TYPE, dns.IN, record.ttl, record) for name, record in answers]
    return message.toStr()


def test_question() -> None:
    """It asks for recursion and for the AD bit, and the id is drawn anew (RFC 5452, RFC 6840 5.7)."""
    asked = dns.Message()
    asked.fromStr(QUESTION.encode())
    assert (asked.id, asked.recDes, asked.authenticData, asked.answer) == (4711, 1, 1, 0)
    assert asked.queries == [dns.Query("a.test", A)]
    assert len({Question("a.test", SRV).id for _ in range(20)}) > 10


def test_ownNames() -> None:
    """Records of names that nobody asked for are left out; the least TTL on the way counts (RFC 2181 5.4.1)."""
    data = reply(
        ("evil.test", dns.Record_A("203.0.113.1", 1)),
        ("A.test", dns.Record_CNAME("b.test", 50)),
        ("b.test", dns.Record_A("192.0.2.1", 70)),
        ("c.test", dns.Record_CNAME("evil.test", 1)),
    )
    answer = QUESTION.decode(data)
    assert [record.dottedQuad() for record in answer.records] == ["192.0.2.1"]
    assert answer.ttl == 50


def test_manyRecords() -> None:
    """Only so many records are kept, and only so many aliases followed."""
    many = reply(*(("a.test", dns.Record_A("192.0.2.1", 5)) for _ in range(200)))
    assert len(QUESTION.decode(many).records) == MAX_RECORDS
    names = ["a.test", *(f"n{number}.test" for number in range(30))]
    chain = [(name, dns.Record_CNAME(after, 5)) for name, after in zip(names, names[1:], strict=False)]
    assert QUESTION.decode(reply(*chain, (names[-1], dns.Record_A("192.0.2.1", 5)))).records == ()


def test_refusals() -> None:
    """Error codes are final; a truncated reply says so, wherever it ends."""
    with pytest.raises(Useless, match="SERVFAIL") as caught:
        QUESTION.decode(reply(rCode=dns.ESERVER))
    assert caught.value.final
    data = reply(("a.test", dns.Record_A("192.0.2.1", 5)), trunc=1)
    for end in (len(data), len(data) - 3):
        with pytest.raises(Truncated):
            QUESTION.decode(data[:end])
    with pytest.raises(Useless):
        QUESTION.decode(QUESTION.encode())


SEED = reply(("a.test", dns.Record_CNAME("b.test", 5)), ("b.test", dns.Record_A("192.0.2.1", 5)))
# Values that mean something: pointers, types with fields of their own, lengths.
VALUES = st.sampled_from((0xC0, 0xFF, 0, 1, 12, 16, 28, 33, 41)) | st.integers(0, 255)
# Behind the header and the question, so that most of it is looked at.
CHANGES = st.lists(st.tuples(st.integers(24, len(SEED) - 1), VALUES), max_size=8)


@example([(24, 0xC0), (25, 24)], len(SEED), b"")
@given(CHANGES, st.integers(0, len(SEED)), st.binary(max_size=40))
def test_mutations(changes: list[tuple[int, int]], end: int, more: bytes) -> None:
    """Whatever the bytes are: an answer, or one of the two exceptions."""
    data = bytearray(SEED)
    for at, value in changes:
        data[at] = value
    try:
        assert isinstance(QUESTION.decode(bytes(data[:end]) + more), Answer)
    except (Useless, Truncated):
        pass
