"""Whether a peer's certificate was issued by somebody who is trusted, and is in force (RFC 6120 13.7.2, RFC 5280).

Names are another matter: `edge.s2s.identity`. Revocation is not looked up: OCSP would tell a third party about
each link and public authorities give it up; short-lived certificates take its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from OpenSSL import SSL, crypto

from xmppservice.edge.certificates import MALFORMED, CertificateProblem

MOST = 16
"""Certificates that a peer may show; public chains have two to four."""

_OUTGOING = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
# A server that calls uses the certificate it has. Public authorities no longer issue such with clientAuth from 2026
# on, so serverAuth is enough, and so is either: nobody is harmed if a server proves its name with the same
# key on both ends of TLS.
_INCOMING = _OUTGOING | {ExtendedKeyUsageOID.CLIENT_AUTH}

_RSA_BITS, _EC_BITS = 2048, 224
_PLAIN = {
    2: "issued by an authority that is not trusted here",
    20: "issued by an authority that is not trusted here",
    21: "issued by an authority that is not trusted here",
    18: "self-signed certificate",
    19: "issued by an authority that is not trusted here",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    24: "issued by a certificate that is not an authority's",
    79: "issued by a certificate that is not an authority's",
}


@attrs.frozen
class PeerCertificate:
    """What a peer showed: its certificate, the chain with it in front, and "" or what is wrong with the chain."""

    der: bytes = attrs.field(repr=False)
    chain: tuple[bytes, ...] = attrs.field(repr=False)
    error: str


class TrustStore:
    """Authorities that may issue the certificates of servers: those of a PEM file, or just `anchors`
    (DER; they may have been issued by others themselves), or the system's.

    The system's are read when the first certificate is verified.
    """

    def __init__(self, authorities: Path | None = None, anchors: Sequence[bytes] = ()) -> None:
        self._store = _read(authorities) if authorities is not None else _hold(anchors) if anchors else None
        # The system's store belongs to a context, which must live as long.
        self._context: SSL.Context | None = None

    def examine(self, connection: SSL.Connection, incoming: bool) -> PeerCertificate | None:
        """The certificate of a connection's peer; `incoming`: the peer called us."""
        leaf = connection.get_peer_certificate()
        if leaf is None:
            return None
        der = _der(leaf)
        # As server OpenSSL gives the chain without the peer's own certificate, as client with it.
        rest = connection.get_peer_cert_chain() or []
        if rest and _der(rest[0]) == der:
            del rest[0]
        error = self._verify(leaf, rest, incoming) if len(rest) < MOST else "too many certificates"
        return PeerCertificate(der, (der, *map(_der, rest[: MOST - 1])), error)

    def verify(self, chain: Sequence[bytes], incoming: bool = False) -> str:
        """"" if a chain (DER, the server's own certificate first) is good, otherwise what is wrong."""
        try:
            leaf, *rest = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
        except crypto.Error:
            return "malformed certificate"
        return self._verify(leaf, rest, incoming)

    def _verify(self, leaf: crypto.X509, rest: list[crypto.X509], incoming: bool) -> str:
        try:
            verified = crypto.X509StoreContext(self._anchors(), leaf, rest).get_verified_chain()
        except crypto.X509StoreContextError as error:
            code = error.errors[0] if error.errors else 0
            return _PLAIN.get(code, str(error))
        try:
            return _misuse([link.to_cryptography() for link in verified], incoming)
        except MALFORMED:
            return "malformed certificate"

    def _anchors(self) -> crypto.X509Store:
        if self._store is None:
            # Only a context knows where the system keeps them.
            self._context = SSL.Context(SSL.TLS_METHOD)
            self._context.set_default_verify_paths()
            self._store = self._context.get_cert_store()
            assert self._store is not None
        return self._store


def _read(path: Path) -> crypto.X509Store:
    store = crypto.X509Store()
    try:
        store.load_locations(str(path))
    except crypto.Error:
        raise CertificateProblem(f"{path}: no authorities' certificates in PEM form can be read") from None
    return store


def _hold(anchors: Sequence[bytes]) -> crypto.X509Store:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for der in anchors:
        try:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
        except crypto.Error:
            # Others may still do; without any, nobody is trusted.
            continue
    return store


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _misuse(chain: list[x509.Certificate], incoming: bool) -> str:
    """What `X509_verify_cert` leaves to its caller: purpose and strength."""
    wanted = _INCOMING if incoming else _OUTGOING
    if len(chain) > 1 and _isAuthority(chain[0]):
        return "an authority's certificate, not a server's"  # RFC 6120 13.7.1.1
    for position, link in enumerate(chain):
        if _isWeakKey(link):
            return "weak key"
        # An anchor is trusted as it is: its own signature and purposes say nothing.
        if position and position == len(chain) - 1:
            break
        if position < len(chain) - 1 and isinstance(link.signature_hash_algorithm, hashes.MD5 | hashes.SHA1):
            return "weak signature"
        if not _serves(link, wanted):
            return "not for servers" if position == 0 else "its issuer is not for servers"
    return ""


def _isAuthority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _serves(certificate: x509.Certificate, wanted: frozenset[ObjectIdentifier]) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not wanted.isdisjoint(usages)


def _isWeakKey(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < _RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size < _EC_BITS
    return not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
