"""A private Prosody: its configuration, users and rosters in files, its process."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.load.place import DOMAIN, Federation, Place
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
data_path = "{place.folder}/data"
pidfile = "{place.folder}/prosody.pid"
run_as_root = {root}
modules_enabled = {{ {modules} }}
modules_disabled = {{ {disabled} }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
storage = {{ {storage} }}
sql = {{ driver = "SQLite3"; database = "{place.folder}/prosody.sqlite" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {place.port} }}
c2s_direct_tls_ports = {{ {place.tlsPort} }}
http_ports = {{ }}
https_ports = {{ }}
component_ports = {{ {place.service.port} }}
component_interfaces = {{ "127.0.0.1" }}
certificates = "{place.certificate.chain.parent}"
ssl = {{ certificate = "{place.certificate.chain}"; key = "{place.certificate.key}"{authority} }}
log = {{ warn = "{place.folder}/prosody.log" }}
{tuning}{federation}
VirtualHost "{place.domain}"

Component "{place.service.domain}"
component_secret = "{place.service.secret}"
"""

#: Without `module-config` the resolver wants signatures up to the root; it does not ask loopback unless told so.
_FEDERATION = """s2s_ports = {{ {port} }}
s2s_secure_auth = true
s2s_require_encryption = true
use_ipv6 = false
unbound = {{
  resolvconf = false; forward = {{ "127.0.0.1@{resolver}" }};
  options = {{ ["module-config:"] = "iterator"; ["do-not-query-localhost:"] = "no" }}
}}
"""


@dataclass(frozen=True)
class ProsodyKind:
    """How one Prosody differs from another: further lines, the modules, what keeps offline messages."""

    tuning: str = ""
    modules: str = ALIKE
    offlineStore: str = "internal"


def configuration(kind: ProsodyKind, place: Place) -> str:
    """The text of ``prosody.cfg.lua``."""
    met, modules, disabled = place.federation, kind.modules.split(), ["limits"]
    if met is None:
        disabled += ["s2s", "s2s_auth_certs"]
    else:
        modules.append("dialback")
    return _CONFIG.format(
        place=place,
        root="true" if os.geteuid() == 0 else "false",
        modules=_list(modules),
        disabled=_list(disabled),
        storage=f'offline = "{kind.offlineStore}"' if kind.offlineStore != "internal" else "",
        authority=f'; cafile = "{met.authority}"' if met else "",
        tuning=kind.tuning,
        federation=_federation(met) if met else "",
    )


def _list(names: Iterable[str]) -> str:
    return "; ".join(f'"{name}"' for name in names)


def _federation(met: Federation) -> str:
    return _FEDERATION.format(port=met.port, resolver=met.resolver)


def account(password: str, salt: bytes) -> str:
    """One user's file: the SCRAM-SHA-1 keys of RFC 5802 section 3."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()
    server = hmac.digest(salted, b"Server Key", "sha1").hex()
    return (
        f'return {{ ["iteration_count"] = {ITERATIONS}; ["salt"] = "{salt.decode()}"; '
        f'["server_key"] = "{server}"; ["stored_key"] = "{stored}"; }};\n'
    )


def roster(contacts: list[int], domain: str = DOMAIN) -> str:
    """One user's roster: mutual subscriptions."""
    items = "".join(
        f'["user{number}@{domain}"] = {{ ["subscription"] = "both"; ["groups"] = {{}}; }};\n' for number in contacts
    )
    return f'return {{\n[false] = {{ ["version"] = 1; ["pending"] = {{}}; }};\n{items}}};\n'


class Prosody:
    """One private Prosody."""

    def __init__(self, name: str, place: Place, password: str, kind: ProsodyKind) -> None:
        self.name, self.place, self.password = name, place, password
        self.pid = 0
        place.folder.mkdir(parents=True)
        self._config = place.folder / "prosody.cfg.lua"
        self._config.write_text(configuration(kind, place))
        self._process = Process(place.folder / "output.log")

    def prepare(self, contacts: dict[int, list[int]]) -> None:
        """Write the files of all users; one salt for all, so that the client derives its keys once."""
        # Prosody writes what is neither letter nor digit as %xx.
        name = "".join(letter if letter.isalnum() else f"%{ord(letter):02x}" for letter in self.place.domain)
        data = self.place.folder / "data" / name
        accounts, rosters = (data / store for store in ("accounts", "roster"))
        accounts.mkdir(parents=True)
        rosters.mkdir(parents=True)
        text = account(self.password, secrets.token_hex(16).encode())
        for number, others in contacts.items():
            (accounts / f"user{number}.dat").write_text(text)
            (rosters / f"user{number}.dat").write_text(roster(others, self.place.domain))

    def start(self) -> None:
        """Start in the foreground."""
        command = ["/usr/bin/prosody", "-F", "--config", str(self._config)]
        self.pid = self._process.start(command, lambda: listens(self.place.port) and listens(self.place.tlsPort), {})

    def stop(self) -> None:
        """Stop; safe to call twice."""
        self.pid = 0
        self._process.stop()
