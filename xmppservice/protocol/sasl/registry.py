"""All mechanisms of this server, strongest first (RFC 6120 section 6.3.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.anonymous import Anonymous
from xmppservice.protocol.sasl.credentials import (
    SCRAM_HASHES,
    AnonymousCredentials,
    CertificateCredentials,
    PlainCredentials,
    ScramCredentials,
)
from xmppservice.protocol.sasl.external import External
from xmppservice.protocol.sasl.mechanism import Mechanism, SASLContext
from xmppservice.protocol.sasl.plain import Plain
from xmppservice.protocol.sasl.scram import Scram


class MechanismInfo:
    """What must be known of a mechanism to offer it.

    `credentials` is the class it yields (a portal must have a checker for it); `tls` says that it is
    only for encrypted streams, `plus` that it needs a channel binding, `certificate` a client certificate.
    """

    __slots__ = ("certificate", "credentials", "make", "name", "plus", "tls")

    def __init__(
        self,
        name: str,
        credentials: type,
        make: Callable[[str, SASLContext], Mechanism],
        tls: bool = False,
        plus: bool = False,
        certificate: bool = False,
    ) -> None:
        self.name = name
        self.credentials = credentials
        self.make = make
        self.tls = tls
        self.plus = plus
        self.certificate = certificate


def _scram(family: str, plus: bool) -> MechanismInfo:
    size = hashlib.new(SCRAM_HASHES[family]).digest_size

    def make(name: str, context: SASLContext) -> Mechanism:
        return Scram(name, context, size)

    return MechanismInfo(family + "-PLUS" * plus, ScramCredentials, make, tls=plus, plus=plus)


_FAMILIES = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")

#: Name → MechanismInfo, in our order of preference.
MECHANISMS: dict[str, MechanismInfo] = {
    info.name: info
    for info in (
        MechanismInfo("EXTERNAL", CertificateCredentials, External, tls=True, certificate=True),
        *(_scram(family, True) for family in _FAMILIES),
        *(_scram(family, False) for family in _FAMILIES),
        MechanismInfo("PLAIN", PlainCredentials, Plain, tls=True),
        MechanismInfo("ANONYMOUS", AnonymousCredentials, Anonymous),
    )
}


def mechanismFor(name: str, context: SASLContext) -> Mechanism:
    """Start an exchange. Look in the list that was offered first; this only knows what exists at all."""
    info = MECHANISMS.get(name)
    if info is None or (info.plus and not context.bindings):
        raise SASLFailure("invalid-mechanism")
    if info.tls and not context.tls:
        raise SASLFailure("encryption-required")
    return info.make(name, context)
