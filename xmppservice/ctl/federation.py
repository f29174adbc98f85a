"""What ``xmppctl check`` says about the part of other servers that can be judged on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from xmppservice.ctl.findings import ERROR, OK, WARNING, Finding
from xmppservice.edge.certificates import CertificateProblem, loadPair
from xmppservice.edge.s2s.identity import identifies
from xmppservice.edge.tls import TrustStore
from xmppservice.server.edges import federationPolicy, overrides, refusedNetworks, resolverAddresses
from xmppservice.settings import S2S, Settings, SettingsError


def federationFindings(settings: Settings) -> Iterator[Finding]:
    """Whether other servers can be judged, and whether they will accept our certificates."""
    if not settings.federates:
        if settings.s2s != S2S():
            what = "federation: there are settings in [s2s], but the server talks to no other one"
            yield Finding(WARNING, what, 'set listen.s2s = ["tcp:5269"], or take the section away')
        return
    for read in (federationPolicy, overrides, refusedNetworks, resolverAddresses):
        try:
            read(settings)
        except SettingsError as error:
            yield Finding(ERROR, f"federation: {error}", "mend the configuration; a start would refuse it")
    authorities = settings.s2s.authorities
    try:
        trust = TrustStore(Path(authorities) if authorities else None)
    except CertificateProblem as error:
        yield Finding(ERROR, f"federation: {error}", "mend s2s.authorities")
        return
    for domain in settings.hosts:
        yield from _certificate(settings, trust, domain)
    if settings.s2s.posh and find_spec("treq") is None:
        mend = "pip install xmppservice[posh], or set s2s.posh = false"
        yield Finding(ERROR, "federation: s2s.posh needs treq", mend)
    if settings.s2s.dane and not settings.s2s.resolver:
        mend = "run a resolver that checks DNSSEC on this machine, and set s2s.resolver to it"
        yield Finding(WARNING, "federation: s2s.dane does nothing with the resolvers of the system", mend)


def _certificate(settings: Settings, trust: TrustStore, domain: str) -> Iterator[Finding]:
    """What another server says of a host's certificate, if it trusts whom we trust."""
    try:
        pair = loadPair(Path(settings.tls.certificates), domain)
    except CertificateProblem:
        # Said already, where all certificates are looked at.
        return
    chain = [link.public_bytes(Encoding.DER) for link in (pair.certificate, *pair.chain)]
    problem = trust.verify(chain)
    if problem:
        what = f"federation: other servers will hardly accept the certificate of {domain}: {problem}"
        mend = f"get one from an authority that they trust, and put the whole chain into {domain}.crt"
        yield Finding(WARNING, what, mend)
    elif not identifies(chain[0], domain):
        what = f"federation: other servers will not accept the certificate of {domain}: it is for other names"
        yield Finding(ERROR, what, f"get one with {domain} as a dNSName")
    else:
        yield Finding(OK, f"federation: the certificate of {domain} is good for other servers")
        for name in settings.ports:
            if _homeOf(settings, name) == domain and not identifies(chain[0], name):
                what = f"the certificate of {domain} is not for {name}, which other servers want to see there"
                mend = f"get one for both names, unless {name} is for users of this server alone"
                yield Finding(WARNING, f"federation: {what}", mend)


def _homeOf(settings: Settings, name: str) -> str:
    """The host whose certificate stands for a component: the one above it, else the first (see `Router.homeOf`)."""
    parent = name
    while parent:
        if parent in settings.hosts:
            return parent
        parent = parent.partition(".")[2]
    return next(iter(settings.hosts))
