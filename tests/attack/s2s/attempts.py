"""Attacks between servers as short texts: what a sound server does, and what one with a defence cut out does not."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.attack.peer import BIDI, DIALBACK, EXTERNAL, RawServer, body, dialback
from tests.attack.raw import DOMAIN, RawClient
from tests.attack.servers.federating import FederatingServer
from tests.attack.table.arena import tell, until
from xmppservice.wire import ns
from xmppservice.wire.element import Element

QUIET = 0.4
Take = Callable[[], RawServer]
Attempt = Callable[[FederatingServer, RawClient, Take], str]


def _delivered(victim: RawClient) -> str:
    return f"{len(victim.messages())} delivered"


def unasked(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S01: a result that nobody asked for."""
    peer = server.covered("mallory.test")
    peer.send(dialback("result", "victim.test", DOMAIN, type="valid") + body("a@victim.test", victim.jid))
    return f"{tell(until(peer, QUIET), peer)}, {_delivered(victim)}"


def anotherKey(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S02: a key that is none of ours."""
    peer = server.covered("mallory.test")
    peer.send(dialback("verify", "a.test", DOMAIN, "0" * 64, id="1"))
    return str(peer.result().get("type"))


def otherDomain(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S03: a certificate of one domain, dialback of another, which nobody vouches for."""
    mallory, other = take(), take()
    other.close()
    peer = server.covered(mallory.domain, mallory.domain)
    peer.external()
    peer.send(dialback("result", other.domain, DOMAIN, "key") + body(f"a@{other.domain}", victim.jid))
    until(peer, QUIET)
    return _delivered(victim)


def foreignSender(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S04: another sender than was proved."""
    peer = server.proved("known.test")
    peer.send(body("a@victim.test", victim.jid))
    return f"{tell(until(peer, QUIET), peer)}, {_delivered(victim)}"


def ourselves(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S06: somebody who says that it is us."""
    peer = server.call("other.test")
    peer.send(peer.header())
    return tell(until(peer, QUIET), peer)


def bothDirections(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S09: a stream that proved nothing wants to be sent what is for a domain; its own server is there, too."""
    neighbour = take()
    peer = server.covered(neighbour.domain)
    peer.send(BIDI + dialback("result", neighbour.domain, DOMAIN, "key"))
    victim.send(f"<message to='x@{neighbour.domain}'><body>secret</body></message>")
    got = [item.name for item in until(peer, QUIET) if isinstance(item, Element) and item.ns == ns.CLIENT]
    neighbour.close()
    return "the message" if "message" in got else "nothing"


def onOurStream(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """S09: a server that we called sends on that stream, for which one direction was agreed on."""
    neighbour = take()
    victim.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.authenticated()
    peer.send(body(f"a@{neighbour.domain}", victim.jid))
    until(peer, QUIET)
    return _delivered(victim)


def stripped(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """T03: the offer of TLS is taken away, everything else is offered."""
    neighbour = take()
    victim.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.opened(DIALBACK)
    until(peer, QUIET)
    return "a key in clear" if b"db:result" in peer.raw else "nothing"


def withoutTLS(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """T02: dialback before TLS."""
    neighbour = take()
    peer = server.caller(neighbour.domain)
    peer.send(dialback("result", neighbour.domain, DOMAIN, "key"))
    until(peer, QUIET)
    return "an error" if b"<policy-violation" in peer.raw else "no such error"


def injected(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """T01: features in clear behind the leave for TLS."""
    neighbour = take()
    victim.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.opened()
    peer.element()
    peer.send(f"<proceed xmlns='{ns.TLS}'/>{peer.header(id='x')}<stream:features>{EXTERNAL}</stream:features>")
    found = tell(until(peer, QUIET), peer) if b"\x16\x03" not in _peek(peer) else "a handshake"
    neighbour.close()
    return found


def _peek(peer: RawClient) -> bytes:
    peer.socket.settimeout(10)
    return bytes(peer.socket.recv(5, socket.MSG_PEEK))


def selfMade(server: FederatingServer, victim: RawClient, take: Take) -> str:
    """T06: a certificate that vouches for itself, in both directions."""
    neighbour = take()
    paper = neighbour.papers.addBad(neighbour.domain)["self-signed"]
    offered = server.covered(neighbour.domain, paper).mechanisms
    victim.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.secured(EXTERNAL, paper)
    asked = [item.name for item in until(peer, QUIET) if isinstance(item, Element)]
    neighbour.close()
    return f"{', '.join(offered) or 'nothing'} offered, {'accepted' if 'auth' in asked else 'refused'}"
