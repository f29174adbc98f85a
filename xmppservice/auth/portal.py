"""Portals, and what can be offered to a client through them (RFC 6120 section 6.3.3, 6.4.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import LoginFailed
from twisted.cred.portal import IRealm, Portal
from zope.interface import Interface

import xmppservice.auth.credentials  # noqa: F401  the declarations are what is wanted
from xmppservice.auth.checkers import FirstOf
from xmppservice.auth.stock import StockChecker
from xmppservice.hub.contracts.auth import LoginRefused
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import AnonymousCredentials, ClientCertificate
from xmppservice.protocol.sasl.mechanism import Bindings
from xmppservice.protocol.sasl.registry import MECHANISMS, MechanismInfo

#: What a virtual host permits unless its configuration says otherwise.
DEFAULT_POLICY = frozenset(MECHANISMS) - {"ANONYMOUS"}


def portalFor(
    realm: IRealm, checkers: Iterable[ICredentialsChecker], stock: Iterable[ICredentialsChecker] = ()
) -> Portal:
    """Build the portal of one virtual host out of our own checkers and `stock` ones, as `--auth` makes them.

    Several checkers for one interface are asked in their order, the stock ones first; Cred by itself would
    keep the last only.
    """
    byInterface: dict[type[Interface], list[ICredentialsChecker]] = {}
    for checker in (*map(StockChecker, stock), *checkers):
        for interface in checker.credentialInterfaces:
            byInterface.setdefault(interface, []).append(checker)
    portal = Portal(realm)
    for interface, several in byInterface.items():
        portal.registerChecker(several[0] if len(several) == 1 else FirstOf(several, interface), interface)
    return portal


def allowed(portal: Portal, policy: Collection[str] = DEFAULT_POLICY) -> frozenset[str]:
    """Return the mechanisms that `policy` permits and the portal has a checker for, whatever the connection."""
    return frozenset(name for name, info in MECHANISMS.items() if name in policy and _checkable(info, portal))


def offered(
    portal: Portal,
    tls: bool,
    bindings: Bindings,
    policy: Collection[str] = DEFAULT_POLICY,
    certificate: ClientCertificate | None = None,
) -> list[str]:
    """Return the mechanisms to list in the features, strongest first.

    That is: what `policy` permits, the state of the connection allows, and the portal has a checker for.
    """
    names = allowed(portal, policy)
    return [
        name for name, info in MECHANISMS.items() if name in names and _possible(info, tls, bindings, certificate)
    ]


def refusal(name: str, portal: Portal, tls: bool, policy: Collection[str] = DEFAULT_POLICY) -> SASLFailure:
    """Say why a mechanism that was not offered cannot be used (RFC 6120 6.5.4, 6.5.7, 6.5.9)."""
    info = MECHANISMS.get(name)
    if info is None or not _checkable(info, portal) or info.certificate:
        return SASLFailure("invalid-mechanism")
    if name not in policy:
        return SASLFailure("mechanism-too-weak" if _weaker(info, allowed(portal, policy)) else "invalid-mechanism")
    if info.tls and not tls:
        return SASLFailure("encryption-required")
    return SASLFailure("invalid-mechanism")


def failureFor(error: BaseException) -> SASLFailure:
    """Translate what a login failed with. What is not a refusal is our own trouble, to be logged by the caller."""
    if isinstance(error, SASLFailure):
        return error
    if isinstance(error, LoginRefused):
        return SASLFailure(error.condition, error.text)
    if isinstance(error, LoginFailed):
        return SASLFailure("not-authorized")
    return SASLFailure("temporary-auth-failure")


def _checkable(info: MechanismInfo, portal: Portal) -> bool:
    """Say whether a checker takes what the mechanism yields."""
    return any(interface.implementedBy(info.credentials) for interface in portal.listCredentialsInterfaces())


def _weaker(info: MechanismInfo, permitted: Collection[str]) -> bool:
    """Say whether a mechanism that is off proves less than one that is on, so that policy is about strength."""
    # To be a guest is not a weaker proof but another thing; where it is off it does not exist.
    if info.credentials is AnonymousCredentials:
        return False
    ranks = list(MECHANISMS)
    return any(ranks.index(name) < ranks.index(info.name) for name in permitted)


def _possible(info: MechanismInfo, tls: bool, bindings: Bindings, certificate: ClientCertificate | None) -> bool:
    if info.tls and not tls:
        return False
    if info.plus and not bindings:
        return False
    return certificate is not None or not info.certificate
