"""Debian's Prosody with the limits and modules that its package enables, TLS required, in a folder of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
from pathlib import Path

from tests.attack.servers.victim import Attacked
from tests.interop.processes import Child, accepts, freePort, waitFor
from tests.interop.servers import makeCertificates

_CONFIG = """
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
plugin_paths = {{}}
run_as_root = true
modules_enabled = {{
    "disco", "roster", "saslauth", "tls", "blocklist", "bookmarks", "carbons", "limits", "pep", "private", "smacks",
    "mam", "vcard4", "vcard_legacy", "csi_simple", "ping", "register", "time", "uptime", "version"
}}
modules_disabled = {{ "s2s", "s2s_auth_certs" }}
limits = {{ c2s = {{ rate = "10kb/s" }} }}
c2s_require_encryption = true
authentication = "internal_hashed"
default_archive_policy = true
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {directPort} }}
http_ports = {{}}
https_ports = {{}}
ssl = {{ key = "{folder}/localhost.key", certificate = "{folder}/localhost.crt" }}
log = {{ info = "{folder}/prosody.log" }}
VirtualHost "localhost"
VirtualHost "other.test"
"""
_ACCOUNT = """return {{
    ["iteration_count"] = {count};
    ["salt"] = "{salt}";
    ["server_key"] = "{server}";
    ["stored_key"] = "{stored}";
}};
"""
_COUNT = 10000


def _account(user: str, password: str) -> str:
    """An account as its store keeps it: the keys of SCRAM-SHA-1 (RFC 5802 3), never the password."""
    salt = base64.b16encode(hashlib.sha1(user.encode(), usedforsecurity=False).digest()).decode()
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), _COUNT)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1"), usedforsecurity=False).hexdigest()
    server = hmac.digest(salted, b"Server Key", "sha1").hex()
    return _ACCOUNT.format(count=_COUNT, salt=salt, server=server, stored=stored)


class Prosody(Attacked):
    """A private instance; nothing of the system's own is touched."""

    name = "prosody"
    fault = "stack traceback:"

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        assert shutil.which("prosody"), "apt install prosody"
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        makeCertificates(folder)
        self.ca = folder / "ca.crt"
        accounts = folder / "data" / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        for user, password in users.items():
            (accounts / f"{user}.dat").write_text(_account(user, password), "ascii")
        config = folder / "prosody.cfg.lua"
        config.write_text(_CONFIG.format(folder=folder, port=self.port, directPort=self.directPort), "utf-8")
        self.child = Child(["prosody", "-F", "--config", str(config)], folder / "output.log", folder)
        waitFor("Prosody's ports", lambda: accepts(self.port) and accepts(self.directPort))

    @property
    def logs(self) -> list[Path]:
        """Its output and its log."""
        return [self.child.log, self.folder / "prosody.log"]
