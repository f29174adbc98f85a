"""What other servers send on streams to us: XML, sizes, stanzas (hardening X01-X13, 3.1, 3.3, 3.4)."""

from __future__ import annotations

import pytest

from tests.attack.inputs.servers import KNOWN, STRANGER, header
from tests.attack.inputs.xml import FORBIDDEN, HUGE, MALFORMED, MEGABYTES, MUCH
from tests.attack.peer import RawPeer, body, dialback
from tests.attack.raw import DOMAIN, RawClient, condition
from tests.attack.servers.federating import FederatingServer
from xmppservice.wire import ns

_ADDRESSED = f"<message from='a@{KNOWN}' to='user1@{DOMAIN}'".encode()


# -- XML ------------------------------------------------------------------------------------------


@pytest.mark.attack("X01", "X02")
@pytest.mark.parametrize("stage", ["plain", "secured", "direct"])
@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenInTheProlog(server: FederatingServer, stage: str, bad: str) -> None:
    """X01: the same parser guards this entry, also behind TLS."""
    peer = server.before(STRANGER, stage)
    peer.send(bad + header())
    peer.refused("restricted-xml")
    peer.close()


@pytest.mark.attack("X01")
@pytest.mark.parametrize("bad", [*FORBIDDEN.values(), "&nbsp;"], ids=[*FORBIDDEN.keys(), "entity"])
def test_forbiddenBehindTheHeader(stranger: RawPeer, bad: str) -> None:
    """X01: inside of dialback, before anything is proved."""
    stranger.send(dialback("result", STRANGER, DOMAIN, bad))
    stranger.refused("restricted-xml")


