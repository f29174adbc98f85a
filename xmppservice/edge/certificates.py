"""Certificate files: reading and checking pairs, XMPP addresses in certificates, and a
development certificate with an authority of its own.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from xmppservice.protocol.jid import asciiDomain

MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for a certificate, or a part of one, that it cannot read."""

XMPP_ADDRESS = ObjectIdentifier("1.3.6.1.5.5.7.8.5")
"""id-on-xmppAddr (RFC 6120 13.7.1.4)."""

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
"""The kinds of keys that a TLS server certificate can have."""

_UTF8_STRING = 0x0C


class CertificateProblem(Exception):
    """A certificate or key cannot be used; the message says which file and why."""


@attrs.frozen
class KeyPair:
    """A host's certificate, the chain behind it, and its private key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = attrs.field(repr=False)

    @property
    def expires(self) -> datetime.datetime:
        """When the certificate ends, in UTC."""
        return self.certificate.not_valid_after_utc

    def covers(self, domain: str) -> bool:
        """Whether a dNSName or xmppAddr of the certificate names the domain (RFC 6120 13.7.1.2)."""
        names = _alternativeNames(self.certificate)
        if names is None:
            return False
        dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        wanted = asciiDomain(domain)
        parent = "*." + wanted.partition(".")[2]
        return wanted in dns or parent in dns or domain in xmppAddresses(self.certificate)


def loadPair(directory: Path, domain: str) -> KeyPair:
    """Read ``<domain>.crt`` and ``<domain>.key``. Raises `CertificateProblem`."""
    certificates = readCertificates(directory / f"{domain}.crt")
    key = readKey(directory / f"{domain}.key")
    first, *chain = certificates
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if first.public_key().public_bytes(encoding, form) != key.public_key().public_bytes(encoding, form):
        raise CertificateProblem(f"{domain}: {domain}.key is not the key of {domain}.crt")
    return KeyPair(first, tuple(chain), key)


def readCertificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateProblem(f"{path}: {error.strerror}") from None
    except ValueError:
        raise CertificateProblem(f"{path}: no certificate in PEM form") from None


def readKey(path: Path) -> PrivateKey:
    """A private key, from a file that others cannot read."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
                raise CertificateProblem(f"{path}: others may read this key; chmod it to 0600 or 0640")
            data = file.read()
        key = serialization.load_pem_private_key(data, None)
    except OSError as error:
        raise CertificateProblem(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise CertificateProblem(f"{path}: no unencrypted private key in PEM form") from None
    if not isinstance(key, PrivateKey):
        raise CertificateProblem(f"{path}: a key of this kind cannot be used for TLS")
    return key


def _alternativeNames(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *MALFORMED):
        return None


def xmppAddresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """The id-on-xmppAddr names of a certificate's subjectAltName, and nothing else (hardening T07)."""
    names = _alternativeNames(certificate)
    if names is None:
        return ()
    found = (
        _decodeUTF8String(name.value)
        for name in names.get_values_for_type(x509.OtherName)
        if name.type_id == XMPP_ADDRESS
    )
    return tuple(address for address in found if address)


def _decodeUTF8String(der: bytes) -> str:
    """The text of a DER UTF8String, "" if it is anything else."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        return ""
    length, start = der[1], 2
    if length & 0x80:
        size = length & 0x7F
        start += size
        length = int.from_bytes(der[2:start], "big")
    if not length or len(der) != start + length:
        return ""
    try:
        text = der[start:].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def encodeXMPPAddress(address: str) -> x509.OtherName:
    """An id-on-xmppAddr name for a certificate to be made."""
    data = address.encode("utf-8")
    if len(data) < 0x80:
        return x509.OtherName(XMPP_ADDRESS, bytes((_UTF8_STRING, len(data))) + data)
    size = (len(data).bit_length() + 7) // 8
    return x509.OtherName(XMPP_ADDRESS, bytes((_UTF8_STRING, 0x80 | size)) + len(data).to_bytes(size, "big") + data)


def makeDevelopmentCertificate(directory: str | Path, hosts: Iterable[str], days: int = 825) -> Path:
    """Make ``<host>.crt`` and ``.key`` for each host that has none; returns the authority's file.

    They are signed by an authority of this folder (``ca.crt``, ``ca.key``), made once and kept,
    so that clients can verify against it. For development only.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    authority, authorityKey = _authority(folder)
    for host in hosts:
        if (folder / f"{host}.crt").exists() and (folder / f"{host}.key").exists():
            continue
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(host, authority.subject, key, days)
        certificate = certificate.add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        certificate = certificate.add_extension(x509.BasicConstraints(False, None), critical=True)
        certificate = certificate.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        certificate = certificate.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authorityKey.public_key()), critical=False
        )
        _store(folder, host, certificate.sign(authorityKey, hashes.SHA256()), key)
    return folder / "ca.crt"


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if (folder / "ca.crt").exists() and (folder / "ca.key").exists():
        key = readKey(folder / "ca.key")
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateProblem(f"{folder / 'ca.key'}: not a development authority of ours")
        return readCertificates(folder / "ca.crt")[0], key
    key = ec.generate_private_key(ec.SECP256R1())
    name = "xmppservice development authority"
    builder = _builder(name, _name(name), key, 3650)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_keyUsage(True), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    _store(folder, "ca", certificate, key)
    return certificate, key


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _keyUsage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host.strip("[]"))))
    except ValueError:
        names.append(x509.DNSName(asciiDomain(host)))
    names.append(encodeXMPPAddress(host))
    if host == "localhost":
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    return names


def _store(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """The key first and never readable by others, so that a kill leaves no half pair in use."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / f"{name}.key", secret, 0o600)
    _write(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
