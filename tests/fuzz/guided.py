"""Guided by coverage: atheris over parser, addresses and SASL. Needs the extra ``fuzz``."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["xmppservice"]):
    from tests.fuzz.examples import HEADER, examples
    from tests.fuzz.exchanges import MECHANISMS, TALKS, checkBase64, checkExchange
    from tests.fuzz.mutate import mutateBytes, mutateTags
    from tests.fuzz.oracles import differs, disagreement, libxml, read
    from tests.fuzz.sessions import BREAKER
    from xmppservice.protocol.jid import JID, InvalidJID

Target = Callable[[bytes], None]
LONGEST = 1024


def parser(data: bytes) -> None:
    """F1, F2: the first byte says where to cut, or whether there is a header of ours in front."""
    if not data:
        return
    document = data[1:] if data[0] & 1 else HEADER + data[1:]
    document += BREAKER
    whole = read([document])
    at, step = (data[0] >> 1) * len(document) // 128, 1 + (data[0] >> 4)
    pieces = (document[begin : begin + step] for begin in range(0, len(document), step))
    if problem := differs(whole, read([document[:at], document[at:]])) or differs(whole, read(pieces)):
        raise AssertionError(problem)
    if problem := disagreement(document.removesuffix(BREAKER), (libxml,)):
        raise AssertionError(problem)


def jid(data: bytes) -> None:
    """F4: a normal form or a refusal; the normal form is its own, and so are its parts."""
    try:
        found = JID.parse(data.decode("utf-8", "surrogatepass"))
    except (InvalidJID, UnicodeDecodeError):
        return
    found.full.encode("utf-8")
    assert JID.parse(found.full).full == found.full
    assert JID.of(found.local, found.domain, found.resource).full == found.full
    assert max(len(part.encode()) for part in (found.local, found.domain, found.resource)) <= 1023


def sasl(data: bytes) -> None:
    """F8: messages between line feeds, for the mechanism that the first byte names."""
    if not data:
        return
    if problem := checkExchange(MECHANISMS[data[0] % len(MECHANISMS)], data[1:].split(b"\n")):
        raise AssertionError(problem)
    if problem := checkBase64(data[1:200].decode("latin-1")):
        raise AssertionError(problem)


def _mutator(data: bytes, size: int, seed: int) -> bytes:
    """Tags half of the time, else what libFuzzer does by itself."""
    chance = random.Random(seed)
    if chance.random() < 0.5 or not data:
        return bytes(atheris.Mutate(data, size))
    change = mutateTags if chance.random() < 0.7 else mutateBytes
    return (data[:1] + change(data[1:], chance, chance.randint(1, 3)))[:size]


def seeds(name: str) -> list[bytes]:
    """What to begin with."""
    if name == "parser":
        return [b"\0" + line for line in examples()[::5]]
    if name == "jid":
        addresses = "a@b.c/d é@bücher.example/ü [::1] a@xn--bcher-kva.example ß@ß/ß ٠@x/۰ l·l@x/\u200d ｗ@ｗ。ｗ/ｗ"
        return [text.encode() for text in addresses.split(" ")]
    return [bytes((number,)) + b"\n".join(talk) for talk in TALKS for number in range(len(MECHANISMS))]


TARGETS: dict[str, Target] = {"parser": parser, "jid": jid, "sasl": sasl}


def main() -> None:
    """``python -m tests.fuzz.guided NAME FOLDER MINUTES``; what libFuzzer finds lands in the folder."""
    name, folder, minutes = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    corpus = folder / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed[:LONGEST])
    options = [f"-max_len={LONGEST}", f"-max_total_time={int(minutes * 60)}", "-timeout=10", "-print_final_stats=1"]
    arguments = [sys.argv[0], str(corpus), f"-artifact_prefix={folder}/{name}-", *options]
    mutator = {"custom_mutator": _mutator} if name == "parser" else {}
    atheris.Setup(arguments, TARGETS[name], **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
