"""Configuration: every key, every message with its line, overlays, overrides, discovery and what a reload can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from xmppservice.hub.options import Duration, FilePath, option
from xmppservice.settings import (
    Found,
    Overrides,
    Settings,
    SettingsError,
    dataFolder,
    developmentSettings,
    discover,
    loadSettings,
)
from xmppservice.settings.location import locate


@attrs.frozen
class Offline:
    """Options of a module."""

    limit: int = option(100, "Messages.", range=(0, 10_000))
    keep: Duration = option(0.0, "How long.")
    folder: FilePath = option("", "Where.")


@attrs.frozen
class Register:
    """Options of another module."""

    open: bool = option(False, "Whether anybody may.")


MODULES: Mapping[str, type | None] = {"offline": Offline, "register": Register, "ping": None}
DEFAULTS = ("ping", "offline")
BLUEPRINT = """\
data = "var"

[database]
url = "sqlite"

[listen]
c2s = ["tcp:5222:interface=127.0.0.1"]
c2s_tls = ["tcp:5223:interface=127.0.0.1"]
s2s = ["tcp:5269"]
component = ["tcp:5347:interface=127.0.0.1"]
http = []
metrics = []

[tls]
policy = "required"
certificates = "certs"

[limits]
enabled = true

[hosts."example.com"]
enable = ["register"]
disable = ["ping"]

[hosts."example.com".register]
open = true

[hosts.localhost]

[modules.offline]
limit = 1000

