"""Starts the real server in a folder of its own, with users, and stops it again."""

import datetime
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.load.link import LoadError

DOMAIN = "localhost"

_ROOT = Path(__file__).resolve().parents[2]

_CONFIG = """\
data = "var"

[database]
url = "sqlite"

[listen]
c2s = ["tcp:{port}:interface=127.0.0.1"]
c2s_tls = ["tcp:{tlsPort}:interface=127.0.0.1"]

[tls]
policy = "optional"
certificates = "certs"

[limits]
enabled = false

[hosts."{domain}"]
"""


def freePort() -> int:
    """A port on loopback that nobody listens on now, and that the kernel gives to no outgoing connection.

    A server that is stopped and started again must find its port free beside thousands of client connections.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = 10_000 + secrets.randbelow(max(1, lowest - 10_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise LoadError(f"no free port between 10000 and {lowest}")


@dataclass(frozen=True)
class Certificate:
    """Two PEM files."""

    chain: Path
    key: Path


class LocalServer:
    """The project's own server, started with this interpreter's ``twistd``, every default module enabled.

    TLS is optional and limits are off; the database is an SQLite file, so that acknowledgements wait for the disk.
    """

    def __init__(self, folder: Path, password: str, profile: Path | None = None) -> None:
        self.folder, self.password = folder, password
        self._profile = profile
        self.port, self.tlsPort = freePort(), freePort()
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "bench.toml"
        (folder / "certs").mkdir(parents=True, exist_ok=True)
        text = _CONFIG.format(port=self.port, tlsPort=self.tlsPort, domain=DOMAIN)
        self._config.write_text(text)
        self._config.chmod(0o600)
        certificate(folder / "certs")

    def importUsers(self, numbers: Iterable[int]) -> int:
        """Create the users that an earlier run in this folder has not created; the server must be down."""
        done = self.folder / "users.done"
        have = set(done.read_text().split()) if done.exists() else set()
        new = [name for number in numbers if (name := f"user{number}") not in have]
        if new:
            listing = self.folder / "users.tsv"
            listing.write_text("".join(f"{name}@{DOMAIN}\t{self.password}\n" for name in new))
            listing.chmod(0o600)
            self._command("xmppctl", "--config", str(self._config), "user", "import", str(listing))
            done.write_text("\n".join(sorted(have | set(new))))
        return len(new)

    def start(self, limit: float = 30.0) -> None:
        """Start the server and wait until it listens."""
        profiling = ["--savestats", "--profiler=cprofile", f"--profile={self._profile}"] if self._profile else []
        command = [*_program("twistd"), "-n", "--pidfile=", *profiling, "xmpp", "--config", str(self._config)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = self._process.pid
        end = time.perf_counter() + limit
        while not (_listens(self.port) and _listens(self.tlsPort)):
            if self._process.poll() is not None or time.perf_counter() > end:
                tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise LoadError(f"the server does not listen:\n{tail}")
            time.sleep(0.05)
        # Imports and the writer's start go on after the ports are open; they are no part of any workload.
        time.sleep(1.0)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it is still there after 15 seconds; safe to call twice."""
        process, self._process, self.pid = self._process, None, 0
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5.0)

    def _command(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [*_program(name), *arguments],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180.0,
        )
        if done.returncode:
            raise LoadError(f"{name} {' '.join(arguments)}: {done.stderr.decode(errors='replace')[-1000:]}")


def _program(name: str) -> list[str]:
    """A program of the environment that runs us; `xmppctl` also where the project is not installed."""
    path = Path(sys.executable).parent / name
    if path.exists() or name != "xmppctl":
        return [str(path)]
    return [sys.executable, "-c", "import sys; from xmppservice.ctl.main import main; sys.exit(main())"]


def _environment() -> dict[str, str]:
    """Our own, with this checkout in the path."""
    return os.environ | {"PYTHONPATH": str(_ROOT)}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def certificate(folder: Path) -> Certificate:
    """A self-signed P-256 certificate for the benchmark's host, made once in each folder."""
    files = Certificate(folder / f"{DOMAIN}.crt", folder / f"{DOMAIN}.key")
    if not files.key.exists():
        _issue(files)
    return files


def _issue(files: Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(DOMAIN), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    issued = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    files.chain.write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(private)
