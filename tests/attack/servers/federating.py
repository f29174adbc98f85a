"""Our own server under attack by other servers: where they are, whom it trusts, and a name server that lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.attack.peer import BIDI, Papers, RawPeer, RawServer, outwards
from tests.attack.raw import DOMAIN
from tests.attack.s2s.zone import Places
from tests.attack.servers.own import COMPONENT, CONFIG, AttackedServer
from tests.attack.servers.sabotaged import ProcessWith
from tests.interop.processes import freePort
from xmppservice.ctl.client import Client
from xmppservice.hub.commands import Result

SERVED = (DOMAIN, "other.test", "open.test", COMPONENT)
#: Domains whose servers the tests play; each test takes some that nobody has used.
NEIGHBOURS = 300

_INITIAL = """
data = "var"
[tls]
certificates = "certs"
development_certificates = true
[hosts.localhost]
"""
_S2S = """
[listen]
component = ["tcp:{component}:interface=127.0.0.1"]
s2s = ["tcp:{s2s}:interface=127.0.0.1"]
s2s_tls = ["tcp:{s2sTls}:interface=127.0.0.1"]
[s2s]
authorities = "{authorities}"
authentication = "{authentication}"
resolver = [{resolver}]
refused = ["127.9.0.0/16", "::1", "169.254.0.0/16"]
deny = ["denied.test", "*.denied.test"]
queue_time = "1 s"
queue_stanzas = 20
stanza_bytes = "256 KiB"
stream_bytes = "1 GiB"
stream_stanzas = 1000000
overrides = [{overrides}]
"""


class Town:
    """What stands around our server: certificates, and servers with ports that listen before ours starts."""

    def __init__(self, folder: Path, count: int = NEIGHBOURS) -> None:
        self.papers = Papers(folder)
        self.places = Places(self.papers)
        #: The port of the name server; without one nothing is found.
        self.resolver = 9
        self.servers = {name: RawServer(name, self.papers) for name in (f"n{n}.test" for n in range(count))}
        self._fresh = iter(self.servers.values())

    def neighbour(self) -> RawServer:
        """A server that nobody has spoken to."""
        return next(self._fresh)

    def leave(self) -> None:
        """All ports are closed."""
        self.places.close()
        for server in self.servers.values():
            server.close()


class FederatingServer(AttackedServer):
    """The real process, with a policy for other servers."""

    def __init__(self, folder: Path, town: Town, policy: str = "certificates", limits: str = "") -> None:
        self.town, self._policy, self._limits = town, policy, limits
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        # What `xmppctl init` writes: many of these servers are started, and each process takes a while.
        (folder / "xmppservice.toml").write_text(_INITIAL, "ascii")
        self.options = ["--config", str(folder / "xmppservice.toml")]
        self.start()
        self.ca = folder / "certs" / "ca.crt"

    def addUsers(self, users: Mapping[str, str]) -> None:
        """Over the control socket, without a process."""
        for local, word in users.items():
            self.order("user add", jid=f"{local}@{DOMAIN}", password=word)

    def configure(self) -> None:
        """Also where other servers are."""
        self.s2sPort, self.s2sDirectPort = freePort(), freePort()
        town = self.town
        places = ", ".join(f'"{name} = 127.0.0.1:{server.port}"' for name, server in town.servers.items())
        filled = {
            "{s2s}": str(self.s2sPort), "{s2sTls}": str(self.s2sDirectPort), "{authorities}": str(town.papers.trusted),
            "{authentication}": self._policy, "{overrides}": places,
            "{resolver}": f'"127.0.0.1:{town.resolver}"',
        }  # fmt: skip
        listen = '[listen]\ncomponent = ["tcp:{component}:interface=127.0.0.1"]\n'
        assert listen in CONFIG
        text = CONFIG.replace(listen, _S2S).replace("[limits]\n", f"[limits]\n{self._limits}")
        for key, value in filled.items():
            text = text.replace(key, value)
        self.extra = text
        super().configure()

    def order(self, verb: str, **arguments: Any) -> Result:
        """A command over the control socket."""
        client = Client(str(self.folder / "var" / "control.sock"))
        try:
            return client.run(verb, arguments)
        finally:
            client.close()

    # -- another server calls ----------------------------------------------------------------------

    def call(self, domain: str, to: str = DOMAIN, direct: bool = False, paper: str | None = None) -> RawPeer:
        """A connection before its header; over direct TLS with this certificate."""
        peer = RawPeer(self.s2sDirectPort if direct else self.s2sPort, domain, to)
        if direct:
            peer.wrap(None, to, outwards(self.ca, self._paper(paper)))
        return peer

    def _paper(self, name: str | None) -> Path | None:
        return None if name is None else self.town.papers.path(name)

    def before(self, domain: str, stage: str) -> RawPeer:
        """A connection before the header that counts: "plain", "secured" by STARTTLS, or "direct"."""
        if stage != "secured":
            return self.call(domain, direct=stage == "direct", paper=domain)
        peer = self.caller(domain)
        peer.encrypt(self.ca, self._paper(domain))
        return peer

    def caller(self, domain: str, to: str = DOMAIN) -> RawPeer:
        """A stream before TLS, with its features."""
        peer = self.call(domain, to)
        peer.open()
        return peer

    def covered(self, domain: str, paper: str | None = None, to: str = DOMAIN, direct: bool = False) -> RawPeer:
        """A stream behind TLS, with its features; `paper` names a certificate."""
        if direct:
            peer = self.call(domain, to, True, paper)
        else:
            peer = self.caller(domain, to)
            peer.encrypt(self.ca, self._paper(paper))
        peer.open()
        return peer

    def proved(self, domain: str, bidi: bool = False, to: str = DOMAIN) -> RawPeer:
        """A stream whose domain was proved by its certificate."""
        peer = self.covered(domain, domain, to)
        if bidi:
            peer.send(BIDI)
        peer.external()
        return peer


class ChangedFederation(ProcessWith, FederatingServer):
    """The same with code that runs in its process before it starts."""

    def __init__(self, folder: Path, town: Town, code: str, policy: str = "certificates", limits: str = "") -> None:
        self._code = code
        FederatingServer.__init__(self, folder, town, policy, limits)
