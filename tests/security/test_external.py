"""EXTERNAL: client certificates, good ones and others (RFC 6120 6.3.4, 13.7.1.4; XEP-0178; hardening T07)."""

from __future__ import annotations

import signal
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.attack.raw import DOMAIN, auth, response
from tests.security.certificates import Authority, Identity
from tests.security.conftest import RSA, SecuredServer
from tests.security.tlsclient import TLS12, TLS13, SecureClient, contextFor, failed
from xmppservice.wire import ns

Show = Callable[..., SecureClient]


@pytest.fixture
def show(server: SecuredServer) -> Show:
    """Connects with a client certificate."""

    def connect(identity: Identity, direct: bool = True, version: int = TLS13) -> SecureClient:
        return server.secured(direct, context=contextFor(server.ca, version, identity=identity))

    return connect


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_oneAddress(clientCA: Authority, show: Show, direct: bool, user: str, version: int) -> None:
    """The certificate says it all: "=" for no authzid, or the own address, or an answer to an empty challenge."""
    identity = clientCA.client(f"{user}@{DOMAIN}")
    for data in (b"", f"{user}@{DOMAIN}".encode(), f"{user.upper()}@{DOMAIN.upper()}".encode(), None):
        client = show(identity, direct, version)
        assert client.mechanisms[0] == "EXTERNAL"
        if data is None:
            client.send(f"<auth xmlns='{ns.SASL}' mechanism='EXTERNAL'/>")
            assert client.element().children == []
            client.send(response("="))
        else:
            client.send(auth("EXTERNAL", data))
        answer = client.element()
        assert (answer.name, answer.children) == ("success", [])
        assert client.enter().startswith(f"{user}@{DOMAIN}/")


def test_passwordsStillWork(clientCA: Authority, show: Show, user: str, other: str) -> None:
    """A certificate may be shown and another account be used with its password."""
    client = show(clientCA.client(f"{user}@{DOMAIN}"))
    assert client.scram(other, other[::-1]).name == "success"
    assert client.enter().startswith(f"{other}@{DOMAIN}/")


@pytest.mark.parametrize(
    "authzid",
    ["{other}@localhost", "{user}@rsa.test", "{user}@localhost/resource", "{user}", "localhost", "@", "a b@localhost"],
)
def test_authzidOfAnother(clientCA: Authority, show: Show, user: str, other: str, authzid: str) -> None:
    """A certificate speaks for its own address only."""
    client = show(clientCA.client(f"{user}@{DOMAIN}"))
    client.send(auth("EXTERNAL", authzid.format(user=user, other=other).encode()))
    assert failed(client.element()) == "invalid-authzid"


def test_severalAddresses(clientCA: Authority, show: Show, user: str, other: str) -> None:
    """With several addresses the client must choose, and only among them."""
    identity = clientCA.client(f"{user}@{DOMAIN}", f"{other}@{DOMAIN}", f"third@{RSA}")
    client = show(identity)
    for authzid in ("", f"third@{DOMAIN}", f"third@{RSA}", f"somebody@{DOMAIN}"):
        client.send(auth("EXTERNAL", authzid.encode()))
        assert failed(client.element()) == "invalid-authzid"
    client.send(auth("EXTERNAL", f"{other}@{DOMAIN}".encode()))
    assert client.element().name == "success"
    assert client.enter().startswith(f"{other}@{DOMAIN}/")


def test_addressOfThisHostCounts(clientCA: Authority, show: Show, user: str) -> None:
    """Addresses elsewhere are no choice here."""
    client = show(clientCA.client(f"{user}@{RSA}", f"{user}@{DOMAIN}", f"{user}@elsewhere.test"))
    client.send(auth("EXTERNAL", b""))
    assert client.element().name == "success"
    assert client.enter().startswith(f"{user}@{DOMAIN}/")


