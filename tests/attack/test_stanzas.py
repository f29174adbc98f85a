"""Stanzas that lie, and stanzas that are wrong: the exact error, and the stream kept (hardening 1, 2.4, 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.faulty import FAULT
from tests.attack.inputs.stanzas import ADDRESSES, BAD_IQS, DISCO, FORGERIES, FROMS, INNER, NAMES, NUMBERS, SERVED
from tests.attack.raw import DOMAIN, RawClient, content, stanzaError
from xmppservice.wire import ns
from xmppservice.wire.element import Element

Clients = Callable[..., RawClient]



# -- from ------------------------------------------------------------------------------------------




@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
@pytest.mark.parametrize("sender", FROMS)
def test_otherPeoplesFrom(clients: Clients, spare: str, sender: str, kind: str) -> None:
    """RFC 6120 8.1.2.1: a ``from`` that is not the sender's own ends its stream, and goes nowhere."""
    victim, client = clients(), clients(spare, presence=False)
    sender = sender.format(bare=f"{spare}@{DOMAIN}")
    client.send(f"<{kind} from='{sender}' to='{victim.jid}' type='error' id='1'><error type='cancel'/></{kind}>")
    client.refused("invalid-from")
    assert victim.stanzas() == []


def test_ownFromIsStamped(clients: Clients) -> None:
    """8.1.2.1: one's own address, bare or full and in any spelling, is fine, and the full JID is what comes out."""
    alice, bob = clients(), clients()
    bare, _, resource = alice.jid.partition("/")
    for sender in (bare, alice.jid, bare.upper(), f"{bare.upper()}/{resource}", None):
        claimed = f" from='{sender}'" if sender else ""
        alice.send(f"<message to='{bob.jid}'{claimed}><body>x</body></message>")
        assert bob.element().get("from") == alice.jid




@pytest.mark.attack("I01", "I02", "I03", "I05")
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_forgeriesCarryTheTrueSender(clients: Clients, forgery: str) -> None:
    """I01, I02, I03, I05: what only one's own server may say arrives with its author's full JID, or not at all."""
    mallory, victim = clients(), clients()
    victim.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    mallory.send(forgery.format(to=f" to='{victim.jid}'"))
    mallory.ping()
    for stanza in victim.stanzas():
        assert stanza.get("from") == mallory.jid
    roster = victim.ask("get", f"<query xmlns='{ns.ROSTER}'/>").elements()
    assert not roster or roster[0].elements() == []


def test_answersToNobody(clients: Clients) -> None:
    """8.3.1: results and errors are never answered, nor are messages of type error."""
    alice = clients()
    for to in (DOMAIN, "canary@localhost", "nobody@localhost", "canary@localhost/none", "x@nope.test", "@@@"):
        alice.send(f"<iq type='result' id='q1' to='{to}'/>")
        alice.send(f"<iq type='error' id='q1' to='{to}'><error type='cancel'/></iq>")
        alice.send(f"<message type='error' id='1' to='{to}'><error type='cancel'/></message>")
        alice.send(f"<presence type='error' id='1' to='{to}'/>")
    assert alice.stanzas() == []


@pytest.mark.attack("I04")
def test_forgedStanzaIds(clients: Clients) -> None:
    """I04: of all ids that claim to be the recipient's or its server's, in any spelling, only ours is left."""
    mallory, victim = clients(), clients()
    bare = victim.jid.partition("/")[0]
    wide = "\uff55" + bare[1:]
    assert bare.startswith("u")
    forged = "".join(
        f"<stanza-id xmlns='{ns.SID}' by='{by}' id='forged'/>"
        for by in (bare, bare.upper(), wide, victim.jid, DOMAIN, "LOCALHOST", "", "@@@")
    )
    for to in (bare, victim.jid):
        mallory.send(f"<message to='{to}' type='chat'>{forged}<body>x</body>{forged}</message>")
        ids = [child for child in victim.element().elements() if child.name == "stanza-id"]
        assert [(each.get("by"), each.get("id") != "forged") for each in ids] == [(bare, True)]


# -- wrong stanzas ---------------------------------------------------------------------------------




