"""The catalogue is complete: each id has a test that exists, or says why there is none."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.attack.catalogue import IDS, MARKED, MISSING, NAMED
from tests.attack.table import ROWS

HERE = Path(__file__).parent


@cache
def functions(file: Path) -> dict[str, ast.FunctionDef]:
    """The test functions of a file."""
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def marks(function: ast.FunctionDef) -> set[str]:
    """The ids in its ``pytest.mark.attack``."""
    found = set()
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "attack":
            found |= {argument.value for argument in each.args if isinstance(argument, ast.Constant)}
    return {str(id) for id in found}


def marked() -> set[str]:
    """All ids that a test of this folder carries."""
    files = sorted(HERE.rglob("test_*.py"))
    return {id for file in files for function in functions(file).values() for id in marks(function)}


@pytest.mark.parametrize("id", IDS)
def test_everyIdHasAnAnswer(id: str) -> None:
    """A test that carries its mark, a test that is named, or a reason."""
    assert id in marked() or id in NAMED or MISSING.get(id, "").strip(), f"no test is about {id}, and nobody says why"


def test_marksAreThere() -> None:
    """The list of marked ids and the marks themselves agree; no mark is misspelt."""
    assert set(MARKED) <= marked(), set(MARKED) - marked()
    assert marked() <= {*IDS, *NAMED}, marked() - {*IDS, *NAMED}


@pytest.mark.parametrize("name", sorted({name for names in NAMED.values() for name in names}))
def test_namedTestsExist(name: str) -> None:
    """A test that was renamed or removed is missed here."""
    path, _, function = name.partition("::")
    file = HERE.parent / path
    assert file.is_file(), name
    assert not function or function in functions(file), name


def test_whatIsMissingIsNotTested() -> None:
    """An id does not have both a test and a reason for having none."""
    assert not set(MISSING) & (marked() | set(NAMED))


def test_rowsAreOfTheCatalogue() -> None:
    """The rows of the comparison use the same ids, or a section of the checklist."""
    assert {row.id for row in ROWS} <= {*IDS, "3.1", "3.2", "3.3", "3.4", "3.5"}


def test_gapsAreSeen() -> None:
    """The check itself: a function without the mark has none, one with it has just its ids."""
    tree = ast.parse("@pytest.mark.attack('X99', 'X98')\n@pytest.mark.own('x')\ndef test_x(): pass\ndef test_y(): pass")
    one, two = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert marks(one) == {"X99", "X98"} and not marks(two)
