"""A real client with each mechanism it knows: slixmpp."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.attack.raw import DOMAIN
from tests.interop.programs import SLIXMPP
from tests.security.certificates import Authority
from tests.security.conftest import SecuredServer


def login(server: SecuredServer, user: str, mechanism: str | None, direct: bool, **more: Any) -> dict[str, str]:
    """What the program says."""
    SLIXMPP.demand()
    options = {
        "jid": f"{user}@{DOMAIN}",
        "password": user[::-1],
        "mechanism": mechanism,
        "host": "127.0.0.1",
        "port": server.directPort if direct else server.port,
        "direct": direct,
        "ca": str(server.ca),
        "tls12": False,
        "certificate": "",
        "key": "",
        **more,
    }
    program = Path(__file__).with_name("slixlogin.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), json.dumps(options)],
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-1", "PLAIN"])
def test_passwords(server: SecuredServer, user: str, mechanism: str) -> None:
    """Verified TLS and the mechanism that was asked for."""
    answer = login(server, user, mechanism, mechanism != "PLAIN")
    assert answer["ended"].startswith(f"{user}@{DOMAIN}/"), answer
    assert answer["mechanism"] == mechanism


def test_ownChoice(server: SecuredServer, user: str) -> None:
    """Left alone with our offer it takes the strongest it can do, with a binding where Python has one."""
    answer = login(server, user, None, False)
    assert answer["ended"].startswith(f"{user}@{DOMAIN}/"), answer
    plus = "-PLUS" if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES else ""
    assert answer["mechanism"] == f"SCRAM-SHA-512{plus}"


def test_certificate(server: SecuredServer, clientCA: Authority, user: str, tmp_path: Path) -> None:
    """EXTERNAL."""
    certificate = clientCA.client(f"{user}@{DOMAIN}").write(tmp_path, "client")
    files = {"certificate": str(certificate), "key": str(certificate.with_suffix(".key"))}
    answer = login(server, user, "EXTERNAL", False, **files)
    assert answer["ended"].startswith(f"{user}@{DOMAIN}/"), answer
    assert answer["mechanism"] == "EXTERNAL"


def test_oldTLS(server: SecuredServer, user: str) -> None:
    """With TLS 1.2 it insists on tls-unique, which we have not, and then goes on without a binding."""
    answer = login(server, user, None, True, tls12=True)
    assert answer["ended"].startswith(f"{user}@{DOMAIN}/"), answer
