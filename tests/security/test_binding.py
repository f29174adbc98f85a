"""Channel binding: what it refuses, and the man in the middle it is for (RFC 5802 6, RFC 9266; hardening T08, T09)."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attack.raw import DOMAIN, auth
from tests.security.certificates import Authority
from tests.security.conftest import RSA, SecuredServer
from tests.security.tlsclient import (
    END_POINT,
    EXPORTER,
    TLS12,
    TLS13,
    UNIQUE,
    Scram,
    SecureClient,
    contextFor,
    failed,
)

PLUS = "SCRAM-SHA-256-PLUS"


@pytest.mark.parametrize(("version", "kind"), [(TLS12, EXPORTER), (TLS12, UNIQUE), (TLS13, UNIQUE), (TLS13, "x-own")])
def test_typesThatAreNotOffered(server: SecuredServer, user: str, secret: str, version: int, kind: str) -> None:
    """tls-exporter belongs to TLS 1.3, tls-unique to nothing; right data or not, the answer comes before the salt."""
    client = server.secured(context=contextFor(server.ca, version))
    exchange = Scram(user, secret, PLUS, flag=f"p={kind}", binding=client.binding(UNIQUE))
    client.send(exchange.auth())
    assert failed(client.element()) == "not-authorized"


@pytest.mark.parametrize("kind", [EXPORTER, END_POINT])
@pytest.mark.parametrize("forge", [lambda data: b"", lambda data: data[:-1], lambda data: bytes(len(data))])
def test_wrongData(server: SecuredServer, user: str, secret: str, kind: str, forge: Callable[[bytes], bytes]) -> None:
    """The password is right, the channel is not."""
    client = server.secured()
    answer = client.bound(user, secret, PLUS, kind, binding=forge(client.binding(kind)))
    assert failed(answer) == "not-authorized"


def test_dataOfAnotherConnection(server: SecuredServer, user: str, secret: str) -> None:
    """Exported keys are of one connection only; the certificate's hash is not that of another type."""
    one, two = server.secured(), server.secured()
    assert one.binding(EXPORTER) != two.binding(EXPORTER)
    assert failed(one.bound(user, secret, PLUS, EXPORTER, binding=two.binding(EXPORTER))) == "not-authorized"
    assert failed(two.bound(user, secret, PLUS, EXPORTER, binding=two.binding(END_POINT))) == "not-authorized"


def test_endPointHasTheHashOfTheSignature(server: SecuredServer) -> None:
    """A certificate signed with SHA-512 is bound by SHA-512 (RFC 5929 4.1). Only a stranger's password is wrong."""
    for direct in (True, False):
        client = server.secured(direct, RSA, contextFor(None))
        assert len(client.binding(END_POINT)) == 64
        right = client.bound("nobody", "x", PLUS, END_POINT)
        assert failed(right) == "not-authorized"


def test_endPointOfTheOtherHost(server: SecuredServer, rsaCA: Authority, tmp_path: Path) -> None:
    """Accounts of the host with SHA-512 can log in with it, over both ways to TLS."""
    server.ctl("user", "add", f"bound@{RSA}", text="secret word\nsecret word\n")
    ca = rsaCA.own.write(tmp_path, "rsa")
    for direct in (True, False):
        for kind in (END_POINT, EXPORTER):
            client = server.secured(direct, RSA, contextFor(ca))
            assert client.bound("bound", "secret word", PLUS, kind).name == "success"
            assert client.enter().startswith(f"bound@{RSA}/")


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_strippedOffer(server: SecuredServer, user: str, secret: str, name: str) -> None:
    """ "y" says that the client saw no -PLUS; we offered it, so somebody took it away."""
    client = server.secured()
    client.send(Scram(user, secret, name, flag="y").auth())
    assert failed(client.element()) == "not-authorized"
    assert client.scram(user, secret, name, flag="n").name == "success"


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        (PLUS, "n"),
        (PLUS, "y"),
        ("SCRAM-SHA-256", f"p={EXPORTER}"),
        (PLUS, "p="),
        (PLUS, "p=tls exporter"),
        (PLUS, "P=tls-exporter"),
    ],
)
def test_flagThatDoesNotFitTheMechanism(server: SecuredServer, user: str, secret: str, name: str, flag: str) -> None:
    """-PLUS is with a binding and the others are without (RFC 5802 6)."""
    client = server.secured()
    client.send(Scram(user, secret, name, flag=flag, binding=client.binding(EXPORTER)).auth())
    assert failed(client.element()) == "malformed-request"


