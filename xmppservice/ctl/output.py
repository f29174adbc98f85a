"""What xmppctl prints: aligned tables for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from xmppservice.hub.commands import Result


def render(result: Result, asJSON: bool = False) -> str:
    """A result as text, without a line end at its end; empty if there is nothing to say."""
    if asJSON:
        return renderJSON(result)
    parts = []
    if result.columns and result.rows:
        parts.append(table(result.columns, result.rows))
    elif result.columns and not result.text:
        parts.append("none")
    if result.text:
        parts.append(plain(result.text))
    return "\n".join(parts)


def renderJSON(result: Result) -> str:
    """A result as one JSON object: ``text``, ``failed`` and, for tables, ``rows`` of objects."""
    data: dict[str, Any] = {"text": result.text, "failed": result.failed}
    if result.columns:
        data["rows"] = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
    return json.dumps(data, ensure_ascii=False, indent=2)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under a heading, columns aligned; numbers to the right."""
    cells = [[plain(_cell(value), lines=False) for value in row] for row in rows]
    widths = [max(_width(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    right = [all(type(row[i]) in (int, float) for row in rows) for i in range(len(columns))]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    return "\n".join(_line(line, widths, right) for line in lines)


def plain(text: str, lines: bool = True) -> str:
    """Text that cannot steer the terminal: control characters from names and addresses are shown as ``?``."""
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "?" for c in text)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, toTheRight in zip(cells, widths, right, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if toTheRight else cell + space)
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
