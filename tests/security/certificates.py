"""Authorities and certificates for servers and clients, good and bad."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
XMPP_ADDRESS = ObjectIdentifier("1.3.6.1.5.5.7.8.5")
HOUR = datetime.timedelta(hours=1)


class Identity(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    def write(self, folder: Path, name: str) -> Path:
        """Put both into files as the server reads them; returns the certificate's."""
        secret = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key").write_bytes(secret)
        (folder / f"{name}.key").chmod(0o600)
        path = folder / f"{name}.crt"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


def xmppAddress(address: str) -> x509.OtherName:
    """An id-on-xmppAddr of less than 128 octets (RFC 6120 13.7.1.4)."""
    data = address.encode()
    return x509.OtherName(XMPP_ADDRESS, bytes((0x0C, len(data))) + data)


class Authority:
    """Signs what it is told to."""

    def __init__(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, name, key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.own = Identity(builder.sign(key, hashes.SHA256()), key)
        self.name = name

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.own.certificate.public_bytes(serialization.Encoding.PEM)

    def server(
        self, domain: str, key: Key | None = None, algorithm: hashes.SHA256 | hashes.SHA512 | None = None
    ) -> Identity:
        """A server's certificate."""
        return self._issue(domain, [x509.DNSName(domain)], ExtendedKeyUsageOID.SERVER_AUTH, key, algorithm)

    def client(
        self,
        *addresses: str,
        expired: bool = False,
        usage: ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        name: str = "client",
    ) -> Identity:
        """A client's certificate with these addresses."""
        return self._issue(name, [xmppAddress(address) for address in addresses], usage, expired=expired)

    def _issue(
        self,
        name: str,
        names: Sequence[x509.GeneralName],
        usage: ObjectIdentifier,
        key: Key | None = None,
        algorithm: hashes.SHA256 | hashes.SHA512 | None = None,
        expired: bool = False,
    ) -> Identity:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.name, key, expired)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Identity(builder.sign(self.own.key, algorithm or hashes.SHA256()), key)


def _builder(name: str, issuer: str, key: Key, expired: bool = False) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 48 * HOUR)
        .not_valid_after(now - HOUR if expired else now + 48 * HOUR)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
