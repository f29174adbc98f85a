"""Two servers of ours that talk to each other: one domain each, certificates of one authority, no DNS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.attack.raw import RawClient
from tests.interop.processes import freePort
from tests.security.certificates import Authority
from tests.server.site import Site
from xmppservice.wire.element import Element

ONE, TWO = "one.example", "two.example"


class FederatedSite(Site):
    """A server with one domain that other servers can reach. `more` is put behind its configuration."""

    def __init__(self, folder: Path, domain: str, authority: Authority | None) -> None:
        super().__init__(folder, None)
        self.domain = domain
        self.options = ["--config", "xmppservice.toml"]
        self.s2sPort, self.s2sDirectPort = freePort(), freePort()
        self.authority = folder / "authority.pem"
        if authority is not None:
            certificates = folder / "certs"
            certificates.mkdir()
            authority.server(domain).write(certificates, domain)
            self.authority.write_bytes(authority.pem)
            (certificates / "ca.crt").write_bytes(authority.pem)

    def configure(self, peers: Sequence[FederatedSite], s2s: str = "", more: str = "", direct: bool = False) -> None:
        """Write the configuration: who is where, and what else."""
        places = ", ".join(
            f'"{peer.domain} = {"direct " if direct else ""}127.0.0.1:{peer.s2sDirectPort if direct else peer.s2sPort}"'
            for peer in peers
        )
        trusted = f'authorities = "{self.authority}"\n' if self.authority.exists() else ""
        tls = "[tls]\n" if trusted else "[tls]\ndevelopment_certificates = true\n"
        text = (
            f'[listen]\nc2s = ["tcp:{self.port}:interface=127.0.0.1"]\n'
            f'c2s_tls = ["tcp:{self.directPort}:interface=127.0.0.1"]\n'
            f's2s = ["tcp:{self.s2sPort}:interface=127.0.0.1"]\n'
            f's2s_tls = ["tcp:{self.s2sDirectPort}:interface=127.0.0.1"]\n'
            f"{tls}[s2s]\noverrides = [{places}]\n{trusted}{s2s}\n"
            f'[hosts."{self.domain}"]\n{more}'
        )
        (self.folder / "xmppservice.toml").write_text(text, "utf-8")

    def links(self) -> list[dict[str, str]]:
        """`xmppctl s2s`, a dict a row."""
        result = self.command("s2s")
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def pair(
    folder: Path, s2s: str = "", certified: bool = True, direct: bool = False
) -> tuple[FederatedSite, FederatedSite]:
    """Both, configured and running, with an account each: a@one.example and b@two.example."""
    authority = Authority("those who certify") if certified else None
    one = FederatedSite(folder / "one", ONE, authority)
    two = FederatedSite(folder / "two", TWO, authority)
    for site, peer in ((one, two), (two, one)):
        site.configure([peer], s2s, direct=direct)
        site.start()
    one.users(f"a@{ONE}")
    two.users(f"b@{TWO}")
    return one, two


def untilMessage(client: RawClient, patience: float = 20.0) -> Element:
    """The next message, whatever comes before it."""
    while True:
        element = client.element(patience)
        if element.name == "message":
            return element
