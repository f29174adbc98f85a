"""Streams that other servers open to us: headers, order and SASL (RFC 6120; hardening 3.1, 3.2)."""

from __future__ import annotations

import time

import pytest

from tests.attack.inputs.servers import EARLY, HEADERS, KNOWN, LATE, STRANGER, TRIES, header
from tests.attack.peer import BIDI, RawPeer, body, dialback
from tests.attack.raw import DOMAIN, STARTTLS, RawClient, auth, condition, names
from tests.attack.servers.federating import FederatingServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamEnd, StreamHeader

# -- headers and features ----------------------------------------------------------------------


@pytest.mark.attack("S06")
@pytest.mark.parametrize("stage", ["plain", "secured", "direct"])
@pytest.mark.parametrize("bad, wanted", HEADERS.values(), ids=HEADERS.keys())
def test_badHeaderOpensAndFails(server: FederatingServer, stage: str, bad: str | bytes, wanted: str) -> None:
    """3.1, S06: a header of ours, the exact error, and the end (4.9.1.2); nobody from outside is one of us."""
    peer = server.before(STRANGER, stage)
    peer.send(bad)
    (answer,) = peer.refused(wanted)
    assert isinstance(answer, StreamHeader)
    assert answer.attrs["version"] == "1.0" and answer.attrs["id"] and answer.attrs["from"] == DOMAIN
    assert answer.contentNs == ns.SERVER and not peer.reset
    peer.close()


def test_featuresComeInOrder(server: FederatingServer) -> None:
    """4.3.2: TLS first and required; EXTERNAL and dialback over it; no mechanism behind the proof; ids are new."""
    peer = server.caller(STRANGER)
    startTLS = peer.features.find(ns.TLS, "starttls")
    assert startTLS is not None and names(startTLS.elements()) == ["required"] and len(peer.features.elements()) == 1
    ids = {peer.id}
    peer.encrypt(server.ca, server.town.papers.path(STRANGER))
    peer.open()
    offered = names(peer.features.elements())
    assert peer.mechanisms == ["EXTERNAL"] and "dialback" in offered and "starttls" not in offered
    ids.add(peer.id)
    peer.external()
    assert {"mechanisms", "starttls", "bidi"}.isdisjoint(names(peer.features.elements()))
    ids.add(peer.id)
    assert len(ids) == 3 and min(map(len, ids)) >= 16
    peer.close()


@pytest.mark.attack("S09")
def test_bidiIsOfferedOverTLSOnly(server: FederatingServer) -> None:
    """S09, XEP-0288 2.2: nothing is offered that is then refused."""
    assert server.caller(STRANGER).features.find(ns.BIDI_FEATURE, "bidi") is None
    peer = server.covered(STRANGER, STRANGER)
    assert peer.features.find(ns.BIDI_FEATURE, "bidi") is not None


def test_externalIsForThoseWhoCanUseIt(server: FederatingServer) -> None:
    """4.3.2: without a certificate for the domain it is not offered, and what is not offered is not accepted."""
    for paper in (None, "somebody.test"):
        peer = server.covered(STRANGER, paper)
        assert peer.mechanisms == []
        peer.send(auth("EXTERNAL", STRANGER.encode()))
        assert condition(peer.element()) == "invalid-mechanism"
        peer.close()


def test_nobodyNeedsToSayWhoItIs(server: FederatingServer) -> None:
    """XEP-0220 2.1.1: a header without ``from`` gets no EXTERNAL, and can do nothing but dialback."""
    peer = server.call(STRANGER, direct=True, paper=STRANGER)
    peer.send(header(**{"from": None}))  # type: ignore[arg-type]
    assert "to" not in _header(peer).attrs and peer.element().find(ns.SASL, "mechanisms") is None
    peer.send(EARLY["a message"][0])
    peer.refused("not-authorized")


def _header(peer: RawPeer) -> StreamHeader:
    found = peer.next()
    assert isinstance(found, StreamHeader)
    return found


@pytest.mark.attack("A03")
@pytest.mark.parametrize("changed", [{"to": "other.test"}, {"from": "victim.test"}, {"from": "sub." + STRANGER}])
def test_changedBehindTheProof(server: FederatingServer, changed: dict[str, str]) -> None:
    """A03, 6.4.6: whoever proved one domain to one host is not another one behind it, nor at another host."""
    peer = server.covered(STRANGER, STRANGER)
    peer.send(auth("EXTERNAL", b""))
    assert peer.element().name == "success"
    peer.restart()
    peer.send(peer.header(**changed))
    peer.refused("not-authorized")


def test_otherHostBehindTLS(server: FederatingServer) -> None:
    """A03: TLS was for one host."""
    peer = server.caller(STRANGER)
    peer.encrypt(server.ca, server.town.papers.path(STRANGER))
    peer.send(peer.header(to="other.test"))
    peer.refused("host-unknown")


# -- order ----------------------------------------------------------------------------------------


@pytest.mark.attack("S09")
@pytest.mark.parametrize("early, wanted", EARLY.values(), ids=EARLY.keys())
def test_beforeAnythingIsProved(stranger: RawPeer, victim: RawClient, early: str, wanted: str) -> None:
    """3.1 not-authorized and others: nothing of it is processed, and it is the end."""
    stranger.send(early)
    assert stranger.refused(wanted) == []
    assert victim.messages() == []


@pytest.mark.parametrize("late, wanted", LATE.values(), ids=LATE.keys())
def test_behindTheProof(known: RawPeer, victim: RawClient, late: str, wanted: str) -> None:
    """3.1: unsupported-stanza-type, improper-addressing, invalid-xml; also from somebody who is known."""
    known.send(late)
    known.refused(wanted)
    assert victim.messages() == []


