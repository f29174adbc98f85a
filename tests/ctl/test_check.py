"""``xmppctl check``: what it finds, and that each finding says how to mend it."""

from __future__ import annotations

import datetime
import errno
import os
import socket
from pathlib import Path

import attrs
import pytest

from xmppservice.ctl.check import check, checkPort
from xmppservice.ctl.example import exampleConfiguration
from xmppservice.ctl.findings import ERROR, OK, WARNING
from xmppservice.ctl.versions import expatVersion, judge, libraryFindings
from xmppservice.edge.certificates import makeDevelopmentCertificate
from xmppservice.settings import Settings, loadSettings

ETC = Path(__file__).parent.parent.parent / "etc"
ANY_PORT = '[listen]\nc2s = ["tcp:0:interface=127.0.0.1"]\nc2s_tls = []\n'


def settingsIn(folder: Path, text: str = "[hosts.localhost]\n" + ANY_PORT) -> Settings:
    """A configuration in a folder."""
    (folder / "x.toml").write_text(text)
    return loadSettings(str(folder / "x.toml"), {})


def found(settings: Settings, word: str, days: float = 0) -> list[tuple[str, str]]:
    """Level and text of the findings that begin with a word."""
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    result = check(settings, now)
    for level, what, mend in result.rows:
        assert level == OK or mend or what.startswith("configuration"), what
    assert result.failed == any(level == ERROR for level, *_ in result.rows)
    return [(level, what) for level, what, _ in result.rows if what.startswith(word)]


def test_missingCertificate(tmp_path: Path) -> None:
    """A host without certificate is an error, unless one will be made."""
    settings = settingsIn(tmp_path)
    assert found(settings, "certificate")[0][0] == ERROR
    made = attrs.evolve(settings, tls=attrs.evolve(settings.tls, developmentCertificates=True))
    assert found(made, "certificate")[0][0] == OK


@pytest.mark.parametrize(
    ("days", "level", "word"),
    [(0, OK, "valid until"), (815, WARNING, "expires"), (900, ERROR, "expired"), (-3, ERROR, "not valid yet")],
)
def test_dates(tmp_path: Path, days: int, level: str, word: str) -> None:
    """A certificate is judged by its dates, with three weeks of warning."""
    makeDevelopmentCertificate(tmp_path / "certs", ["localhost"])
    finding = found(settingsIn(tmp_path), "certificate", days)[0]
    assert finding[0] == level
    assert word in finding[1]


def test_wrongCertificates(tmp_path: Path) -> None:
    """One for another name and one with another key are errors."""
    makeDevelopmentCertificate(tmp_path / "certs", ["localhost", "other.example"])
    settings = settingsIn(tmp_path)
    certs = tmp_path / "certs"
    os.replace(certs / "other.example.crt", certs / "localhost.crt")
    assert "is not the key" in found(settings, "certificate")[0][1]
    os.replace(certs / "other.example.key", certs / "localhost.key")
    assert found(settings, "certificate")[0] == (ERROR, "certificate: that of localhost does not name localhost")
    (certs / "localhost.crt").write_text("rubbish")
    assert found(settings, "certificate")[0][0] == ERROR


def test_clientAuthorities(tmp_path: Path) -> None:
    """A missing file of client authorities is an error."""
    makeDevelopmentCertificate(tmp_path / "certs", ["localhost"])
    settings = settingsIn(tmp_path, "[hosts.localhost]\n" + ANY_PORT + '[tls]\nclient_certificates = "ca.pem"\n')
    assert [level for level, _ in found(settings, "certificate")] == [OK, ERROR]


