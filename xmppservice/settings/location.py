"""Where in a TOML text a key stands, so that a message can name the line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def locate(text: str, path: tuple[str, ...]) -> int | None:
    """The line (from 1) of a key; of the nearest table or key above it if it has no line of its own."""
    best, where = 0, None
    table: tuple[str, ...] = ()
    for number, line in _statements(text):
        if line.startswith("["):
            table = _header(line)
            depth = len(table) if path[: len(table)] == table else 0
        else:
            depth = len(table) + _depth(line, path[len(table) :]) if path[: len(table)] == table else 0
        if depth > best:
            best, where = depth, number
    return where


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header and each key with its value, which may take several lines, with the number of the first line."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            start = number
        pending += line.strip() + "\n"
        if pending.startswith("[") or _parsed(pending) is not None:
            yield start, pending
            pending = ""


def _parsed(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return None


def _header(line: str) -> tuple[str, ...]:
    """The dotted key of a table header, read by the TOML parser itself."""
    path = []
    table: Any = _parsed(line)
    while table:
        key, table = next(iter(table.items()))
        path.append(key)
        if isinstance(table, list):
            table = table[0]
    return tuple(path)


def _depth(statement: str, path: tuple[str, ...]) -> int:
    """How many of the keys of the path this one statement sets."""
    value: Any = _parsed(statement)
    depth = 0
    while depth < len(path) and isinstance(value, dict) and path[depth] in value:
        value = value[path[depth]]
        depth += 1
    return depth
