"""The start: quick, repeatable, and refused with one clear line that leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.processes import waitFor
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, PASSWORD, TWISTD, Site, environment, fingerprint, writersOf

#: The promise is 2 s on an idle machine; tests run beside others.
#: It takes less than a second; the rest is room for a busy machine.
START_WITHIN = 20.0


def test_quickAndKept(site: Site) -> None:
    """The start is quick; a second one finds accounts, offline messages and the certificate again."""
    took = [site.start()]
    site.users("alice@localhost", "bob@localhost")
    alice = site.login("alice@localhost")
    certificate = fingerprint(alice)
    alice.send("<message to='bob@localhost' type='chat' id='m1'><body>kept</body></message>")
    alice.ping()
    site.stop()
    assert site.nothingLeft()
    took.append(site.start())
    bob = site.login("bob@localhost")
    assert fingerprint(bob) == certificate
    message = bob.find(lambda stanza: stanza.name == "message")
    assert (message.get("from"), message.get("id")) == ("alice@localhost/r", "m1")
    site.stop()
    assert max(took) < START_WITHIN, took
    assert PASSWORD not in site.log


WRONG = [
    ("[limits]\nper_adress = 5\n" + LOCAL, "per_adress = 5", "limits.per_adress: unknown key (did you mean 'per_addr"),
    (LOCAL + "enable = ['pong']", "enable = ['pong']", "there is no module 'pong' (did you mean 'ping'?)"),
    (LOCAL + "enable = ['no.such']", "enable = ['no.such']", "module 'no.such' cannot be imported"),
    ("[hosts.localhost", "[hosts.localhost", "is no TOML"),
    ("[tls]\npolicy = 'required'\n" + LOCAL, "[tls]", "tls.certificates: "),
    ("[database]\nurl = 'mysql://x'\n" + LOCAL, "url = 'mysql://x'", 'database.url: must be "sqlite"'),
]


@pytest.mark.parametrize(("text", "blamed", "message"), WRONG, ids=[row[1] for row in WRONG])
def test_wrongConfiguration(make: MakeSite, text: str, blamed: str, message: str) -> None:
    """One line that names file, line and key, and nothing half-started."""
    site = make(text)
    said, _ = site.refuse()
    file = site.folder / "xmppservice.toml"
    place, _, problem = said.partition(": ")
    name, _, number = place.rpartition(":")
    assert name == str(file), said
    assert file.read_text("utf-8").splitlines()[int(number) - 1] == blamed, said
    assert message in problem, said
    assert site.nothingLeft()
    assert not (site.folder / "var").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--c2s", "tcp:99999"), "--c2s: 'tcp:99999' has no port from 0 to 65535"),
        (("--domain", "a b"), "--domain: 'a b' is no domain"),
        (("--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_wrongOptions(make: MakeSite, options: tuple[str, ...], message: str) -> None:
    """What the command line says wrong is named by its option."""
    site = make()
    said, _ = site.refuse(*options)
    assert message in said
    assert site.nothingLeft()


@pytest.mark.parametrize("auth", ["nonsense:x", "sshkey:"])
def test_wrongChecker(site: Site, auth: str) -> None:
    """A checker that there is not, or that XMPP logins cannot use, is a usage error."""
    command = [*TWISTD, "xmpp", "--auth", auth]
    done = subprocess.run(command, cwd=site.folder, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    last = (done.stdout + done.stderr).rstrip().splitlines()[-1]
    assert auth.partition(":")[0] in last, last


def test_help(site: Site) -> None:
    """``twistd xmpp --help`` explains every option."""
    command = [*TWISTD, "xmpp", "--help"]
    done = subprocess.run(command, cwd=site.folder, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for option in ("--config=", "--data=", "--domain=", "--c2s=", "--c2s-tls=", "--auth="):
        assert option in done.stdout
    text = " ".join(done.stdout.split())
    for words in ("Configuration file", "memory:alice:secret", "development server", "XMPPSERVICE_CONFIG"):
        assert words in text


def test_portTaken(site: Site) -> None:
    """A port in use: one line that names it, status 1, the writer process gone, the other port not left open."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.directPort))
        other.listen()
        said, _ = site.refuse()
    assert said.startswith("cannot start: c2s: ") and str(site.directPort) in said and "in use" in said, said
    waitFor("the end of the writer", lambda: not writersOf(site.folder), 3)
    assert site.nothingLeft()


def test_secondServer(make: MakeSite) -> None:
    """A second server on the same data is refused and told who has them; the first does not notice."""
    first, second = make(), make()
    first.start()
    first.users("alice@localhost")
    alice = first.login("alice@localhost")
    said, _ = second.refuse("--data", str(first.folder / "var"))
    assert "in use by another server" in said and f"process {first.process.pid}" in said, said
    alice.ping()
    assert not second.log and first.ctl("status").returncode == 0
    first.stop()


def test_development(make: MakeSite, tmp_path: Path) -> None:
    """Without a file: a development server for the domains given, all under the data folder given."""
    site = make(None)
    options = [f"--c2s=tcp:{site.port}:interface=127.0.0.1", f"--c2s-tls=tcp:{site.directPort}:interface=127.0.0.1"]
    more = f"--c2s=tcp:{(third := make(None)).port}:interface=127.0.0.1"
    site.start(*options, more, "--domain", "one.test", "--domain", "two.test", "--data", "kept")
    assert (site.folder / "kept/certs/two.test.key").stat().st_mode & 0o077 == 0
    assert "serving one.test, two.test" in site.log
    assert "xmppctl user add alice@one.test" in site.log
    assert not (site.folder / "var").exists()
    done = site.ctl("--data", "kept", "user", "add", "alice@one.test", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    for port in (site.port, third.port):
        with socket.create_connection(("127.0.0.1", port), 30):
            pass
    site.stop()


def test_stoppedWhileStarting(site: Site) -> None:
    """SIGTERM in the midst of a start ends it without a trace of a server."""
    child = site.launch()
    waitFor("the first sign of life", lambda: "starting up" in site.log)
    time.sleep(0.05)
    child.process.terminate()
    child.process.wait(60)
    assert "Traceback" not in site.log
    waitFor("nothing to be left", site.nothingLeft, 5)
