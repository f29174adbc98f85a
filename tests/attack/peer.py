"""Another server, byte by byte: a connection in either direction, and a port that says what a test tells it to say."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections import deque
from pathlib import Path

from tests.attack.raw import DOMAIN, PATIENCE, RawClient, auth, header
from tests.security.certificates import Authority, Identity, selfSigned
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader

STARTTLS = f"<starttls xmlns='{ns.TLS}'><required/></starttls>"
EXTERNAL = f"<mechanisms xmlns='{ns.SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
DIALBACK = f"<dialback xmlns='{ns.DIALBACK_FEATURE}'><errors/></dialback>"
BIDI_OFFER = f"<bidi xmlns='{ns.BIDI_FEATURE}'/>"
MANAGEMENT = f"<sm xmlns='{ns.SM}'/>"
BIDI = f"<bidi xmlns='{ns.BIDI}'/>"

_ids = itertools.count(1)


def dialback(name: str, sender: str, to: str, key: str = "", **more: str) -> str:
    """An element of dialback (XEP-0220)."""
    attributes = "".join(f" {attribute}='{value}'" for attribute, value in more.items())
    return f"<db:{name} from='{sender}' to='{to}'{attributes}>{key}</db:{name}>"


def body(sender: str, to: str, text: str = "x") -> str:
    """A message between servers."""
    return f"<message from='{sender}' to='{to}'><body>{text}</body></message>"


class Papers:
    """Certificates of one authority that is trusted, and of others; `chains` has the trusted one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = Authority("the authority of all servers")
        self.stranger = Authority("an authority that nobody knows")
        self.trusted = folder / "authority.pem"
        self.trusted.write_bytes(self.authority.pem)
        self._paths: dict[str, Path] = {}

    def add(self, name: str, identity: Identity) -> None:
        """Keep a certificate under a name."""
        self._paths[name] = identity.write(self._folder, f"paper{len(self._paths)}")

    def path(self, name: str) -> Path:
        """The file of a name: a good certificate for a domain, made when it is needed."""
        if name not in self._paths:
            self.add(name, self.authority.names(name.encode("idna").decode(), usage=None))
        return self._paths[name]

    def addBad(self, domain: str) -> dict[str, str]:
        """What nobody may accept for this domain; gives kind and name of each."""
        deputy = self.authority.deputy("no authority", authority=False)
        bad = {
            "self-signed": selfSigned(domain),
            "of an unknown authority": self.stranger.names(domain),
            "of somebody who may not certify": deputy.names(domain),
            "expired": self.authority.names(domain, expired=True),
            "not yet valid": self.authority.names(domain, future=True),
            "for another name": self.authority.names("other." + domain),
            "for a wildcard two labels below": self.authority.names("*." + domain.partition(".")[2].partition(".")[2]),
            "with the name as a common name only": self.authority.names(common=domain),
        }
        for kind, identity in bad.items():
            self.add(f"{domain} {kind}", identity)
        return {kind: f"{domain} {kind}" for kind in bad}


