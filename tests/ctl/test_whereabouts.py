"""``xmppctl check --dns``: where the DNS says that a host is, judged against where this machine listens."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.dns import serving
from tests.edge.s2s.names import TableNames
from tests.security.certificates import Authority
from xmppservice.ctl import check as checking
from xmppservice.ctl.findings import ERROR, OK, WARNING, Finding
from xmppservice.ctl.lookups import BlockingNames
from xmppservice.ctl.whereabouts import isHere, whereabouts
from xmppservice.edge.s2s.nameservers import ConfiguredServers
from xmppservice.edge.s2s.questions import AAAA, SRV, A, Answer, LookupFailed
from xmppservice.settings import Settings, loadSettings

CONFIGURATION = """
[listen]
c2s = ["tcp:0:interface=127.0.0.1"]
c2s_tls = []
s2s = ["tcp:5269:interface=127.0.0.1"]
s2s_tls = ["tcp:5270:interface=127.0.0.1"]
[s2s]
{s2s}
[hosts."a.test"]
"""
STARTTLS, DIRECT = "_xmpp-server._tcp.a.test", "_xmpps-server._tcp.a.test"
NOBODY = "192.0.2.7"


def settingsIn(folder: Path, s2s: str = "", listen: str = CONFIGURATION) -> Settings:
    """A configuration in a folder."""
    (folder / "x.toml").write_text(listen.format(s2s=s2s))
    return loadSettings(str(folder / "x.toml"), {})


def judged(folder: Path, table: Any) -> list[Finding]:
    """The findings where the DNS says this; each that is not good says how to mend it."""
    found = list(whereabouts(settingsIn(folder), TableNames(table)))
    assert all(finding.level == OK or finding.mend for finding in found)
    return found


def of(folder: Path, table: Any) -> tuple[str, str, str]:
    """The only finding."""
    (found,) = judged(folder, table)
    return found.level, found.what, found.mend


def at(*ports: int, name: str = STARTTLS, address: str = "127.0.0.1") -> dict[Any, Any]:
    """SRV records to a host with an address."""
    return {(name, SRV): [(0, 0, port, "x.test") for port in ports], ("x.test", A): [address]}


def test_good(tmp_path: Path) -> None:
    """Both services, and a host without SRV records that is at its own address."""
    both = {**at(5269), **at(5270, name=DIRECT)}
    assert [(finding.level, finding.what) for finding in judged(tmp_path, both)] == [
        (OK, "dns: a.test is at x.test port 5270 (direct TLS): 127.0.0.1, which is here"),
        (OK, "dns: a.test is at x.test port 5269 (STARTTLS): 127.0.0.1, which is here"),
    ]
    alone = of(tmp_path, {("a.test", A): ["127.0.0.1"], ("a.test", AAAA): ["::1"]})
    assert alone[:2] == (OK, "dns: a.test is at a.test port 5269 (STARTTLS): ::1, 127.0.0.1, which is here")


def test_components(tmp_path: Path) -> None:
    """A component need not be found by others; if it is, it is found here."""
    names = ("irc.test", "sms.test")
    ports = "".join(f'[ports."{name}"]\nkind = "component"\nsecret_file = "secret"\n' for name in names)
    table = {**at(5269), ("irc.test", A): [NOBODY]}
    found = list(whereabouts(settingsIn(tmp_path, listen=CONFIGURATION + ports), TableNames(table)))
    assert [finding.level for finding in found] == [OK, WARNING, OK]
    assert found[2].what == "dns: sms.test is for users of this server alone: there is no domain sms.test"


def test_wrongPort(tmp_path: Path) -> None:
    """A port nobody listens on; the port of the other way to begin TLS."""
    level, what, mend = of(tmp_path, at(5999))
    assert level == ERROR and "tcp:5999" in mend
    assert what == "dns: a.test is at x.test port 5999 (STARTTLS), but no listen.s2s here has this port"
    level, _, mend = of(tmp_path, at(5270))
    assert level == ERROR and "publish it with _xmpps-server._tcp" in mend
    level, _, mend = of(tmp_path, at(5269, name=DIRECT))
    assert level == ERROR and "publish it with _xmpp-server._tcp" in mend


def test_foreignAddress(tmp_path: Path) -> None:
    """An address that is not here may be that of a router; whether its port is ours cannot be known then."""
    level, what, mend = of(tmp_path, at(5269, address=NOBODY))
    assert (level, "192.0.2.7 is no address of this machine" in what) == (WARNING, True)
    assert mend.startswith("fine if that machine forwards")
    level, _, mend = of(tmp_path, at(443, address=NOBODY))
    assert level == WARNING and mend.startswith("fine if 192.0.2.7 forwards it to a port of listen.s2s;")


def test_notFound(tmp_path: Path) -> None:
    """No records at all, a dot, a host without address, and name servers that fail."""
    level, what, mend = of(tmp_path, {})
    assert (level, what) == (ERROR, "dns: other servers cannot find a.test: there is no domain a.test")
    assert mend.startswith("publish _xmpp-server._tcp.a.test. SRV")
    assert of(tmp_path, {(STARTTLS, SRV): [(0, 0, 5269, "")]})[0] == ERROR
    assert of(tmp_path, {(STARTTLS, SRV): [(0, 0, 5269, "x.test")]})[1].endswith("which has no address")
    level, what, mend = of(tmp_path, {(name, SRV): "the name server is silent" for name in (STARTTLS, DIRECT)}
                           | {("a.test", A): "the name server is silent"})  # fmt: skip
    assert (level, "the name server is silent" in what, "s2s.resolver" in mend) == (WARNING, True, True)


def test_isHere() -> None:
    """Addresses of this machine, and one that is kept for documents (RFC 5737)."""
    assert isHere("127.0.0.1") and not isHere(NOBODY) and not isHere("2001:db8::7")


# -- the whole command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    """A name server that knows a.test, one name that is silent, and one whose answers need TCP."""
    zone = {
        STARTTLS: {"SRV": [[0, 0, 5269, "x.test."]]},
        "x.test": {"A": ["127.0.0.1"]},
        "silent.test": {"mode": "silent"},
        "long.test": {"A": ["127.0.0.1"], "mode": "truncated"},
        "lies.test": {"A": ["127.0.0.1"], "mode": "liar"},
        "nonsense.test": {"mode": "garbage"},
        "fails.test": {"mode": "servfail"},
    }
    with serving(zone) as port:
        yield f"127.0.0.1:{port}"


def test_onlyWhenAsked(tmp_path: Path, resolver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --dns the name servers of the configuration are asked; without it no socket goes anywhere."""
    (tmp_path / "certs").mkdir()
    Authority("root").names("a.test").write(tmp_path / "certs", "a.test")
    settings = settingsIn(tmp_path, f'resolver = ["{resolver}"]')
    rows = [row for row in checking.check(settings, lookUp=True).rows if row[1].startswith("dns:")]
    assert rows == [(OK, "dns: a.test is at x.test port 5269 (STARTTLS): 127.0.0.1, which is here", "")]

    def connect(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            raise FileNotFoundError(address)
        raise AssertionError(f"connects to {address}")

    def resolve(*arguments: Any) -> None:
        raise AssertionError(f"looks up {arguments}")

    class Sealed(socket.socket):
        """One that goes nowhere."""

    Sealed.connect = connect  # type: ignore[method-assign]
    monkeypatch.setattr(socket, "socket", Sealed)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert not [row for row in checking.check(settings).rows if row[1].startswith("dns:")]
    with pytest.raises(AssertionError, match="connects to"):
        checking.check(settings, lookUp=True)


def test_noOthers(tmp_path: Path) -> None:
    """A server that talks to no other asks nobody."""
    settings = settingsIn(tmp_path, listen='[listen]\nc2s_tls = []\n[hosts."a.test"]\n')
    assert [finding.level for finding in whereabouts(settings)] == [OK]


# -- asking without a reactor ------------------------------------------------------------------------------------------


def answerOf(names: BlockingNames, name: str, kind: int = A) -> Answer | str:
    """What a look-up has come to: it has ended when the call returns."""
    outcome: list[Any] = []
    asked: Deferred[Answer] = names.ask(name, kind)
    asked.addErrback(lambda failure: str(failure.trap(LookupFailed) and failure.value)).addBoth(outcome.append)
    result: Answer | str = outcome[0]
    return result


@pytest.mark.parametrize(("name", "said"), [("long.test", ""), ("lies.test", ""), ("nonsense.test", "replies to other"),
                                            ("fails.test", "SERVFAIL")])  # fmt: skip
def test_answers(resolver: str, name: str, said: str) -> None:
    """Over TCP where it does not fit; lies are passed over; nonsense and errors are told."""
    found = answerOf(BlockingNames(ConfiguredServers([resolver]), patience=20 if not said else 0.3), name)
    if said:
        assert isinstance(found, str) and (said in found or "in time" in found)
    else:
        assert isinstance(found, Answer) and [record.dottedQuad() for record in found.records] == ["127.0.0.1"]


def test_silence(resolver: str) -> None:
    """A silent server is waited for once, then the next is asked; all in all there is an end."""
    names = BlockingNames(ConfiguredServers([resolver]), patience=0.2)
    found = answerOf(names, "silent.test")
    assert isinstance(found, str) and found.endswith("did not answer in time")
    assert answerOf(names, "x.test") == "no name server answers"
    over = BlockingNames(ConfiguredServers([resolver]), limit=0)
    found = answerOf(over, "x.test")
    assert isinstance(found, str) and found.endswith("did not answer in time")
