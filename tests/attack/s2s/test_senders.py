"""Who says what for whom: `from` on proved streams, streams for both directions, answers of others (S04, S09, I05)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack.peer import BIDI, BIDI_OFFER, DIALBACK, EXTERNAL, RawServer, body
from tests.attack.raw import DOMAIN, RawClient, condition
from tests.attack.servers.federating import FederatingServer
from tests.attack.servers.own import COMPONENT, SECRET
from xmppservice.protocol.stream.component import handshake
from xmppservice.wire import ns
from xmppservice.wire.parser import StreamHeader

Clients = Callable[..., RawClient]
Neighbours = Callable[[], RawServer]

EVIL, IDN = "evil.test", "bücher.test"

#: What a server that has proved `EVIL` may not say.
FOREIGN = {
    "another domain": "a@victim.test", "our domain": f"a@{DOMAIN}", "our domain itself": DOMAIN,
    "another host of ours": "other.test", "our component": "a@component.test", "a domain below": f"a@sub.{EVIL}",
    "a domain above": "a@test", "a longer name": f"a@x{EVIL}", "a name that begins so": f"a@{EVIL}.victim.test",
    "its name as a user": f"{EVIL}@victim.test", "its name as a resource": f"a@victim.test/{EVIL}",
    "a letter that looks alike": "a@еvil.test",
}  # fmt: skip

#: What is `EVIL` or `IDN` as soon as it is normalised, and so is that domain.
SAME = {
    EVIL: ("evil.test", "evil.test.", "EVIL.test", "ｅｖｉｌ.test", "evil．test", "evil。test", "ev\u00adil.test"),
    IDN: ("bücher.test", "BÜCHER.test", "xn--bcher-kva.test", "XN--BCHER-KVA.TEST", "bu\u0308cher.test"),
}


@pytest.mark.attack("S04")
@pytest.mark.parametrize("sender", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreignSender(server: FederatingServer, victim: RawClient, sender: str) -> None:
    """S04, 3.1 invalid-from: whoever proved one domain speaks for no other."""
    peer = server.proved(EVIL)
    peer.send(body(sender, victim.jid))
    peer.refused("invalid-from")
    assert victim.messages() == []


@pytest.mark.attack("S04")
def test_noSender(server: FederatingServer, victim: RawClient) -> None:
    """S04, 8.1.2.2: without ``from`` nobody guesses it, though the stream proved one domain only."""
    for addresses in (f"to='{victim.jid}'", f"from='' to='{victim.jid}'"):
        peer = server.proved(EVIL)
        peer.send(f"<message {addresses}><body>x</body></message>")
        peer.refused("improper-addressing")
    assert victim.messages() == []


@pytest.mark.attack("S04")
@pytest.mark.parametrize("domain", SAME)
def test_otherSpellings(server: FederatingServer, victim: RawClient, domain: str) -> None:
    """S04: what normalises to the proved domain is that domain, and arrives as such; in the header, too."""
    for spelling in SAME[domain]:
        peer = server.covered(spelling, domain)
        peer.external()
        for sender in SAME[domain]:
            peer.send(body(f"a@{sender}", victim.jid))
        assert {message.get("from") for message in victim.messages(len(SAME[domain]))} == {f"a@{domain}"}
        peer.close()


@pytest.mark.attack("S04")
@pytest.mark.parametrize("sender", ["bucher.test", "b\u00fc\u0441her.test", "xn--bcher-kva.evil.test", "bücher.tes"])
def test_almostTheSame(server: FederatingServer, victim: RawClient, sender: str) -> None:
    """S04: what only looks like the proved domain is another."""
    peer = server.proved(IDN)
    peer.send(body(f"a@{sender}", victim.jid))
    peer.refused("invalid-from")
    assert victim.messages() == []


# -- S09: both directions ------------------------------------------------------------------------------


@pytest.mark.attack("S09")
@pytest.mark.parametrize("paper", [None, "somebody.test", "own"])
def test_bothDirectionsNeedAProof(
    server: FederatingServer, clients: Clients, neighbours: Neighbours, paper: str | None
) -> None:
    """S09: a stream that nobody was proved on is sent nothing, whatever it asked for and whoever it says it is."""
    alice, neighbour = clients(), neighbours()
    peer = server.covered(neighbour.domain, neighbour.domain if paper == "own" else paper)
    peer.send(BIDI)
    alice.send(f"<message to='x@{neighbour.domain}'><body>secret</body></message>")
    assert neighbour.authenticated().element().name == "message"
    assert peer.silent(0.1)
    peer.send(body(f"a@{neighbour.domain}", alice.jid))
    peer.refused("not-authorized")


@pytest.mark.attack("S09")
def test_onlyThePairThatWasProved(server: FederatingServer, clients: Clients, neighbours: Neighbours) -> None:
    """S09: for both directions or not, a stream carries no pair but those proved on it."""
    neighbour = neighbours()
    peer = server.proved(neighbour.domain, bidi=True)
    peer.ping()
    component = RawClient(server.componentPort)
    component.send(f"<stream:stream xmlns='{ns.COMPONENT}' xmlns:stream='{ns.STREAM}' to='{COMPONENT}'>")
    answer = component.next()
    assert isinstance(answer, StreamHeader)
    component.send(f"<handshake>{handshake(answer.attrs['id'], SECRET.encode())}</handshake>")
    assert component.element().name == "handshake"
    component.send(body(f"a@{COMPONENT}", f"x@{neighbour.domain}"))
    other = neighbour.authenticated()
    assert other.to == COMPONENT and other.element().get("from") == f"a@{COMPONENT}"
    assert peer.silent(0.1)
    component.close()


@pytest.mark.attack("S09")
@pytest.mark.parametrize("sender, to, wanted", [
    ("a@victim.test", "{user}", "invalid-from"), (f"a@{DOMAIN}", "{user}", "invalid-from"),
    ("a@{n}", "x@other.test", "not-authorized"), ("a@{n}", "x@nobody.test", "host-unknown"),
])  # fmt: skip
def test_othersOnAStreamThatWeOpened(
    server: FederatingServer, clients: Clients, neighbours: Neighbours, sender: str, to: str, wanted: str
) -> None:
    """S09: on a stream that we opened for both directions, the other server speaks for the domain that we called."""
    alice, neighbour = clients(), neighbours()
    alice.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.secured(EXTERNAL + DIALBACK + BIDI_OFFER)
    assert (peer.element().name, peer.takeExternal().name) == ("bidi", "auth")
    assert peer.element().name == "message"
    peer.send(body(f"a@{neighbour.domain}", alice.jid, "own"))
    assert [message.elements()[0].text for message in alice.messages(1)] == ["own"]
    peer.send(body(sender.format(n=neighbour.domain), to.format(user=alice.jid)))
    peer.refused(wanted)
    assert alice.messages() == []


@pytest.mark.attack("S09")
def test_oneDirection(server: FederatingServer, clients: Clients, neighbours: Neighbours) -> None:
    """S09: where both directions were not agreed on, a server that we called may send nothing."""
    alice, neighbour = clients(), neighbours()
    alice.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.authenticated()
    assert peer.element().name == "message"
    peer.send(body(f"a@{neighbour.domain}", alice.jid))
    peer.refused("not-authorized")
    assert alice.messages() == []


@pytest.mark.attack("S09")
def test_nothingBeforeItHasAccepted(easy: FederatingServer, clients: Clients, neighbours: Neighbours) -> None:
    """S09: by dialback, both directions begin with the valid result, and not before."""
    alice, neighbour = clients(easy), neighbours()
    alice.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    peer = neighbour.secured(DIALBACK + BIDI_OFFER)
    assert (peer.element().name, peer.result().name) == ("bidi", "result")
    peer.send(body(f"a@{neighbour.domain}", alice.jid))
    peer.refused("not-authorized")
    assert alice.messages() == []


# -- XEP-0198: streams of others ------------------------------------------------------------------------------


@pytest.mark.attack("A07")
def test_resumingAnother(server: FederatingServer) -> None:
    """A07: who knows the token of another server's stream, but is not that server, resumes nothing."""
    owner, mallory = server.proved("owner.test"), server.proved("mallory.test")
    owner.send(f"<enable xmlns='{ns.SM}' resume='true'/>")
    token = owner.element().get("id")
    resume = f"<resume xmlns='{ns.SM}' previd='{token}' h='0'/>"
    assert token and len(token) >= 16
    mallory.send(resume)
    assert condition(mallory.element()) == "item-not-found"
    owner.close()
    mallory.send(resume)
    assert condition(mallory.element()) == "item-not-found"
    again = server.proved("owner.test")
    again.send(resume)
    assert again.element().name == "resumed"
    again.close()
    mallory.close()