def test_flagChangedUnderway(server: SecuredServer, user: str, secret: str) -> None:
    """The GS2 header of the first message must come back in the last as it was."""
    client, exchange = server.secured(), Scram(user, secret)
    client.send(exchange.auth())
    challenge = client.element()
    exchange.gs2 = "y,,"
    client.send(exchange.response(challenge))
    assert failed(client.element()) == "not-authorized"


class Interceptor:
    """A man in the middle with a certificate of his own, who passes on every word."""

    def __init__(self, server: SecuredServer, pem: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem, pem.with_suffix(".key"))
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[ssl.SSLSocket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        outward = ssl.create_default_context(cafile=self._server.ca)
        while True:
            try:
                accepted, _ = self._listener.accept()
                near = self._context.wrap_socket(accepted, server_side=True)
                raw = socket.create_connection(("127.0.0.1", self._server.directPort))
                far = outward.wrap_socket(raw, server_hostname=DOMAIN)
            except OSError:
                return
            self._sockets += [near, far]
            threading.Thread(target=_pass, args=(near, far), daemon=True).start()

    def close(self) -> None:
        """He is caught."""
        self._listener.close()
        for each in self._sockets:
            each.close()


def _pass(near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
    """One thread for both directions: OpenSSL does not let two threads use one connection at once."""
    other = {near: far, far: near}
    for each in other:
        each.setblocking(False)
    try:
        while True:
            for source in [each for each in other if each.pending()] or select.select(list(other), [], [])[0]:
                try:
                    data = source.recv(65536)
                except ssl.SSLWantReadError:
                    continue  # a ticket of the session, nothing to pass on
                if not data:
                    return
                other[source].sendall(data)
    except (OSError, ValueError):
        pass


@pytest.fixture
def interceptor(server: SecuredServer, rsaCA: Authority, tmp_path: Path) -> Iterator[Interceptor]:
    """He has a certificate for our name from an authority that the client trusts, as at jabber.ru in 2023."""
    man = Interceptor(server, rsaCA.server(DOMAIN).write(tmp_path, "man"))
    yield man
    man.close()


@pytest.mark.parametrize(
    ("version", "name", "kind"),
    [(TLS13, "SCRAM-SHA-1-PLUS", EXPORTER), (TLS13, PLUS, END_POINT), (TLS12, "SCRAM-SHA-512-PLUS", END_POINT)],
)
def test_manInTheMiddle(
    server: SecuredServer,
    interceptor: Interceptor,
    rsaCA: Authority,
    tmp_path: Path,
    user: str,
    secret: str,
    version: int,
    name: str,
    kind: str,
) -> None:
    """Without binding he gets away with it; with binding he does not."""
    trusted = rsaCA.own.write(tmp_path, "trusted")

    def victim() -> SecureClient:
        client = SecureClient(interceptor.port)
        server.clients.append(client)
        client.secure(contextFor(trusted, version))
        client.open()
        return client

    client = victim()
    assert client.scram(user, secret, "SCRAM-SHA-256").name == "success"
    assert failed(victim().bound(user, secret, name, kind)) == "not-authorized"


def test_plusNeedsTLS(lax: SecuredServer, user: str, secret: str) -> None:
    """Without TLS there is no channel to bind to, and no such mechanism."""
    client = lax.plain()
    client.send(auth(PLUS, b"p=tls-exporter,,n=a,r=b"))
    assert failed(client.element()) in ("encryption-required", "mechanism-too-weak", "invalid-mechanism")
