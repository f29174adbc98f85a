"""What both ends of TLS are set to.

Policy: TLS 1.2 and 1.3; ECDHE with an AEAD cipher only; no compression, no renegotiation, no
resumption (its tickets and caches would cost memory for every idle stream). Buffers are released
while a stream is idle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from xmppservice.edge.certificates import KeyPair

CLIENT_ALPN = b"xmpp-client"
SERVER_ALPN = b"xmpp-server"
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
RELEASE_BUFFERS = 0x10


@attrs.frozen
class Listening:
    """What differs between ports: the protocol of XEP-0368, and whether and how a certificate is asked for."""

    alpn: bytes = CLIENT_ALPN
    verify: Callable[..., bool] | None = None
    authorities: Path | None = None
    #: Certificates that the handshake itself looks at; -1: as many as OpenSSL likes.
    depth: int = -1


@implementer(IOpenSSLServerConnectionCreator)
class HostTLS:
    """The server side of TLS for one host: a context, and what depends on its certificate."""

    def __init__(self, pair: KeyPair, listening: Listening) -> None:
        self.pair = pair
        self.endPoint = endPointHash(pair.certificate)
        self.context = context = _context(SSL.TLS_SERVER_METHOD, pair)
        context.set_alpn_select_callback(partial(_selectProtocol, listening.alpn))
        # get_context() of a connection gives this context back, and with it the facts.
        context.set_app_data(self)
        if listening.verify is not None:
            context.set_session_id(b"xmpp")
            if listening.authorities is not None:
                context.load_verify_locations(str(listening.authorities))
            if listening.depth >= 0:
                context.set_verify_depth(listening.depth)
            context.set_verify(SSL.VERIFY_PEER, listening.verify)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for one handshake (IOpenSSLServerConnectionCreator)."""
        return SSL.Connection(self.context, None)


@implementer(IOpenSSLClientConnectionCreator)
@attrs.frozen
class Initiator:
    """The client side of TLS for one connection: the name to ask for, the protocol to offer."""

    context: SSL.Context
    name: bytes
    alpn: bool

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for one handshake (IOpenSSLClientConnectionCreator)."""
        connection = SSL.Connection(self.context, None)
        if self.name:
            connection.set_tlsext_host_name(self.name)
        if self.alpn:
            connection.set_alpn_protos([SERVER_ALPN])
        return connection


def initiatingContext(pair: KeyPair | None) -> SSL.Context:
    """A context for outgoing connections of a host, which shows its certificate if it has one.

    A bad certificate does not end the handshake: `TrustStore` verifies it afterwards, and policy may
    still allow dialback. So the handshake looks at no more than the certificate itself.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, pair)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_verify_depth(0)
    return context


def _context(method: int, pair: KeyPair | None) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_mode(RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(CIPHERS)
    if pair is not None:
        context.use_certificate(pair.certificate)
        for link in pair.chain:
            context.add_extra_chain_cert(link)
        context.use_privatekey(pair.key)
        context.check_privatekey()
    return context


def _selectProtocol(wanted: bytes, connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """XEP-0368: choose ours. A peer that offers only others means another service and gets an alert (RFC 7301 3.2)."""
    if wanted in offered:
        return wanted
    # pyOpenSSL makes the alert of any exception; Twisted looks into this one as into OpenSSL's own.
    raise SSL.Error([("SSL routines", "", "no application protocol")])


verdicts: WeakKeyDictionary[SSL.Connection, bool] = WeakKeyDictionary()
"""Connections whose client showed a certificate → whether each step of its verification went well.

Not in the connection's app data: those are Twisted's.
"""


def recordVerification(connection: SSL.Connection, certificate: object, code: int, depth: int, ok: int) -> bool:
    """A client certificate never ends the handshake; whether it is trusted is judged later."""
    verdicts[connection] = verdicts.get(connection, True) and bool(ok)
    return True


def acceptAny(connection: SSL.Connection, certificate: object, code: int, depth: int, ok: int) -> bool:
    """A server's certificate is verified after the handshake, by `TrustStore`."""
    return True


def endPointHash(certificate: x509.Certificate) -> bytes:
    """The channel binding tls-server-end-point (RFC 5929 4.1)."""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)
