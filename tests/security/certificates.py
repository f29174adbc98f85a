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

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def write(self, folder: Path, name: str, *chain: x509.Certificate) -> Path:
        """Put both into files as the server reads them, with a chain; returns the certificate's."""
        secret = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key").write_bytes(secret)
        (folder / f"{name}.key").chmod(0o600)
        path = folder / f"{name}.crt"
        pem = [link.public_bytes(serialization.Encoding.PEM) for link in (self.certificate, *chain)]
        path.write_bytes(b"".join(pem))
        return path


def xmppAddress(address: str) -> x509.OtherName:
    """An id-on-xmppAddr of less than 128 octets (RFC 6120 13.7.1.4)."""
    data = address.encode()
    return x509.OtherName(XMPP_ADDRESS, bytes((0x0C, len(data))) + data)


def otherName(kind: ObjectIdentifier, text: str, tag: int = 0x16) -> x509.OtherName:
    """An otherName of less than 128 octets; 0x16 is an IA5String, 0x0C a UTF8String."""
    data = text.encode()
    return x509.OtherName(kind, bytes((tag, len(data))) + data)


class Authority:
    """Signs what it is told to; `length` is how many authorities may stand below it."""

    def __init__(self, name: str, length: int | None = 0) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, name, key).add_extension(x509.BasicConstraints(True, length), critical=True)
        self.own = Identity(builder.sign(key, hashes.SHA256()), key)
        self.name = name

    def deputy(self, name: str, authority: bool = True, usage: ObjectIdentifier | None = None) -> Authority:
        """Another one, certified by this one; with `authority` false it is none and signs all the same."""
        deputy = Authority(name)
        builder = _builder(name, self.name, deputy.own.key)
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        deputy.own = Identity(builder.sign(self.own.key, hashes.SHA256()), deputy.own.key)
        return deputy

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

    def names(
        self,
        *names: str | x509.GeneralName,
        common: str = "server",
        usage: ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
        expired: bool = False,
        future: bool = False,
        authority: bool = False,
        key: Key | None = None,
    ) -> Identity:
        """A certificate with these names (text: dNSName) and no others."""
        general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
        return self._issue(common, general, usage, key, None, expired, future, authority)

    def _issue(
        self,
        name: str,
        names: Sequence[x509.GeneralName],
        usage: ObjectIdentifier | None,
        key: Key | None = None,
        algorithm: hashes.SHA256 | hashes.SHA512 | None = None,
        expired: bool = False,
        future: bool = False,
        authority: bool = False,
    ) -> Identity:
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.name, key, expired, future)
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Identity(builder.sign(self.own.key, algorithm or hashes.SHA256()), key)


def _builder(name: str, issuer: str, key: Key, expired: bool = False, future: bool = False) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + HOUR if future else now - 48 * HOUR)
        .not_valid_after(now - HOUR if expired else now + 48 * HOUR)
    )


def selfSigned(*names: str) -> Identity:
    """A certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("self", "self", key).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