@pytest.mark.parametrize("bad", BAD_IQS.values(), ids=BAD_IQS.keys())
def test_badRequest(clients: Clients, spare: str, bad: str) -> None:
    """8.2.3, 8.3.3.1: bad-request, to the one who asked, and the stream goes on."""
    client = clients(spare, presence=False)
    client.send(bad)
    reply = client.element()
    assert stanzaError(reply) == ("modify", "bad-request")
    assert reply.get("to") in (None, client.jid)
    assert client.stanzas() == []




@pytest.mark.attack("X12")
@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_malformedAddress(clients: Clients, spare: str, address: str) -> None:
    """8.3.3.8, X12: jid-malformed for every kind of stanza, nothing cut off, and the stream goes on."""
    client = clients(spare, presence=False)
    client.send(
        f"<iq type='get' id='1' to='{address}'>{DISCO}</iq><message id='2' to='{address}'><body>x</body></message>"
    )
    client.send(f"<presence id='3' to='{address}'/>")
    for id in "123":
        reply = client.element()
        assert (reply.get("id"), stanzaError(reply)) == (id, ("modify", "jid-malformed"))
    assert client.stanzas() == []


@pytest.mark.attack("X12")
def test_longAddressesWithinTheLimit(clients: Clients) -> None:
    """X12: 1,023 bytes are an address; what comes back in the error is the whole of it."""
    client = clients()
    for local in ("a" * 1023, "é" * 511, "漢" * 341, "x" + "é" * 511):
        reply = client.ask("get", DISCO, f"{local}@localhost")
        assert stanzaError(reply) == ("cancel", "service-unavailable")
        assert reply.get("from") == f"{local}@localhost"




@pytest.mark.attack("X13")
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:22] or "nothing")
def test_badNumbers(server: AttackedServer, clients: Clients, spare: str, number: str) -> None:
    """X13: no number of a peer is believed: counts, priorities, ages, maxima."""
    client = clients(spare, presence=False)
    client.send(f"<presence id='p'><priority>{number}</priority></presence>")
    reply = client.element()
    if number not in ("-1", "", " 1", "+1"):
        assert stanzaError(reply) == ("modify", "bad-request")
    client.send(f"<enable xmlns='{ns.SM}' resume='true' max='{number}'/>")
    assert client.find(lambda item: item.ns == ns.SM).name == "enabled"
    client.send(f"<a xmlns='{ns.SM}' h='{number}'/>")
    client.refused("invalid-xml", "undefined-condition", "bad-format")
    other = server.authenticated(spare)
    other.send(f"<resume xmlns='{ns.SM}' previd='x' h='{number}'/>")
    failed = other.element()
    if failed.name == "failed":
        assert failed.elements()[0].name in ("item-not-found", "bad-request")
    else:
        assert failed.elements()[0].name in ("invalid-xml", "bad-format")
    other.close()


UNKNOWN = "<query xmlns='urn:example:unknown'/>"


@pytest.mark.parametrize(
    "to", ["", DOMAIN, "canary@localhost", "nobody@localhost", "canary@localhost/none", "localhost/x"]
)
def test_serviceUnavailable(clients: Clients, spare: str, to: str) -> None:
    """8.3.3.19: a request that nobody understands is answered so, by whoever was asked."""
    client = clients(spare, presence=False)
    for kind in ("get", "set"):
        reply = client.ask(kind, UNKNOWN, to)
        assert stanzaError(reply) == ("cancel", "service-unavailable")
        assert reply.get("to") == client.jid
        assert reply.get("from") in ((to,) if to else (None, client.jid.partition("/")[0]))
    assert client.stanzas() == []


def test_noOtherServers(clients: Clients) -> None:
    """8.3.3.16: without federation no other domain exists."""
    client = clients()
    assert stanzaError(client.ask("get", DISCO, "juliet@nope.test")) == ("cancel", "remote-server-not-found")


def test_secondBinding(clients: Clients) -> None:
    """7.6.1: a stream has one resource; a second request is not allowed, and the first stays."""
    client = clients()
    reply = client.ask("set", f"<bind xmlns='{ns.BIND}'><resource>other</resource></bind>")
    assert stanzaError(reply) == ("cancel", "not-allowed")
    client.ping()


