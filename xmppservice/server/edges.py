"""What the edge gets out of the configuration: limits and policy of streams, and certificates."""

from __future__ import annotations

import os
from dataclasses import replace

import attrs

from xmppservice.edge.certificates import CertificateProblem, makeDevelopmentCertificate
from xmppservice.edge.memory import automaticMarks
from xmppservice.edge.rates import Exemptions, Rates
from xmppservice.edge.s2s.nameservers import ConfiguredServers
from xmppservice.edge.s2s.networks import Network, parseNetworks
from xmppservice.edge.s2s.targets import Target
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.hub.options import size
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.protocol.stream.s2s import Policy
from xmppservice.settings import Settings, complaint
from xmppservice.wire.limits import Limits

COMPONENT_QUEUE = 16
"""How many times as much may wait for a component as for a client."""

COMPONENT_LAST = 15.0
"""Seconds that a component has to read what is in the kernel when its stream ends: an abort would throw that away, and
its senders were told that it is on its way."""

SERVER_QUEUE = 16
"""How many times as much may wait for another server."""


def streamSettings(settings: Settings) -> StreamSettings:
    """What the edge needs of the configuration; raises `SettingsError` for what only the edge understands."""
    limits = settings.limits
    memory, addressSpace = _marks(settings)
    return StreamSettings(
        enabled=limits.enabled,
        tls=settings.tls.policy,
        preAuth=Limits(
            stanzaBytes=limits.preAuthBytes, elements=limits.preAuthElements, depth=min(16, limits.depth),
            attributes=min(32, limits.attributes), token=limits.preAuthBytes, totalBytes=limits.preAuthTotal,
            declarations=32,
        ),
        authenticated=Limits(
            stanzaBytes=limits.stanzaBytes, elements=limits.stanzaElements, depth=limits.depth,
            attributes=limits.attributes, token=limits.tokenBytes,
        ),
        authenticationDeadline=limits.authTime,
        tries=settings.auth.tries,
        silence=limits.silence,
        silenceAnswer=limits.pingTime,
        outgoing=limits.queue,
        perAddress=limits.perAddress,
        unauthenticated=limits.unauthenticated,
        streamRates=Rates(
            limits.streamBytes, limits.streamBytesBurst, limits.streamStanzas, limits.streamStanzasBurst,
            limits.streamDeliveries, limits.streamDeliveriesBurst,
        ),
        addressRates=Rates(
            limits.addressBytes, limits.addressBytesBurst, limits.addressStanzas, limits.addressStanzasBurst,
            limits.addressDeliveries, limits.addressDeliveriesBurst,
        ),
        exempt=_exemptions(settings),
        memory=memory,
        addressSpace=addressSpace,
        mechanisms=frozenset(settings.mechanisms),
    )  # fmt: skip


def componentSettings(common: StreamSettings) -> StreamSettings:
    """Those of clients, for components: trusted, once they have proved themselves, and each of them many users."""
    return attrs.evolve(
        common,
        tls="absent",
        authenticated=replace(common.authenticated, stanzaBytes=2 * common.authenticated.stanzaBytes),
        outgoing=COMPONENT_QUEUE * common.outgoing,
        errorDeadline=COMPONENT_LAST,
        memory=0,
        addressSpace=0,
    )


def serverSettings(common: StreamSettings, settings: Settings) -> StreamSettings:
    """Those of clients, for other servers: each of them many users."""
    s2s = settings.s2s
    stream = attrs.evolve(
        common.streamRates, bytes=s2s.streamBytes, bytesBurst=16 * s2s.streamBytes, stanzas=s2s.streamStanzas,
        stanzasBurst=20 * s2s.streamStanzas,
    )  # fmt: skip
    return attrs.evolve(
        common,
        tls=s2s.tls,
        authenticated=replace(common.authenticated, stanzaBytes=s2s.stanzaBytes),
        outgoing=SERVER_QUEUE * common.outgoing,
        perAddress=s2s.perAddress,
        streamRates=stream,
        addressRates=attrs.evolve(
            stream, bytes=4 * stream.bytes, bytesBurst=4 * stream.bytesBurst, stanzas=4 * stream.stanzas,
            stanzasBurst=4 * stream.stanzasBurst,
        ),
        memory=0,
        addressSpace=0,
    )


