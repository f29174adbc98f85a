"""``xmppctl check``: everything that can be judged without starting the server, and how to mend what is wrong."""

from __future__ import annotations

import datetime
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from xmppservice.ctl.client import Client, NotRunning
from xmppservice.ctl.endpoints import TCP
from xmppservice.ctl.federation import federationFindings
from xmppservice.ctl.findings import ERROR, OK, WARNING, Finding
from xmppservice.ctl.versions import libraryFindings
from xmppservice.ctl.whereabouts import whereabouts
from xmppservice.edge.certificates import CertificateProblem, KeyPair, loadPair
from xmppservice.hub.commands import CommandError, Result
from xmppservice.hub.options import describeOptions
from xmppservice.server.edges import streamSettings
from xmppservice.server.ports import listeners, readSecrets
from xmppservice.server.rights import readRights
from xmppservice.settings import Listen, Settings, SettingsError

_SOON = datetime.timedelta(days=21)
#: Bytes below which a memory mark makes no sense: without clients the server has some 75 MiB.
_ALONE = 100 << 20


def check(settings: Settings, now: datetime.datetime | None = None, lookUp: bool = False) -> Result:
    """Check everything; the result has failed if there is an error. Only with `lookUp` the DNS is asked."""
    running = isRunning(settings)
    findings = [
        *_configuration(settings),
        *_components(settings),
        *_certificates(settings, now or datetime.datetime.now(datetime.UTC)),
        *federationFindings(settings),
        *(whereabouts(settings) if lookUp else ()),
        *_permissions(settings),
        *_ports(settings, running),
        *libraryFindings(),
    ]
    rows = [(finding.level, finding.what, finding.mend) for finding in findings]
    errors = sum(finding.level == ERROR for finding in findings)
    warnings = sum(finding.level == WARNING for finding in findings)
    text = f"{errors} error{_s(errors)}, {warnings} warning{_s(warnings)}."
    return Result(text, ("result", "what", "how to mend it"), rows, errors > 0)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def isRunning(settings: Settings) -> bool:
    """Whether a server answers on the control socket."""
    try:
        Client(settings.controlSocket).close()
    except NotRunning:
        return False
    except CommandError:
        return True
    return True


def _configuration(settings: Settings) -> Iterator[Finding]:
    source = settings.files[0] if settings.files else f"development server in {settings.folder}"
    hosts = ", ".join(settings.hosts)
    yield Finding(OK, f"configuration: {source}, hosts {hosts}")
    for warning in settings.warnings:
        yield Finding(WARNING, f"configuration: {warning}")
    if settings.tls.policy == "optional":
        mend = 'set tls.policy = "required" unless the network is trusted'
        yield Finding(WARNING, "configuration: clients may log in without TLS", mend)
    yield from _limits(settings)
    if not settings.limits.enabled:
        yield Finding(WARNING, "configuration: limits are off", "set limits.enabled = true unless this is a test bed")


def _limits(settings: Settings) -> Iterator[Finding]:
    """What only the edge understands, and a memory mark that no server can keep."""
    try:
        mark = streamSettings(settings).memory
    except SettingsError as error:
        yield Finding(ERROR, f"configuration: {error}", "mend it; the server does not start with it")
        return
    if 0 < mark < _ALONE:
        what = f"limits.memory = {mark >> 20} MiB is hardly more than a server without clients takes"
        yield Finding(WARNING, f"configuration: {what}; all may be refused", "set it higher, or to auto")


def _components(settings: Settings) -> Iterator[Finding]:
    """Ports that can be served, each with a good secret (XEP-0114)."""
    try:
        names = readSecrets(settings)
        readRights(settings)
    except SettingsError as error:
        yield Finding(ERROR, f"components: {error}", "mend it; the server does not start with it")
        return
    if names:
        yield Finding(OK, f"components: {', '.join(names)} expected at {', '.join(listeners(settings))}")


def _certificates(settings: Settings, now: datetime.datetime) -> Iterator[Finding]:
    folder = settings.tls.certificates
    for domain in settings.hosts:
        present = [os.path.exists(os.path.join(folder, f"{domain}.{end}")) for end in ("crt", "key")]
        if not any(present) and settings.tls.developmentCertificates:
            yield Finding(OK, f"certificate: {domain} gets a development certificate at the first start")
            continue
        try:
            pair = loadPair(Path(folder), domain)
        except CertificateProblem as error:
            mend = f"put {domain}.crt (with its chain) and {domain}.key, mode 600, into {folder}"
            yield Finding(ERROR, f"certificate: {error}", mend)
            continue
        yield judgePair(pair, domain, now)
    authorities = settings.tls.clientCertificates
    if authorities and not os.path.isfile(authorities):
        yield Finding(ERROR, f"certificate: {authorities} is missing", "mend tls.client_certificates")


