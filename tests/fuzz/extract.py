"""Makes ``corpus/examples.txt`` from the texts of RFCs and XEPs: ``python -m tests.fuzz.extract FOLDER``.

The folder has ``rfc/*.txt`` (as the RFC editor publishes them) and ``xep/*.txt`` (examples behind ``|``). Each
well-formed fragment becomes one line; line breaks and indentation are folded, since they mean nothing there.
"""

from __future__ import annotations

import pyexpat
import re
import sys
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).with_name("corpus") / "examples.txt"
LONGEST = 3000
_OPEN = "<x xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>"
_SPEAKER = re.compile(r"^\s*(?:[A-Z]{1,3}[0-9]?: )?(?=<)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FOOT = re.compile(r"^(?:\S.*\[Page \d+\]|RFC \d+ .*|\f)$")


def blocksOfXEP(text: str) -> Iterator[str]:
    """Runs of lines behind a bar."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line[1:])
        elif lines:
            yield "\n".join(lines)
            lines = []


def blocksOfRFC(text: str) -> Iterator[str]:
    """Indented paragraphs that begin with a tag, page breaks taken out."""
    kept = [line for line in text.splitlines() if not _FOOT.match(line.strip("\f"))]
    for paragraph in re.split(r"\n\s*\n", "\n".join(kept)):
        if paragraph.startswith(" ") and _SPEAKER.match(paragraph):
            yield _SPEAKER.sub("", paragraph, count=1)


def fragments(block: str) -> Iterator[str]:
    """The well-formed elements of a block; of a block that is not well-formed, those of its paragraphs."""
    whole = list(_elements(block))
    yield from whole or (each for part in re.split(r"\n\s*\n", block) for each in _elements(part))


def _elements(text: str) -> Iterator[str]:
    data = _COMMENT.sub("", text).encode()
    found: list[tuple[int, int]] = []
    depth = start = 0
    parser = pyexpat.ParserCreate(namespace_separator=" ")
    shift = len(_OPEN)

    def onStart(name: str, attrs: dict[str, str]) -> None:
        nonlocal depth, start
        depth += 1
        if depth == 2:
            start = parser.CurrentByteIndex - shift

    def onEnd(name: str) -> None:
        nonlocal depth
        depth -= 1
        if depth == 1:
            found.append((start, data.find(b">", max(parser.CurrentByteIndex - shift - 1, start)) + 1))

    parser.StartElementHandler, parser.EndElementHandler = onStart, onEnd
    try:
        parser.Parse(_OPEN.encode() + data + b"</x>", True)
    except pyexpat.ExpatError:
        return
    for begin, end in found:
        line = re.sub(r"\s*\n\s*", " ", data[begin:end].decode()).replace(" >", ">").replace("> <", "><")
        if len(line) <= LONGEST:
            yield line


def extract(folder: Path) -> list[str]:
    """Every fragment of a folder of specifications, once each, in the order of the files."""
    seen: dict[str, None] = {}
    for kind, blocks in (("rfc", blocksOfRFC), ("xep", blocksOfXEP)):
        for file in sorted((folder / kind).glob("*.txt")):
            for block in blocks(file.read_text("utf-8", "replace")):
                seen.update(dict.fromkeys(fragments(block)))
    return list(seen)


def main() -> None:
    """Write the corpus."""
    lines = extract(Path(sys.argv[1]))
    TARGET.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{len(lines)} fragments, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