def test_oldSession(clients: Clients) -> None:
    """The session request of RFC 3921 still gets its result."""
    assert clients().ask("set", f"<session xmlns='{ns.SESSION}'/>").get("type") == "result"


def test_badBindings(server: AttackedServer, user: Callable[[], str]) -> None:
    """7.7.2: a request of bad form is a bad request, and may be repeated in good form."""
    client = server.authenticated(user())
    for payload in (
        f"<bind xmlns='{ns.BIND}'><resource>{'a' * 1024}</resource></bind>",
        f"<bind xmlns='{ns.BIND}'><resource>a\u0378</resource></bind>",
        f"<bind xmlns='{ns.BIND}'><resource>a\x7f</resource></bind>",
    ):
        assert stanzaError(client.ask("set", payload)) == ("modify", "bad-request")
    assert stanzaError(client.ask("get", f"<bind xmlns='{ns.BIND}'/>")) == ("modify", "bad-request")
    assert client.bind("\uff41").endswith("/\uff41")


@pytest.mark.own("needs our failing module")
@pytest.mark.injected(2)
def test_faultOfOurs(clients: Clients) -> None:
    """8.3.3.6: a fault in the answer to an IQ is told once, with an incident id, and the stream goes on."""
    client = clients()
    for name in ("fault", "later"):
        reply = client.ask("get", f"<{name} xmlns='{FAULT}'/>", DOMAIN)
        assert stanzaError(reply) == ("cancel", "internal-server-error")
    assert client.stanzas() == []




@pytest.mark.attack("X14")
@pytest.mark.parametrize("space", SERVED)
def test_everyRequestIsAnsweredOnce(clients: Clients, spare: str, space: str) -> None:
    """X14, 3.3: nonsense in every namespace we serve gets one answer, a result or an error, and no traceback."""
    client = clients(presence=False)
    own = client.jid.partition("/")[0]
    asked = 0
    for name in NAMES:
        for inner in INNER:
            if space == ns.REGISTER and inner.startswith("<remove/>") and name == "query":
                continue
            for to in ("", DOMAIN, own, "canary@localhost", client.jid):
                for kind in ("get", "set"):
                    address = f" to='{to}'" if to else ""
                    client.send(
                        f"<iq type='{kind}' id='n{asked}'{address}><{name} xmlns='{space}'>{inner}</{name}></iq>"
                    )
                    asked += 1
    client.ping()
    stanzas = client.stanzas()
    answers = [stanza.get("id") for stanza in stanzas if stanza.get("type") in ("result", "error")]
    looped = [stanza for stanza in stanzas if stanza.get("type") in ("get", "set") and stanza.get("from") == client.jid]
    assert len(answers) == len(set(answers))
    assert len(answers) + len({stanza.get("id") for stanza in looped}) == asked


def test_errorsAreMirrors(clients: Clients) -> None:
    """8.3.1: an error keeps the id, swaps the addresses, and is not larger than what it answers by much."""
    client = clients()
    for inner in ("<body>x</body>", f"<body>{'x' * 50_000}</body>"):
        client.send(f"<message id='m&lt;1' to='nobody@localhost'>{inner}</message>")
        reply = client.element()
        assert reply.get("id") == "m<1" and reply.get("from") == "nobody@localhost" and reply.get("to") == client.jid
        assert stanzaError(reply) == ("cancel", "service-unavailable")
    assert len(client.raw) < 60_000


# -- who may know what -----------------------------------------------------------------------------


def _faceless(stanza: Element) -> Element:
    copy = stanza.copy()
    for key in ("from", "id"):
        copy.attrs.pop(key, None)
    return copy


