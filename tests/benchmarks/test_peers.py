"""The comparison with other servers: what it configures, how it compares, and one short run with our server alone."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import local
from benchmarks.load.certificates import Certificate
from benchmarks.load.dialogue import Service
from benchmarks.load.link import LoadError
from benchmarks.load.place import Federation, Place
from benchmarks.load.scram import Scram
from benchmarks.peers import debian, ejabberd, prosody
from benchmarks.peers.process import Process
from benchmarks.peers.servers import COLUMNS, OWN, ringContacts
from benchmarks.peers.table import Report, Row, Table, number

_ROOT = Path(__file__).resolve().parents[2]
_FILES = Certificate(Path("/c/chain.pem"), Path("/c/key.pem"))
_PLACE = Place(Path("/p"), "localhost", 5, 6, Service("parts.localhost", 7, "pencil"), _FILES)
_MET = Federation(8, 53, (("beta.example", 9),), Path("/c/authority.pem"))
_LINKED = replace(_PLACE, domain="alpha.example", federation=_MET)


def testProsodyDiffersOnlyInWhatItsKindSays() -> None:
    """Tuned and not tuned Prosody have the same ports, modules and no limits; the tuning alone is added."""
    plain, tuned = (
        prosody.configuration(kind, _PLACE) for kind in (prosody.ProsodyKind(), prosody.ProsodyKind(prosody.TUNING))
    )
    assert tuned.replace(prosody.TUNING, "") == plain
    assert '"smacks"' in plain and "modules_disabled" in plain and '"limits"' in plain.split("modules_disabled")[1]
    assert "c2s_ports = { 5 }" in plain and "c2s_direct_tls_ports = { 6 }" in plain
    assert 'interfaces = { "127.0.0.1" }' in plain
    stored = prosody.configuration(prosody.ProsodyKind("", "roster", "sql"), _PLACE)
    assert 'offline = "sql"' in stored and "offline" not in plain


def testOursMeetsAnother() -> None:
    """Alone it listens for no server; with another one it knows where that is, and whom to believe."""
    alone, met = local.configuration(_PLACE), local.configuration(_LINKED)
    assert "s2s" not in alone and 's2s = ["tcp:8:interface=127.0.0.1"]' in met
    known = tomllib.loads(met)["s2s"]
    assert known == {"authorities": "/c/authority.pem", "overrides": ["beta.example = 127.0.0.1:9"]}


def testOthersExpectTheComponent() -> None:
    """The component's port, domain and secret are in each configuration."""
    lua = prosody.configuration(prosody.ProsodyKind(), _PLACE)
    assert 'Component "parts.localhost"\ncomponent_secret = "pencil"' in lua and "component_ports = { 7 }" in lua
    yaml = ejabberd.configuration(ejabberd.EjabberdKind(), _PLACE).splitlines()
    line = next(line for line in yaml if "ejabberd_service" in line)
    assert "port: 7," in line and '"parts.localhost": { password: "pencil" }' in line


def testOthersMeetEachOther() -> None:
    """Who is alone listens for no server; two of them insist on TLS and on certificates of one authority."""
    alone, lua = (prosody.configuration(prosody.ProsodyKind(), place) for place in (_PLACE, _LINKED))
    assert "s2s_ports" not in alone and '"s2s"' in alone.split("modules_disabled")[1].splitlines()[0]
    assert "s2s_ports = { 8 }" in lua and '"127.0.0.1@53"' in lua and 'cafile = "/c/authority.pem"' in lua
    assert "s2s_secure_auth = true" in lua and '"s2s"' not in lua
    alone, yaml = (ejabberd.configuration(ejabberd.EjabberdKind(), place) for place in (_PLACE, _LINKED))
    assert "s2s" not in alone and "port: 8, module: ejabberd_s2s_in, shaper: none" in yaml
    assert "s2s_use_starttls: required" in yaml and 'ca_file: "/c/authority.pem"' in yaml