@pytest.mark.attack("T02", "S09")
@pytest.mark.parametrize("early", [BIDI, auth("EXTERNAL", b""), dialback("result", STRANGER, DOMAIN, "x"),
                                   dialback("verify", STRANGER, DOMAIN, "x", id="1")])  # fmt: skip
def test_nothingGoesAroundTLS(server: FederatingServer, victim: RawClient, early: str) -> None:
    """T02, S09: both directions, EXTERNAL and dialback need TLS, five tries of them end it, and no success comes."""
    peer = server.caller(STRANGER)
    peer.send(early * 5 + body(f"a@{STRANGER}", victim.jid))
    answers = [item for item in peer.refused("policy-violation", "unsupported-stanza-type")
               if isinstance(item, Element)]  # fmt: skip
    for answer in answers:
        assert answer.name == "failure" or answer.get("type") == "error"
        text = peer.raw.decode()
        assert "encryption-required" in text or "policy-violation" in text
    assert victim.messages() == []


@pytest.mark.attack("T01")
@pytest.mark.parametrize("behind", [header(), header() + auth("EXTERNAL", b""), "x", "<message/>"])
def test_nothingMayFollowStartTLS(server: FederatingServer, behind: str) -> None:
    """T01: what comes unprotected with the request for TLS ends the stream."""
    peer = server.caller(STRANGER)
    peer.send(STARTTLS + behind)
    assert peer.refused("policy-violation") == []


def test_startTLSOnceOnly(server: FederatingServer) -> None:
    """5.4.2.2: STARTTLS behind TLS is a failure, and the end."""
    for direct in (False, True):
        peer = server.covered(STRANGER, direct=direct)
        peer.send(STARTTLS)
        items = peer.rest()
        assert isinstance(items[0], Element) and items[0].name == "failure" and isinstance(items[-1], StreamEnd)


def test_endIsAnswered(stranger: RawPeer) -> None:
    """4.4: white space is a sign of life; the end of the stream is answered with the end of ours."""
    stranger.send("  \n ")
    assert stranger.silent(0.1)
    begun = time.monotonic()
    stranger.send("</stream:stream>")
    assert [type(item) for item in stranger.rest()] == [StreamEnd]
    assert time.monotonic() - begun < 5 and not stranger.reset


def test_endOfAProvedStream(known: RawPeer) -> None:
    """4.4: what was asked before the end of a stream for both directions is answered before it."""
    known.ping()
    known.send(f"<iq type='get' id='last' from='{KNOWN}' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq></stream:stream>")
    answer, end = known.rest()
    assert isinstance(answer, Element) and answer.get("id") == "last" and isinstance(end, StreamEnd)


def test_halfClosed(server: FederatingServer) -> None:
    """4.4: a peer that closes its half gets the end of our stream and no reset."""
    peer = server.caller(STRANGER)
    peer.finish()
    assert [type(item) for item in peer.rest()] == [StreamEnd] and not peer.reset


def test_nothingIsProcessedBehindAnError(known: RawPeer, victim: RawClient) -> None:
    """4.9.1.1: what comes with the same segment behind an error goes nowhere."""
    sender = f"a@{KNOWN}"
    known.send(body(sender, victim.jid, "first") + "<!-- x -->" + body(sender, victim.jid, "second"))
    known.refused("restricted-xml")
    assert [message.elements()[0].text for message in victim.messages(1)] == ["first"]


# -- SASL -----------------------------------------------------------------------------------------


@pytest.mark.attack("A01")
@pytest.mark.parametrize("bad, wanted", TRIES.values(), ids=TRIES.keys())
def test_badExternal(server: FederatingServer, bad: str, wanted: str) -> None:
    """3.2, A01: the exact failure; the stream stays for a better try, as the domain of the certificate only."""
    peer = server.covered(STRANGER, STRANGER)
    peer.send(bad)
    failure = peer.element()
    assert (failure.name, condition(failure)) == ("failure", wanted)
    peer.external()
    peer.close()


def test_otherSpellingsOfTheDomain(server: FederatingServer) -> None:
    """6.3.8: whatever is the domain when it is normalised is that domain; nothing at all is it, too."""
    for spelling in ("", STRANGER.upper(), STRANGER + ".", "ｓｔｒａｎｇｅｒ．test"):
        peer = server.covered(STRANGER, STRANGER)
        peer.external(spelling)
        peer.close()


def test_challenge(server: FederatingServer) -> None:
    """6.4.2, 3.2 aborted: without an initial response an empty challenge comes, which may be answered or aborted."""
    peer = server.covered(STRANGER, STRANGER)
    for ending, wanted in ((f"<abort xmlns='{ns.SASL}'/>", "aborted"),
                           (f"<response xmlns='{ns.SASL}'>@</response>", "incorrect-encoding")):  # fmt: skip
        peer.send(f"<auth xmlns='{ns.SASL}' mechanism='EXTERNAL'/>")
        assert peer.element().name == "challenge"
        peer.send(ending)
        assert condition(peer.element()) == wanted
    peer.send(f"<auth xmlns='{ns.SASL}' mechanism='EXTERNAL'/>")
    peer.element()
    peer.send(body(f"a@{STRANGER}", f"user1@{DOMAIN}"))
    peer.refused("not-authorized")


@pytest.mark.attack("A06")
def test_fiveTries(server: FederatingServer) -> None:
    """3.2 retries: five failures, and the stream is over."""
    peer = server.covered(STRANGER, STRANGER)
    peer.send(auth("EXTERNAL", b"victim.test") * 30)
    failures = peer.refused("policy-violation")
    assert len(failures) == 5
