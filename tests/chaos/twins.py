"""Two servers that are not spared, with one domain each, and between them lines that can be cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.proxy import Plan, Proxy
from tests.chaos.victim import Victim
from tests.interop.processes import freePort
from tests.security.certificates import Authority
from xmppservice.ctl.client import Client as Control

ONE, TWO = "one.example", "two.example"

_CONFIG = """
data = "var"
[listen]
c2s = ["tcp:{{port}}:interface=127.0.0.1"]
c2s_tls = ["tcp:{{direct}}:interface=127.0.0.1"]
{listen}
[tls]
policy = "optional"
[limits]
enabled = {{enabled}}
{{limits}}
[modules.offline]
limit = 1000000
[s2s]
authorities = "authority.pem"
{s2s}
[hosts."{domain}"]
{{more}}
"""

Row = dict[str, str]


class Federated(Victim):
    """A server of one domain that other servers can reach. `places` says where others are: domain → port; `aliases`
    are more domains of this one."""

    def __init__(
        self, folder: Path, domain: str, authority: Authority, users: Sequence[str], s2s: str = "",
        places: dict[str, int] | None = None, port: int = 0, listen: str = "", aliases: Sequence[str] = (), **more: Any,
    ) -> None:  # fmt: skip
        self.domain = domain
        self.s2sPort = port or freePort()
        folder.mkdir(parents=True, exist_ok=True)
        certificates = folder / "certs"
        certificates.mkdir()
        for name in (domain, *aliases):
            authority.server(name).write(certificates, name)
        (folder / "authority.pem").write_bytes(authority.pem)
        (certificates / "ca.crt").write_bytes(authority.pem)
        overrides = ", ".join(f'"{name} = 127.0.0.1:{number}"' for name, number in (places or {}).items())
        s2s = f"overrides = [{overrides}]\n{s2s}"
        listen = f's2s = ["tcp:{self.s2sPort}:interface=127.0.0.1"]\n{listen}'
        self.config = _CONFIG.format(listen=listen, s2s=s2s, domain=domain)
        self.config += "".join(f'[hosts."{name}"]\n' for name in aliases)
        super().__init__(folder, users, **more)

    def command(self, verb: str, /, **arguments: Any) -> list[Row]:
        """The rows that a command of xmppctl gives."""
        control = Control(str(self.data / "control.sock"))
        try:
            result = control.run(verb, arguments)
        finally:
            control.close()
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    @property
    def queued(self) -> int:
        """Stanzas that wait for other servers."""
        return sum(int(row["waiting"] or 0) for row in self.command("s2s"))


def _users(domain: str) -> list[str]:
    return [f"{name}@{domain}" for name in ("sender0", "sender1", "reader0", "reader1")]


class Twins:
    """Two servers, and for each a proxy by which the other one reaches it."""

    def __init__(self, folder: Path, plan: Plan, s2s: str = "", sabotage: str = "", second: str | None = None) -> None:
        """`second` is the ``[s2s]`` of the second server, if it is another one."""
        authority = Authority("those who certify")
        ports = [freePort(), freePort()]
        self.proxies = [Proxy(port, plan) for port in ports]
        one = Federated(folder / "one", ONE, authority, _users(ONE), s2s, {TWO: self.proxies[1].port}, ports[0],
                        sabotage=sabotage)  # fmt: skip
        two = Federated(folder / "two", TWO, authority, _users(TWO), s2s if second is None else second,
                        {ONE: self.proxies[0].port}, ports[1], sabotage=sabotage)  # fmt: skip
        self.sites = (one, two)

    @property
    def cuts(self) -> int:
        """Connections between the two that there were."""
        return sum(len(proxy.links) for proxy in self.proxies)

    @property
    def queued(self) -> int:
        """Stanzas that wait in either."""
        return sum(site.queued for site in self.sites)

    @property
    def log(self) -> str:
        """What both have said."""
        return self.sites[0].log + self.sites[1].log

    def end(self) -> None:
        """Nothing is left behind."""
        for proxy in self.proxies:
            proxy.end()
        for site in self.sites:
            site.end()
