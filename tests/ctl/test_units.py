"""The systemd units: how much they shut, and that the server can live with it."""

from __future__ import annotations

import configparser
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xmppservice.settings import loadSettings

ROOT = Path(__file__).parent.parent.parent
ETC = ROOT / "etc"
CALLBACKS = """
from OpenSSL import SSL
context = SSL.Context(SSL.TLS_METHOD)
context.set_verify(SSL.VERIFY_PEER, lambda *args: True)
context.set_alpn_select_callback(lambda *args: b"xmpp-client")
"""


def unit(name: str) -> configparser.ConfigParser:
    """A unit file; where a key comes several times the last one counts."""
    parser = configparser.ConfigParser(strict=False, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string((ETC / name).read_text())
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt install systemd")
def test_exposure() -> None:
    """systemd itself scores the sandbox at 1.5 or better."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager"]
    done = subprocess.run([*command, str(ETC / "xmppservice.service")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr
    score = re.search(r"Overall exposure level for xmppservice.service: ([0-9.]+)", done.stdout)
    assert score is not None
    assert float(score[1]) <= 1.5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt install systemd")
@pytest.mark.parametrize("name", ["xmppservice.service", "xmppservice-c2s.socket", "xmppservice-c2s-tls.socket"])
def test_verify(name: str) -> None:
    """systemd knows every key; that our program is not installed on this machine does not matter."""
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(ETC.glob("xmppservice*.s*")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if name in line and "is not executable" not in line]
    assert complaints == []


def test_service() -> None:
    """The unit uses the protocols that the server speaks: notify, watchdog, SIGHUP, a stop that may take 10 s."""
    service = unit("xmppservice.service")["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 10
    assert service["ExecReload"] == "kill -HUP $MAINPID"
    assert service["ExecStart"].startswith("/opt/xmppservice/.venv/bin/twistd --nodaemon --pidfile= xmpp --config ")
    assert int(service["TimeoutStopSec"]) > 10


@pytest.mark.parametrize(("name", "key"), [("c2s", "c2s"), ("c2s-tls", "c2s_tls")])
def test_sockets(tmp_path: Path, name: str, key: str) -> None:
    """Each socket unit names its descriptor as the endpoint string in its comment does, and that string is accepted."""
    text = (ETC / f"xmppservice-{name}.socket").read_text()
    assert unit(f"xmppservice-{name}.socket")["Socket"]["FileDescriptorName"] == name
    line = re.search(rf'^#   ({key} = \["systemd:domain=INET6:name={name}"\])$', text, re.M)
    assert line is not None
    (tmp_path / "x.toml").write_text(f"[hosts.localhost]\n[listen]\n{line[1]}\n")
    settings = loadSettings(str(tmp_path / "x.toml"), {})
    assert f"systemd:domain=INET6:name={name}" in settings.listen.c2s + settings.listen.c2sTls


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the seccomp filter of this test is for x86-64")
def test_memory() -> None:
    """The unit forbids memory that is writable and executable only if the TLS library can do without it."""
    command = [sys.executable, "-m", "tests.ctl.sealed", sys.executable, "-c", CALLBACKS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    forbidden = unit("xmppservice.service")["Service"].get("MemoryDenyWriteExecute", "no") == "yes"
    assert not forbidden or done.returncode == 0, done.stderr
    if done.returncode:
        assert "MemoryError" in done.stderr
