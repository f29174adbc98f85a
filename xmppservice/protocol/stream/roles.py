"""What a kind of stream offers and demands, and in which order (RFC 6120 4.3, XEP-0170).

Client-to-server: STARTTLS, then SASL, then resource binding or resumption. Each stage
offers what is next in order and nothing that would then be refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.registry import MECHANISMS
from xmppservice.wire import ns
from xmppservice.wire.element import Element

REQUIRED, OPTIONAL, ABSENT = "required", "optional", "absent"
"""Policies for STARTTLS: demanded before anything else, offered, or not to be had."""


class HostFacts(Protocol):
    """What a stream must know of the virtual host that it speaks to."""

    @property
    def name(self) -> str:
        """The domain, prepared."""

    @property
    def mechanisms(self) -> Iterable[str]:
        """SASL mechanisms that policy and the host's portal allow, in any order."""

    @property
    def tls(self) -> str:
        """REQUIRED, OPTIONAL or ABSENT."""

    def refusal(self, name: str, secure: bool) -> SASLFailure:
        """Why a mechanism that was not offered is refused (RFC 6120 6.5)."""


class StreamLimits:
    """What XEP-0478 announces; 0 leaves the value out."""

    __slots__ = ("idleSeconds", "maxBytes", "maxBytesPreAuth")

    def __init__(self, maxBytesPreAuth: int = 0, maxBytes: int = 0, idleSeconds: int = 0) -> None:
        self.maxBytesPreAuth = maxBytesPreAuth
        self.maxBytes = maxBytes
        self.idleSeconds = idleSeconds


class Role:
    """A kind of stream: its content namespace, and the features of its stages."""

    content = ns.CLIENT
    name = "c2s"

    def offeredMechanisms(
        self, host: HostFacts, secure: bool, bindings: Mapping[str, object], certificate: bool
    ) -> list[str]:
        """The mechanisms this stream can use now, in our order of preference."""
        if host.tls == REQUIRED and not secure:
            return []
        allowed = set(host.mechanisms)
        return [
            info.name
            for info in MECHANISMS.values()
            if info.name in allowed
            and (secure or not info.tls)
            and (bindings or not info.plus)
            and (certificate or not info.certificate)
        ]

    def authFeatures(
        self, host: HostFacts, secure: bool, mechanisms: list[str], bindings: Iterable[str]
    ) -> list[Element]:
        """Before authentication: STARTTLS, and mechanisms where they may be used."""
        features: list[Element] = []
        if not secure and host.tls != ABSENT:
            startTLS = Element(ns.TLS, "starttls")
            if host.tls == REQUIRED:
                startTLS.child(ns.TLS, "required")
            features.append(startTLS)
        if mechanisms:
            features.append(mechanismsFeature(mechanisms))
            if any(name.endswith("-PLUS") for name in mechanisms):
                features.append(bindingsFeature(bindings))
        return features

    def bindFeatures(self) -> list[Element]:
        """After authentication: binding, and the session of RFC 3921 for old clients' sake."""
        session = Element(ns.SESSION, "session")
        session.child(ns.SESSION, "optional")
        bind = Element(ns.BIND, "bind")
        bind.child(ns.BIND, "required")
        return [bind, session]


C2S = Role()


def mechanismsFeature(names: Iterable[str]) -> Element:
    """The ``<mechanisms/>`` feature (RFC 6120 6.4.1)."""
    feature = Element(ns.SASL, "mechanisms")
    for name in names:
        feature.child(ns.SASL, "mechanism", text=name)
    return feature


def bindingsFeature(types: Iterable[str]) -> Element:
    """The channel bindings this connection has (XEP-0440)."""
    feature = Element(ns.CHANNEL_BINDING, "sasl-channel-binding")
    for kind in types:
        feature.child(ns.CHANNEL_BINDING, "channel-binding", {"type": kind})
    return feature


def limitsFeature(maxBytes: int, idleSeconds: int = 0) -> list[Element]:
    """The ``<limits/>`` feature (XEP-0478), if there is anything to say."""
    feature = Element(ns.LIMITS, "limits")
    if maxBytes:
        feature.child(ns.LIMITS, "max-bytes", text=str(maxBytes))
    if idleSeconds:
        feature.child(ns.LIMITS, "idle-seconds", text=str(idleSeconds))
    return [feature] if feature.children else []
