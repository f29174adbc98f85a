"""``twistd xmpp``: options, and the root of the service tree. The only file that imports the reactor."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from twisted.application.service import IService
from twisted.cred.credentials import IAnonymous, IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin, UnsupportedInterfaces
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from xmppservice.edge.polling import pollPlainly
from xmppservice.hub.loader import ModuleError
from xmppservice.hub.service import StartFailed
from xmppservice.server import ModuleCatalogue, XMPPServer
from xmppservice.server.logfiles import linesFor, sameTarget, useFor
from xmppservice.server.ports import listeners
from xmppservice.settings import Found, Overrides, Settings, SettingsError, discover, settingsFor

log = Logger()
reactor: Any = _reactor

# Timers must not care when somebody sets the clock.
reactor.seconds = time.monotonic


class Options(usage.Options, AuthOptionMixin):
    """What can be said on the command line; everything else is in the configuration file."""

    synopsis = "[options]"
    longdesc = (
        "Starts an XMPP server. Without --config it looks for XMPPSERVICE_CONFIG, ./xmppservice.toml and "
        "/etc/xmppservice/xmppservice.toml; without any of them it is a development server for localhost "
        "that keeps everything in ./var."
    )
    supportedInterfaces = (IUsernamePassword, IAnonymous)
    optParameters = [
        ["config", None, None, "Configuration file (TOML); see `xmppctl init` and `xmppctl options`."],
        ["data", None, None, "Folder for everything the server keeps, instead of the file's."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["domains"] = []
        self["c2s"] = []
        self["c2s-tls"] = []

    def opt_domain(self, domain: str) -> None:
        """Serve this domain, beside the file's; may be repeated. Without a file it is served instead of localhost."""
        self["domains"].append(domain)

    def opt_c2s(self, endpoint: str) -> None:
        """Listen here for clients with STARTTLS (a Twisted endpoint string), instead of where the file
        says; may be repeated."""
        self["c2s"].append(endpoint)

    def opt_c2s_tls(self, endpoint: str) -> None:
        """Listen here for clients with direct TLS; may be repeated."""
        self["c2s-tls"].append(endpoint)

    def opt_auth(self, description: str) -> None:
        """Another checker for passwords, such as memory:alice:secret or file:/etc/passwords; --help-auth
        lists them. It is asked before the stored passwords, for every domain, and only PLAIN (under TLS) is
        offered then. Whom it accepts gets an account at the first login. May be repeated."""
        try:
            AuthOptionMixin.opt_auth(self, description)
        except (TypeError, UnsupportedInterfaces):
            # Twisted itself stumbles over the message when a checker has several interfaces.
            raise usage.UsageError(f"--auth {description.split(':')[0]} checks nothing that XMPP logins use") from None
        except (ValueError, OSError) as error:
            raise usage.UsageError(f"--auth {description.split(':')[0]}: {error}") from None

    def overrides(self) -> Overrides:
        """What goes over the configuration file."""
        return Overrides(tuple(self["domains"]), self["data"], tuple(self["c2s"]), tuple(self["c2s-tls"]))


def readSettings(options: Options, catalogue: ModuleCatalogue) -> Settings:
    """The settings that the command line asks for; raises `SettingsError` or `ModuleError`."""
    found = discover(options["config"], os.environ, os.getcwd()) or Found(folder=os.getcwd())
    return settingsFor(found, catalogue, catalogue.defaults, options.overrides())


class Served(XMPPServer):
    """The server under twistd: the application that it joins gets our log."""

    #: twistd's own options; empty under somebody's own program, which decides about its log itself.
    told: Mapping[str, Any] = MappingProxyType({})

    def setServiceParent(self, parent: Any) -> None:
        """Join the tree; called by twistd between making the service and beginning its log."""
        if self.told and isinstance(parent, Componentized):
            lines = linesFor(self.told, reactor, os.environ)
            if lines is not None:
                self.useLog(lines)
                useFor(parent, lines)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]