@pytest.mark.parametrize("addresses", [(), (f"user1@{RSA}",), (DOMAIN,), (f"user1@{DOMAIN}/r",), ("user1",), ("@",)])
def test_noAddressOfOurs(clientCA: Authority, show: Show, addresses: tuple[str, ...]) -> None:
    """A good certificate that names no account here is not-authorized (XEP-0178 2), whatever is asked for."""
    client = show(clientCA.client(*addresses, name=f"user1@{DOMAIN}"))
    for authzid in ("", f"user1@{DOMAIN}"):
        client.send(auth("EXTERNAL", authzid.encode()))
        assert failed(client.element()) == "not-authorized"


def test_noSuchAccount(clientCA: Authority, show: Show) -> None:
    """A certificate makes no account."""
    client = show(clientCA.client(f"nobody@{DOMAIN}"))
    client.send(auth("EXTERNAL", b""))
    assert failed(client.element()) == "not-authorized"


@pytest.fixture(params=["stranger", "expired", "server", "self-signed", "lookalike"])
def bad(request: pytest.FixtureRequest, clientCA: Authority, user: str) -> Identity:
    """Certificates that are not to be trusted."""
    address = f"{user}@{DOMAIN}"
    if request.param == "expired":
        return clientCA.client(address, expired=True)
    if request.param == "server":
        return clientCA.client(address, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    if request.param == "self-signed":
        return Authority(address).own
    return Authority("clients" if request.param == "lookalike" else "strangers").client(address)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_notToBeTrusted(bad: Identity, show: Show, direct: bool, user: str, secret: str, version: int) -> None:
    """The handshake is done, EXTERNAL is neither offered nor to be had, and the password works."""
    client = show(bad, direct, version)
    assert "EXTERNAL" not in client.mechanisms
    for data in (b"", f"{user}@{DOMAIN}".encode()):
        client.send(auth("EXTERNAL", data))
        assert failed(client.element()) == "invalid-mechanism"
    assert client.scram(user, secret).name == "success"


def test_noCertificate(server: SecuredServer, user: str) -> None:
    """Without a certificate there is no EXTERNAL, before TLS neither."""
    client = server.secured()
    assert "EXTERNAL" not in client.mechanisms
    client.send(auth("EXTERNAL", f"{user}@{DOMAIN}".encode()))
    assert failed(client.element()) == "invalid-mechanism"


def test_notAskedFor(lax: SecuredServer, clientCA: Authority, user: str) -> None:
    """A server without the key asks for no certificate."""
    client = lax.secured(context=contextFor(lax.ca, identity=clientCA.client(f"{user}@{DOMAIN}")))
    assert "EXTERNAL" not in client.mechanisms


def test_trustIsOfOneConnection(clientCA: Authority, show: Show, user: str) -> None:
    """A bad certificate does not spoil the next, nor a good one help it."""
    good, bad = clientCA.client(f"{user}@{DOMAIN}"), Authority("strangers").client(f"{user}@{DOMAIN}")
    offers = [("EXTERNAL" in show(identity).mechanisms) for identity in (good, bad, good, bad)]
    assert offers == [True, False, True, False]


def test_authoritiesAreReloaded(server: SecuredServer, clientCA: Authority, show: Show, user: str) -> None:
    """An authority that is added counts after a reload, and no longer once it is taken out."""
    path = Path(tomllib.loads(server.extra)["tls"]["client_certificates"])
    before, added = path.read_bytes(), Authority("added")
    identity, old = added.client(f"{user}@{DOMAIN}"), clientCA.client(f"{user}@{DOMAIN}")
    deadline = time.monotonic() + 20
    for content, wanted in ((before + added.pem, True), (before, False)):
        path.write_bytes(content)
        server.child.process.send_signal(signal.SIGHUP)
        while ("EXTERNAL" in show(identity).mechanisms) is not wanted:
            assert time.monotonic() < deadline, "not reloaded"
            time.sleep(0.05)
        assert "EXTERNAL" in show(old).mechanisms