# -- I05: answers of others --------------------------------------------------------------------------------


@pytest.mark.attack("I05")
def test_answersOfOthers(server: FederatingServer, clients: Clients, neighbours: Neighbours) -> None:
    """I05: an answer of a third server, with the right id, comes with its own address; whom we asked answers still."""
    alice, asked = clients(), neighbours()
    mallory = server.proved("mallory.test")
    alice.send(f"<iq type='get' id='q7' to='{asked.domain}'><ping xmlns='{ns.PING}'/></iq>")
    peer = asked.secured(EXTERNAL + BIDI_OFFER)
    peer.takeExternal()
    assert peer.element().get("id") == "q7"
    mallory.send(f"<iq type='result' id='q7' from='mallory.test' to='{alice.jid}'/>")
    assert alice.find(lambda item: item.get("id") == "q7").get("from") == "mallory.test"
    peer.send(f"<iq type='result' id='q7' from='{asked.domain}' to='{alice.jid}'/>")
    assert alice.find(lambda item: item.get("id") == "q7").get("from") == asked.domain
    mallory.send(f"<iq type='result' id='q7' from='{asked.domain}' to='{alice.jid}'/>")
    mallory.refused("invalid-from")
    assert alice.silent(0.05)


@pytest.mark.attack("I04")
def test_forgedIds(server: FederatingServer, victim: RawClient) -> None:
    """I04: ids in our name are taken out of what other servers send as well."""
    user = victim.jid.partition("/")[0]
    peer = server.proved("known.test")
    forged = "".join(f"<stanza-id xmlns='{ns.SID}' id='f' by='{by}'/>" for by in (user, user.upper(), DOMAIN))
    peer.send(f"<message from='a@known.test' to='{victim.jid}'><body>x</body>{forged}</message>")
    (message,) = victim.messages(1)
    assert "f" not in [child.get("id") for child in message.elements() if child.ns == ns.SID]