class RawPeer(RawClient):
    """One connection between servers: `domain` is whom this end claims to be, `to` the domain at the other end."""

    def __init__(self, connection: int | socket.socket, domain: str, to: str = DOMAIN) -> None:
        self.domain, self.to = domain, to
        self.id = ""
        if isinstance(connection, int):
            super().__init__(connection)
            return
        self.socket, self.address = connection, ""
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = self.reset = False
        self.jid = ""
        self.features = Element(ns.STREAM, "features")
        self.items = deque()
        self.restart()

    # -- as the initiating server ----------------------------------------------------------------

    def header(self, **more: str | None) -> str:
        """The header of this end."""
        attributes = {"xmlns": ns.SERVER, "xmlns:db": ns.DIALBACK, "from": self.domain, "to": self.to, **more}
        return header(**attributes)  # type: ignore[arg-type]

    def open(self, to: str = "", **more: str) -> StreamHeader:
        """A header, and the answer with its features; `id` is that of the answer."""
        self.send(self.header(**{"to": to or self.to, **more}))
        answer = self.next()
        assert isinstance(answer, StreamHeader), (answer, self.raw)
        self.id = answer.attrs["id"]
        self.features = self.element()
        assert self.features.name == "features", self.features
        return answer

    def encrypt(self, ca: Path, paper: Path | None) -> None:
        """STARTTLS as a client that verifies; with a certificate to show, or none."""
        self.startTLS(None, self.to, outwards(ca, paper))

    def external(self, authzid: str | None = None) -> None:
        """SASL EXTERNAL, and the header behind it."""
        self.send(auth("EXTERNAL", (self.domain if authzid is None else authzid).encode()))
        answer = self.element()
        assert answer.name == "success", answer
        self.restart()
        self.open()

    def ask(self, type: str, payload: str, to: str = "", patience: float = PATIENCE) -> Element:
        """See `RawClient.ask`; the answer comes only if this stream is for both directions."""
        id = f"s{next(_ids)}"
        self.send(f"<iq type='{type}' id='{id}' from='{self.domain}' to='{to or self.to}'>{payload}</iq>")
        return self.find(lambda item: item.name == "iq" and item.get("id") == id, patience)

    def result(self, patience: float = PATIENCE) -> Element:
        """The next element of dialback."""
        return self.find(lambda item: item.ns == ns.DIALBACK, patience)

    # -- as the receiving server -----------------------------------------------------------------

    def hear(self) -> StreamHeader:
        """The header of the other end."""
        found = self.next()
        assert isinstance(found, StreamHeader), (found, self.raw)
        return found

    def greet(self, features: str = "", **more: str) -> None:
        """Our header with a new id, and features."""
        self.id = f"id-{next(_ids)}"
        self.send(self.header(id=self.id, **more) + f"<stream:features>{features}</stream:features>")

    def startHandshake(self, paper: Path) -> None:
        """TLS as the receiving end; any certificate may be shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paper, paper.with_suffix(".key"))
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.restart()

    def takeStartTLS(self, paper: Path) -> None:
        """The other end has to ask for TLS; gets it, and sends its header."""
        assert self.element().name == "starttls"
        self.send(f"<proceed xmlns='{ns.TLS}'/>")
        self.startHandshake(paper)
        self.hear()

    def takeExternal(self, features: str = "") -> Element:
        """The other end authenticates with EXTERNAL and opens its stream anew; gives what it sent."""
        asked = self.find(lambda item: item.name == "auth")
        self.send(f"<success xmlns='{ns.SASL}'/>")
        # Nothing of ours is on its way: the other end waits for this.
        self.restart()
        self.hear()
        self.greet(features)
        return asked


def outwards(ca: Path, paper: Path | None) -> ssl.SSLContext:
    """Verifies the other end; shows a certificate, or none."""
    context = ssl.create_default_context(cafile=ca)
    if paper is not None:
        context.load_cert_chain(paper, paper.with_suffix(".key"))
    return context


class RawServer:
    """The server of one domain: a port, and a script for each connection, run by the test itself."""

    def __init__(self, domain: str, papers: Papers, address: str = "127.0.0.1") -> None:
        self.domain = domain
        self.papers = papers
        self._listener = socket.create_server((address, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._made: list[RawPeer] = []

    def accept(self, patience: float = PATIENCE) -> RawPeer:
        """The next connection, before anything is said."""
        self._listener.settimeout(patience)
        peer = RawPeer(self._listener.accept()[0], self.domain)
        self._made.append(peer)
        return peer

    def opened(self, features: str = STARTTLS, patience: float = PATIENCE) -> RawPeer:
        """A connection whose header was answered."""
        peer = self.accept(patience)
        peer.to = peer.hear().attrs["from"]
        peer.greet(features)
        return peer

    def secured(self, features: str, paper: str = "", patience: float = PATIENCE) -> RawPeer:
        """A connection behind STARTTLS; `paper` is a certificate of ours that is not the good one."""
        peer = self.opened(patience=patience)
        peer.takeStartTLS(self.papers.path(paper or self.domain))
        peer.greet(features)
        return peer

    def authenticated(self, before: str = EXTERNAL + DIALBACK, behind: str = "", patience: float = PATIENCE) -> RawPeer:
        """A connection behind EXTERNAL."""
        peer = self.secured(before, patience=patience)
        peer.takeExternal(behind)
        return peer

    def vouch(self, type: str, paper: str = "") -> Element:
        """The authoritative server's part of dialback: the question about a key gets this answer."""
        peer = self.secured(DIALBACK, paper)
        asked = peer.result()
        assert asked.name == "verify", asked
        peer.send(dialback("verify", asked.attrs["to"], asked.attrs["from"], id=asked.attrs["id"], type=type))
        return asked

    def waits(self, seconds: float = 0.3) -> bool:
        """Whether nobody calls for a while."""
        try:
            self.accept(seconds)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        """The end: connections are refused."""
        self._listener.close()
        for peer in self._made:
            peer.close()
