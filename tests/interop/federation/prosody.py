"""Debian's Prosody as a server to federate with: modules as shipped, and bidi (XEP-0288)."""

from __future__ import annotations

from benchmarks.peers.prosody import account
from tests.attack.raw import RawClient, password
from tests.interop.federation.meeting import Meeting, accounts, plainLogin
from tests.interop.processes import Child, accepts, freePort, waitFor

_CONFIG = """
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
plugin_paths = {{}}
run_as_root = true
modules_enabled = {{
    "disco", "roster", "saslauth", "tls", "dialback", "ping", "smacks", "offline", "s2s_bidi", "version"
}}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = false
s2s_secure_domains = {{ {secure} }}
authentication = "internal_hashed"
interfaces = {{ "127.0.0.1" }}
use_ipv6 = false
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}
s2s_ports = {{ {s2sPort} }}
s2s_direct_tls_ports = {{}}
http_ports = {{}}
https_ports = {{}}
-- libunbound would neither ask a name server on loopback nor for names below "test", unless told so.
unbound = {{
    resolvconf = false; hoststxt = false; forward = "127.0.0.1@{resolver}";
    options = {{ ["do-not-query-localhost:"] = "no"; ["local-zone:"] = "test. transparent" }}
}}
log = {{ debug = "{folder}/prosody.log" }}
{hosts}
"""
_HOST = """VirtualHost "{domain}"
ssl = {{ cafile = "{ca}"; capath = "/nowhere"; key = "{folder}/{domain}.key"; certificate = "{folder}/{domain}.crt" }}
"""


class ProsodyPeer:
    """A private instance with two domains. `secure` are the domains whose certificate it insists on."""

    certified, uncertified, foreign = "prosody.test", "dialback.prosody.test", "unknown.prosody.test"

    def __init__(self, meeting: Meeting, secure: tuple[str, ...] = ()) -> None:
        self.meeting, self._secure = meeting, secure
        self.folder = meeting.folder / "prosody"
        self.folder.mkdir()
        self.port, self.s2sPort = freePort(), freePort()
        self._child: Child | None = None
        for domain in (self.certified, self.uncertified, self.foreign):
            meeting.place(domain, self.s2sPort)
        for domain in (self.certified, self.uncertified):
            meeting.certify(domain, self.folder, trusted=domain == self.certified)
            self._fill(domain)

    def _fill(self, domain: str) -> None:
        folder = self.folder / "data" / domain.replace(".", "%2e") / "accounts"
        folder.mkdir(parents=True)
        for name in accounts():
            (folder / f"{name}.dat").write_text(account(password(name), b"salt"), "ascii")

    def start(self) -> None:
        """See `Side`."""
        hosts = "".join(
            _HOST.format(domain=domain, ca=self.meeting.ca, folder=self.folder)
            for domain in (self.certified, self.uncertified)
        )
        config = self.folder / "prosody.cfg.lua"
        secure = ", ".join(f'"{domain}"' for domain in self._secure)
        config.write_text(
            _CONFIG.format(
                folder=self.folder, port=self.port, s2sPort=self.s2sPort, resolver=self.meeting.resolver,
                hosts=hosts, secure=secure,
            ),
            "utf-8",
        )  # fmt: skip
        command = ["prosody", "-F", "--config", str(config)]
        child = self._child = Child(command, self.folder / "output.log", self.folder)
        waitFor("Prosody's ports", lambda: not child.running() or (accepts(self.port) and accepts(self.s2sPort)))
        assert child.running(), self.report()

    def login(self, jid: str, available: bool = True) -> RawClient:
        """See `Side`."""
        return plainLogin(self.port, jid, available)

    def report(self) -> str:
        """See `Side`."""
        logs = (self.folder / "output.log", self.folder / "prosody.log")
        return "".join(log.read_text("utf-8", "replace") for log in logs if log.exists())

    def stop(self) -> None:
        """See `Side`."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """See `Side`."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait()
