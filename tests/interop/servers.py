"""The servers that the client programs log in to: ours, and Prosody to check the tests themselves."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.interop.processes import Child, accepts, freePort, waitFor
from tests.sources import ROOT

DOMAIN = "localhost"
#: What the server's log says at the end of a start.
SERVING = "serving "


class Server(Protocol):
    """A running server with one domain, on loopback ports of its own."""

    port: int
    directPort: int
    ca: Path

    def addUsers(self, users: Mapping[str, str]) -> None:
        """Creates accounts, local part to password, while the server runs."""

    def report(self) -> str:
        """What the server has logged."""

    def stop(self) -> int:
        """Ends the server; gives its exit status."""


class OwnServer:
    """``twistd -n xmpp`` in a folder of its own.

    With ``config`` it is set up by ``xmppctl init``; without, it is the development server of that folder, as
    ``make run`` starts it. Either way it listens on ports that are free now.
    """

    def __init__(self, folder: Path, config: bool = True) -> None:
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        self.options: list[str] = []
        if config:
            self.ctl("init", "--domain", DOMAIN)
            self.options = ["--config", str(folder / "xmppservice.toml")]
        self.start()
        self.ca = next(iter(sorted(folder.rglob("ca.crt"))))

    def start(self) -> None:
        """Starts the process and waits until it says that all of it is up: its ports take connections before that."""
        before = self.report().count(SERVING) if hasattr(self, "child") else 0
        command = [
            *("-c", "from twisted.scripts.twistd import run; run()"),
            *("--nodaemon", "--pidfile=", "xmpp", *self.options),
            *("--c2s", f"tcp:{self.port}:interface=127.0.0.1"),
            *("--c2s-tls", f"tcp:{self.directPort}:interface=127.0.0.1"),
        ]
        self.child = Child([sys.executable, *command], self.folder / "server.log", self.folder, _environment())
        waitFor("the server", lambda: self._serving(before))

    def _serving(self, before: int) -> bool:
        assert self.child.running(), f"the server ended:\n{self.report()}"
        return self.report().count(SERVING) > before

    def ctl(self, *arguments: str, text: str = "") -> str:
        """Runs ``xmppctl`` in the server's folder with this text on its standard input."""
        code = "import sys; from xmppservice.ctl.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            input=text,
            cwd=self.folder,
            env={**os.environ, **_environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"xmppctl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def addUsers(self, users: Mapping[str, str]) -> None:
        """Creates the accounts in one go."""
        lines = [f"{local}@{DOMAIN}\t{password}\n" for local, password in users.items()]
        file = self.folder / "users.txt"
        file.write_text("".join(lines), encoding="utf-8")
        self.ctl("user", "import", str(file))

    def report(self) -> str:
        """The process's output."""
        return self.child.output

    def stop(self) -> int:
        """Stops the process with SIGTERM."""
        return self.child.stop()


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "XMPPSERVICE_CONFIG": ""}


PROSODY_CONFIG = """
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
plugin_paths = {{}}
run_as_root = true
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "smacks", "offline" }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = true
authentication = "internal_hashed"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {directPort} }}
ssl = {{ key = "{folder}/localhost.key", certificate = "{folder}/localhost.crt" }}
log = {{ debug = "{folder}/prosody.log" }}
VirtualHost "localhost"
"""


class Prosody:
    """Debian's Prosody in a folder of its own; tells whether a failure is the client's or ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        self.ca = folder / "ca.crt"
        makeCertificates(folder)
        self.config = folder / "prosody.cfg.lua"
        self.config.write_text(
            PROSODY_CONFIG.format(folder=folder, port=self.port, directPort=self.directPort), encoding="utf-8"
        )
        self.child = Child(["prosody", "-F", "--config", str(self.config)], folder / "output.log", folder)
        waitFor("Prosody's ports", lambda: accepts(self.port) and accepts(self.directPort))

    def addUsers(self, users: Mapping[str, str]) -> None:
        """Creates the accounts one by one."""
        for local, password in users.items():
            command = ["prosodyctl", "--root", "--config", str(self.config), "register", local, DOMAIN, password]
            subprocess.run(command, check=True, timeout=60, capture_output=True)

    def report(self) -> str:
        """Prosody's log."""
        return self.child.output + (self.folder / "prosody.log").read_text("utf-8")

    def stop(self) -> int:
        """Stops the process."""
        return self.child.stop()


def startServer(folder: Path) -> Server:
    """Starts the server that the environment names; ours if it names none."""
    if os.environ.get("XMPPSERVICE_INTEROP_SERVER") == "prosody":
        assert shutil.which("prosody"), "apt install prosody"
        return Prosody(folder)
    return OwnServer(folder)


def makeCertificates(folder: Path) -> None:
    """Writes ``ca.crt``, and ``localhost.crt`` and ``.key`` signed by it."""
    caKey, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _builder("Interop test authority", "Interop test authority", caKey)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    names = [x509.DNSName(DOMAIN), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = _builder(DOMAIN, "Interop test authority", key)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.sign(caKey, hashes.SHA256()).public_bytes(pem))
    (folder / "localhost.crt").write_bytes(leaf.sign(caKey, hashes.SHA256()).public_bytes(pem))
    (folder / "localhost.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )
