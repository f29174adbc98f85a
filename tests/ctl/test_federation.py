"""``xmppctl check`` on federation: what other servers will say of our certificates."""

from __future__ import annotations

from pathlib import Path

from tests.ctl.test_check import found, settingsIn
from tests.security.certificates import Authority
from xmppservice.ctl.findings import ERROR, OK, WARNING
from xmppservice.settings import Settings

LISTEN = '[listen]\nc2s = ["tcp:0:interface=127.0.0.1"]\nc2s_tls = []\ns2s = ["tcp:0:interface=127.0.0.1"]\n'
HOST = '[hosts."a.test"]\n'


def prepare(folder: Path, s2s: str) -> Settings:
    """A server that federates."""
    (folder / "certs").mkdir(exist_ok=True)
    return settingsIn(folder, f"{HOST}{LISTEN}[s2s]\n{s2s}")


def test_certificates(tmp_path: Path) -> None:
    """Good for those who trust its authority; a missing link of the chain and an unknown authority are seen."""
    root = Authority("root", None)
    deputy = root.deputy("deputy")
    own = deputy.names("a.test")
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    settings = prepare(tmp_path, 'authorities = "authorities.pem"\n')
    own.write(tmp_path / "certs", "a.test", deputy.own.certificate)
    assert found(settings, "federation") == [(OK, "federation: the certificate of a.test is good for other servers")]
    own.write(tmp_path / "certs", "a.test")
    complaint = (
        "federation: other servers will hardly accept the certificate of a.test: "
        "issued by an authority that is not trusted here"
    )
    assert found(settings, "federation") == [(WARNING, complaint)]
    own.write(tmp_path / "certs", "a.test", deputy.own.certificate)
    assert found(prepare(tmp_path, ""), "federation") == [(WARNING, complaint)]


def test_name(tmp_path: Path) -> None:
    """A certificate that is for the host's clients only by a rule that other servers do not have."""
    root = Authority("root")
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    settings = prepare(tmp_path, 'authorities = "authorities.pem"\n')
    root.names("*.test").write(tmp_path / "certs", "a.test")
    complaint = "federation: other servers will not accept the certificate of a.test: it is for other names"
    assert found(settings, "federation") == [(ERROR, complaint)]


def test_components(tmp_path: Path) -> None:
    """A component's name has to be in the certificate of the host above it, or of the first one."""
    root = Authority("root")
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    (tmp_path / "certs").mkdir()
    root.names("a.test", "irc.a.test").write(tmp_path / "certs", "a.test")
    root.names("b.test").write(tmp_path / "certs", "b.test")
    names = ("irc.a.test", "b.b.test", "else.where.test")
    ports = "".join(f'[ports."{name}"]\nkind = "component"\nsecret_file = "secret"\n' for name in names)
    settings = prepare(tmp_path, f'authorities = "authorities.pem"\n[hosts."b.test"]\n{ports}')
    what = "federation: the certificate of {} is not for {}, which other servers want to see there"
    assert found(settings, "federation") == [
        (OK, "federation: the certificate of a.test is good for other servers"),
        (WARNING, what.format("a.test", "else.where.test")),
        (OK, "federation: the certificate of b.test is good for other servers"),
        (WARNING, what.format("b.test", "b.b.test")),
    ]


def test_options(tmp_path: Path) -> None:
    """Authorities that cannot be read, and DANE without anybody who proves anything."""
    prepare(tmp_path, "")
    Authority("root").names("a.test").write(tmp_path / "certs", "a.test")
    (tmp_path / "empty.pem").write_bytes(b"")
    level, what = found(prepare(tmp_path, 'authorities = "empty.pem"\n'), "federation")[0]
    assert (level, "empty.pem" in what) == (ERROR, True)
    messages = found(prepare(tmp_path, "dane = true\nposh = true\n"), "federation: s2s")
    assert messages == [(WARNING, "federation: s2s.dane does nothing with the resolvers of the system")]
    assert found(prepare(tmp_path, 'dane = true\nresolver = ["127.0.0.1:53"]\n'), "federation: s2s") == []


def test_withoutFederation(tmp_path: Path) -> None:
    """Nothing is said where nobody is talked to."""
    (tmp_path / "certs").mkdir()
    settings = settingsIn(tmp_path, HOST + '[listen]\nc2s = ["tcp:0:interface=127.0.0.1"]\nc2s_tls = []\n')
    assert found(settings, "federation") == []


def test_whatAStartRefuses(tmp_path: Path) -> None:
    """Values that only the part for other servers understands."""
    authority = Authority("root")
    (tmp_path / "authorities.pem").write_bytes(authority.pem)
    for wrong, problem in (
        ('overrides = ["b.test 127.0.0.1:5269"]', "s2s.overrides"),
        ('deny = ["http://b.test"]', "s2s.deny"),
        ('allow = ["*b.test"]', "s2s.allow"),
        ('refused = ["privat"]', "s2s.refused"),
        ('resolver = ["localhost"]', "s2s.resolver"),
    ):
        settings = prepare(tmp_path, f'authorities = "authorities.pem"\n{wrong}\n')
        (error,) = [what for level, what in found(settings, "federation") if level == ERROR]
        assert problem in error, error


def test_settingsWithoutListener(tmp_path: Path) -> None:
    """Whoever fills in [s2s] wants to talk to other servers."""
    text = f'{HOST}{LISTEN.partition("s2s")[0]}[s2s]\nallow = ["b.test"]\n'
    ((level, what),) = found(settingsIn(tmp_path, text), "federation")
    assert level == WARNING and "talks to no other" in what