def testProsodyKeysAreThoseOfThePassword() -> None:
    """The file's stored key is the hash of the key that a client with the password proves (RFC 5802 section 3)."""
    text = prosody.account("pencil", b"saltsaltsalt")
    fields = dict(re.findall(r'"(\w+)"\] = "?([^";]+)', text))
    client = Scram("user0", "pencil")
    first = base64.b64decode(client.first()).removeprefix(b"n,,")
    salt = base64.b64encode(fields["salt"].encode())
    challenge = b"r=%sx,s=%s,i=%s" % (first.partition(b"r=")[2], salt, fields["iteration_count"].encode())
    without, _, proof = base64.b64decode(client.final(base64.b64encode(challenge))).rpartition(b",p=")
    stored = bytes.fromhex(fields["stored_key"])
    signature = _hmac(stored, b",".join((first, challenge, without)))
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    assert hashlib.sha1(key).digest() == stored


def _hmac(key: bytes, text: bytes) -> bytes:
    """HMAC-SHA-1 as RFC 2104 writes it."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha1(bytes(x ^ 0x36 for x in block) + text).digest()
    return hashlib.sha1(bytes(x ^ 0x5C for x in block) + inner).digest()


def testProsodyRosterNamesEveryContact() -> None:
    """Mutual subscriptions, one item each."""
    text = prosody.roster([3, 7])
    assert re.findall(r'\["(user\d+@localhost)"\]', text) == ["user3@localhost", "user7@localhost"]
    assert text.count('"both"') == 2


def testEjabberdConfigurationAndPlan() -> None:
    """Shapers off, listeners on loopback only, offline messages unlimited, in SQL for the kind that says so."""
    text = ejabberd.configuration(ejabberd.EjabberdKind(), _PLACE)
    listeners = [line for line in text.splitlines() if "ejabberd_c2s" in line]
    assert len(listeners) == 2 and all("shaper: none" in line and '"127.0.0.1"' in line for line in listeners)
    assert "mod_offline: { access_max_user_messages: max_user_offline_messages }" in text
    sql = ejabberd.configuration(ejabberd.EjabberdKind(offlineSql=True), _PLACE)
    assert "mod_offline: { db_type: sql, access_max" in sql
    lines = ejabberd.plan("pw", {0: [1], 1: [0]}).splitlines()
    assert lines[0] == '{password, <<"localhost">>, <<"pw">>}.'
    assert lines[2] == '{user, <<"user1">>, [<<"user0">>]}.'


def testContactsAreMutualAndStayInTheRing() -> None:
    """Everybody is a contact of their contacts; the number is the ring's."""
    made = ringContacts(range(200), lambda first: 4 if first == 0 else 10)
    for who, others in made.items():
        assert len(set(others)) == len(others) == (4 if who < 100 else 10) and who not in others
        assert all(who in made[other] and other // 100 == who // 100 for other in others)


def row(server: str, passed: int, micros: float, workload: str = "chat", ok: bool = True) -> Row:
    """One run."""
    figures: dict[str, object] = {"serverMicros": micros, "perSecond": 1e6 / micros, "p50Ms": 1.0, "p99Ms": 2.0}
    return figures | {"server": server, "pass": passed, "workload": workload, "ok": ok, "extra": {"rssKiB": 10.0}}


def testRatiosArePaired() -> None:
    """A pass in which the whole machine was slow moves the medians, not the ratio."""
    rows = [row(OWN, 0, 10), row("prosody", 0, 40), row(OWN, 1, 50), row("prosody", 1, 200), row(OWN, 2, 30)]
    table = Report([*rows, row("prosody", 2, 120)]).tables()[0]
    assert table.header == ["workload", "xmppservice", "Prosody"]
    assert table.rows == [["chat", "30.0", "120 (0.25)"]]


def testFailedRunsAreMarkedAndNotCounted() -> None:
    """A run that lost messages gives no figure; a server without any good run shows that."""
    rows = [row(OWN, 0, 10), row(OWN, 1, 99, ok=False), row("prosody", 0, 5, ok=False), row("ejabberd", 0, 20)]
    table = Report(rows).tables()[0]
    assert table.rows == [["chat", "10.0 *", "failed", "20.0 (0.50)"]]


def testStoredVariantsHaveATableOfTheirOwn() -> None:
    """Servers that run `offline` only are no column of the other tables; nothing measured is a dash."""
    rows = [row(OWN, 0, 10, "offline"), row("prosody-sqlite", 0, 100, "offline"), row(OWN, 0, 10)]
    tables = {table.title: table for table in Report(rows).tables()}
    assert tables["Server CPU, µs a stanza or login (ours ÷ theirs)"].header == ["workload", "xmppservice"]
    assert tables["Offline messages by storage: CPU µs a message"].rows == [["offline", "10.0", "100 (0.10)"]]


def testTableInBothForms() -> None:
    """Columns are aligned in text; reStructuredText has one list item a cell."""
    table = Table("T", ["a", "bb"], [["chat", "1"]], ["Note."])
    assert table.text() == "T\na     bb\nchat   1\nNote.\n"
    assert table.rst().splitlines()[:7] == [
        ".. list-table:: T", "   :header-rows: 1", "", "   * - a", "     - bb", "   * - chat", "     - 1",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [(4.256, "4.26"), (42.56, "42.6"), (4256.4, "4,256")])
def testNumbers(value: float, text: str) -> None:
    """As many digits as mean something."""
    assert number(value) == text


def testMissingPackagesAreNamedWithTheCommand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not install is told what to run."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert debian.version("no-such-package-at-all") == ""
    with pytest.raises(LoadError, match="no-such-package-at-all: not installed; run as root: .*apt-get install"):
        debian.install(["no-such-package-at-all"])


def testAServerThatEndsTellsItsLastWords(tmp_path: Path) -> None:
    """The end of what it printed is in the error; nothing is left running."""
    process = Process(tmp_path / "output.log")
    with pytest.raises(LoadError, match="port taken"):
        process.start([sys.executable, "-c", "print('port taken')"], lambda: False, {})
    pid = process.start([sys.executable, "-c", "import time; time.sleep(60)"], lambda: True, {})
    process.stop()
    assert not Path(f"/proc/{pid}").exists()
    process.stop()


def testEveryColumnHasAKind() -> None:
    """All names can be built, and own is the first."""
    assert COLUMNS[0].name == OWN and len({column.name for column in COLUMNS}) == len(COLUMNS)


@pytest.mark.slow
def testTwoServersOfOursMeet(tmp_path: Path) -> None:
    """Users of one server write to users of the other; what each side cost is told apart."""
    figures = tmp_path / "peers.json"
    command = [sys.executable, "-m", "benchmarks.peers", "--servers", OWN, "--only", "s2s", "--quick", "--no-install"]
    done = subprocess.run(
        [*command, "--seconds", "0.3", "--json", str(figures)], cwd=_ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = json.loads(figures.read_text())["rows"]
    assert made["ok"] and made["count"] > 0
    near, far = made["extra"]["nearMicros"], made["extra"]["farMicros"]
    assert near > 0 and far > 0 and abs(near + far - made["serverMicros"]) < 0.01
    assert "Server CPU, µs a message between servers: sending side + receiving side" in done.stdout


@pytest.mark.slow
def testOneShortRunOfOurServerAlone(tmp_path: Path) -> None:
    """The driver from start to end: users, rosters, one workload, the tables in both files."""
    rst, figures = tmp_path / "peers.inc", tmp_path / "peers.json"
    command = [sys.executable, "-m", "benchmarks.peers", "--servers", OWN, "--only", "chat", "--quick", "--no-install"]
    command += ["--seconds", "0.3", "--contacts", "2", "--rst", str(rst), "--json", str(figures)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    known = json.loads(figures.read_text())
    assert [(made["server"], made["workload"], made["ok"]) for made in known["rows"]] == [(OWN, "chat", True)]
    assert "TLSv1" in known["about"]["tls own"]
    assert ".. list-table:: Server CPU" in rst.read_text() and "Server CPU" in done.stdout


def testUnknownServersAreNamed() -> None:
    """A typing error ends at once and tells what there is."""
    command = [sys.executable, "-m", "benchmarks.peers", "--servers", "prosodie"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "prosodie" in done.stderr and "ejabberd-s1" in done.stderr
