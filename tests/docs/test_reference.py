"""The reference pages hold everything that the code declares."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.sources import ROOT
from xmppservice.hub.hooks import CATALOGUE
from xmppservice.hub.options import describeOptions
from xmppservice.settings.sections import SECTIONS, ComponentKeys, PortKeys

sys.path.insert(0, str(ROOT / "docs"))
import generate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, freshly written."""
    made = tmp_path_factory.mktemp("reference")
    generate.writeAll(made)
    return made


def test_options(folder: Path) -> None:
    """Each key of each section and of each module has a row."""
    text = (folder / "options.rst").read_text("utf-8")
    modules = [module.Options for module in generate.allModules().values()]
    classes = [*SECTIONS.values(), PortKeys, ComponentKeys, *modules]
    missing = [entry.key for cls in classes for entry in describeOptions(cls) if f"``{entry.key}``" not in text]
    assert not missing


def test_hooks(folder: Path) -> None:
    """Each hook point has a row that says when it fires."""
    text = (folder / "hooks.rst").read_text("utf-8")
    assert all(f"``{point.name}``" in text and point.when in text for point in CATALOGUE)


@pytest.mark.parametrize(
    "number",
    [12, 30, 49, 54, 77, 92, 115, 128, 157, 160, 178, 191, 198, 199, 202, 203, 334, 355, 356, 359, 368, 440, 478],
)
def test_xeps(folder: Path, number: int) -> None:
    """Each XEP of this release is in the table."""
    assert f"* - {number:04}" in (folder / "xeps.rst").read_text("utf-8")


def test_commandsAndStates(folder: Path) -> None:
    """The commands and the machine's states are there."""
    text = (folder / "commands.rst").read_text("utf-8")
    for line in ("user add JID [--role user|admin]", "user import FILE", "sessions [HOST]", "init --domain DOMAIN"):
        assert f"``{line}``" in text
    assert "``OPENING``" in (folder / "streams.rst").read_text("utf-8")