[ports."conference.example.com"]
kind = "muc"
[ports."irc.example.com"]
kind = "component"
secret_file = "irc.secret"
"""


def load(folder: Path, text: str, **overrides: object) -> Settings:
    """Write a file and read it."""
    path = folder / "x.toml"
    path.write_text(text)
    return loadSettings(str(path), MODULES, DEFAULTS, Overrides(**overrides))  # type: ignore[arg-type]


def refusal(folder: Path, text: str) -> str:
    """The message for a wrong file, without the folder."""
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}{os.sep}", "")


HOST = "[hosts.localhost]\n"


def test_blueprint(tmp_path: Path) -> None:
    """The file of the architecture is read key by key."""
    settings = load(tmp_path, BLUEPRINT)
    assert settings.data == str(tmp_path / "var")
    assert settings.tls.certificates == str(tmp_path / "certs")
    assert settings.controlSocket == str(tmp_path / "var" / "control.sock")
    assert settings.listen.c2sTls == ("tcp:5223:interface=127.0.0.1",)
    assert settings.listen.s2s == ("tcp:5269",)
    assert list(settings.hosts) == ["example.com", "localhost"]
    example, local = settings.hosts["example.com"], settings.hosts["localhost"]
    assert example.enabled == ("offline", "register")
    assert local.enabled == ("ping", "offline")
    assert example.of("register", Register).open is True
    assert local.of("register", Register).open is False
    assert example.of("offline", Offline).limit == local.of("offline", Offline).limit == 1000
    assert settings.ports["irc.example.com"].secretFile == str(tmp_path / "irc.secret")
    assert settings.ports["conference.example.com"].kind == "muc"


def test_notBuiltYet(tmp_path: Path) -> None:
    """Listeners that this version does not serve are accepted, and a warning says so; empty ones are silent."""
    assert not load(tmp_path, BLUEPRINT).warnings
    text = BLUEPRINT.replace("http = []", 'http = ["tcp:5280"]')
    assert [w.split(" ")[0] for w in load(tmp_path, text).warnings] == ["listen.http"]


def test_defaults(tmp_path: Path) -> None:
    """One host is all a file must name."""
    settings = load(tmp_path, HOST)
    assert settings.database.url == "sqlite"
    assert settings.tls.policy == "required"
    assert settings.data == str(tmp_path / "var")
    assert settings.limits.enabled
    assert settings.limits.stanzaBytes == 262144
    assert "ANONYMOUS" not in settings.mechanisms
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ('[listen]\ninterface = "127.0.0.7"\n', lambda s: s.listen.c2s == ("tcp:5222:interface=127.0.0.7",)),
        ('[listen]\ninterface = "::1"\n', lambda s: s.listen.c2sTls == (r"tcp6:5223:interface=\:\:1",)),
        ('[database]\nurl = "sqlite-memory"\n', lambda s: s.inMemory),
        ('[tls]\npolicy = "optional"\n', lambda s: s.tls.policy == "optional"),
        ("[hosts.localhost.register]\nopen = true\n", lambda s: True),
        ("[limits]\nenabled = false\n", lambda s: not s.limits.enabled),
        ("[auth]\nanonymous = true\n", lambda s: "ANONYMOUS" in s.mechanisms),
    ],
)
def test_testBeds(tmp_path: Path, text: str, check: object) -> None:
    """What test beds need is one key each."""
    assert callable(check)
    assert check(load(tmp_path, HOST + text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hosts.localhost]\n[limts]\n", "x.toml:2: limts: unknown key (did you mean 'limits'?)"),
        ('[tls]\npolcy = "x"\n', "x.toml:2: tls.polcy: unknown key (did you mean 'policy'?)"),
        (
            '[tls]\n# a comment\npolicy = "requierd"\n',
            'x.toml:3: tls.policy: must be "required" or "optional", not "requierd" (did you mean \'required\'?)',
        ),
        ("data = 5\n", "x.toml:1: data: must be a text, not 5"),
        ("limits = 5\n", "x.toml:1: limits: must be a table, not 5"),
        ("hosts = 5\n", "x.toml:1: hosts: must be a table"),
        ("[hosts]\nlocalhost = 5\n", "x.toml:2: hosts.localhost: must be a table"),
        ("data = \n", "x.toml:1: is no TOML: Invalid value"),
        ('a = """\n\n', "x.toml:2: is no TOML: Unterminated string"),
        ("", 'x.toml: hosts: there is no host; add [hosts."example.com"] or give --domain'),
        (
            '[database]\nurl = "sqlit"\n',
            'x.toml:2: database.url: must be "sqlite", "sqlite-memory" or '
            "\"postgresql://…\" (did you mean 'sqlite'?)",
        ),
        ('[hosts."a b"]\n', 'x.toml:1: hosts."a b": is no domain'),
        (
            '[hosts."a.example"]\n[hosts."A.example"]\n',
            "x.toml:2: hosts.\"A.example\": is the host 'a.example' a second",
        ),
        (
            HOST + 'enable = ["regster"]\n',
            "x.toml:2: hosts.localhost.enable: there is no module 'regster' (did you mean 'register'?)",
        ),
        (HOST + 'disable = ["a.b"]\n', "x.toml:2: hosts.localhost.disable: there is no module 'a.b' to import"),
        (HOST + "[hosts.localhost.regster]\n", "x.toml:2: hosts.localhost.regster: there is no module"),
        (HOST + "enabled = []\n", "x.toml:2: hosts.localhost.enabled: unknown key (did you mean 'enable'?)"),
        (
            HOST + "[modules.ofline]\n",
            "x.toml:2: modules.ofline: there is no module 'ofline' (did you mean 'offline'?)",
        ),
        (
            HOST + "[modules.offline]\nlimt = 5\n",
            "x.toml:3: modules.offline.limt: unknown key (did you mean 'limit'?)",
        ),
        (HOST + "[modules.ping]\nx = 5\n", "x.toml:3: modules.ping.x: the module 'ping' has no options"),
        (HOST + "offline = { keep = 1, limit = -1 }\n", "x.toml:2: hosts.localhost.offline.limit: must be between"),
        (
            HOST + '[listen]\nc2s = ["tcp:5222",\n "tpc:99"]\n',
            "x.toml:3: listen.c2s: 'tpc:99' is no Twisted endpoint",
        ),
        (HOST + '[listen]\nc2s = ["tcp:99999"]\n', "x.toml:3: listen.c2s: 'tcp:99999' has no port"),
        (HOST + '[listen]\nc2s = ["5222"]\n', "x.toml:3: listen.c2s: '5222' is no Twisted endpoint"),
        (HOST + '[ports."a.b"]\n', "x.toml:2: ports.\"a.b\": needs the key 'kind'"),
        (
            HOST + '[ports.localhost]\nkind = "x"\n',
            "x.toml:2: ports.localhost: is the address 'localhost' a second time",
        ),
        (HOST + '[auth]\nmechanisms = ["SCRAM-SHA-1", "PLAN"]\n', "x.toml:3: auth.mechanisms: must be"),
    ],
)
def test_messages(tmp_path: Path, text: str, message: str) -> None:
    """Wrong configuration is refused with file, line, key and what is meant."""
    assert refusal(tmp_path, text).startswith(message)


