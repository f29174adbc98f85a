"""A client whose TLS shows what Python's `ssl` hides: exported keys, the peer's certificate, renegotiation."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from tests.attack.raw import DIGESTS, DOMAIN, RawClient, auth, condition, response
from tests.protocol.sasl.scramclient import ScramClient
from tests.security.certificates import Identity
from xmppservice.wire import ns
from xmppservice.wire.element import Element

TLS12, TLS13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
EXPORTER, END_POINT, UNIQUE = "tls-exporter", "tls-server-end-point", "tls-unique"


def contextFor(
    ca: Path | None,
    version: int | None = None,
    alpn: tuple[bytes, ...] = (b"xmpp-client",),
    identity: Identity | None = None,
    ciphers: bytes = b"",
) -> SSL.Context:
    """A client's context; the server's certificate is verified if there is a CA."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if ca is not None:
        context.load_verify_locations(str(ca))
        context.set_verify(SSL.VERIFY_PEER)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if alpn:
        context.set_alpn_protos(list(alpn))
    if ciphers:
        context.set_cipher_list(ciphers)
    if identity is not None:
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
    return context


class TLSSocket:
    """A socket with pyOpenSSL in between; has what `RawClient` uses of a socket."""

    def __init__(self, raw: socket.socket, context: SSL.Context, name: str | None, session: Any = None) -> None:
        self._raw = raw
        self.connection = connection = SSL.Connection(context, None)
        if name is not None:
            connection.set_tlsext_host_name(name.encode())
        if session is not None:
            connection.set_session(session)
        connection.set_connect_state()
        while not self._try(connection.do_handshake):
            pass

    def _try(self, step: Any, *arguments: Any) -> bool:
        """Whether a step could be done; if not, more has been read for the next attempt."""
        try:
            step(*arguments)
        except SSL.WantReadError:
            self._flush()
            self._fill()
            return False
        except SSL.Error as error:
            self._flush()
            raise ssl.SSLError(str(error)) from error
        self._flush()
        return True

    def _flush(self) -> None:
        while True:
            try:
                self._raw.sendall(self.connection.bio_read(1 << 16))
            except SSL.WantReadError:
                return

    def _fill(self) -> None:
        data = self._raw.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the connection ended without close_notify")
        self.connection.bio_write(data)

    def recv(self, size: int) -> bytes:
        """Decrypted bytes; none at the end that close_notify announced."""
        while True:
            try:
                return self.connection.recv(size)
            except SSL.WantReadError:
                self._flush()
                self._fill()
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error as error:
                raise ssl.SSLError(str(error)) from error

    def sendall(self, data: bytes) -> None:
        """Encrypt and send all of it."""
        while data:
            data = data[self.connection.send(data[:16384]) :]
            self._flush()

    def renegotiate(self) -> None:
        """Demand another handshake (TLS 1.2)."""
        self.connection.renegotiate()
        while not self._try(self.connection.do_handshake):
            pass

    def settimeout(self, seconds: float | None) -> None:
        """How long to wait for bytes."""
        self._raw.settimeout(seconds)

    def fileno(self) -> int:
        """For `select`."""
        return self._raw.fileno()

    def close(self) -> None:
        """Drop the connection."""
        self._raw.close()


class SecureClient(RawClient):
    """`RawClient` on `TLSSocket`, and with channel bindings."""

    socket: Any

    def secure(self, context: SSL.Context, name: str | None = DOMAIN, session: Any = None) -> None:
        """The TLS handshake."""
        self.socket = TLSSocket(self.socket, context, name, session)

    def startSecure(self, context: SSL.Context, name: str = DOMAIN) -> None:
        """STARTTLS behind the features."""
        self.send(f"<starttls xmlns='{ns.TLS}'/>")
        assert self.element().name == "proceed"
        self.secure(context, name)
        self.restart()

    @property
    def tls(self) -> SSL.Connection:
        """The TLS connection."""
        connection: SSL.Connection = self.socket.connection
        return connection

    def binding(self, kind: str) -> bytes:
        """What this end of the connection has for a channel binding (RFC 9266, RFC 5929)."""
        if kind == EXPORTER:
            return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        if kind == UNIQUE:
            return self.tls.get_finished() or b""
        certificate = self.tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        algorithm = certificate.signature_hash_algorithm
        if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
            algorithm = hashes.SHA256()
        return certificate.fingerprint(algorithm)

    def bound(self, user: str, password: str, name: str, kind: str, **more: Any) -> Element:
        """A SCRAM-PLUS exchange with this binding; ``binding`` in `more` replaces its data."""
        more.setdefault("binding", self.binding(kind))
        return self.scram(user, password, name, flag=f"p={kind}", **more)

    @property
    def bindingTypes(self) -> list[str | None]:
        """The channel bindings that the features announce (XEP-0440)."""
        feature = self.features.find(ns.CHANNEL_BINDING, "sasl-channel-binding")
        return [each.get("type") for each in feature.elements()] if feature else []

    def enter(self) -> str:
        """Behind success: the new stream, and a session; returns the full JID."""
        self.restart()
        self.open(self.domain)
        return self.bind()

    domain = DOMAIN


def failed(answer: Element) -> str:
    """The condition of a SASL failure."""
    assert (answer.ns, answer.name) == (ns.SASL, "failure"), answer
    return condition(answer)


class Scram(ScramClient):
    """A SCRAM exchange that a test takes step by step."""

    def __init__(self, user: str, password: str, name: str = "SCRAM-SHA-256", **more: Any) -> None:
        self.name = name
        super().__init__(user, password, DIGESTS[name.removesuffix("-PLUS")], secrets.token_hex(8), **more)

    def auth(self) -> str:
        """The ``<auth/>`` with the first message."""
        return auth(self.name, self.first())

    def response(self, challenge: Element) -> str:
        """The ``<response/>`` with the final message."""
        return response(self.final(base64.b64decode(challenge.text)))


def fields(challenge: Element) -> dict[str, str]:
    """The attributes of a server-first-message."""
    assert challenge.name == "challenge", challenge
    return dict(part.split("=", 1) for part in base64.b64decode(challenge.text).decode().split(","))


def digest(data: bytes) -> str:
    """To compare what is long."""
    return hashlib.sha256(data).hexdigest()
