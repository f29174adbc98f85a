"""``xmppctl init``: a configuration and a development certificate, and what to do next."""

from __future__ import annotations

import os
import shlex

from xmppservice.ctl.example import exampleConfiguration
from xmppservice.edge.certificates import CertificateProblem, makeDevelopmentCertificate
from xmppservice.hub.commands import CommandError, Result
from xmppservice.settings.files import LOCAL_FILE


def initialise(domain: str, here: str, config: str | None, data: str | None, force: bool = False) -> Result:
    """Write the file and the certificate.

    @param here: the folder in which the operator stands; relative names start there.
    @param config: the file, ``xmppservice.toml`` if None.
    @param data: the data folder, ``var`` beside the file if None.
    @raise CommandError: the file is there already, or cannot be written.
    """
    name = config or LOCAL_FILE
    path = os.path.join(os.path.abspath(here), name)
    folder = os.path.dirname(path)
    where = os.path.join(os.path.abspath(here), data) if data else "var"
    values = {"data": where, "tls.certificates": "certs", "tls.development_certificates": True}
    try:
        os.makedirs(folder, exist_ok=True)
        _write(path, exampleConfiguration(domain, values), force)
        authority = makeDevelopmentCertificate(os.path.join(folder, "certs"), [domain])
    except FileExistsError:
        raise CommandError(f"{name} is there already", "give --config another name, or --force to replace it") from None
    except (OSError, CertificateProblem) as error:
        raise CommandError(f"cannot write: {error}") from None
    option = f" --config {shlex.quote(name)}" if name != LOCAL_FILE else ""
    trusted = os.path.relpath(authority, here)
    if trusted.startswith(os.pardir):
        trusted = os.path.abspath(authority)
    return Result(
        f"{name} is written, with a development certificate for {domain}.\n"
        "Next:\n"
        f"  1. Make an account:    xmppctl{option} user add alice@{domain}\n"
        f"  2. Start the server:   twistd -n xmpp --config {shlex.quote(name)}\n"
        f"  3. Check it, and log in with a client that trusts {trusted}:   xmppctl{option} check\n"
        "It listens on loopback. For the public, set listen.interface and put a real certificate in its place."
    )


def _write(path: str, text: str, force: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with os.fdopen(os.open(path, flags, 0o640), "w", encoding="utf-8") as stream:
        stream.write(text)