@pytest.mark.attack("I11")
def test_strangersLearnNothing(clients: Clients, user: Callable[[], str]) -> None:
    """I11: users online, users offline and nobody at all give a stranger the same answers."""
    online, stranger, offline = clients(), clients(), user()
    resource = online.jid.partition("/")[2]
    targets = [online.jid.partition("/")[0], f"{offline}@{DOMAIN}", f"nobody@{DOMAIN}"]
    payloads = [
        f"<query xmlns='{ns.LAST}'/>", f"<query xmlns='{ns.VERSION}'/>", f"<time xmlns='{ns.TIME}'/>", DISCO,
        f"<ping xmlns='{ns.PING}'/>", f"<query xmlns='{ns.ROSTER}'/>", f"<query xmlns='{ns.DISCO_ITEMS}'/>",
        f"<query xmlns='{ns.PRIVATE}'><x xmlns='u'/></query>",
    ]  # fmt: skip
    for payload in payloads:
        for suffix in ("", f"/{resource}"):
            answers = [_faceless(stranger.ask("get", payload, target + suffix)) for target in targets]
            assert answers[0] == answers[1] == answers[2], payload
            assert answers[0].get("type") == "error", payload
    seen = []
    for target in targets:
        stranger.send(f"<presence type='probe' to='{target}'/>")
        seen.append([_faceless(stanza) for stanza in stranger.stanzas()])
    assert seen[0] == seen[1] == seen[2]
    assert all(stanza.get("type") != "unavailable" and stanza.get("type") for stanza in seen[0])
    assert online.stanzas() == []


@pytest.mark.attack("I10")
def test_blockedUsersReachNobody(clients: Clients) -> None:
    """I10: no path leads from a blocked user to the one who blocked: not to a bare nor to a full JID."""
    victim, mallory = clients(), clients()
    bare, mine = victim.jid.partition("/")[0], mallory.jid.partition("/")[0]
    wide = "\uff35" + mine[1:]
    victim.send(f"<presence to='{mallory.jid}'/>")
    mallory.element()
    reply = victim.ask("set", f"<block xmlns='{ns.BLOCKING}'><item jid='{wide}'/></block>")
    assert reply.get("type") == "result"
    victim.stanzas()
    mallory.stanzas()
    for to in (bare, victim.jid):
        for type in ("normal", "chat", "headline", "groupchat", "error"):
            mallory.send(f"<message type='{type}' to='{to}'><body>x</body></message>")
        for type in ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "unavailable", "error"):
            mallory.send(f"<presence type='{type}' to='{to}'/>")
        mallory.send(f"<presence to='{to}'/>")
        for payload in (
            f"<ping xmlns='{ns.PING}'/>",
            f"<vCard xmlns='{ns.VCARD}'/>",
            DISCO,
            f"<query xmlns='{ns.LAST}'/>",
        ):
            assert stanzaError(mallory.ask("get", payload, to)) == ("cancel", "service-unavailable")
        mallory.send(f"<iq type='result' id='1' to='{to}'/>")
    answers = [stanza for stanza in mallory.stanzas() if stanza.name == "message"]
    assert {stanzaError(answer) for answer in answers} == {("cancel", "service-unavailable")}
    assert len(answers) == 2 * 3
    assert victim.stanzas() == []
    reply = victim.ask("get", f"<ping xmlns='{ns.PING}'/>", mallory.jid)
    assert stanzaError(reply) == ("cancel", "not-acceptable")


@pytest.mark.attack("I06")
@pytest.mark.parametrize("spelling", ["{0}@LOCALHOST", "{1}@localhost", "\uff55{2}@localhost", "{0}@localhost."])
def test_oneFormEverywhere(clients: Clients, spelling: str) -> None:
    """I06: an address in another spelling is the same address: on the way, in the roster, in the block list."""
    alice, bob = clients(), clients()
    bare = bob.jid.partition("/")[0]
    local = bare.partition("@")[0]
    other = spelling.format(local, local.upper(), local[1:])
    alice.send(f"<message to='{other}' type='chat'><body>x</body></message>")
    assert bob.element().get("to") == bare
    alice.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    for jid in (other, bare):
        assert alice.ask("set", f"<query xmlns='{ns.ROSTER}'><item jid='{jid}'/></query>").get("type") == "result"
        assert alice.ask("set", f"<block xmlns='{ns.BLOCKING}'><item jid='{jid}'/></block>").get("type") == "result"
    for payload in (f"<query xmlns='{ns.ROSTER}'/>", f"<blocklist xmlns='{ns.BLOCKING}'/>"):
        (listing,) = alice.ask("get", payload).elements()
        assert [item.get("jid") for item in listing.elements()] == [bare]
    bob.send(f"<message to='{alice.jid}'><body>x</body></message>")
    assert stanzaError(bob.element()) == ("cancel", "service-unavailable")


