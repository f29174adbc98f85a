"""Our own server as one side of the meeting: one process for each way of knowing other servers."""

from __future__ import annotations

from tests.attack.raw import RawClient
from tests.interop.federation.meeting import Meeting
from tests.ports import freePort
from tests.server.site import PASSWORD, Site

_CONFIG = """
[listen]
c2s = ["tcp:{port}:interface=127.0.0.1"]
c2s_tls = ["tcp:{directPort}:interface=127.0.0.1"]
s2s = ["tcp:{s2sPort}:interface=127.0.0.1"]
[tls]
certificates = "certs"
[s2s]
authentication = "{authentication}"
authorities = "{ca}"
resolver = ["127.0.0.1:{resolver}"]
queue_time = "2s"
[hosts."{domain}"]
"""


class OwnSide:
    """Our server with one domain. In the way "dialback" nobody trusts its certificate, nor does it ask for one.

    In the way "called only" its certificate is good for servers that are called, as those of public authorities
    are, but not for those that call.
    """

    foreign = "unknown.own.test"

    def __init__(self, meeting: Meeting, way: str) -> None:
        self.meeting, self.way = meeting, way
        self.certified = f"{way.replace(' ', '-')}.own.test"
        self.uncertified = self.domain = self.certified
        self.site = Site(meeting.folder / self.domain, None)
        self.site.options = ["--config", "xmppservice.toml"]
        self.s2sPort = freePort()
        meeting.place(self.domain, self.s2sPort)
        meeting.place(self.foreign, self.s2sPort)
        certificates = self.site.folder / "certs"
        certificates.mkdir()
        trusted = way != "dialback"
        certificate = meeting.certify(self.domain, certificates, trusted, both=way != "called only")
        # Our own clients check the certificate, whoever has issued it.
        issuer = meeting.authority if trusted else meeting.stranger
        (certificates / "ca.crt").write_bytes(issuer.pem)
        assert certificate.exists()

    def start(self) -> None:
        """See `Side`."""
        text = _CONFIG.format(
            port=self.site.port, directPort=self.site.directPort, s2sPort=self.s2sPort, ca=self.meeting.ca,
            authentication="dialback" if self.way == "dialback" else "certificates",
            resolver=self.meeting.resolver, domain=self.domain,
        )  # fmt: skip
        (self.site.folder / "xmppservice.toml").write_text(text, "utf-8")
        self.site.start()

    def add(self, jid: str) -> None:
        """See `Ours`."""
        self.site.users(jid)

    def login(self, jid: str, available: bool = True) -> RawClient:
        """See `Side`."""
        if available:
            return self.site.login(jid)
        client = self.site.secured(self.domain)
        assert client.scram(jid.partition("@")[0], PASSWORD).name == "success"
        client.restart()
        client.open(self.domain)
        client.bind("r")
        return client

    def links(self) -> list[dict[str, str]]:
        """`xmppctl s2s`, a dict a row."""
        result = self.site.command("s2s")
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    def report(self) -> str:
        """See `Side`."""
        return self.site.log

    def stop(self) -> None:
        """See `Side`; nothing ugly may be in its log."""
        self.site.stop()

    def kill(self) -> None:
        """See `Side`."""
        self.site.end()
