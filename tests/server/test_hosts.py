"""Several virtual hosts in one process: each has its own certificate, accounts and modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.raw import RawClient, condition, header, stanzaError
from tests.server.site import PASSWORD, Site, fingerprint, sniCertificate
from xmppservice.wire import ns

TWO = """
[hosts."one.test"]
disable = ["vcard"]
[hosts."two.test"]
enable = ["register"]
[hosts."two.test".register]
open = true
"""

NAMES = ("one.test", "two.test", "none.test", "irc.two.test")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two hosts and an account of the same name on each."""
    site = Site(tmp_path_factory.mktemp("two"), TWO)
    site.start()
    site.users("alice@one.test", "bob@two.test")
    site.command("user add", jid="alice@two.test", password="another")
    yield site
    site.stop()


def test_certificates(two: Site) -> None:
    """Direct TLS goes by the name that the client indicates, STARTTLS by the stream's ``to``; both verified."""
    byName = {name: sniCertificate(two.directPort, name) for name in (*NAMES, None)}
    assert byName["irc.two.test"] == byName["two.test"], "what is below a host is shown the host's"
    assert byName["one.test"] != byName["two.test"]
    assert byName["none.test"] == byName[None] == byName["one.test"], "the first host's is the one for all others"
    for domain in ("one.test", "two.test"):
        assert fingerprint(two.secured(domain)) == fingerprint(two.secured(domain, direct=True)) == byName[domain]


def test_accounts(two: Site) -> None:
    """An account of one host is nobody on the other, and the same name there is somebody else."""
    two.login("alice@one.test").close()
    stranger = two.secured("two.test")
    answer = stranger.scram("alice", PASSWORD)
    assert (answer.name, condition(answer)) == ("failure", "not-authorized")
    two.login("alice@two.test", password="another").close()
    assert condition(two.secured("one.test").scram("bob", PASSWORD)) == "not-authorized"


def test_chat(two: Site) -> None:
    """Accounts of different hosts talk to each other."""
    alice, bob = two.login("alice@one.test"), two.login("bob@two.test")
    alice.send("<message to='bob@two.test' type='chat' id='across'><body>hello</body></message>")
    assert bob.find(lambda stanza: stanza.name == "message").get("from") == "alice@one.test/r"


def test_modules(two: Site) -> None:
    """Each host has the modules that its configuration gives it."""
    alice, bob = two.login("alice@one.test"), two.login("bob@two.test")
    card = f"<vCard xmlns='{ns.VCARD}'/>"
    assert stanzaError(alice.ask("get", card)) == ("cancel", "service-unavailable")
    assert bob.ask("get", card).get("type") in ("result", "error")
    assert two.secured("one.test").features.find(ns.REGISTER_FEATURE, "register") is None
    assert two.secured("two.test").features.find(ns.REGISTER_FEATURE, "register") is not None


def test_unknownHost(two: Site) -> None:
    """A stream for a host that is not there gets ``host-unknown``."""
    client = RawClient(two.port, "127.0.0.1")
    client.send(header("none.test"))
    client.refused("host-unknown")
