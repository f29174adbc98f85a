"""Streams that we open to servers that are dead, silent, or lie (T01, T03, T06, 3.1-3.3).

The messages of their users all come back; the fixtures `alice` and `ann` look after that in the end.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.attack.inputs.xml import FORBIDDEN
from tests.attack.peer import BIDI_OFFER, DIALBACK, EXTERNAL, MANAGEMENT, RawServer, dialback
from tests.attack.raw import DOMAIN
from tests.attack.s2s.writer import FULL, Writer
from tests.attack.servers.federating import FederatingServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

Neighbours = Callable[[], RawServer]


# -- TLS -------------------------------------------------------------------------------------------


@pytest.mark.attack("T01")
@pytest.mark.parametrize("behind", [
    f"<stream:features>{EXTERNAL}</stream:features>", "<stream:stream>", "x", "<!-- -->", "\x16\x03\x01",
])  # fmt: skip
def test_nothingMayFollowProceed(alice: Writer, neighbours: Neighbours, behind: str) -> None:
    """T01: what comes unprotected with the leave for TLS ends the stream, before anything is made of it."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.opened()
    assert peer.element().name == "starttls"
    peer.send(f"<proceed xmlns='{ns.TLS}'/>{peer.header(id='forged') if behind[0] == '<' else ''}{behind}")
    assert peer.refused("policy-violation") == []


#: What somebody in the middle may make of the features (T03).
STRIPPED = {
    "nothing": "", "EXTERNAL in clear": EXTERNAL, "dialback in clear": DIALBACK,
    "both": EXTERNAL + DIALBACK + BIDI_OFFER + MANAGEMENT,
    "STARTTLS of another kind": "<starttls xmlns='urn:example:tls'/>",
}  # fmt: skip


@pytest.mark.attack("T03")
@pytest.mark.parametrize("who", ["alice", "ann"])
@pytest.mark.parametrize("features", STRIPPED.values(), ids=STRIPPED.keys())
def test_strippedTLS(
    request: pytest.FixtureRequest, neighbours: Neighbours, who: str, features: str
) -> None:
    """T03: where the offer of TLS is missing, nothing goes out in clear but our header, and the sender is told."""
    user, neighbour = request.getfixturevalue(who), neighbours()
    user.write(neighbour.domain)
    peer = neighbour.opened(features)
    assert peer.refused("policy-violation") == []
    assert b"secret" not in peer.raw and b"db:result" not in peer.raw and b"<auth" not in peer.raw


@pytest.mark.attack("T03")
@pytest.mark.parametrize("answer", [f"<failure xmlns='{ns.TLS}'/>", f"<success xmlns='{ns.SASL}'/>", DIALBACK])
def test_refusedTLS(alice: Writer, neighbours: Neighbours, answer: str) -> None:
    """T03: nor does a server that takes its offer back get anything."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.opened()
    peer.send(answer)
    peer.refused("policy-violation", "unsupported-stanza-type")
    assert b"secret" not in peer.raw


BAD = ["self-signed", "of an unknown authority", "of somebody who may not certify", "expired", "not yet valid",
       "for another name", "for a wildcard two labels below", "with the name as a common name only"]  # fmt: skip


@pytest.mark.attack("T06", "T07")
@pytest.mark.parametrize("bad", BAD)
def test_badCertificate(server: FederatingServer, alice: Writer, neighbours: Neighbours, bad: str) -> None:
    """T06, T07: each bad certificate is refused in both directions, before anything is said but the header."""
    neighbour = neighbours()
    papers = neighbour.papers.addBad(neighbour.domain)
    assert list(papers) == BAD
    caller = server.covered(neighbour.domain, papers[bad])
    assert caller.mechanisms == []
    caller.close()
    alice.write(neighbour.domain)
    peer = neighbour.secured(EXTERNAL + DIALBACK + BIDI_OFFER, papers[bad])
    assert peer.refused("policy-violation") == []


@pytest.mark.attack("T06")
@pytest.mark.parametrize("bad", BAD[:1] + BAD[5:6])
def test_badCertificateWithDialback(ann: Writer, neighbours: Neighbours, bad: str) -> None:
    """T06: where dialback is enough, a stream with a bad certificate carries what dialback has proved."""
    neighbour = neighbours()
    ann.write(neighbour.domain, owed=False)
    peer = neighbour.secured(DIALBACK, neighbour.papers.addBad(neighbour.domain)[bad])
    assert peer.result().name == "result"
    peer.send(dialback("result", neighbour.domain, DOMAIN, type="valid"))
    assert peer.element().name == "message"


# -- negotiation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["", MANAGEMENT, f"<mechanisms xmlns='{ns.SASL}'><mechanism>PLAIN</mechanism>"
                                      "</mechanisms>"])  # fmt: skip
def test_noWayToAuthenticate(alice: Writer, neighbours: Neighbours, features: str) -> None:
    """3.1 unsupported-feature: a server that offers neither EXTERNAL nor dialback."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.opened()
    peer.takeStartTLS(neighbour.papers.path(neighbour.domain))
    peer.send(peer.header(id="x", **{"xmlns:db": None}) + f"<stream:features>{features}</stream:features>")
    peer.refused("unsupported-feature")


#: First bytes of the answer, and our stream error.
ANSWERS = {
    "no XMPP": ("220 smtp.test ESMTP\r\n", "not-well-formed"),
    "another stream": ("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' "
                       "version='1.0'>", "invalid-namespace"),
    "another element": ("<html/>", "invalid-namespace"),
    "no version": ("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='1'>",
                   "unsupported-version"),
    "UTF-16": ("<?xml version='1.0' encoding='utf-16'?>", "unsupported-encoding"),
    **{name: (bad, "restricted-xml") for name, bad in FORBIDDEN.items()},
}  # fmt: skip


