"""The rows of the side-by-side table (docs/attacks.rst) on our server: each reaction is the one that is asked for."""

from __future__ import annotations

import pytest

from tests.attack.compare import PAGE
from tests.attack.table import ROWS, Row
from tests.attack.table.row import NEAR, RIGHT, WRONG

QUICK = [row for row in ROWS if not row.slow]


@pytest.mark.own("the table itself is made by tests.attack.compare")
@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.key)
def test_reaction(reactions: dict[str, str], row: Row) -> None:
    """What ours does is ✓, not just harmless."""
    assert row.judge(reactions[row.key]) == RIGHT, reactions[row.key]


def test_rowsHaveNamesOfTheirOwn() -> None:
    """Two rows of one name would hide each other."""
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_marks() -> None:
    """The marks tell right, harmless and wrong apart: nothing is right by default."""
    row = Row("X", "x", "1", lambda arena: "", ("restricted-xml, closed",))
    assert row.judge("restricted-xml, closed") == RIGHT
    assert row.judge("not-well-formed, closed") == NEAR
    assert [row.judge(text) for text in ("kept", "restricted-xml, kept", "closed", "result, kept")] == [WRONG] * 4
    failure = Row("X", "x", "1", lambda arena: "", ("failure: not-authorized, kept",))
    assert failure.judge("failure: aborted, kept") == NEAR and failure.judge("success, kept") == WRONG


def test_pageIsThisTable() -> None:
    """The page was made from these rows, in their order, and none of ours is short of ✓."""
    cells = [line.split("- ", 1)[1] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("   * - ")]
    assert [cell for cell in cells if cell in {row.id for row in ROWS}] == [row.id for row in ROWS]
