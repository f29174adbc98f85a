"""``--auth``: stock Twisted checkers serve PLAIN, and whom they accept has an account like everybody else."""

from __future__ import annotations

from pathlib import Path

from tests.attack.raw import RawClient, condition, plain, stanzaError
from tests.server.conftest import MakeSite
from tests.server.site import PASSWORD, Site
from xmppservice.wire import ns


def _failure(site: Site, user: str, password: str, domain: str = "localhost") -> str:
    client = site.secured(domain)
    client.send(plain(user, password))
    answer = client.element()
    client.close()
    return condition(answer) if answer.name == "failure" else answer.name


def test_memoryAndFile(make: MakeSite, tmp_path: Path) -> None:
    """Users of both checkers and of the store log in with PLAIN; roster and offline messages work for all."""
    (tmp_path / "passwords").write_text("carol:from a file\n")
    site = make('[hosts."localhost"]\n[limits]\nenabled = false\n')
    options = ("--auth", f"memory:alice:{PASSWORD}:dave:x", "--auth", f"file:{tmp_path / 'passwords'}")
    site.start(*options)
    site.users("bob@localhost")
    client = site.secured()
    assert client.mechanisms == ["PLAIN"]
    client.close()
    assert _failure(site, "alice", "wrong") == _failure(site, "nobody", PASSWORD) == "not-authorized"
    assert _failure(site, "carol", "from a file") == _failure(site, "bob", PASSWORD) == "success"
    accounts = [row[0] for row in site.command("user list").rows]
    assert accounts == ["bob@localhost", "carol@localhost"], "an account comes with the first login"

    bob = _plainLogin(site, "bob", PASSWORD)
    bob.send("<message to='alice@localhost' type='chat' id='early'><body>early</body></message>")
    assert stanzaError(bob.find(lambda e: e.name == "message")) == ("cancel", "service-unavailable")
    alice = _plainLogin(site, "alice", PASSWORD)
    alice.ask("set", f"<query xmlns='{ns.ROSTER}'><item jid='bob@localhost' name='Bob'/></query>")
    alice.close()
    bob.send("<message to='alice@localhost' type='chat' id='late'><body>late</body></message>")
    bob.ping()
    site.stop()

    site.start(*options)
    alice = _plainLogin(site, "alice", PASSWORD)
    assert alice.find(lambda e: e.name == "message").get("id") == "late"
    roster = alice.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    assert [item.get("jid") for item in roster.elements()[0].elements()] == ["bob@localhost"]
    site.command("user disable", jid="alice@localhost")
    assert alice.refused("not-authorized") is not None
    assert _failure(site, "alice", PASSWORD) != "success"
    site.stop()
    assert PASSWORD not in site.log


def _plainLogin(site: Site, user: str, password: str) -> RawClient:
    client = site.secured()
    client.send(plain(user, password))
    assert client.element().name == "success"
    client.restart()
    client.open()
    client.bind("r")
    client.available()
    return client


def test_anonymous(site: Site) -> None:
    """``--auth anonymous`` is for guests: nothing more has to be said in the configuration."""
    site.start("--auth", "anonymous")
    client = site.secured()
    assert "ANONYMOUS" in client.mechanisms
    client.send(f"<auth xmlns='{ns.SASL}' mechanism='ANONYMOUS'/>")
    assert client.element().name == "success"
    site.stop()


def test_withoutPlain(make: MakeSite) -> None:
    """A configuration that forbids PLAIN and a checker that needs it do not fit."""
    site = make('[hosts."localhost"]\n[auth]\nmechanisms = ["SCRAM-SHA-256"]\n')
    said, _ = site.refuse("--auth", "memory:alice:secret")
    assert said == "auth.mechanisms: --auth needs PLAIN, which is not among them"
