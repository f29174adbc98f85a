"""Whom a certificate is for (RFC 6120 13.7.1.2, RFC 9525; hardening T07)."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.certificates import Authority, otherName, selfSigned, xmppAddress
from xmppservice.edge.certificates import xmppAddresses
from xmppservice.edge.s2s.identity import SRV_NAME, identifies, names

AUTHORITY = Authority("names")


def certificate(*found: str | x509.GeneralName, common: str = "a.test") -> bytes:
    """One with these names; the common name is always that of the domain that must not be found by it."""
    return AUTHORITY.names(*found, common=common).der


def service(name: str) -> x509.OtherName:
    """An SRVName (RFC 4985)."""
    return otherName(SRV_NAME, name)


def address(text: str) -> x509.IPAddress:
    """An iPAddress."""
    return x509.IPAddress(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("found", "domain"),
    [
        (["a.test"], "a.test"),
        (["A.Test"], "a.test"),
        (["b.test", "a.test"], "a.test"),
        (["*.im.test"], "a.im.test"),
        (["xn--bcher-kva.test"], "b\u00fccher.test"),
        (["XN--BCHER-KVA.test"], "b\u00fccher.test"),
        ([service("_xmpp-server.a.test")], "a.test"),
        ([service("_xmpp-server.xn--bcher-kva.test")], "b\u00fccher.test"),
        ([service("_xmpp-client.b.test"), service("_XMPP-server.A.test")], "a.test"),
        ([xmppAddress("a.test")], "a.test"),
        ([xmppAddress("A.Test.")], "a.test"),
        ([xmppAddress("b\u00fccher.test")], "b\u00fccher.test"),
        ([address("192.0.2.1")], "192.0.2.1"),
        ([address("2001:db8::1")], "[2001:db8::1]"),
        (["localhost"], "localhost"),
        # What is wrong in one name does not spoil the others.
        (["*.*.test", "a .test", service("rubbish"), otherName(SRV_NAME, "x", 0x30), "a.test"], "a.test"),
    ],
)
def test_named(found: list[str | x509.GeneralName], domain: str) -> None:
    """Each kind of name that RFC 6120 13.7.1.2 knows."""
    assert identifies(certificate(*found), domain)


@pytest.mark.parametrize(
    ("found", "domain"),
    [
        ([], "a.test"),
        (["b.test"], "a.test"),
        (["a.test"], "sub.a.test"),
        (["sub.a.test"], "a.test"),
        # Wildcards: the whole left-most label, one label, below at least two others.
        (["*.a.test"], "a.test"),
        (["*.im.test"], "x.a.im.test"),
        (["*.*.test"], "x.a.test"),
        (["*"], "a.test"),
        (["*.test"], "a.test"),
        (["f*.im.test"], "foo.im.test"),
        (["*f.im.test"], "of.im.test"),
        (["a.*.test"], "a.im.test"),
        ([service("_xmpp-server.*.test")], "a.test"),
        # Another service, and names of a kind that is for something else.
        ([service("_xmpp-client.a.test")], "a.test"),
        ([service("a.test")], "a.test"),
        ([otherName(SRV_NAME, "_xmpp-server.a.test", 0x04)], "a.test"),
        ([otherName(ObjectIdentifier("1.3.6.1.5.5.7.8.3"), "a.test", 0x0C)], "a.test"),
        ([x509.RFC822Name("a.test"), x509.UniformResourceIdentifier("xmpp:a.test")], "a.test"),
        ([xmppAddress("user@a.test"), xmppAddress("a.test/resource"), xmppAddress("*.a.test")], "a.test"),
        ([xmppAddress("*.im.test")], "a.im.test"),
        # Addresses are not names, nor names addresses.
        (["192.0.2.1"], "192.0.2.1"),
        (["*.0.2.1"], "192.0.2.1"),
        ([xmppAddress("192.0.2.1")], "192.0.2.1"),
        ([address("192.0.2.2")], "192.0.2.1"),
        ([address("2001:db8::2")], "[2001:db8::1]"),
        (["1234"], "1234"),
        # White space, NUL, a final dot.
        ([" a.test"], "a.test"),
        (["a.test\0.evil.test"], "a.test"),
        (["a.test."], "a.test"),
        ([service("_xmpp-server.a.test\0.evil.test")], "a.test"),
        ([xmppAddress("a.test\0.evil.test")], "a.test"),
    ],
)
def test_notNamed(found: list[str | x509.GeneralName], domain: str) -> None:
    """Nothing else names a domain, least of all the subject."""
    assert not identifies(certificate(*found, common=domain.strip("[]")), domain)


def test_namesForPeople() -> None:
    """In the order of kinds, each once; what could forge a line of a log is left out."""
    der = certificate("a.test", "b\nc.test", "a.test", service("_xmpp-server.a.test"), xmppAddress("b\u00fccher.test"),
                      address("192.0.2.1"))  # fmt: skip
    assert names(der) == ("a.test", "_xmpp-server.a.test", "b\u00fccher.test", "192.0.2.1")


def test_manyNames() -> None:
    """Thousands of names are no trouble, the last one counts too."""
    der = certificate(*(f"h{number}.test" for number in range(3000)), "a.test")
    assert identifies(der, "a.test")
    assert len(names(der)) == 3001


def _withExtension(value: bytes, critical: bool) -> bytes:
    own = selfSigned("a.test")
    now = own.certificate.not_valid_before_utc
    builder = x509.CertificateBuilder().subject_name(own.certificate.subject).issuer_name(own.certificate.issuer)
    builder = builder.public_key(own.key.public_key()).serial_number(1).not_valid_before(now)
    builder = builder.not_valid_after(own.certificate.not_valid_after_utc)
    extension = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, value)
    return builder.add_extension(extension, critical).sign(own.key, hashes.SHA256()).public_bytes(
        serialization.Encoding.DER
    )


@given(st.binary(max_size=60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_brokenExtension(value: bytes, critical: bool) -> None:
    """Any bytes in place of subjectAltName: no name, no exception."""
    der = _withExtension(value, critical)
    assert not identifies(der, "a.test")
    assert isinstance(names(der), tuple)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damagedCertificate(data: st.DataObject) -> None:
    """A certificate with a few bytes changed never raises, and names nobody but whom it named."""
    good = bytearray(_DAMAGED)
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    assert not identifies(bytes(good), "other.test")
    names(bytes(good))


_DAMAGED = certificate("a.test", service("_xmpp-server.a.test"), xmppAddress("a.test"), address("192.0.2.1"))


def test_duplicateExtension() -> None:
    """Two subjectAltNames: which one counts is anybody's guess, so neither does."""
    der = AUTHORITY.names("a.test", "aa.test").der
    extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert extension is not None
    # The identifier of extKeyUsage (2.5.29.37) becomes that of subjectAltName (2.5.29.17).
    twice = der.replace(b"\x06\x03\x55\x1d\x25", b"\x06\x03\x55\x1d\x11")
    assert twice != der
    assert not identifies(twice, "a.test")
    assert names(twice) == ()
    assert xmppAddresses(x509.load_der_x509_certificate(twice)) == ()


def test_noCertificate() -> None:
    """Bytes that are no certificate name nobody."""
    assert not identifies(b"", "a.test")
    assert names(b"\x30\x00") == ()
