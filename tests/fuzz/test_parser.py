"""F1, F2: the parser at every split of the input, and against parsers that share nothing with it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.examples import HEADER, examples, stanzas, trees
from tests.fuzz.mutate import mutateBytes, mutateTags, mutateTree
from tests.fuzz.oracles import Found, disagreement, elementTree, libxml, read, splits
from tests.fuzz.profile import budget
from tests.fuzz.sessions import FOOTER
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

SEEDS = st.integers(0, 2**32)


def documentOf(seed: int) -> bytes:
    """A stream of one to three examples, mutated at one of the levels; or not at all."""
    chance = random.Random(seed)
    parts = [chance.choice(examples()) for _ in range(chance.randint(1, 3))]
    level = chance.randrange(4)
    if level == 0:
        parts = [serialize(mutateTree(chance.choice(trees()), chance, chance.randint(1, 4)))]
    data = HEADER + b" ".join(parts)
    if level > 1:
        data = (mutateTags if level == 2 else mutateBytes)(data, chance, chance.randint(1, 3))
    return data + FOOTER


def test_corpus() -> None:
    """The corpus is there, and nearly all of it is XML as XMPP has it."""
    assert len(examples()) > 3000
    assert len(trees()) > 0.99 * len(examples())
    assert len(stanzas()) > 2000


def test_examplesByteByByte() -> None:
    """F1: every example of the specifications means the same however it is cut: one cut, and byte by byte."""
    for number, line in enumerate(examples()):
        data = HEADER + line + FOOTER
        assert not (problem := splits(data, max(7, len(data) // 2) + number % 5)), (line, problem)


def test_examplesAtEverySplit() -> None:
    """F1: every split of a sample of the examples."""
    for line in examples()[::60]:
        if len(line) < 600:
            assert not (problem := splits(HEADER + line + FOOTER)), (line, problem)


@budget(150)
@given(SEEDS)
def test_mutatedAtSplits(seed: int) -> None:
    """F1: what is broken is as broken in pieces, and nothing escapes."""
    data = documentOf(seed)
    assert not (problem := splits(data, 1 + len(data) // 300)), (data, problem)


def test_emptyRoot() -> None:
    """Found: the end of a root that is an empty element was looked for behind it, in the next tag or nowhere."""
    root = HEADER.replace(b">", b"/>")
    assert [end for _, end in read([root + b"rest>"])] == [len(root), len(root)]
    assert not splits(root + b"rest>")


def test_othersAgreeOnExamples() -> None:
    """F2: libxml2 and two builders of the standard library read the same trees in every example we take."""
    for line in examples():
        assert not (problem := disagreement(HEADER + line)), (line, problem)


@budget(2000)
@given(SEEDS)
def test_othersAgreeOnMutated(seed: int) -> None:
    """F2: what we take, others take, and read alike."""
    data = documentOf(seed).removesuffix(FOOTER)
    assert not (problem := disagreement(data)), (data, problem)


# -- sabotage: each oracle sees what it is there for ------------------------------------------


def test_seesByteLostAtSplit() -> None:
    """A parser that drops the first byte of a piece is found out by F1."""

    def forgetful(chunks: Iterable[bytes]) -> list[Found]:
        return read(chunk[1:] if number else chunk for number, chunk in enumerate(chunks))

    assert splits(HEADER + b"<message><body>Hello</body></message>", reading=forgetful)


def test_seesLateItem() -> None:
    """So is one that puts an end in the wrong place."""

    def late(chunks: Iterable[bytes]) -> list[Found]:
        pieces = list(chunks)
        return [(item, end + len(pieces) - 1) for item, end in read(pieces)]

    assert splits(HEADER + b"<message/>", reading=late)


def test_seesOtherTree() -> None:
    """A parser that loses an attribute, a text or a namespace disagrees with each of the others."""
    data = HEADER + b"<message to='a'><body xmlns='urn:x'>Hello</body></message>"
    for other in (libxml, elementTree):
        for change in ("attrs", "children", "ns"):

            def broken(chunks: Iterable[bytes], change: str = change) -> list[Found]:
                found = read(chunks)
                stanza = found[1][0]
                assert isinstance(stanza, Element)
                nothing: dict[str, object] = {"attrs": {}, "children": [], "ns": ""}
                setattr(stanza.elements()[0] if change == "ns" else stanza, change, nothing[change])
                return found

            assert not disagreement(data, [other])
            assert disagreement(data, [other], broken)


def test_seesLaxity() -> None:
    """A parser that takes what is not well-formed is refuted by the others."""

    def lax(chunks: Iterable[bytes]) -> list[Found]:
        whole = b"".join(chunks)
        return [(item, len(whole)) for item, _ in read([whole.replace(b"&x;", b"")])]

    assert "refuses" in disagreement(HEADER + b"<message>&x;</message>", reading=lax)