def test_permissions(tmp_path: Path) -> None:
    """Folders that everyone may write and databases that everyone may read are errors."""
    settings = settingsIn(tmp_path)
    assert "will be made" in found(settings, "permissions")[0][1]
    data = tmp_path / "var"
    data.mkdir(mode=0o700)
    assert found(settings, "permissions")[0][0] == OK
    data.chmod(0o777)
    assert found(settings, "permissions")[0] == (ERROR, f"permissions: everyone may write into {data}")
    data.chmod(0o755)
    (data / "db").write_text("")
    (data / "db").chmod(0o644)
    assert found(settings, "permissions")[0] == (ERROR, f"permissions: everyone may read {data / 'db'}")
    (data / "db").chmod(0o600)
    (tmp_path / "x.toml").chmod(0o666)
    assert "x.toml" in found(settings, "permissions")[0][1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_foreignFiles(tmp_path: Path) -> None:
    """A file that root left in the data folder of the server's user is an error, with the command that mends it."""
    settings = settingsIn(tmp_path)
    data = tmp_path / "var"
    data.mkdir(mode=0o700)
    (data / "db").write_text("")
    os.chown(data, 12345, 12345)
    assert "is not owned" in found(settings, "permissions")[0][1]


def test_ports() -> None:
    """A port is free, ours, somebody else's or not to be had; what is no TCP port is left alone."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        assert checkPort(endpoint, running=False).level == ERROR
        assert checkPort(endpoint, running=True).level == OK
    assert checkPort(endpoint, running=False).level == OK
    assert checkPort(endpoint, running=True).level == WARNING
    assert checkPort("tcp:5222:interface=192.0.2.1", running=False).level == ERROR
    assert checkPort("systemd:domain=INET:name=c2s", running=False).level == OK


def test_portAddresses() -> None:
    """The address is taken from the endpoint string as Twisted takes it."""
    asked: list[tuple[str, int]] = []

    def bind(address: str, port: int) -> None:
        asked.append((address, port))
        raise PermissionError(errno.EACCES, "no")

    for endpoint in (
        "tcp:80",
        "tcp6:81",
        r"tcp6:82:interface=\:\:1",
        "haproxy:tcp:port=83:interface=10.0.0.1:backlog=5",
    ):
        assert "needs privileges" in checkPort(endpoint, False, bind).what
    assert asked == [("0.0.0.0", 80), ("::", 81), ("::1", 82), ("10.0.0.1", 83)]


def test_testBedIsWarnedAbout(tmp_path: Path) -> None:
    """What is fit for a test bed only is a warning."""
    text = "[hosts.localhost]\n" + ANY_PORT + '[tls]\npolicy = "optional"\n[limits]\nenabled = false\n'
    levels = [level for level, _ in found(settingsIn(tmp_path, text), "configuration")]
    assert levels == [OK, WARNING, WARNING]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('exempt = ["localhost"]', "x.toml:6: limits.exempt: must be addresses"),
        ('memory = "lots"', 'x.toml:6: limits.memory: must be "auto"'),
    ],
)
def test_limitsThatOnlyTheEdgeUnderstands(tmp_path: Path, line: str, word: str) -> None:
    """What would keep the server from starting is an error here, with file and line."""
    settings = settingsIn(tmp_path, f"[hosts.localhost]\n{ANY_PORT}[limits]\n{line}\n")
    levels = dict(found(settings, "configuration"))
    assert word in levels[ERROR]


@pytest.mark.parametrize(("mark", "warned"), [("40 MiB", True), ("0", False), ("2 GiB", False), ("auto", False)])
def test_lowMemoryMark(tmp_path: Path, mark: str, warned: bool) -> None:
    """A mark below what the server takes by itself is warned about, as it would refuse everybody."""
    text = f'[hosts.localhost]\n{ANY_PORT}[limits]\nmemory = "{mark}"\n'
    findings = found(settingsIn(tmp_path, text), "configuration: limits.memory")
    assert [level for level, _ in findings] == ([WARNING] if warned else [])


def test_portOfTheFigures(tmp_path: Path) -> None:
    """The listener for monitoring is looked at like the others."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        metrics = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        settings = settingsIn(tmp_path, f'[hosts.localhost]\n{ANY_PORT}metrics = ["{metrics}"]\n')
        assert (ERROR, f"port: {metrics} is used by another program") in found(settings, "port")


def test_versions() -> None:
    """Versions are compared as numbers, whatever words stand around them."""
    assert judge("expat", "expat_2.7.2", (2, 7, 2), WARNING, "m").level == OK
    assert judge("expat", "expat_2.5.0", (2, 7, 2), WARNING, "m").level == WARNING
    assert judge("Twisted", "26.10.0", (26, 10), ERROR, "m").level == OK
    assert judge("Twisted", "26.4.0", (26, 10), ERROR, "m").level == ERROR
    assert judge("Twisted", "", (26, 10), ERROR, "m").level == WARNING
    assert expatVersion().startswith("expat_")
    assert not any(finding.level == ERROR for finding in libraryFindings())


def test_example(tmp_path: Path) -> None:
    """The example in etc/ is what the typed options say, is accepted, and shows true defaults when uncommented."""
    values = {"data": "var", "tls.certificates": "certs", "tls.development_certificates": True}
    text = exampleConfiguration("localhost", values)
    assert (ETC / "xmppservice.toml").read_text() == text
    settings = settingsIn(tmp_path, text)
    lines = [line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()]
    assert settingsIn(tmp_path, "\n".join(lines)) == settings
    assert settings.tls.developmentCertificates
    assert not found(settings, "certificate")[0][0] == ERROR


def test_components(tmp_path: Path) -> None:
    """Which components are expected, and what is wrong with the secret of one (hardening V11)."""
    secret = tmp_path / "echo.secret"
    secret.write_text("0123456789" * 3)
    secret.chmod(0o600)
    text = '[hosts.localhost]\n[ports."echo.localhost"]\nkind = "component"\nsecret_file = "echo.secret"\n'
    settings = settingsIn(tmp_path, '[listen]\nc2s = []\nc2s_tls = []\ncomponent = ["tcp:0"]\n' + text)
    assert found(settings, "components") == [(OK, "components: echo.localhost expected at tcp:0")]
    secret.write_text("short")
    ((level, what),) = found(settings, "components")
    assert level == ERROR and "shorter than 20" in what and "short\n" not in what