def test_endpoints(tmp_path: Path) -> None:
    """All kinds of endpoint that the manual names are accepted."""
    kinds = ["tcp:5222", "tcp:port=5222", "unix:/run/x.sock", "systemd:domain=INET:name=c2s", "haproxy:tcp:5222"]
    text = HOST + f"[listen]\nc2s = {kinds!r}\n".replace("'", '"')
    assert load(tmp_path, text).listen.c2s == tuple(kinds)


def test_missingFile(tmp_path: Path) -> None:
    """A file that is not there is one line, not a traceback."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read: No such file or directory"):
        loadSettings(str(tmp_path / "nowhere.toml"), MODULES)


def test_notText(tmp_path: Path) -> None:
    """A file in another encoding is named as such."""
    (tmp_path / "x.toml").write_bytes(b'data = "\xff"\n')
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        loadSettings(str(tmp_path / "x.toml"), MODULES)


def test_parts(tmp_path: Path) -> None:
    """Files in conf.d are laid over the main one in the order of their names, table by table."""
    parts = tmp_path / "conf.d"
    parts.mkdir()
    (parts / "10-a.toml").write_text('[limits]\ndepth = 30\n[hosts."b.example"]\n')
    (parts / "20-b.toml").write_text("[limits]\ndepth = 40\n")
    (parts / "ignored.txt").write_text("no TOML")
    settings = load(tmp_path, HOST + '[limits]\nresources = 3\ndepth = 20\n[tls]\ncertificates = "c"\n')
    assert (settings.limits.depth, settings.limits.resources) == (40, 3)
    assert list(settings.hosts) == ["localhost", "b.example"]
    assert settings.tls.certificates == str(tmp_path / "c")
    assert [os.path.basename(path) for path in settings.files] == ["x.toml", "10-a.toml", "20-b.toml"]


def test_partToBlame(tmp_path: Path) -> None:
    """A message names the file that set the key."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("\n\n[limits]\ndepth = 1\n")
    assert refusal(tmp_path, HOST + "[limits]\ndepth = 20\n").startswith("conf.d/a.toml:4: limits.depth: must be")


def test_overrides(tmp_path: Path) -> None:
    """The command line wins over the file; its paths start where the operator stands."""
    settings = load(
        tmp_path, BLUEPRINT, domains=("new.example",), data="elsewhere", c2s=("tcp:7000",), c2sTls=("tcp:7001",)
    )
    assert settings.data == os.path.abspath("elsewhere")
    assert settings.listen.c2s == ("tcp:7000",)
    assert settings.listen.c2sTls == ("tcp:7001",)
    assert "new.example" in settings.hosts
    assert "example.com" in settings.hosts
    with pytest.raises(SettingsError, match=r"^--c2s: 'x' is no Twisted endpoint"):
        load(tmp_path, BLUEPRINT, c2s=("x",))


def test_keyReadableByAll(tmp_path: Path) -> None:
    """A private key that everyone may read is refused with the command that mends it."""
    (tmp_path / "certs").mkdir()
    key = tmp_path / "certs" / "localhost.key"
    key.write_text("")
    key.chmod(0o644)
    text = HOST + '[tls]\ncertificates = "certs"\n'
    assert f"x.toml:3: tls.certificates: everyone may read the key {key}"[:30] in refusal(tmp_path, text)
    assert "chmod 600" in refusal(tmp_path, text)
    key.chmod(0o640)
    load(tmp_path, text)


def test_secretReadableByAll(tmp_path: Path) -> None:
    """So is a component's secret."""
    secret = tmp_path / "irc.secret"
    secret.write_text("")
    secret.chmod(0o644)
    assert refusal(tmp_path, BLUEPRINT).startswith(
        'x.toml:37: ports."irc.example.com".secret_file: everyone may read'
    )
    secret.chmod(0o600)
    load(tmp_path, BLUEPRINT)


def test_passwordInURL(tmp_path: Path) -> None:
    """A database password in a file that everyone may read is warned about."""
    settings = load(tmp_path, HOST + '[database]\nurl = "postgresql://x:secret@localhost/x"\n')
    os.chmod(tmp_path / "x.toml", 0o600)
    assert any("holds a password" in warning for warning in settings.warnings)
    assert not loadSettings(str(tmp_path / "x.toml"), MODULES).warnings


def test_optionsOfDisabledModule(tmp_path: Path) -> None:
    """Options for a module that its host does not have are checked and warned about."""
    assert load(tmp_path, HOST + "[hosts.localhost.register]\nopen = true\n").warnings == (
        "localhost: options for the module register, which is not enabled there",
    )