@pytest.mark.attack("X01", "X02")
@pytest.mark.parametrize("place", ["{}", body(f"a@{KNOWN}", f"user1@{DOMAIN}", "{}")])
@pytest.mark.parametrize("bad", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbiddenFromTheKnown(known: RawPeer, victim: RawClient, bad: str, place: str) -> None:
    """X01: nor may a server send it that has proved its domain."""
    known.send(place.format(bad))
    known.refused("restricted-xml")
    assert victim.messages() == []


@pytest.mark.attack("X10")
@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(known: RawPeer, victim: RawClient, bad: bytes) -> None:
    """3.1 not-well-formed, X10: what is no XML, or no UTF-8, reaches nobody."""
    known.send(bad.replace(b"<message", _ADDRESSED))
    known.refused("not-well-formed")
    assert all(message.find(ns.CLIENT, "body") is None for message in victim.messages())


@pytest.mark.parametrize("bad", [b"<foo:message/>", b"<message foo:id='1'/>", b"<message><foo:body/></message>"])
def test_unboundPrefix(stranger: RawPeer, known: RawPeer, bad: bytes) -> None:
    """3.1 bad-namespace-prefix, at both ends of the proof."""
    for peer in (stranger, known):
        peer.send(bad)
        peer.refused("bad-namespace-prefix", "not-well-formed")


def _huge(name: str) -> bytes:
    start, filling = HUGE[name]
    return start + (filling * (10_000_000 // len(filling)) if filling else MEGABYTES)


@pytest.mark.attack("X04", "X05")
@pytest.mark.parametrize("name", HUGE)
def test_hugeBeforeTheProof(server: FederatingServer, stranger: RawPeer, name: str) -> None:
    """X04, X05: ten megabytes are refused after eight kilobytes, and cost neither memory nor time."""
    memory, cpu = server.memory, server.cpu
    sent = stranger.flood(_huge(name))
    stranger.refused("policy-violation", app="stanza-too-big")
    assert sent < 10_000_000
    assert server.memory - memory < 2 << 20 and server.cpu - cpu < 0.5


def test_whiteSpaceBeforeTheProof(stranger: RawPeer) -> None:
    """X04: all that comes before the proof is counted, also what means nothing."""
    stranger.flood(b" " * 10_000_000)
    stranger.refused("policy-violation")


@pytest.mark.attack("X04")
def test_pendingProofsLiftNoLimit(server: FederatingServer) -> None:
    """X04: dialback that was only begun, and is answered with no, leaves the limits of strangers where they are."""
    peer = server.covered(STRANGER)
    peer.send(dialback("result", STRANGER, DOMAIN, "x"))
    assert peer.result().get("type") == "error"
    peer.flood(b"<message><body>" + MEGABYTES)
    peer.refused("policy-violation", app="stanza-too-big")


@pytest.mark.attack("X04", "X05")
@pytest.mark.parametrize("name", HUGE)
def test_hugeFromTheKnown(server: FederatingServer, known: RawPeer, name: str) -> None:
    """X04, X05: servers have a limit of their own, 256 KiB here; so much is read, not ten megabytes."""
    memory, cpu = server.memory, server.cpu
    known.flood(_huge(name))
    known.refused("policy-violation", app="stanza-too-big")
    assert server.memory - memory < 4 << 20 and server.cpu - cpu < 2


@pytest.mark.attack("X05")
@pytest.mark.parametrize("much", MUCH.values(), ids=MUCH.keys())
def test_muchInOneStanza(known: RawPeer, much: str) -> None:
    """X05: depth, attributes and elements have limits too."""
    known.send(body(f"a@{KNOWN}", f"user1@{DOMAIN}", much))
    known.refused("policy-violation")


@pytest.mark.attack("X06")
def test_drippingOctets(server: FederatingServer, known: RawPeer, victim: RawClient) -> None:
    """X06, X07: one octet at a time costs nobody else anything, and the stanza is there with the last one."""
    cpu = server.cpu
    for octet in body(f"a@{KNOWN}", victim.jid, "d" * 3000):
        known.send(octet)
    assert victim.messages(1)
    assert server.cpu - cpu < 5


@pytest.mark.attack("X03")
def test_noCompression(stranger: RawPeer) -> None:
    """X03: there is nothing to decompress."""
    assert stranger.features.find("http://jabber.org/features/compress", "compression") is None
    stranger.send("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
    stranger.refused("unsupported-stanza-type")


# -- stanza errors, and what is kept ---------------------------------------------------------------


def test_badRequests(known: RawPeer, victim: RawClient) -> None:
    """3.3 bad-request, service-unavailable: answered over the stream for both directions, which stays."""
    for inner, type, wanted in (
        ("", "get", "bad-request"), ("<a xmlns='u'/><b xmlns='u'/>", "get", "bad-request"),
        ("<x xmlns='urn:x'/>", "bogus", "bad-request"), ("<x xmlns='urn:x'/>", "get", "service-unavailable"),
    ):  # fmt: skip
        answer = known.ask(type, inner)
        error = answer.find(ns.CLIENT, "error")
        assert error is not None and condition(error) == wanted, answer
    for user in (f"nobody@{DOMAIN}", victim.jid.partition("/")[0] + "/none"):
        error = known.ask("get", "<x xmlns='urn:x'/>", user).find(ns.CLIENT, "error")
        assert error is not None and condition(error) == "service-unavailable"
    known.ping()


#: Users that some servers have and that are none here (RFC 7622): a space, a sign, a character of a newer Unicode.
USERS = ("a b@{}", "\u265e@{}", "@{}", "a@{}/\u0378", "a@{}/\u202e\u0085", "x" * 1024 + "@{}", "a@{}/")


@pytest.mark.attack("I06")
@pytest.mark.parametrize("user", USERS)
def test_malformedUsers(known: RawPeer, victim: RawClient, user: str) -> None:
    """3.3 jid-malformed, I06: an impossible user of a domain that is right does not cost others their stream."""
    known.send(body(f"b@{KNOWN}", user.format(DOMAIN)))
    answer = known.element()
    error = answer.find(ns.CLIENT, "error")
    assert error is not None and condition(error) == "jid-malformed"
    assert (answer.get("from"), answer.get("to")) == (DOMAIN, f"b@{KNOWN}")
    known.send(body(user.format(KNOWN), victim.jid) + body(user.format(KNOWN), user.format(DOMAIN)))
    known.send(f"<iq type='result' id='1' from='b@{KNOWN}' to='{user.format(DOMAIN)}'/>")
    known.ping()
    assert not known.items and victim.messages() == []
    known.send(body(user.format("victim.test"), victim.jid))
    known.refused("improper-addressing")


@pytest.mark.injected(1)
def test_faultOfOurs(known: RawPeer) -> None:
    """3.3 internal-server-error: a fault in one answer is told with an incident's id, and the stream stays."""
    error = known.ask("get", "<fault xmlns='urn:example:fault'/>").find(ns.CLIENT, "error")
    assert error is not None and condition(error) == "internal-server-error"
    known.ping()


def test_answersToNobody(known: RawPeer) -> None:
    """3.3: results and errors are never answered."""
    for to in (DOMAIN, f"nobody@{DOMAIN}", f"user1@{DOMAIN}/none"):
        addresses = f"from='a@{KNOWN}' to='{to}' id='q1'"
        known.send(f"<iq type='result' {addresses}/><iq type='error' {addresses}><error type='cancel'/></iq>"
                   f"<message type='error' {addresses}/><presence type='error' {addresses}/>")  # fmt: skip
    known.ping()
    assert not known.items


def test_managementOutOfOrder(known: RawPeer) -> None:
    """3.3 unexpected-request, 3.1 undefined-condition: XEP-0198 twice, unasked, and with numbers that lie."""
    known.send(f"<enable xmlns='{ns.SM}'/>")
    assert known.element().name == "enabled"
    for again in ("enable", "resume"):
        known.send(f"<{again} xmlns='{ns.SM}' previd='x' h='0'/>")
        failed = known.element()
        assert (failed.name, condition(failed)) == ("failed", "unexpected-request")
    known.send(f"<a xmlns='{ns.SM}' h='99'/>")
    known.refused("undefined-condition", app="handled-count-too-high")


@pytest.mark.attack("X13")
@pytest.mark.parametrize("h", ["", "abc", "-1", "1.5", "１", "9" * 5000])
def test_badNumbers(known: RawPeer, h: str) -> None:
    """X13, 3.1 invalid-xml: a count that is none."""
    known.send(f"<enable xmlns='{ns.SM}'/><a xmlns='{ns.SM}' h='{h}'/>")
    known.refused("invalid-xml", "undefined-condition")


@pytest.mark.attack("X11")
def test_meaningIsKept(known: RawPeer, victim: RawClient) -> None:
    """3.4, X11: namespaces, languages and characters arrive as they were sent, in one stanza; nothing is smuggled."""
    evil = "u&apos;/&gt;&lt;/message&gt;&lt;presence/&gt;&#10;&#9;&amp;"
    known.send(f"<message from='a@{KNOWN}' to='{victim.jid}' xml:lang='de' id='{evil}' xmlns:p='urn:p'>"
               f"<p:x a='{evil}' p:b='{evil}'><![CDATA[<]]>{evil}</p:x></message>")  # fmt: skip
    (message,) = victim.messages(1)
    text = evil.replace("&apos;", "'").replace("&gt;", ">").replace("&lt;", "<").replace("&#10;", "\n")
    text = text.replace("&#9;", "\t").replace("&amp;", "&")
    child = message.find("urn:p", "x")
    assert child is not None and (message.get("id"), child.get("a"), child.text) == (text, text, "<" + text)
    assert message.get("from") == f"a@{KNOWN}"


@pytest.mark.attack("A11")
def test_equalNamesElsewhere(server: FederatingServer, known: RawPeer, victim: RawClient) -> None:
    """A11: who has the local part of a user of ours has none of his rights, nor those of an administrator."""
    local = victim.jid.partition("@")[0]
    server.order("user role", jid=f"{local}@{DOMAIN}", role="admin")
    payloads = {
        "get": (f"<query xmlns='{ns.ROSTER}'/>", "<query xmlns='jabber:iq:private'><x xmlns='u'/></query>"),
        "set": (f"<query xmlns='jabber:iq:register'><username>{local}</username><password>x</password></query>",
                f"<query xmlns='{ns.ROSTER}'><item jid='a@b'/></query>", "<vCard xmlns='vcard-temp'/>",
                "<command xmlns='http://jabber.org/protocol/commands' node='x'/>",
                "<block xmlns='urn:xmpp:blocking'><item jid='a@b'/></block>"),
    }  # fmt: skip
    for to in (DOMAIN, f"{local}@{DOMAIN}"):
        for type, requests in payloads.items():
            for request in requests:
                id = f"e{len(known.raw)}"
                known.send(f"<iq type='{type}' id='{id}' from='{local}@{KNOWN}/r' to='{to}'>{request}</iq>")
                answer = known.find(lambda item, id=id: item.get("id") == id)
                assert answer.get("type") == "error", (to, request, answer)
    roster = victim.ask("get", f"<query xmlns='{ns.ROSTER}'/>").elements()
    assert not roster or roster[0].elements() == []