@pytest.mark.attack("X01")
@pytest.mark.parametrize("answer, wanted", ANSWERS.values(), ids=ANSWERS.keys())
def test_badAnswer(alice: Writer, neighbours: Neighbours, answer: str, wanted: str) -> None:
    """3.1, X01: what we get instead of a header ends the stream, with the error that says why."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.accept()
    peer.hear()
    peer.send(answer)
    peer.refused(wanted)


OUT_OF_PLACE = {
    "features twice": f"<stream:features>{EXTERNAL}</stream:features>" * 2, "a stanza": "<message/>",
    "success for nothing": f"<success xmlns='{ns.SASL}'/>", "a leave for TLS": f"<proceed xmlns='{ns.TLS}'/>",
    "a second header": "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
    "dialback": "<db:result from='victim.test' to='localhost' type='valid'/>",
}  # fmt: skip


@pytest.mark.parametrize("item", OUT_OF_PLACE.values(), ids=OUT_OF_PLACE.keys())
def test_outOfPlace(alice: Writer, neighbours: Neighbours, item: str) -> None:
    """3.1: a server that answers out of order is left."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.opened()
    peer.takeStartTLS(neighbour.papers.path(neighbour.domain))
    peer.send(peer.header(id="x") + item)
    peer.refused("unsupported-stanza-type", "invalid-xml", "bad-namespace-prefix")
    assert b"secret" not in peer.raw


def test_endlessChallenges(alice: Writer, neighbours: Neighbours) -> None:
    """3.2: EXTERNAL has one challenge at most; who asks for ever is left."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.secured(EXTERNAL)
    assert peer.element().name == "auth"
    peer.send(f"<challenge xmlns='{ns.SASL}'/>" * 10)
    answers = peer.rest()
    assert len([item for item in answers if isinstance(item, Element) and item.name == "response"]) <= 2


def test_certificateNotAccepted(alice: Writer, neighbours: Neighbours) -> None:
    """XEP-0178 3: a server that refuses our certificate gets dialback, if it speaks it; its refusal is final."""
    neighbour = neighbours()
    id = alice.write(neighbour.domain)
    peer = neighbour.secured(EXTERNAL + DIALBACK)
    assert peer.element().name == "auth"
    peer.send(f"<failure xmlns='{ns.SASL}'><not-authorized/></failure>")
    assert peer.result().name == "result"
    peer.send(dialback("result", neighbour.domain, DOMAIN, type="invalid"))
    assert alice.bounce(id) == ("cancel", "internal-server-error")


@pytest.mark.attack("S10")
def test_otherHostIsNotFollowed(alice: Writer, neighbours: Neighbours) -> None:
    """3.1 see-other-host, S10: a server that is not authenticated sends us nowhere."""
    neighbour, elsewhere = neighbours(), neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.accept()
    peer.hear()
    peer.send(peer.header(id="x") + f"<stream:error><see-other-host xmlns='{ns.STREAM_ERRORS}'>127.0.0.1:"
              f"{elsewhere.port}</see-other-host></stream:error></stream:stream>")  # fmt: skip
    peer.rest()
    assert elsewhere.waits(0.05)


# -- servers that are dead, or die -----------------------------------------------------------------------


def _closed(neighbour: RawServer) -> None:
    neighbour.close()


def _slammed(neighbour: RawServer) -> None:
    neighbour.accept().close()


def _reset(neighbour: RawServer) -> None:
    peer = neighbour.opened()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def _brokenHandshake(neighbour: RawServer) -> None:
    peer = neighbour.opened()
    peer.element()
    peer.send(f"<proceed xmlns='{ns.TLS}'/>")
    time.sleep(0.05)
    peer.send("no TLS at all")
    peer.close()


def _ended(neighbour: RawServer) -> None:
    peer = neighbour.secured(EXTERNAL)
    peer.send("</stream:stream>")
    peer.rest()


def _refused(neighbour: RawServer) -> None:
    peer = neighbour.accept()
    peer.hear()
    peer.send(peer.header(id="x") + f"<stream:error><host-unknown xmlns='{ns.STREAM_ERRORS}'/><text "
              f"xmlns='{ns.STREAM_ERRORS}'>{'&lt;script>' * 5}\n\x85\u202e</text></stream:error></stream:stream>")
    peer.rest()


@pytest.mark.attack("D10")
@pytest.mark.parametrize("death", [_closed, _slammed, _reset, _brokenHandshake, _ended, _refused])
def test_dyingServers(
    server: FederatingServer, alice: Writer, neighbours: Neighbours, death: Callable[[RawServer], None]
) -> None:
    """3.3 remote-server-timeout: however it dies, its users' messages come back, and little is logged of it."""
    neighbour = neighbours()
    logged = len(server.report())
    alice.write(neighbour.domain)
    alice.write(neighbour.domain)
    death(neighbour)
    alice.client.ping()
    said = server.report()[logged:]
    assert len(said) < 4000 and not any(bad in said for bad in "\x85\u202e\x1b"), "D10: it is told, but as data"
    assert all(line[:2] == "20" or not line for line in said.split("\n")), said


@pytest.mark.attack("D02", "D11")
def test_silentServers(alice: Writer, neighbours: Neighbours) -> None:
    """D02, D11: what waits for a silent server is bounded; the rest comes back at once, and others are served."""
    silent, alive = neighbours(), neighbours()
    ids = [alice.write(silent.domain) for _ in range(30)]
    for id in ids[20:]:
        assert alice.bounce(id) == FULL
    last = alice.write(alive.domain, owed=False)
    assert alive.authenticated().element().get("id") == last
