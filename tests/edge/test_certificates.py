"""Certificate files and development certificates."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given
from hypothesis import strategies as st

from xmppservice.edge.certificates import (
    CertificateProblem,
    _decodeUTF8String,
    encodeXMPPAddress,
    loadPair,
    makeDevelopmentCertificate,
    readCertificates,
    readKey,
    xmppAddresses,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with development certificates."""
    makeDevelopmentCertificate(tmp_path, ["localhost", "example.com"])
    return tmp_path


def test_files(folder: Path) -> None:
    """Keys are ours alone; certificates name the host in every way; the authority signs."""
    for name in ("ca", "localhost", "example.com"):
        assert stat.S_IMODE((folder / f"{name}.key").stat().st_mode) == 0o600
    pair = loadPair(folder, "localhost")
    names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert xmppAddresses(pair.certificate) == ("localhost",)
    authority = readCertificates(folder / "ca.crt")[0]
    pair.certificate.verify_directly_issued_by(authority)
    assert pair.covers("localhost")
    assert not pair.covers("example.com")
    assert pair.expires > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365)
    assert "key=" not in repr(pair)


def test_keptOnSecondStart(folder: Path) -> None:
    """A second start changes nothing, and a new host gets the same authority."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    makeDevelopmentCertificate(folder, ["localhost", "example.com", "third.test"])
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    loadPair(folder, "third.test").certificate.verify_directly_issued_by(readCertificates(folder / "ca.crt")[0])


def test_addressesAsHosts(tmp_path: Path) -> None:
    """A host may be an IP address."""
    makeDevelopmentCertificate(tmp_path, ["127.0.0.1"])
    names = loadPair(tmp_path, "127.0.0.1").certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(address) for address in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_worldReadableKey(folder: Path) -> None:
    """Refused, with how to mend it."""
    (folder / "localhost.key").chmod(0o644)
    with pytest.raises(CertificateProblem, match="chmod"):
        loadPair(folder, "localhost")
    (folder / "localhost.key").chmod(0o640)
    loadPair(folder, "localhost")


def test_badFiles(folder: Path) -> None:
    """Each kind of bad file is named."""
    with pytest.raises(CertificateProblem, match="nobody"):
        loadPair(folder, "nobody")
    (folder / "localhost.crt").write_bytes(b"garbage")
    with pytest.raises(CertificateProblem, match="no certificate"):
        loadPair(folder, "localhost")
    (folder / "example.com.key").write_bytes(b"garbage")
    with pytest.raises(CertificateProblem, match="private key"):
        loadPair(folder, "example.com")


def test_swappedFiles(folder: Path) -> None:
    """A key of another certificate."""
    (folder / "localhost.key").write_bytes((folder / "example.com.key").read_bytes())
    with pytest.raises(CertificateProblem, match="not the key"):
        loadPair(folder, "localhost")


def test_uselessKey(tmp_path: Path) -> None:
    """Keys that cannot sign, and encrypted ones."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path / "x.key"
    path.touch(0o600)
    path.write_bytes(x25519.X25519PrivateKey.generate().private_bytes(encoding, form, serialization.NoEncryption()))
    with pytest.raises(CertificateProblem, match="kind"):
        readKey(path)
    secret = serialization.BestAvailableEncryption(b"x")
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(encoding, form, secret))
    with pytest.raises(CertificateProblem, match="unencrypted"):
        readKey(path)


@given(st.text(min_size=1, max_size=400).filter(lambda text: "\0" not in text))
def test_addressesRoundTrip(address: str) -> None:
    """What is written into a certificate is read from it."""
    try:
        address.encode()
    except UnicodeEncodeError:
        return
    assert _decodeUTF8String(encodeXMPPAddress(address).value) == address


@pytest.mark.parametrize(
    "der",
    [b"", b"\x0c", b"\x0c\x00", b"\x0c\x05abc", b"\x16\x03abc", b"\x0c\x03a\0b", b"\x0c\x01\xff", b"\x0c\x82\x01",
     b"\x0c\x03abcd"],
)  # fmt: skip
def test_badAddresses(der: bytes) -> None:
    """Hardening T07: anything but one whole UTF8String names nobody."""
    assert _decodeUTF8String(der) == ""