def federationPolicy(settings: Settings) -> FederationPolicy:
    """With whom we federate, and within which bounds; raises `SettingsError`."""
    s2s = settings.s2s
    for key in ("allow", "deny"):
        for name in getattr(s2s, key):
            _domain(settings, ("s2s", key), name.removeprefix("*."))
    return FederationPolicy(
        certificates=s2s.authentication == "certificates",
        allow=s2s.allow, deny=s2s.deny, queueTime=s2s.queueTime, queueStanzas=s2s.queueStanzas,
        queueBytes=s2s.queueBytes, resumption=int(s2s.resumption),
    )  # fmt: skip


def streamPolicy(settings: Settings) -> Policy:
    """What we ask of streams between servers."""
    s2s = settings.s2s
    return Policy(s2s.tls, s2s.authentication == "dialback", s2s.bidi, s2s.management, s2s.stanzaBytes)


def overrides(settings: Settings) -> dict[str, list[Target]]:
    """Where the servers of some domains are, past DNS; raises `SettingsError`."""
    found: dict[str, list[Target]] = {}
    path = ("s2s", "overrides")
    for text in settings.s2s.overrides:
        domain, _, place = (part.strip() for part in text.partition("="))
        direct, place = place.startswith("direct "), place.removeprefix("direct ").strip()
        host, colon, port = place.rpartition(":")
        if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            problem = f'{text!r} is not of the form "example.org = 192.0.2.1:5269"'
            raise complaint(settings, path, problem)
        target = Target(host.strip("[]"), int(port), direct)
        found.setdefault(_domain(settings, path, domain), []).append(target)
    return found


def refusedNetworks(settings: Settings) -> tuple[Network, ...]:
    """What is never connected to; raises `SettingsError`."""
    try:
        return parseNetworks(settings.s2s.refused)
    except ValueError as error:
        raise complaint(settings, ("s2s", "refused"), str(error)) from None


def resolverAddresses(settings: Settings) -> tuple[str, ...]:
    """The name servers to ask; raises `SettingsError` for what is no address."""
    try:
        ConfiguredServers(settings.s2s.resolver)
    except ValueError as error:
        raise complaint(settings, ("s2s", "resolver"), str(error)) from None
    return settings.s2s.resolver


def _domain(settings: Settings, path: tuple[str, ...], name: str) -> str:
    try:
        return prepareDomain(name)
    except InvalidJID as error:
        raise complaint(settings, path, f"{name!r} is no domain: {error}") from None


def _marks(settings: Settings) -> tuple[int, int]:
    """The high-water marks of memory and address space."""
    text = settings.limits.memory
    if text == "auto":
        return automaticMarks()
    try:
        return size(text), 0
    except ValueError:
        problem = f'must be "auto", "0" or a size such as "2 GiB", not "{text}"'
        raise complaint(settings, ("limits", "memory"), problem) from None


def _exemptions(settings: Settings) -> Exemptions:
    try:
        return Exemptions(settings.limits.exempt)
    except ValueError as error:
        problem = f'must be addresses or networks such as "192.0.2.0/24": {error}'
        raise complaint(settings, ("limits", "exempt"), problem) from None


def makeTLS(settings: Settings) -> TLSProvider | None:
    """The certificates of all hosts, or None if there are none and none are needed.

    Where the settings allow, those missing are made. Raises `SettingsError` for a host that must have one
    and has not, and for one that cannot be used.
    """
    folder, authorities = settings.tls.certificates, settings.tls.clientCertificates or None
    try:
        hosts = _certified(settings)
        if authorities is not None and not os.path.isfile(authorities):
            raise complaint(settings, ("tls", "client_certificates"), f"{authorities} is no file")
        return TLSProvider(folder, hosts, authorities is not None, authorities) if hosts else None
    except (CertificateProblem, OSError) as error:
        raise complaint(settings, ("tls", "certificates"), str(error)) from None


def _certified(settings: Settings) -> list[str]:
    """The hosts that have a certificate."""
    folder = settings.tls.certificates
    missing = [
        host
        for host in settings.hosts
        if not all(os.path.exists(os.path.join(folder, f"{host}.{end}")) for end in ("crt", "key"))
    ]
    if missing and settings.tls.developmentCertificates:
        makeDevelopmentCertificate(folder, missing)
        missing = []
    if missing and settings.tls.policy == "required":
        host = missing[0]
        problem = (
            f"{folder} has no {host}.crt and {host}.key; mend it: put them there, or set "
            "tls.development_certificates = true to have one made"
        )
        raise complaint(settings, ("tls", "certificates"), problem)
    return [host for host in settings.hosts if host not in missing]
