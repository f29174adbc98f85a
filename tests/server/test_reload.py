"""SIGHUP and ``xmppctl reload``: all or nothing, and nobody is thrown out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.raw import stanzaError
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, PASSWORD, Site, fingerprint, sniCertificate
from xmppservice.edge.certificates import makeDevelopmentCertificate
from xmppservice.hub.commands import CommandError
from xmppservice.wire import ns

SECOND = '[hosts."second.test"]\n'


def _renew(site: Site, host: str = "localhost") -> None:
    """A new certificate by the same authority, as from a renewal."""
    folder = site.folder / "certs"
    (folder / f"{host}.crt").unlink()
    makeDevelopmentCertificate(folder, [host])


def _reload(site: Site) -> list[str]:
    return site.command("reload").text.split("\n")


def test_certificates(site: Site) -> None:
    """After SIGHUP a new handshake gets the new certificate, and streams that are up stay up."""
    site.start()
    site.users("alice@localhost")
    alice = site.login("alice@localhost")
    _renew(site)
    assert fingerprint(site.secured()) == fingerprint(alice), "nothing changes before the reload"
    site.hangUp()
    for direct in (False, True):
        assert fingerprint(site.secured(direct=direct)) != fingerprint(alice)
    alice.ping()
    assert "the configuration was read again: certificates read again" in site.log
    site.stop()


def test_hostsAndModules(make: MakeSite) -> None:
    """Hosts come and go, modules are enabled, disabled and get other options, all by a reload."""
    site = make(LOCAL)
    site.start()
    site.users("alice@localhost")
    alice = site.login("alice@localhost")
    ping = f"<ping xmlns='{ns.PING}'/>"
    site.write(LOCAL + "disable = ['ping']\n[hosts.localhost.register]\nopen = true\n" + SECOND)
    lines = _reload(site)
    assert {"second.test: started", "localhost: module ping detached"} < set(lines), lines
    assert "localhost: module register has new options" in lines
    assert alice.ask("get", ping, "localhost").get("type") == "error"
    assert site.secured().features.find(ns.REGISTER_FEATURE, "register") is not None
    site.users("bob@second.test")
    bob = site.login("bob@second.test")
    assert sniCertificate(site.directPort, "second.test") == fingerprint(bob)
    alice.send("<message to='bob@second.test' type='chat' id='m'><body>hello</body></message>")
    assert bob.find(lambda e: e.name == "message").get("id") == "m"
    late = site.secured("second.test")
    assert late.scram("bob", PASSWORD).name == "success"
    late.restart()
    late.open("second.test")
    site.write(LOCAL)
    lines = _reload(site)
    assert {"second.test: stopped", "localhost: module ping attached"} < set(lines), lines
    bob.refused("host-gone")
    assert stanzaError(late.ask("set", f"<bind xmlns='{ns.BIND}'/>")) == ("cancel", "service-unavailable")
    alice.ping()
    site.stop()


def test_limitsAndPolicy(make: MakeSite) -> None:
    """What new streams are told follows a reload; what needs a restart is named."""
    site = make(LOCAL)
    site.start()
    tls = "[tls]\ndevelopment_certificates = true\npolicy = 'optional'\ncertificates = 'others'\n"
    site.write(LOCAL + tls + "[auth]\nanonymous = true\n[limits]\nstanza_bytes = '12345 B'\n")
    text = (site.folder / "xmppservice.toml").read_text().replace(f"tcp:{site.port}", "tcp:1")
    (site.folder / "xmppservice.toml").write_text("data = 'elsewhere'\n" + text)
    before = sniCertificate(site.directPort, None)
    lines = _reload(site)
    assert {"data changed; it needs a restart", "listen.c2s changed; it needs a restart"} < set(lines), lines
    assert {"auth.anonymous changed", "limits.stanza_bytes changed", "tls.certificates changed"} < set(lines), lines
    assert sniCertificate(site.directPort, None) != before, "the certificates are those of the other folder"
    (site.folder / "certs").rename(site.folder / "former")
    (site.folder / "others").rename(site.folder / "certs")
    client = site.secured()
    assert "ANONYMOUS" in client.mechanisms
    limits = client.features.find(ns.LIMITS, "limits")
    assert limits is not None
    client.send(f"<auth xmlns='{ns.SASL}' mechanism='ANONYMOUS'/>")
    assert client.element().name == "success"
    client.restart()
    client.open()
    told = client.features.find(ns.LIMITS, "limits")
    assert told is not None and told.elements()[0].text == "12345"
    site.stop()


BAD = [
    ("[hosts.localhost", "is no TOML"),
    (LOCAL + "enable = ['pong']\n" + SECOND, "did you mean 'ping'?"),
    (SECOND + LOCAL + "enable = ['failing.broken']\n", "module 'failing.broken' cannot be imported"),
    (SECOND + LOCAL + "enable = ['failing.module']\n", "cannot be attached to localhost: no luck"),
    (LOCAL + "disable = ['disco']\n" + SECOND, "needs another that provides"),
    ("[limits]\nexempt = ['lots']\n" + LOCAL + SECOND, "limits.exempt: must be addresses or networks"),
    ("[limits]\nmemory = 'lots'\n" + LOCAL + SECOND, "limits.memory: must be"),
    ("[tls]\npolicy = 'required'\n" + LOCAL + "[hosts.'third.test']\n", "has no third.test.crt and third.test.key"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with one session, which every refusal leaves alone."""
    site = Site(tmp_path_factory.mktemp("running"))
    for name, text in (
        ("failing/broken.py", "import does_not_exist\n"),
        ("failing/module.py", FAILING),
    ):
        path = site.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    site.addToPath()
    site.start()
    site.users("alice@localhost")
    site.login("alice@localhost").close()
    yield site
    site.stop()


FAILING = '''
from xmppservice.hub.module import HostModule

class Failing(HostModule):
    """Cannot be attached."""
    name = "failing"
    def attached(self):
        raise RuntimeError("no luck")
'''


@pytest.mark.parametrize(("text", "problem"), BAD, ids=[problem[:20] for _, problem in BAD])
def test_refused(running: Site, text: str, problem: str) -> None:
    """A configuration that cannot be used is refused by both ways, and the old one kept as a whole."""
    site = running
    alice = site.login("alice@localhost")
    before = site.command("module list").rows
    site.write(text)
    site.hangUp()
    refusal = site.log.rpartition("the reload was refused: ")[2].splitlines()[0]
    assert refusal.startswith("nothing was changed: ") and problem in refusal, refusal
    with pytest.raises(CommandError) as caught:
        site.command("reload")
    assert problem in caught.value.problem
    assert site.command("module list").rows == before
    alice.ping()
    site.login("alice@localhost", "new").ping()
    assert sniCertificate(site.directPort, "second.test") == fingerprint(alice)
    with pytest.raises(CommandError, match=r"no host of this server"):
        site.command("user add", jid="bob@second.test", password=PASSWORD)
    site.write(LOCAL)
    assert _reload(site) == ["certificates read again"]


def test_missingCertificateFile(running: Site) -> None:
    """A certificate that does not fit its key is refused too, with the file's name."""
    crt = running.folder / "certs" / "localhost.crt"
    kept = crt.read_bytes()
    crt.write_bytes((running.folder / "certs" / "ca.crt").read_bytes())
    done = running.ctl("reload")
    crt.write_bytes(kept)
    assert done.returncode == 1 and "localhost.key is not the key of localhost.crt" in done.stderr, done.stderr
    running.login("alice@localhost").ping()
