"""STARTTLS, direct TLS and what may not go around them (hardening T01-T09)."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable

import pytest
from OpenSSL import SSL

from tests.attack.conftest import AttackedServer
from tests.attack.inputs.tls import EARLY, REFUSALS, SECURED_ONLY, WEAK, V
from tests.attack.raw import STARTTLS, RawClient, condition, header, plain
from tests.attack.weak import context as weak
from xmppservice.wire import ns
from xmppservice.wire.element import Element


@pytest.mark.attack("T01")
@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY.keys())
def test_nothingMayFollowStartTLS(server: AttackedServer, early: str) -> None:
    """T01: what was sent in clear with ``<starttls/>`` never reaches the stream behind the handshake."""
    client = server.plain()
    client.send(STARTTLS + early)
    client.refused("policy-violation")


@pytest.mark.attack("T01")
@pytest.mark.parametrize("junk", [header() + plain("canary", "yranac"), "\x16\x03\x01junk", "\0" * 4096])
def test_noHandshake(server: AttackedServer, junk: str) -> None:
    """T01: plain XML or rubbish in the place of the handshake ends the connection, without an answer in clear."""
    client = server.plain()
    client.send(STARTTLS)
    assert client.element().name == "proceed"
    before = len(client.raw)
    client.send(junk)
    client.rest()
    assert b"<" not in client.raw[before:]


def test_plainXMLOnTheTLSPort(server: AttackedServer) -> None:
    """A stream header in clear on the port of direct TLS gets no stream."""
    client = RawClient(server.directPort)
    client.send(header())
    assert client.rest() == [] and b"stream" not in client.raw




@pytest.mark.attack("T02")
@pytest.mark.parametrize("kind", SECURED_ONLY)
def test_nothingGoesAroundTLS(server: AttackedServer, kind: str) -> None:
    """T02: each element of a later step is refused in clear, by a failure or the end; nothing ever succeeds."""
    client = server.plain()
    client.send(SECURED_ONLY[kind])
    if kind in REFUSALS:
        failure = client.element()
        assert (failure.name, condition(failure)) == ("failure", "encryption-required")
        client.send(STARTTLS)
        assert client.element().name == "proceed"
    elif kind == "compression":
        failure = client.element()
        assert (failure.name, condition(failure)) == ("failure", "unsupported-method")
    else:
        client.refused("policy-violation", "not-authorized")


@pytest.mark.attack("X03")
def test_compressionIsNeverOffered(server: AttackedServer, user: Callable[[], str]) -> None:
    """X03: no stage offers compression, and none takes it."""
    for client in (server.plain(), server.direct(), server.authenticated(user())):
        assert all("compress" not in feature.name for feature in client.features.elements())
        client.send(SECURED_ONLY["compression"])
        assert condition(client.element()) == "unsupported-method"
        for _ in range(10):
            client.send(SECURED_ONLY["compression"])
        assert client.rest() and client.closed


@pytest.mark.attack("X03")
def test_compressionOnABoundStream(spare: str, server: AttackedServer) -> None:
    """X03: with a session it is not even an element."""
    client = server.login(spare)
    client.send(SECURED_ONLY["compression"])
    client.refused("unsupported-stanza-type")


@pytest.mark.attack("T04")
@pytest.mark.parametrize("direct", [False, True], ids=["starttls", "direct"])
@pytest.mark.parametrize("kind", WEAK)
def test_weakTLSIsRefused(server: AttackedServer, kind: str, direct: bool) -> None:
    """T04: versions before 1.2 and ciphers without forward secrecy or authentication get an alert."""
    client = RawClient(server.directPort) if direct else server.plain()
    if not direct:
        client.send(STARTTLS)
        client.element()
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.wrap(None, context=weak(*WEAK[kind]))


@pytest.mark.own("needs mechanisms of SHA-2")
@pytest.mark.attack("T04", "T09")
@pytest.mark.parametrize(
    "version, ciphers", [(V.TLSv1_2, "ECDHE+AESGCM"), (V.TLSv1_2, "ECDHE+CHACHA20"), (V.TLSv1_3, "")]
)
def test_strongTLSIsAccepted(server: AttackedServer, version: ssl.TLSVersion, ciphers: str) -> None:
    """T04, T09: what is left works, and names the channel bindings that exist with that version."""
    client = server.plain()
    client.startTLS(None, context=weak(version, version, ciphers))
    client.open()
    offer = client.features.find(ns.CHANNEL_BINDING, "sasl-channel-binding")
    assert offer is not None
    kinds = {child.get("type") for child in offer.elements()}
    exporter = {"tls-exporter"} if version == V.TLSv1_3 else set()
    assert kinds == {"tls-server-end-point"} | exporter
    assert all(name + "-PLUS" in client.mechanisms for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"))


@pytest.mark.attack("T05")
def test_renegotiationIsRefused(server: AttackedServer) -> None:
    """T05: a client of TLS 1.2 cannot make the server negotiate again and again."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    connection = SSL.Connection(context, socket.create_connection(("127.0.0.1", server.directPort)))
    connection.setblocking(True)
    connection.set_connect_state()
    connection.do_handshake()
    cpu = server.cpu
    connection.send(header().encode())
    assert connection.recv(65536)
    with pytest.raises((SSL.Error, OSError)):
        for _ in range(100):
            connection.renegotiate()
            connection.do_handshake()
            connection.send(b" ")
            connection.recv(65536)
    assert server.cpu - cpu < 0.5
    connection.close()


def test_protocolNames(server: AttackedServer) -> None:
    """XEP-0368: ALPN answers xmpp-client, and refuses those who want HTTP (RFC 7301 3.2)."""

    def shakeHands(*offered: str) -> str | None:
        client = RawClient(server.directPort)
        context = weak(V.TLSv1_2, V.TLSv1_3)
        context.set_alpn_protocols(list(offered))
        client.wrap(None, context=context)
        chosen: str | None = client.socket.selected_alpn_protocol()
        client.close()
        return chosen

    assert shakeHands("xmpp-client", "h2") == "xmpp-client"
    with pytest.raises(ssl.SSLError):
        shakeHands("h2", "http/1.1")


@pytest.mark.own("needs further hosts with certificates")
def test_everyHostHasItsCertificate(server: AttackedServer) -> None:
    """The certificate follows the stream's ``to``, or the name in a direct handshake."""
    for host in ("localhost", "other.test", "open.test"):
        for client in (server.secured(host), server.direct(host)):
            names = [value for kind, value in client.socket.getpeercert()["subjectAltName"] if kind == "DNS"]
            assert host in names
            client.close()


def _endPoint(client: RawClient) -> bytes:
    return hashlib.sha256(client.socket.getpeercert(True)).digest()


@pytest.mark.own("needs mechanisms of SHA-2")
@pytest.mark.attack("T08")
def test_channelBinding(server: AttackedServer, spare: str) -> None:
    """T08: SCRAM-PLUS accepts this channel and no other, and nobody may say that we offered none."""
    binding = {"name": "SCRAM-SHA-256-PLUS", "flag": "p=tls-server-end-point"}

    def outcome(**more: object) -> Element:
        client = server.direct()
        answer = client.scram(spare, spare[::-1], **{"binding": _endPoint(client), **binding, **more})
        client.close()
        return answer

    assert outcome().name == "success"
    assert condition(outcome(binding=b"\0" * 32)) == "not-authorized"
    assert condition(outcome(flag="p=tls-unique")) == "not-authorized"
    assert condition(outcome(name="SCRAM-SHA-256", flag="y", binding=b"")) == "not-authorized"
    assert condition(outcome(flag="n", binding=b"")) == "malformed-request"
