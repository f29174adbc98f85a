"""What a stranger meets first: the distribution's metadata, the twistd plugin, the make targets, the papers."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.sources import ROOT

METADATA = configparser.ConfigParser()
METADATA.read(ROOT / "setup.cfg")
PLUGIN_QUERY = (
    "import sys; from twisted.plugin import getPlugins; from twisted.application.service import IServiceMaker;"
    "found = [p for p in getPlugins(IServiceMaker) if p.tapname == 'xmpp'];"
    "print(len(found), found[0].module, sorted(m for m in sys.modules if m.startswith('xmppservice.')))"
)


def requirements(text: str) -> list[Requirement]:
    """Reads requirement lines."""
    return [Requirement(line) for line in text.split("\n") if line.strip() and not line.startswith("#")]


def runPython(code: str, cwd: Path, *path: Path) -> str:
    """Runs code in a fresh interpreter that has the project, and these folders before it, on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(each) for each in (*path, ROOT))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_everyRequirementIsPinned() -> None:
    """Each requirement, extras too, has a version in constraints.txt, inside the range of setup.cfg."""
    pins = {pin.name.lower().replace("_", "-"): pin for pin in requirements((ROOT / "constraints.txt").read_text())}
    wanted = requirements(METADATA["options"]["install_requires"])
    for lines in METADATA["options.extras_require"].values():
        wanted += requirements(lines)
    for each in wanted:
        version = str(pins[each.name.lower().replace("_", "-")].specifier).removeprefix("==")
        assert each.specifier.contains(version), f"{each} is pinned to {version}"


def test_editableInstallShowsPlugin() -> None:
    """``package_dir = =.`` stays: without it an editable install has no ``twistd xmpp``."""
    assert METADATA["options"]["package_dir"].split() == ["=", "."]
    assert METADATA["options.packages.find"]["include"].split() == ["xmppservice*", "twisted.plugins"]


def test_everyFolderIsAPackage() -> None:
    """A forgotten ``__init__.py`` would make an installed package differ from the source tree."""
    folders = {path.parent for path in (ROOT / "xmppservice").rglob("*.py")}
    missing = sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())
    assert missing == []


def test_twistdFindsPluginFromAnywhere(tmp_path: Path) -> None:
    """Twisted lists the service, whatever the current folder, and listing it imports nothing of ours."""
    assert runPython(PLUGIN_QUERY, tmp_path) == "1 xmppservice.tap []"


def test_otherDistributionsAddModules(tmp_path: Path) -> None:
    """A folder ``xmppservice/plugins`` elsewhere on the path is part of the plugin package."""
    folder = tmp_path / "xmppservice" / "plugins"
    folder.mkdir(parents=True)
    (folder / "theirs.py").write_text("answer = 42\n")
    code = "from xmppservice.plugins import theirs; print(theirs.answer)"
    assert runPython(code, tmp_path, ROOT, tmp_path) == "42"


def test_missingVenvIsNamedInOneLine(tmp_path: Path) -> None:
    """``make run`` on a machine without python3-venv says what to install, and nothing else goes on."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["make", "run", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].endswith("apt install python3-venv")
    assert not (tmp_path / ".venv").exists()


def test_readmeCommandsExist() -> None:
    """Every make target that the papers name is in the Makefile, and so is the account's line's program."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    papers = "".join((ROOT / name).read_text() for name in ("README.rst", "CONTRIBUTING.rst"))
    named = set(re.findall(r"make (run|test|check|docs|bench|clean)\b", papers))
    assert {"run", "test", "check", "docs"} <= named <= targets
    assert "xmppctl user add alice@localhost" in papers
    assert METADATA["options.entry_points"]["console_scripts"].split() == ["xmppctl", "=", "xmppservice.ctl.main:main"]


def test_nodeLockHasNoAddresses() -> None:
    """The lock file of the Node client pins versions and hashes, and leaves the registry to the machine."""
    lock = json.loads((ROOT / "tests/interop/node/package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in package and package["integrity"] for package in packages)


def test_ciScriptParses() -> None:
    """The CI script is a bash script that stops at the first failure."""
    text = (ROOT / ".ci/run").read_text()
    assert text.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in text
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True, timeout=60)
