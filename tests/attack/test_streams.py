"""Headers, namespaces, versions, order and the end of streams (RFC 6120 section 4, hardening 1 and 3.1)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.faulty import UNLUCKY
from tests.attack.inputs.streams import ADDRESSED, HEADERS, ORDER, PING, UNKNOWN
from tests.attack.raw import DOMAIN, STARTTLS, RawClient, header, names, plain
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamEnd, StreamHeader

Clients = Callable[..., RawClient]



def connect(server: AttackedServer, stage: str) -> RawClient:
    """A connection of each transport before its first header."""
    if stage == "plain":
        return RawClient(server.port)
    if stage == "direct":
        client = RawClient(server.directPort)
        client.wrap(server.ca)
        return client
    client = server.plain()
    client.startTLS(server.ca)
    return client




@pytest.mark.parametrize("stage", ["plain", "secured", "direct"])
@pytest.mark.parametrize("bad, condition", HEADERS.values(), ids=HEADERS.keys())
def test_badHeaderOpensAndFails(server: AttackedServer, stage: str, bad: str | bytes, condition: str) -> None:
    """A bad header is answered with a header of ours, the exact error, and the end (4.9.1.2)."""
    client = connect(server, stage)
    client.send(bad)
    (answer,) = client.refused(condition)
    assert isinstance(answer, StreamHeader)
    assert answer.attrs["version"] == "1.0" and answer.attrs["id"] and answer.attrs["from"] == DOMAIN
    assert not client.reset
    client.close()


@pytest.mark.parametrize("version", ["1.0", "1.9", "2.0"])
def test_higherVersionIsAnsweredWithOurs(server: AttackedServer, version: str) -> None:
    """4.7.5: the answer to a higher version is 1.0, and negotiation goes on."""
    client = RawClient(server.port)
    assert client.open(version=version).attrs["version"] == "1.0"
    client.send(STARTTLS)
    assert client.element().name == "proceed"


def test_prologOfEveryKindIsAccepted(server: AttackedServer) -> None:
    """XML declaration, any spelling of UTF-8, a byte order mark: all of this may begin a stream (11.4, 11.6)."""
    for prolog in ("<?xml version='1.0'?>", '<?xml version="1.0" encoding="utf-8"?>\n', "\ufeff", ""):
        client = RawClient(server.port)
        client.send(prolog)
        client.open()
        client.close()


def test_headerIsAnsweredAttributeByAttribute(server: AttackedServer) -> None:
    """4.7: ``from`` is our domain, ``to`` what the peer called itself, the language is told, the id is new."""
    client = RawClient(server.port)
    answer = client.open("LOCALHOST", **{"from": "juliet@im.example", "xml:lang": "de"})
    assert (answer.attrs["from"], answer.attrs["to"]) == (DOMAIN, "juliet@im.example")
    assert answer.contentNs == ns.CLIENT and answer.lang


def test_idsAreNewAndLong(server: AttackedServer, user: Callable[[], str]) -> None:
    """4.7.3: each header of ours has another id, also after a restart, of 96 bits or more."""
    client = RawClient(server.port)
    ids = [client.open().attrs["id"]]
    client.startTLS(server.ca)
    ids.append(client.open().attrs["id"])
    name = user()
    client.scram(name, name[::-1])
    client.restart()
    ids.append(client.open().attrs["id"])
    for _ in range(20):
        other = RawClient(server.port)
        ids.append(other.open().attrs["id"])
        other.close()
    assert len(set(ids)) == len(ids)
    assert min(map(len, ids)) >= 16


def test_featuresComeInOrderAndOnce(server: AttackedServer, user: Callable[[], str]) -> None:
    """4.3.2: TLS first and required, then mechanisms and nothing to bind, then binding and no mechanisms."""
    client = server.plain()
    startTLS = client.features.find(ns.TLS, "starttls")
    assert startTLS is not None and names(startTLS.elements()) == ["required"]
    assert client.features.find(ns.SASL, "mechanisms") is None
    client.startTLS(server.ca)
    client.open()
    offered = names(client.features.elements())
    assert "mechanisms" in offered and "starttls" not in offered and "bind" not in offered
    client.authenticate(user())
    offered = names(client.features.elements())
    assert "bind" in offered and "mechanisms" not in offered and "starttls" not in offered


@pytest.mark.own("needs our limits")
def test_limitsAreAnnounced(server: AttackedServer, user: Callable[[], str]) -> None:
    """XEP-0478: what may be sent is told before and after authentication, and is true."""
    client = server.direct()
    before = client.features.find(ns.LIMITS, "limits")
    assert before is not None and before.elements()[0].text == "8192"
    client.authenticate(user())
    after = client.features.find(ns.LIMITS, "limits")
    assert after is not None and after.elements()[0].text == str(256 * 1024)


def test_secondHeaderIsAnError(stranger: RawClient) -> None:
    """A header where no restart is due ends the stream."""
    stranger.send(header())
    stranger.refused("invalid-xml")


def test_secondHeaderOnABoundStream(clients: Clients) -> None:
    """The same behind the binding."""
    client = clients()
    client.send(header())
    client.refused("invalid-xml")




@pytest.mark.parametrize("stanza", ["<message/>", "<presence/>", PING, ADDRESSED])
def test_stanzaBeforeAuthentication(stranger: RawClient, stanza: str) -> None:
    """A stanza of somebody unknown is not authorised, and goes nowhere."""
    stranger.send(stanza)
    assert stranger.refused("not-authorized") == []


@pytest.mark.parametrize("stanza", ["<message/>", "<presence/>", PING])
def test_stanzaBeforeBinding(server: AttackedServer, user: Callable[[], str], stanza: str) -> None:
    """Section 7: the same between authentication and binding."""
    client = server.authenticated(user())
    client.send(stanza)
    client.refused("not-authorized")




@pytest.mark.parametrize("element", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknownElement(clients: Clients, element: str) -> None:
    """4.9.3.24: what is no stanza, and nothing negotiated, ends the stream."""
    client = clients()
    client.send(element)
    client.refused("unsupported-stanza-type")


@pytest.mark.parametrize("element", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknownElementBeforeAuthentication(stranger: RawClient, element: str) -> None:
    """The same before authentication."""
    stranger.send(element)
    stranger.refused("unsupported-stanza-type")


def test_textBetweenStanzas(clients: Clients, stranger: RawClient) -> None:
    """4.9.3.1: text at the level of the stream is no XMPP; white space is a sign of life."""
    client = clients()
    for each in (client, stranger):
        each.send("  \n\t\r\n ")
        assert each.silent(0.1)
        each.send("hello<message/>")
        each.refused("bad-format", "invalid-xml")




@pytest.mark.parametrize("element, condition", ORDER.values(), ids=ORDER.keys())
def test_authenticationComesOnce(server: AttackedServer, user: Callable[[], str], element: str, condition: str) -> None:
    """What belongs to a step that is behind us ends the stream."""
    client = server.authenticated(user())
    client.send(element)
    client.refused(condition)


def test_startTLSOnceOnly(server: AttackedServer, user: Callable[[], str]) -> None:
    """5.4.2.2: STARTTLS where it is not offered is a failure, and the end."""
    for client in (server.secured(), server.direct(), server.authenticated(user())):
        client.send(STARTTLS)
        assert [getattr(item, "name", "") for item in client.rest()[:1]] == ["failure"]
        assert client.closed


@pytest.mark.own("needs further hosts with certificates")
@pytest.mark.attack("A03")
def test_otherHostAfterTLS(server: AttackedServer) -> None:
    """A03: the host cannot be changed by the restart after TLS."""
    client = server.plain()
    client.startTLS(server.ca)
    client.send(header("other.test"))
    client.refused("host-unknown", "not-authorized")


@pytest.mark.attack("A03")
def test_otherHostAfterAuthentication(server: AttackedServer, user: Callable[[], str]) -> None:
    """A03: who has logged in at one host does not bind at another (CVE-2018-10847)."""
    name = user()
    client = server.direct()
    assert client.scram(name, name[::-1]).name == "success"
    client.restart()
    client.send(header("other.test"))
    client.refused("not-authorized", "host-unknown")


def test_otherUserInTheHeader(server: AttackedServer, user: Callable[[], str]) -> None:
    """4.7.1: a ``from`` that is not who authenticated is an invalid one."""
    name = user()
    client = server.direct()
    assert client.scram(name, name[::-1]).name == "success"
    client.restart()
    client.send(header(**{"from": "canary@localhost"}))
    client.refused("invalid-from")


def test_sameResourceTwice(server: AttackedServer, user: Callable[[], str]) -> None:
    """4.9.3.3: the older session of one full JID gives way."""
    name = user()
    old, new = server.login(name, "same"), server.login(name, "same")
    old.refused("conflict")
    new.ping()


@pytest.mark.own("needs our failing module")
@pytest.mark.injected(1)
def test_faultInNegotiationEndsOnlyThatStream(server: AttackedServer, user: Callable[[], str]) -> None:
    """4.9.3.8: our own fault is told as such, with an incident id that the log has too."""
    name = user()
    client = server.direct(address=UNLUCKY)
    assert client.scram(name, name[::-1]).name == "success"
    client.restart()
    client.send(header())
    client.refused("internal-server-error")
    incident = client.raw.decode().partition("incident ")[2][:8]
    assert len(incident) == 8 and f"incident {incident}" in server.report()


# -- the end of streams ----------------------------------------------------------------------


def test_closedStreamIsClosedInReturn(stranger: RawClient) -> None:
    """4.4: the answer to the end of the stream is the end of ours, and of the connection."""
    begun = time.monotonic()
    stranger.send("</stream:stream>")
    assert [type(item) for item in stranger.rest()] == [StreamEnd]
    assert time.monotonic() - begun < 3 and not stranger.reset


def test_closedBoundStream(clients: Clients) -> None:
    """The same with a session; what was asked before the end is answered before the end."""
    client = clients()
    client.send(f"<iq type='get' id='last'><ping xmlns='{ns.PING}'/></iq></stream:stream>")
    answer, end = client.rest()
    assert isinstance(answer, Element) and answer.get("id") == "last"
    assert isinstance(end, StreamEnd)


def test_halfClosedConnection(server: AttackedServer) -> None:
    """A peer that closes its half gets the end of our stream and no reset."""
    client = server.plain()
    client.finish()
    assert [type(item) for item in client.rest()] == [StreamEnd] and not client.reset


def test_nothingIsProcessedBehindAnError(clients: Clients) -> None:
    """A stream is dead after an error: what comes with the same segment goes nowhere."""
    victim, client = clients(), clients()
    client.send(f"<message to='{victim.jid}'><body>first</body></message><!-- x -->"
                f"<message to='{victim.jid}'><body>second</body></message>")  # fmt: skip
    client.refused("restricted-xml")
    (message,) = victim.messages()
    assert message.elements()[0].text == "first"


def test_nothingIsProcessedBehindTheEnd(clients: Clients) -> None:
    """The same behind the end of the stream."""
    victim, client = clients(), clients()
    client.send(f"</stream:stream><message to='{victim.jid}'><body>late</body></message>")
    client.rest()
    assert victim.messages() == []


def test_wholeNegotiationInOneSegment(server: AttackedServer, user: Callable[[], str]) -> None:
    """Pipelining on a secured stream is allowed, and every part is answered in its order."""
    name = user()
    client = connect(server, "direct")
    bind = f"<iq type='set' id='b'><bind xmlns='{ns.BIND}'/></iq>"
    client.send(header() + plain(name, name[::-1]) + header() + bind + PING + "</stream:stream>")
    heard = b""
    while data := client.socket.recv(65536):
        heard += data
    parts = (b"<mechanisms", b"<success", b"<bind", b"id='b'", b"id='1'", b"</stream:stream>")
    places = [heard.find(part) for part in parts]
    assert -1 not in places and places == sorted(places), heard
