"""TLS itself: versions, ciphers, names, and what stays off (RFC 6120 5, RFC 7590, XEP-0368; hardening T04, T05)."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.attack.raw import DOMAIN, RawClient, header
from tests.security.certificates import Authority
from tests.security.conftest import IDN, RSA, SecuredServer
from tests.security.tlsclient import TLS12, TLS13, contextFor
from xmppservice.edge.certificates import loadPair

GOOD_12 = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305")
BAD_12 = ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM", "aNULL", "eNULL")
BAD_12_RSA = ("AES128-GCM-SHA256", "AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "CAMELLIA128-SHA")


def offering(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    """A context of a client that accepts anything; Debian's own library is the one that can do old things."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    return context


def handshake(server: SecuredServer, direct: bool, context: ssl.SSLContext, name: str = DOMAIN) -> ssl.SSLSocket:
    """Only the handshake."""
    client = RawClient(server.directPort if direct else server.port)
    if direct:
        client.wrap(None, name, context)
    else:
        client.open(name)
        client.startTLS(None, name, context)
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_oldVersionsAreRefused(server: SecuredServer, direct: bool, version: ssl.TLSVersion) -> None:
    """Nothing older than TLS 1.2, whatever the client would take."""
    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)version|alert|reset"):
        handshake(server, direct, offering(version, "ALL:@SECLEVEL=0"))


@pytest.mark.parametrize("cipher", GOOD_12)
def test_goodCiphers(server: SecuredServer, direct: bool, cipher: str) -> None:
    """TLS 1.2 with forward secrecy and an AEAD."""
    with handshake(server, direct, offering(ssl.TLSVersion.TLSv1_2, cipher)) as connection:
        assert connection.cipher()[0] == cipher  # type: ignore[index]
        assert connection.compression() is None


@pytest.mark.parametrize(
    ("cipher", "name"), [*((each, DOMAIN) for each in BAD_12), *((each, RSA) for each in BAD_12_RSA)]
)
def test_badCiphers(server: SecuredServer, cipher: str, name: str) -> None:
    """No CBC, no static RSA, no finite-field groups, no anonymity, no nothing, with neither kind of key."""
    context = offering(ssl.TLSVersion.TLSv1_2, cipher + ":@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)alert|reset"):
        handshake(server, True, context, name)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_certificateIsVerified(server: SecuredServer, rsaCA: Authority, tmp_path: Path, version: int) -> None:
    """Each host shows its own certificate: by SNI with direct TLS, by the stream's `to` with STARTTLS."""
    ca = rsaCA.own.write(tmp_path, "rsa")
    for direct in (True, False):
        for to, authority in ((DOMAIN, server.ca), (RSA, ca)):
            client = server.secured(direct, to, contextFor(authority, version))
            certificate = client.tls.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            assert f"CN={to}" in certificate.subject.rfc4514_string()
        with pytest.raises(ssl.SSLError, match="verify failed"):
            server.secured(direct, RSA, contextFor(server.ca, version))


def test_unknownOrNoServerName(server: SecuredServer) -> None:
    """Who names nobody we know gets the first host's certificate, and may say in the stream whom it wants."""
    for name in ("unknown.test", None):
        client = server.connect(direct=True)
        client.secure(contextFor(server.ca), name)
        client.open()
        certificate = client.tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        assert f"CN={DOMAIN}" in certificate.subject.rfc4514_string()


def test_internationalNames(server: SecuredServer) -> None:
    """DNS, SNI and certificates have A-labels, streams have U-labels, and both are the same host (RFC 7622 3.2)."""
    ascii = "xn--bcherstrae-e4a35a.test"
    for direct in (True, False):
        for to in (IDN, ascii, "BÜCHERSTRA\u1e9eE.test"):
            client = server.connect(direct)
            if direct:
                client.secure(contextFor(server.ca), ascii)
            else:
                client.open(to)
                client.startSecure(contextFor(server.ca), ascii)
            assert client.open(to).attrs["from"] == IDN
            certificate = client.tls.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [ascii]
    assert loadPair(server.folder / "certs", IDN).covers(IDN)


def test_protocolIsChosen(server: SecuredServer, direct: bool) -> None:
    """ALPN (XEP-0368, RFC 7301): ours, wherever it stands in the client's list; without an offer there is none."""
    offers = {(b"xmpp-client",): b"xmpp-client", (b"http/1.1", b"xmpp-client"): b"xmpp-client", (): b""}
    for offer, chosen in offers.items():
        client = server.secured(direct, context=contextFor(server.ca, alpn=offer))
        assert client.tls.get_alpn_proto_negotiated() == chosen


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_otherProtocolsAreRefused(server: SecuredServer, direct: bool, version: int) -> None:
    """Who speaks only something else is told so in the handshake (RFC 7301 3.2), before we take its data for XML."""
    for name in (DOMAIN, RSA):
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            server.secured(direct, name, contextFor(None, version, alpn=(b"http/1.1", b"xmpp-server")))


def test_noRenegotiation(server: SecuredServer) -> None:
    """A client that wants a new handshake in the midst of a stream does not get one (T05), and costs nothing."""
    client = server.secured(context=contextFor(server.ca, TLS12))
    before = client.tls.get_finished()
    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)renegotiation|reset|close_notify"):
        client.socket.renegotiate()
    assert client.tls.get_finished() == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_noResumption(server: SecuredServer, version: ssl.TLSVersion) -> None:
    """Every handshake is a full one: a resumed one would not verify a client's certificate again."""
    context = ssl.create_default_context(cafile=server.ca)
    context.minimum_version = context.maximum_version = version
    session = None
    for _ in range(2):
        raw = socket.create_connection(("127.0.0.1", server.directPort), 30)
        with context.wrap_socket(raw, server_hostname=DOMAIN, session=session) as connection:
            connection.sendall(header().encode())
            assert connection.recv(4096)
            assert not connection.session_reused
            session = connection.session
            assert session is not None


def test_plainBytesOnTheTLSPort(server: SecuredServer) -> None:
    """Who does not speak TLS where it is required hears nothing that is not TLS."""
    with socket.create_connection(("127.0.0.1", server.directPort), 30) as connection:
        connection.sendall(b"<?xml version='1.0'?><stream:stream>")
        assert b"<" not in connection.recv(4096)


def test_closingIsAnnounced(server: SecuredServer) -> None:
    """The end of a stream is close_notify, so that nobody can cut the last words off (RFC 6120 5.3.5)."""
    for version in (TLS12, TLS13):
        client = server.secured(context=contextFor(server.ca, version))
        client.send("</stream:stream>")
        client.rest()
        assert client.closed
        assert not client.reset
