"""What ``xmppctl check --dns`` says: whether other servers find us by the DNS."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from xmppservice.ctl.endpoints import portOf
from xmppservice.ctl.findings import ERROR, OK, WARNING, Finding
from xmppservice.ctl.lookups import BlockingNames
from xmppservice.edge.s2s.nameservers import ConfiguredServers, SystemServers
from xmppservice.edge.s2s.questions import AAAA, A, Answer, INames, LookupFailed
from xmppservice.edge.s2s.targets import Finder, NoAnswer, NoService, Target, isAddress
from xmppservice.settings import Settings

_Found = TypeVar("_Found")

_KEYS: Final = {False: "listen.s2s", True: "listen.s2s_tls"}
_RECORDS: Final = {False: "_xmpp-server._tcp", True: "_xmpps-server._tcp"}


def whereabouts(settings: Settings, names: INames | None = None) -> Iterator[Finding]:
    """Where the DNS says that our hosts are, and whether we listen there. Other domains are not asked for."""
    if not settings.federates:
        yield Finding(OK, "dns: not asked, as this server talks to no other")
        return
    if names is None:
        try:
            servers = ConfiguredServers(settings.s2s.resolver) if settings.s2s.resolver else SystemServers()
        except ValueError as error:
            yield Finding(ERROR, f"dns: {error}", "mend s2s.resolver")
            return
        names = BlockingNames(servers)
    # Always the same order: nobody is connected to.
    finder = Finder(names, random=lambda count: 0)
    ports = {direct: _ports(settings, direct) for direct in (False, True)}
    for domain in (*settings.hosts, *settings.ports):
        yield from _host(finder, names, domain, ports, domain in settings.hosts)


def _ports(settings: Settings, direct: bool) -> set[int]:
    endpoints = settings.listen.s2sTls if direct else settings.listen.s2s
    return {port for port in map(portOf, endpoints) if port is not None}


def _host(
    finder: Finder, names: INames, domain: str, ports: Mapping[bool, set[int]], needed: bool
) -> Iterator[Finding]:
    """Where one domain is; unless it is `needed`, as a component's is not, nobody has to find it."""
    try:
        targets = _result(finder.targets(domain))
    except NoService as error:
        if not needed:
            yield Finding(OK, f"dns: {domain} is for users of this server alone: {error}")
            return
        mend = f"publish {_RECORDS[False]}.{domain}. SRV 0 0 5269 <this machine's name>., or an address of {domain}"
        yield Finding(ERROR, f"dns: other servers cannot find {domain}: {error}", mend)
        return
    except NoAnswer as error:
        mend = "look at the name servers of this machine (s2s.resolver), or try again later"
        yield Finding(WARNING, f"dns: {error}", mend)
        return
    for target in targets:
        yield _target(names, domain, target, ports)


def _target(names: INames, domain: str, target: Target, ports: Mapping[bool, set[int]]) -> Finding:
    """Whether one place where others will look for a host is ours."""
    where = f"dns: {domain} is at {target}"
    addresses, problem = _addresses(names, target.host)
    if not addresses:
        mend = f"publish an A or AAAA record of {target.host}"
        return Finding(ERROR, f"{where}, which has no address{problem}", mend)
    foreign = [address for address in addresses if not isHere(address)]
    shown = ", ".join(foreign or addresses)
    if target.port not in ports[target.direct]:
        key, other = _KEYS[target.direct], _KEYS[not target.direct]
        mend = f'add "tcp:{target.port}" to {key}, or mend the SRV record'
        if target.port in ports[not target.direct]:
            mend = f"this port is in {other}: publish it with {_RECORDS[not target.direct]} instead"
        elif foreign:
            mend = f"fine if {shown} forwards it to a port of {key}; else {mend}"
        return Finding(WARNING if foreign else ERROR, f"{where}, but no {key} here has this port", mend)
    if foreign:
        mend = "fine if that machine forwards the port to this one; else mend the record"
        return Finding(WARNING, f"{where}, and {shown} is no address of this machine", mend)
    return Finding(OK, f"{where}: {shown}, which is here")


def _addresses(names: INames, host: str) -> tuple[list[str], str]:
    """The addresses of a name, and why there may be more."""
    if isAddress(host):
        return [host], ""
    found: list[str] = []
    problem = ""
    for kind, family in ((AAAA, socket.AF_INET6), (A, socket.AF_INET)):
        try:
            answer: Answer = _result(names.ask(host, kind))
        except LookupFailed as error:
            problem = f": {error}"
            continue
        found += [socket.inet_ntop(family, record.address) for record in answer.records]
    return found, problem


def isHere(address: str) -> bool:
    """Whether an address is one of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _result(answer: Deferred[_Found]) -> _Found:
    """What a Deferred that has fired already has; raises its failure."""
    outcome: list[_Found | Failure] = []
    answer.addBoth(outcome.append)
    found = outcome[0]
    if isinstance(found, Failure):
        found.raiseException()
    assert not isinstance(found, Failure)
    return found
