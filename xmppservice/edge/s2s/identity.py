"""Whom a certificate is for: RFC 9525 and RFC 6120 13.7.1.2, out of subjectAltName and nothing else (hardening T07).

A domain is named by a dNSName (also with ``*`` as the whole left-most label), by the SRVName
``_xmpp-server.<domain>`` (RFC 4985), by an id-on-xmppAddr, or, if it is an address, by an iPAddress.
Certificates come from strangers: what cannot be read names nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ObjectIdentifier
from service_identity import CertificateError
from service_identity.hazmat import DNS_ID, SRV_ID, DNSPattern, SRVPattern

from xmppservice.edge.certificates import MALFORMED, xmppAddresses
from xmppservice.protocol.jid import asciiDomain, prepareDomain

SRV_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.7")
"""id-on-dnsSRV (RFC 4985)."""

SERVICE = "_xmpp-server."

# service_identity forgives white space around a name; nobody issues such a certificate in good faith.
_DNS_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_SHOWN = re.compile(r"[\w.*@:-]{1,100}")


def identifies(der: bytes, domain: str) -> bool:
    """Whether a certificate is for a prepared domain. Never raises."""
    certificate, alternative = _read(der)
    if certificate is None or alternative is None:
        return False
    address = _address(domain)
    if address is not None:
        return address in alternative.get_values_for_type(x509.IPAddress)
    return domain in map(_prepared, xmppAddresses(certificate)) or _isNamed(alternative, asciiDomain(domain))


def names(der: bytes) -> tuple[str, ...]:
    """The names of a certificate as text for people, without those that are not fit to be shown."""
    certificate, alternative = _read(der)
    if certificate is None or alternative is None:
        return ()
    found = [
        *alternative.get_values_for_type(x509.DNSName),
        *_services(alternative),
        *xmppAddresses(certificate),
        *map(str, alternative.get_values_for_type(x509.IPAddress)),
    ]
    return tuple(dict.fromkeys(name for name in found if _SHOWN.fullmatch(name)))


def _read(der: bytes) -> tuple[x509.Certificate | None, x509.SubjectAlternativeName | None]:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate, certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *MALFORMED):
        return None, None


def _address(domain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(domain[1:-1] if domain.startswith("[") else domain)
    except ValueError:
        return None


def _prepared(address: str) -> str:
    """An XmppAddr that is a domain, in its normal form; "" for other addresses."""
    try:
        return "" if "@" in address or "/" in address else prepareDomain(address)
    except ValueError:
        return ""


def _isNamed(alternative: x509.SubjectAlternativeName, domain: str) -> bool:
    """Whether a dNSName or SRVName is for a domain in A-labels."""
    try:
        host, service = DNS_ID(domain), SRV_ID(SERVICE + domain)
    except ValueError:
        # No name that the DNS could have, such as "1234".
        return False
    return any(
        host.verify(pattern) for pattern in _patterns(DNSPattern, alternative.get_values_for_type(x509.DNSName))
    ) or any(service.verify(pattern) for pattern in _patterns(SRVPattern, _services(alternative)))


def _patterns(kind: type[DNSPattern] | type[SRVPattern], found: Iterable[str]) -> Iterator[DNSPattern | SRVPattern]:
    for name in found:
        if _DNS_NAME.fullmatch(name):
            try:
                yield kind.from_bytes(name.encode("ascii"))
            except CertificateError:
                # One bad name says nothing about the others.
                continue


def _services(alternative: x509.SubjectAlternativeName) -> Iterator[str]:
    for other in alternative.get_values_for_type(x509.OtherName):
        if other.type_id == SRV_NAME:
            try:
                yield asn1.decode_der(asn1.IA5String, other.value).as_str()
            except ValueError:
                continue