def makeService(options: Options) -> IService:
    """The server as a service, for twistd or for somebody's own ``.tac`` file.

    What is wrong with the configuration ends the process with one line.
    """
    try:
        catalogue = ModuleCatalogue()
        settings = readSettings(options, catalogue)
        server = Served(
            settings,
            catalogue,
            reactor,
            lambda: readSettings(options, catalogue),
            options.get("credCheckers", ()),
            lambda failure: _startFailed(failure, server.told),
        )
    except (SettingsError, ModuleError) as error:
        raise SystemExit(f"xmppservice: {error}") from None
    server.told = getattr(options, "parent", None) or {}
    _installHooks()
    pollPlainly(reactor)
    reactor.callWhenRunning(_installSignals, server)
    server.onStarted(lambda: _started(server))
    return server


def _startFailed(failure: Failure, told: Mapping[str, Any]) -> None:
    """Stop, say in one line why, behind all that is logged, and have the process end with a status that tells."""
    error = failure.value
    if isinstance(error, CancelledError) or isinstance(getattr(error, "reason", None), CancelledError):
        # Somebody stopped us in the midst of the start: that is no failure.
        return
    if isinstance(error, StartFailed):
        reason = f"cannot start: {error}"
        log.critical("{reason}", reason=reason)
    else:
        reason = "cannot start, its log says why"
        log.failure("the server could not be started", failure)
    # On a terminal, and in the journal, the log says it already.
    shown = isinstance(error, StartFailed) and not told.get("logfile") and sameTarget(sys.__stdout__, sys.__stderr__)
    atexit.register(_exitFailed, "" if shown else f"xmppservice: {reason}")
    reactor.callWhenRunning(reactor.stop)


def _exitFailed(line: str) -> None:
    """The end of a server that could not be started. twistd has put its log into the place of stderr."""
    if line and sys.__stderr__ is not None:
        print(line, file=sys.__stderr__, flush=True)
    os._exit(1)


def _installSignals(server: XMPPServer) -> None:
    """SIGHUP reloads; SIGTERM stops in order and with status 0; a second one stops at once."""
    asked: list[int] = []

    def terminate(number: int, frame: object) -> None:
        if asked:
            os._exit(1)
        asked.append(number)
        reactor.callFromThread(reactor.stop)

    def reload(number: int, frame: object) -> None:
        reactor.callFromThread(lambda: server.reload().addErrback(lambda failure: None))

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    signal.signal(signal.SIGHUP, reload)


def _installHooks() -> None:
    """What Python would print by itself goes to the log like any other failure: one line, an incident, no data."""

    def failed(what: str, error: BaseException | None) -> None:
        if error is not None:
            log.failure("{what}", Failure(error), what=what)

    sys.unraisablehook = lambda found: failed("an exception that nobody could take", found.exc_value)
    threading.excepthook = lambda found: failed("a thread ended with an exception", found.exc_value)


def _started(server: XMPPServer) -> None:
    """The edges are up: tell the person who started us, and settle the garbage collector."""
    settings = server.settings
    for line in _greeting(settings):
        log.info("{line}", line=line)
    if os.geteuid() == 0:
        log.warn("running as root; give twistd --uid and --gid, or use the systemd unit")
    # What is loaded now stays: no collection needs to look at it again, and ordinary stanzas
    # are freed by counting alone, so collections can be rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _greeting(settings: Settings) -> list[str]:
    hosts = ", ".join(settings.hosts)
    lines = [f"serving {hosts}"]
    lines += [f"clients (STARTTLS): {endpoint}" for endpoint in settings.listen.c2s]
    lines += [f"clients (direct TLS): {endpoint}" for endpoint in settings.listen.c2sTls]
    lines += [f"other servers (STARTTLS): {endpoint}" for endpoint in settings.listen.s2s]
    lines += [f"other servers (direct TLS): {endpoint}" for endpoint in settings.listen.s2sTls]
    lines += [f"components: {endpoint}" for endpoint in listeners(settings)]
    lines += [f"figures: {endpoint}, /metrics" for endpoint in settings.listen.metrics]
    if settings.development:
        host = next(iter(settings.hosts))
        lines.append(f"certificate authority for clients: {settings.tls.certificates}/ca.crt")
        lines.append(f"make an account: .venv/bin/xmppctl user add alice@{host}")
    return lines