def judgePair(pair: KeyPair, domain: str, now: datetime.datetime) -> Finding:
    """Name and dates of a certificate that could be read."""
    renew = "renew it, then run xmppctl reload"
    if not pair.covers(domain):
        return Finding(ERROR, f"certificate: that of {domain} does not name {domain}", "get one for this name")
    if pair.certificate.not_valid_before_utc > now:
        return Finding(ERROR, f"certificate: that of {domain} is not valid yet", "set the clock, or wait")
    if pair.expires <= now:
        return Finding(ERROR, f"certificate: that of {domain} expired on {pair.expires:%Y-%m-%d}", renew)
    if pair.expires - now < _SOON:
        return Finding(WARNING, f"certificate: that of {domain} expires on {pair.expires:%Y-%m-%d}", renew)
    return Finding(OK, f"certificate: {domain}, valid until {pair.expires:%Y-%m-%d}")


def _permissions(settings: Settings) -> Iterator[Finding]:
    found = []
    data = settings.data
    if not os.path.isdir(data):
        found.append(_futureFolder(data))
    else:
        mode = os.stat(data).st_mode
        if mode & stat.S_IWOTH:
            found.append(Finding(ERROR, f"permissions: everyone may write into {data}", f"chmod 700 {data}"))
        elif mode & stat.S_IROTH and mode & stat.S_IXOTH:
            found += _exposed(data)
        found += _foreign(data)
    for name in (f for f in settings.files if os.stat(f).st_mode & stat.S_IWOTH):
        found.append(Finding(ERROR, f"permissions: everyone may write to {name}", f"chmod 640 {name}"))
    yield from found or [Finding(OK, f"permissions: {data} and the configuration")]


def _futureFolder(data: str) -> Finding:
    parent = os.path.dirname(data)
    while parent != os.path.dirname(parent) and not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    if os.access(parent, os.W_OK):
        return Finding(OK, f"permissions: {data} will be made at the first start")
    return Finding(ERROR, f"permissions: {data} cannot be made", "make it, owned by the server's user, mode 700")


def _exposed(data: str) -> Iterator[Finding]:
    """Databases that everyone may read, in a folder that lets everyone in."""
    for name in sorted(os.listdir(data)):
        path = os.path.join(data, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            yield Finding(ERROR, f"permissions: everyone may read {path}", f"chmod 600 {path}")


def _foreign(data: str) -> Iterator[Finding]:
    """Files that the server's user does not own, as a careless root leaves them."""
    owner = os.stat(data).st_uid
    for name in sorted(os.listdir(data)):
        path = os.path.join(data, name)
        if os.lstat(path).st_uid != owner:
            yield Finding(ERROR, f"permissions: {path} is not owned by the owner of {data}", f"chown {owner} {path}")


def _ports(settings: Settings, running: bool) -> Iterator[Finding]:
    for entry in describeOptions(Listen):
        if entry.key not in ("c2s", "c2s_tls", "s2s", "s2s_tls", "metrics"):
            continue
        for endpoint in getattr(settings.listen, entry.attribute):
            yield checkPort(endpoint, running)
    for endpoint in listeners(settings):
        yield checkPort(endpoint, running)


def checkPort(endpoint: str, running: bool, bind: Callable[[str, int], None] | None = None) -> Finding:
    """Whether an endpoint can be listened on, or is by our own server."""
    match = TCP.fullmatch(endpoint)
    if match is None:
        return Finding(OK, f"port: {endpoint} (not looked at)")
    interface = re.search(r"(?:^|:)interface=((?:\\.|[^:\\])*)", match[3] or "")
    address = re.sub(r"\\(.)", r"\1", interface[1]) if interface else ("::" if match[1] == "tcp6" else "0.0.0.0")
    port = int(match[2])
    try:
        (bind or _bind)(address, port)
    except PermissionError:
        return Finding(ERROR, f"port: {endpoint} needs privileges", "use a port from 1024, or the systemd socket units")
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return Finding(OK, f"port: {endpoint}, our server listens")
        if error.errno == errno.EADDRINUSE:
            mend = f"find out with: ss -ltnp sport = :{port}; stop it or choose another port"
            return Finding(ERROR, f"port: {endpoint} is used by another program", mend)
        return Finding(ERROR, f"port: {endpoint}: {error.strerror}", "choose an address of this machine")
    if running:
        mend = "restart it, unless it was given other --c2s options"
        return Finding(WARNING, f"port: {endpoint} is free, though our server runs", mend)
    return Finding(OK, f"port: {endpoint} is free")


def _bind(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))
        probe.listen(1)
