"""A private Prosody: its configuration, users and rosters in files, its process."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.local import DOMAIN, Certificate, freePort
from benchmarks.peers.process import Process, listens

#: What Prosody's own `util.sasl.scram` writes by default in this version.
ITERATIONS = 10_000

#: The modules whose features our server has too.
ALIKE = (
    "roster saslauth tls disco blocklist private register smacks ping time version vcard lastactivity "
    "server_contact_info posix"
)
#: Debian's list, without what speaks to other servers, limits, or administrates.
SHIPPED = (
    "disco roster saslauth tls blocklist bookmarks carbons pep private smacks vcard4 vcard_legacy csi_simple ping "
    "register time uptime version posix"
)

TUNING = """\
gc = { mode = "generational" }
network_settings = { nagle = false; tcp_backlog = 4096 }
"""

_CONFIG = """\
data_path = "{folder}/data"
pidfile = "{folder}/prosody.pid"
run_as_root = {root}
modules_enabled = {{ {modules} }}
modules_disabled = {{ "s2s"; "s2s_auth_certs"; "limits" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
storage = {{ {storage} }}
sql = {{ driver = "SQLite3"; database = "{folder}/prosody.sqlite" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tlsPort} }}
http_ports = {{ }}
https_ports = {{ }}
certificates = "{certificates}"
ssl = {{ certificate = "{certificate}"; key = "{key}" }}
log = {{ warn = "{folder}/prosody.log" }}
{tuning}
VirtualHost "{domain}"
"""


@dataclass(frozen=True)
class ProsodyKind:
    """How one Prosody differs from another: further lines, the modules, what keeps offline messages."""

    tuning: str = ""
    modules: str = ALIKE
    offlineStore: str = "internal"


def configuration(kind: ProsodyKind, folder: Path, port: int, tlsPort: int, certificate: Certificate) -> str:
    """The text of ``prosody.cfg.lua``."""
    return _CONFIG.format(
        folder=folder,
        root="true" if os.geteuid() == 0 else "false",
        modules="; ".join(f'"{name}"' for name in kind.modules.split()),
        storage=f'offline = "{kind.offlineStore}"' if kind.offlineStore != "internal" else "",
        port=port,
        tlsPort=tlsPort,
        certificates=certificate.chain.parent,
        certificate=certificate.chain,
        key=certificate.key,
        tuning=kind.tuning,
        domain=DOMAIN,
    )


def account(password: str, salt: bytes) -> str:
    """One user's file: the SCRAM-SHA-1 keys of RFC 5802 section 3."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()
    server = hmac.digest(salted, b"Server Key", "sha1").hex()
    return (
        f'return {{ ["iteration_count"] = {ITERATIONS}; ["salt"] = "{salt.decode()}"; '
        f'["server_key"] = "{server}"; ["stored_key"] = "{stored}"; }};\n'
    )


def roster(contacts: list[int]) -> str:
    """One user's roster: mutual subscriptions."""
    items = "".join(
        f'["user{number}@{DOMAIN}"] = {{ ["subscription"] = "both"; ["groups"] = {{}}; }};\n' for number in contacts
    )
    return f'return {{\n[false] = {{ ["version"] = 1; ["pending"] = {{}}; }};\n{items}}};\n'


class Prosody:
    """One private Prosody."""

    def __init__(self, name: str, folder: Path, password: str, kind: ProsodyKind, certificate: Certificate) -> None:
        self.name, self.folder, self.password = name, folder, password
        self.port, self.tlsPort = freePort(), freePort()
        self.pid = 0
        folder.mkdir(parents=True)
        self._config = folder / "prosody.cfg.lua"
        self._config.write_text(configuration(kind, folder, self.port, self.tlsPort, certificate))
        self._process = Process(folder / "output.log")

    def prepare(self, contacts: dict[int, list[int]]) -> None:
        """Write the files of all users; one salt for all, so that the client derives its keys once."""
        accounts, rosters = (self.folder / "data" / DOMAIN / store for store in ("accounts", "roster"))
        accounts.mkdir(parents=True)
        rosters.mkdir(parents=True)
        text = account(self.password, secrets.token_hex(16).encode())
        for number, others in contacts.items():
            (accounts / f"user{number}.dat").write_text(text)
            (rosters / f"user{number}.dat").write_text(roster(others))

    def start(self) -> None:
        """Start in the foreground."""
        command = ["/usr/bin/prosody", "-F", "--config", str(self._config)]
        self.pid = self._process.start(command, lambda: listens(self.port) and listens(self.tlsPort), {})

    def stop(self) -> None:
        """Stop; safe to call twice."""
        self.pid = 0
        self._process.stop()
