"""The client programs: where each is, what to install if it is missing, how it is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.sources import ROOT

HERE = Path(__file__).resolve().parent
REQUIRE = "XMPPSERVICE_REQUIRE_PEERS"
SLIDGE_PYTHON = Path(os.environ.get("XMPPSERVICE_SLIDGE", ROOT / ".venv-slidge")) / "bin" / "python"
AIOXMPP_PYTHON = Path(os.environ.get("XMPPSERVICE_AIOXMPP", ROOT / ".venv-aioxmpp")) / "bin" / "python"


@dataclass(frozen=True)
class Program:
    """A client: a command to run, a test whether it is there, and what installs it."""

    name: str
    command: Sequence[str]
    present: Callable[[], bool]
    install: str

    def demand(self) -> None:
        """Skips the test with the line that installs the client; where clients are required, fails it."""
        if _present(self.present):
            return
        line = f"{self.name} is missing: {self.install}"
        if os.environ.get(REQUIRE):
            pytest.fail(line, pytrace=False)
        pytest.skip(line)


@cache
def _present(check: Callable[[], bool]) -> bool:
    return check()


def _imports(python: Path | str, module: str) -> Callable[[], bool]:
    def check() -> bool:
        command = [str(python), "-W", "ignore", "-c", f"import {module}"]
        return Path(python).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0

    return check


def _installed(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) for name in names)


def _node() -> bool:
    return shutil.which("node") is not None and (HERE / "node/node_modules/@xmpp/client").is_dir()


def _prosody() -> bool:
    return shutil.which("prosody") is not None and bool(list(Path("/usr/lib").glob("*/lua/5.4/lunbound.so")))


def _ejabberd() -> bool:
    return shutil.which("erl") is not None and bool(list(Path("/usr/lib").glob("*/ejabberd-*/ebin")))


SLIXMPP = Program(
    "slixmpp",
    (sys.executable, str(HERE / "peers/slixmpp_peer.py")),
    _imports(sys.executable, "slixmpp"),
    "pip install slixmpp",
)
AIOXMPP = Program(
    "aioxmpp",
    (str(AIOXMPP_PYTHON), "-W", "ignore", str(HERE / "peers/aioxmpp_peer.py")),
    _imports(AIOXMPP_PYTHON, "aioxmpp"),
    "python3 -m venv .venv-aioxmpp && .venv-aioxmpp/bin/pip install -r tests/interop/peers/aioxmpp.txt",
)
SLIDGE = Program(
    "slidge",
    (str(SLIDGE_PYTHON), "-W", "ignore", "-m", "slidge"),
    _imports(SLIDGE_PYTHON, "slidge"),
    "python3 -m venv .venv-slidge && .venv-slidge/bin/pip install -r tests/interop/peers/slidge.txt",
)
NODE = Program(
    "@xmpp/client",
    ("node", str(HERE / "node/peer.mjs")),
    _node,
    "apt install nodejs npm && npm ci --prefix tests/interop/node",
)
GO_SENDXMPP = Program(
    "go-sendxmpp",
    ("go-sendxmpp",),
    _installed("go-sendxmpp"),
    "apt install go-sendxmpp",
)
PROFANITY = Program(
    "profanity in tmux",
    ("profanity",),
    _installed("profanity", "tmux", "openssl"),
    "apt install profanity tmux openssl",
)
BIBOUMI = Program("biboumi", ("biboumi",), _installed("biboumi"), "apt install biboumi")
NGIRCD = Program("ngircd", ("ngircd",), _installed("ngircd"), "apt install ngircd")
PROSODY = Program("prosody with lua-unbound", ("prosody",), _prosody, "apt install prosody lua-unbound")
EJABBERD = Program("ejabberd", ("erl",), _ejabberd, "apt install ejabberd")
TALKERS = {program.name: program for program in (SLIXMPP, AIOXMPP, NODE)}