def test_ownOverShared(tmp_path: Path) -> None:
    """A host's own option wins over the one for every host; what it does not set comes from there."""
    text = HOST + '[hosts.localhost.offline]\nlimit = 5\nfolder = "f"\n[modules.offline]\nlimit = 6\nkeep = "1 d"\n'
    assert load(tmp_path, text).hosts["localhost"].of("offline", Offline) == Offline(
        limit=5, keep=86400.0, folder=str(tmp_path / "f")
    )


def test_differences(tmp_path: Path) -> None:
    """A reload knows what it can apply and what needs a restart."""
    before = load(tmp_path, BLUEPRINT)
    assert not before.differences(load(tmp_path, BLUEPRINT))
    changed = (
        BLUEPRINT.replace("5222", "5322").replace("limit = 1000", "limit = 7").replace('"required"', '"optional"')
    )
    found = before.differences(load(tmp_path, changed.replace('url = "sqlite"', 'url = "sqlite-memory"')))
    assert found.runtime == ("tls.policy", 'hosts."example.com"', "hosts.localhost")
    assert found.restart == ("database.url", "listen.c2s")


def test_development(tmp_path: Path) -> None:
    """Without a file everything is below var, on loopback, with certificates made as needed."""
    settings = developmentSettings(str(tmp_path), MODULES, DEFAULTS)
    assert list(settings.hosts) == ["localhost"]
    assert settings.data == str(tmp_path / "var")
    assert settings.tls.certificates == str(tmp_path / "var" / "certs")
    assert settings.tls.developmentCertificates
    assert settings.tls.policy == "required"
    assert settings.listen.c2s == ("tcp:5222:interface=127.0.0.1",)
    assert settings.development
    moved = developmentSettings(str(tmp_path), MODULES, overrides=Overrides(domains=("d.example",), data="/srv/x"))
    assert list(moved.hosts) == ["d.example"]
    assert moved.tls.certificates == "/srv/x/certs"


def test_dataFolder(tmp_path: Path) -> None:
    """The data folder can be told as long as the files are TOML, whatever else is wrong; ``conf.d`` counts."""
    file = tmp_path / "xmppservice.toml"
    found = Found(file=str(file))
    assert dataFolder(found) is None
    for text, wanted in (("nonsense = 1", tmp_path / "var"), ('data = "d"\n[limts]', tmp_path / "d")):
        file.write_text(text)
        assert dataFolder(found) == str(wanted)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.toml").write_text('data = "/e"')
    assert dataFolder(found) == "/e"
    assert dataFolder(found, "/g") == "/g"
    for text in ("data = 7", "data = ["):
        (tmp_path / "conf.d" / "more.toml").write_text(text)
        assert dataFolder(found) is None
    assert dataFolder(Found(folder=str(tmp_path))) == str(tmp_path / "var")


def test_discover(tmp_path: Path) -> None:
    """The search for a configuration goes in the order of the manual."""
    folder = str(tmp_path)
    assert discover(None, {}, folder) is None
    (tmp_path / "var" / "certs").mkdir(parents=True)
    assert discover(None, {}, folder) == Found(folder=folder)
    (tmp_path / "xmppservice.toml").write_text("")
    assert discover(None, {}, folder) == Found(file=str(tmp_path / "xmppservice.toml"))
    assert discover(None, {"XMPPSERVICE_CONFIG": "/e.toml"}, folder) == Found(file="/e.toml")
    assert discover("g.toml", {"XMPPSERVICE_CONFIG": "/e.toml"}, folder) == Found(file=str(tmp_path / "g.toml"))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("t", "x"), 4),
        (("t", "long", "more"), 5),
        (("t", "after"), 8),
        (("t", "d", "e"), 9),
        (("t", "d", "other"), 9),
        (("t", "missing"), 3),
        (("q", "x.y", "z"), 11),
        (("q", "inline", "k"), 12),
        (("list", "v"), 14),
        (("nowhere",), None),
    ],
)
def test_locate(path: tuple[str, ...], line: int | None) -> None:
    """The line of a key is found through tables, dotted and quoted keys, inline tables and long values."""
    text = (
        'a = 1\n# t = 2\n[t] # comment\nx = "[no]"\nlong = [\n  "after = 1",\n]\nafter = 2\nd.e = 3\n'
        '[q]\n"x.y".z = 4\ninline = { k = 1, l = 2 }\n[[list]]\nv = 1\n'
    )
    assert locate(text, path) == line