@pytest.mark.attack("I06")
def test_lookalikesAreOthers(clients: Clients) -> None:
    """I06: Cyrillic, dotless and combining letters make other addresses, and never those of ours."""
    alice = clients()
    for local in ("c\u0430nary", "canary\u0301", "canary\u0131"):
        alice.send(f"<message to='{local}@localhost' id='1'><body>x</body></message>")
        reply = alice.element()
        assert stanzaError(reply)[1] in ("service-unavailable", "jid-malformed")


@pytest.mark.own("needs further hosts with certificates")
def test_registrationErrors(server: AttackedServer) -> None:
    """3.3 conflict, not-acceptable, bad-request: in-band registration where it is open."""
    client = server.direct("open.test")
    assert client.features.find(ns.REGISTER_FEATURE, "register") is not None

    def register(fields: str) -> Element:
        client.send(f"<iq type='set' id='1'><query xmlns='{ns.REGISTER}'>{fields}</query></iq>")
        return client.element()

    taken = "<username>taken</username><password>correct horse</password>"
    assert register(taken).get("type") == "result"
    assert stanzaError(register(taken)) == ("cancel", "conflict")
    assert stanzaError(register(taken.replace("taken", "TAKEN"))) == ("cancel", "conflict")
    assert stanzaError(register("<username>a b</username><password>correct horse</password>"))[1] == "not-acceptable"
    assert stanzaError(register("<username>admin</username><password>correct horse</password>"))[1] == "not-acceptable"
    assert stanzaError(register("<username>short</username><password>x</password>"))[1] == "not-acceptable"
    assert stanzaError(register("<username>a</username><username>b</username>"))[1] == "bad-request"


@pytest.mark.own("needs our log")
@pytest.mark.attack("I09")
def test_nothingSecretIsLogged(server: AttackedServer, clients: Clients) -> None:
    """I09: neither bodies nor passwords come into the log, in whatever way things go wrong."""
    alice = clients()
    body = "<body>tell nobody 4711</body>"
    alice.send(f"<message to='nobody@localhost'>{body}</message><message to='@@@'>{body}</message>")
    alice.send(f"<message from='x@y'>{body}</message>")
    alice.rest()
    client = server.direct()
    assert client.scram("canary", "hunter4711").name == "failure"
    assert "4711" not in server.report() and "yranac" not in server.report()


@pytest.mark.own("needs our log")
@pytest.mark.attack("D10")
def test_logLinesCannotBeForged(server: AttackedServer, clients: Clients, spare: str) -> None:
    """D10: line ends and escapes in addresses, names and errors make no lines of the log; a flood makes no flood."""
    size = len(server.report())
    for _ in range(100):
        client = clients(spare, presence=False)
        client.send("<message to='a&#10;2026-01-01 FORGED&#10;'/><iq type='&#10;FORGED' id='&#10;FORGED'/>")
        client.send("<x&#10; xmlns='&#10;FORGED \x1b[31m'/>")
        client.rest()
        stranger = RawClient(server.port)
        stranger.send("<stream:stream xmlns='jabber:client&#10;FORGED' to='&#10;FORGED'>")
        stranger.rest()
        stranger.close()
    report = server.report()
    assert "\x1b" not in report and not [
        line for line in report.splitlines() if line.startswith(("FORGED", "2026-01-01 FORGED"))
    ]
    assert len(report) - size < 100_000


def test_messagesThatAreNotStored(clients: Clients, user: Callable[[], str]) -> None:
    """3.3: messages of types error and headline are not kept for those who are offline; others are."""
    alice, name = clients(), user()
    for type in ("error", "headline", "chat", "normal"):
        alice.send(f"<message type='{type}' to='{name}@{DOMAIN}'><body>{type}</body></message>")
    assert alice.messages() == []
    later = clients(name)
    assert [content(message)[0].text for message in later.messages(2)] == ["chat", "normal"]
