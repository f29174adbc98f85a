"""Dialback under attack: answers that nobody asked for, keys, and other people's domains (S01-S03, S05, S06)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack.peer import DIALBACK, RawPeer, RawServer, body, dialback
from tests.attack.raw import DOMAIN, RawClient, condition
from tests.attack.servers.federating import FederatingServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamEnd

Clients = Callable[..., RawClient]
Neighbours = Callable[[], RawServer]


@pytest.fixture
def user(easy: FederatingServer, clients: Clients) -> RawClient:
    """Somebody whom nothing forged may reach."""
    return clients(easy)


def refusedBy(result: Element) -> str:
    """What a negative answer says."""
    error = result.find(ns.CLIENT, "error")
    return f"{result.get('type')}: {condition(error)}" if error is not None else str(result.get("type"))


def prove(easy: FederatingServer, neighbour: RawServer, to: str = DOMAIN) -> RawPeer:
    """A stream of a neighbour that has proved itself by dialback."""
    peer = easy.covered(neighbour.domain, to=to)
    peer.send(dialback("result", neighbour.domain, to, "key"))
    neighbour.vouch("valid")
    assert peer.result().get("type") == "valid"
    return peer


# -- S01: answers without a question ---------------------------------------------------------------

#: What somebody who wants to be `{victim}` says on a stream that it has opened.
UNASKED = {
    "a result": "<db:result from='{victim}' to='localhost' type='valid'/>",
    "a result with an id": "<db:result from='{victim}' to='localhost' type='valid' id='{id}'/>",
    "a result the other way round": "<db:result from='localhost' to='{victim}' type='valid'/>",
    "an answer about its own stream": "<db:verify from='{victim}' to='localhost' id='{id}' type='valid'/>",
    "an answer the other way round": "<db:verify from='localhost' to='{victim}' id='{id}' type='valid'/>",
    "an answer about no stream": "<db:verify from='{victim}' to='localhost' id='none' type='valid'/>",
    "an answer, twice": "<db:verify from='{victim}' to='localhost' id='{id}' type='valid'/>" * 2,
}


@pytest.mark.attack("S01")
@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED.keys())
def test_unasked(easy: FederatingServer, user: RawClient, unasked: str) -> None:
    """S01: an answer to nothing changes nothing (CVE-2012-3525): what comes behind it is not authorised."""
    peer = easy.covered("mallory.test")
    peer.send(unasked.format(victim="victim.test", id=peer.id) + body("a@victim.test", user.jid))
    assert peer.refused("not-authorized") == []
    assert user.messages() == []


@pytest.mark.attack("S01")
@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED.keys())
def test_unaskedWhileAsked(easy: FederatingServer, user: RawClient, neighbours: Neighbours, unasked: str) -> None:
    """S01: nor does it while the same question is under way elsewhere: only who was asked may answer."""
    victim = neighbours()
    peer = easy.covered("mallory.test")
    peer.send(dialback("result", victim.domain, DOMAIN, "forged"))
    authority = victim.secured(DIALBACK)
    asked = authority.result()
    assert (asked.get("id"), asked.text) == (peer.id, "forged")
    peer.send(unasked.format(victim=victim.domain, id=peer.id))
    other = easy.covered("mallory.test")
    other.send(unasked.format(victim=victim.domain, id=peer.id))
    assert peer.silent(0.15) and other.silent(0.05)
    authority.send(dialback("verify", victim.domain, DOMAIN, id=peer.id, type="invalid"))
    assert peer.result().get("type") == "invalid"
    assert user.messages() == []
    other.close()


#: What the authoritative server of the domain may say that is no answer to what it was asked.
WRONG = {
    "the id of another stream": dialback("verify", "{n}", DOMAIN, id="x{id}", type="valid"),
    "the addresses swapped": dialback("verify", DOMAIN, "{n}", id="{id}", type="valid"),
    "from another domain": dialback("verify", "victim.test", DOMAIN, id="{id}", type="valid"),
    "to another domain": dialback("verify", "{n}", "other.test", id="{id}", type="valid"),
    "a result": dialback("result", "{n}", DOMAIN, id="{id}", type="valid"),
    "a result the other way round": dialback("result", DOMAIN, "{n}", id="{id}", type="valid"),
}


@pytest.mark.attack("S01")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrongAnswer(easy: FederatingServer, neighbours: Neighbours, wrong: str) -> None:
    """S01: an answer has to be about this pair and this stream; the right one is still waited for, and counts."""
    neighbour = neighbours()
    peer = easy.covered(neighbour.domain)
    peer.send(dialback("result", neighbour.domain, DOMAIN, "key"))
    authority = neighbour.secured(DIALBACK)
    authority.result()
    authority.send(wrong.format(n=neighbour.domain, id=peer.id))
    assert peer.silent(0.15)
    right = dialback("verify", neighbour.domain, DOMAIN, id=peer.id, type="{}")
    authority.send(right.format("invalid") + right.format("valid"))
    assert peer.result().get("type") == "invalid"
    assert isinstance(peer.next(), StreamEnd), "nobody has proved anything on it"


@pytest.mark.attack("S01")
def test_resultOfOurOwnProof(easy: FederatingServer, user: RawClient, neighbours: Neighbours) -> None:
    """S01: while we prove ourselves, results for other pairs count for none; the right one does, and again for nothing.

    Nor may a server that we have called send us anything, whatever it has answered.
    """
    neighbour = neighbours()
    user.send(f"<message to='x@{neighbour.domain}'><body>one</body></message>")
    peer = neighbour.secured(DIALBACK)
    asked = peer.result()
    assert asked.name == "result" and len(asked.text) == 64
    for sender, to in (("victim.test", DOMAIN), (neighbour.domain, "other.test"), (DOMAIN, neighbour.domain)):
        peer.send(dialback("result", sender, to, type="valid"))
    assert peer.silent(0.15)
    peer.send(dialback("result", neighbour.domain, DOMAIN, type="valid") * 2)
    assert peer.element().name == "message"
    peer.send(dialback("result", "victim.test", DOMAIN, type="valid") + body("a@victim.test", user.jid))
    peer.refused("not-authorized")
    assert user.messages() == []


# -- S02: keys -------------------------------------------------------------------------------------


@pytest.mark.attack("S02")
def test_keys(easy: FederatingServer, user: RawClient, neighbours: Neighbours) -> None:
    """S02: a key is good for one pair and one stream; not for another id, with a bit changed, nor for no key at all."""
    neighbour = neighbours()
    user.send(f"<message to='x@{neighbour.domain}'><body>one</body></message>")
    peer = neighbour.secured(DIALBACK)
    key, id = peer.result().text, peer.id
    changed = f"{int(key, 16) ^ 1:064x}"
    asker = easy.covered("somebody.test")

    def answer(to: str, key: str, id: str, sender: str = neighbour.domain) -> str:
        asker.send(dialback("verify", sender, to, key, id=id))
        found = asker.result()
        assert (found.get("from"), found.get("to"), found.get("id")) == (to, sender, id)
        return str(found.get("type"))

    assert answer(DOMAIN, key, id) == "valid"
    wrong = [
        (DOMAIN, key, "x" + id), (DOMAIN, changed, id), (DOMAIN, "", id), (DOMAIN, key[:-1], id),
        (DOMAIN, key + "0", id), (DOMAIN, key * 20, id), (DOMAIN, "ä" * 64, id), ("other.test", key, id),
    ]  # fmt: skip
    assert {answer(*each) for each in wrong} == {"invalid"}
    assert answer(DOMAIN, key, id, "x" + neighbour.domain) == "invalid"
    assert answer(DOMAIN, key, id, neighbour.domain.removeprefix("n")) == "invalid"
    # Fields that only together are the same (CVE-2016-0756).
    assert answer(DOMAIN, key, neighbour.domain + id, "test") == "invalid"
    asker.send(dialback("verify", neighbour.domain, "nobody.test", key, id=id))
    assert refusedBy(asker.result()) == "error: item-not-found"


@pytest.mark.attack("S02")
def test_keysAreNewForEachStream(easy: FederatingServer, user: RawClient, neighbours: Neighbours) -> None:
    """S02: the same pair gets another key on another stream."""
    keys = []
    for neighbour in (neighbours(), neighbours()):
        user.send(f"<message to='x@{neighbour.domain}'><body>one</body></message>")
        keys.append(neighbour.secured(DIALBACK).result().text)
    assert len(set(keys)) == 2 and all(int(key, 16) for key in keys)


# -- S03: dialback without dialback -------------------------------------------------------------------


@pytest.mark.attack("S03")
def test_certificateOfAnother(server: FederatingServer, victim: RawClient, neighbours: Neighbours) -> None:
    """S03: a good certificate for one domain authorises no other (CVE-2021-32919), though that one would vouch."""
    mallory, other = neighbours(), neighbours()
    peer = server.proved(mallory.domain)
    peer.send(dialback("result", other.domain, DOMAIN, "key"))
    assert refusedBy(peer.result()) == "error: not-authorized"
    assert other.waits(), "nobody has to be asked"
    peer.send(body(f"a@{mallory.domain}", victim.jid, "own") + body(f"a@{other.domain}", victim.jid))
    peer.refused("invalid-from")
    assert [message.elements()[0].text for message in victim.messages(1)] == ["own"]


@pytest.mark.attack("S03")
@pytest.mark.parametrize("answer", ["invalid", "error"])
def test_certificateIsNoDialback(
    easy: FederatingServer, user: RawClient, neighbours: Neighbours, answer: str
) -> None:
    """S03: where dialback is enough, its authoritative server has the last word, whatever certificate is shown."""
    mallory, other = neighbours(), neighbours()
    peer = easy.covered(mallory.domain, mallory.domain)
    peer.external()
    peer.send(dialback("result", other.domain, DOMAIN, "key"))
    other.vouch(answer)
    assert refusedBy(peer.result()).startswith("error")
    peer.send(body(f"a@{other.domain}", user.jid))
    peer.refused("invalid-from")
    assert user.messages() == []


@pytest.mark.attack("T06")
@pytest.mark.parametrize("paper", [None, "other"])
def test_dialbackNeedsTheCertificate(
    server: FederatingServer, victim: RawClient, neighbours: Neighbours, paper: str | None
) -> None:
    """T06, 13.14: where certificates are the rule, dialback without a valid one is refused, and nobody is asked."""
    neighbour = neighbours()
    peer = server.covered(neighbour.domain, paper and "somebody.test")
    peer.send(dialback("result", neighbour.domain, DOMAIN, "key"))
    assert refusedBy(peer.result()) == "error: not-authorized"
    assert neighbour.waits()
    peer.send(body(f"a@{neighbour.domain}", victim.jid))
    peer.refused("not-authorized")
    assert victim.messages() == []


@pytest.mark.attack("T06")
def test_authoritativeServerNeedsTheCertificate(server: FederatingServer, neighbours: Neighbours) -> None:
    """T06, 13.14: nor is an answer taken from an authoritative server that does not prove itself."""
    neighbour = neighbours()
    peer = server.covered(neighbour.domain, neighbour.domain)
    peer.send(dialback("result", neighbour.domain, DOMAIN, "key"))
    authority = neighbour.opened()
    authority.takeStartTLS(neighbour.papers.path("somebody.test"))
    authority.greet(DIALBACK)
    authority.refused("policy-violation")
    # It tries again for as long as stanzas may wait.
    neighbour.close()
    assert refusedBy(peer.result()).startswith("error: remote-server")


# -- S05, S06: whose domains ----------------------------------------------------------------------------


@pytest.mark.attack("S05")
@pytest.mark.parametrize("to, wanted", [
    ("nobody.test", "host-unknown"), ("x@sub.localhost", "host-unknown"), ("x@other.test", "not-authorized"),
    ("x@component.test", "not-authorized"), ("component.test", "not-authorized"),
])  # fmt: skip
def test_otherRecipients(server: FederatingServer, to: str, wanted: str) -> None:
    """S05: a domain of ours that the stream was not proved for, and one that is none of ours."""
    peer = server.proved("known.test")
    peer.send(body("a@known.test", to))
    peer.refused(wanted)


@pytest.mark.attack("S05")
def test_pairsOnOneStream(easy: FederatingServer, user: RawClient, neighbours: Neighbours) -> None:
    """S05, XEP-0220 2.2: each pair is proved for itself; what was proved for one host is nothing at another."""
    neighbour = neighbours()
    peer = prove(easy, neighbour)
    peer.send(body(f"a@{neighbour.domain}", user.jid, "one"))
    assert user.messages(1)
    peer.send(dialback("result", neighbour.domain, "nobody.test", "key"))
    assert refusedBy(peer.result()) == "error: item-not-found"
    peer.send(dialback("result", "denied.test", DOMAIN, "key"))
    assert refusedBy(peer.result()) == "error: policy-violation"
    peer.send(dialback("result", neighbour.domain, DOMAIN, "another key"))
    assert peer.result().get("type") == "valid", "it was proved already"
    peer.send(body(f"a@{neighbour.domain}", "x@other.test"))
    peer.refused("not-authorized")


@pytest.mark.attack("S06")
@pytest.mark.parametrize("domain", [DOMAIN, "other.test", "component.test", "LOCALHOST."])
def test_nobodyIsUs(server: FederatingServer, easy: FederatingServer, domain: str) -> None:
    """S06: dialback for one of our own domains is the end, whatever certificate there is."""
    for where in (server, easy):
        peer = where.covered("known.test", "known.test")
        peer.send(dialback("result", domain, DOMAIN, "key"))
        peer.refused("invalid-from")


@pytest.mark.attack("S06")
def test_ourOwnCertificate(server: FederatingServer) -> None:
    """S06: a certificate with one of our names helps nobody."""
    peer = server.covered("known.test", DOMAIN)
    assert peer.mechanisms == []
    peer.send(dialback("result", "known.test", DOMAIN, "key"))
    assert refusedBy(peer.result()) == "error: not-authorized"
    peer.close()


# -- bounds ----------------------------------------------------------------------------------------------


@pytest.mark.attack("D11")
def test_manyProofs(easy: FederatingServer, neighbours: Neighbours) -> None:
    """D11: one server cannot have us ask after everybody, nor keep others from being asked after."""
    mallory, honest = neighbours(), neighbours()
    memory, peer = easy.memory, prove(easy, mallory)
    peer.send("".join(dialback("result", f"x{number}.silent.test", DOMAIN, "k") for number in range(600)))
    prove(easy, honest).close()
    assert refusedBy(peer.result()) == "error: resource-constraint"
    assert easy.memory - memory < 32 << 20
    peer.close()
