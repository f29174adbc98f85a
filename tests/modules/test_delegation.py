"""Namespace delegation: each MUST of XEP-0355 in admin mode."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from tests.modules.asking import ask, condition, payload
from tests.modules.entities import DOMAIN, MODULES, Entity, shape
from xmppservice.hub.contracts.disco import IHostInfo, INesting
from xmppservice.hub.rights import REMAINING_INFO, REMAINING_ITEMS
from xmppservice.testing.client import MemoryClient
from xmppservice.testing.server import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

PRIVATE = "jabber:iq:private"
QUERY = f"<query xmlns='{PRIVATE}'><x xmlns='y:z'/></query>"
INFO = f"<query xmlns='{ns.DISCO_INFO}'/>"
ITEMS = f"<query xmlns='{ns.DISCO_ITEMS}'/>"


@pytest.fixture
def server() -> Any:
    """Two hosts; the component is below the first."""
    server = MemoryServer(modules=MODULES, domains=("localhost", "other.example"))
    yield server
    server.stop()


@pytest.fixture
def entity(server: MemoryServer) -> Entity:
    """A connected component without rights."""
    entity = Entity(server)
    entity.connect()
    return entity


@pytest.fixture
def alice(server: MemoryServer) -> MemoryClient:
    """Somebody online."""
    return server.client("alice/phone", available=True)


def answer(entity: Entity, request: Element, inner: str, type: str = "result") -> None:
    """The component answers what was forwarded to it."""
    wrapped = (
        f"<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"
        "</delegation>"
    )
    entity.say(f"<iq from='{DOMAIN}' to='localhost' type='{type}' id='{request.get('id')}'>{wrapped}</iq>")


def result(to: str = "alice@localhost/phone", more: str = "", id: str = "1", inner: str = QUERY) -> str:
    """The inner result."""
    return f"<iq xmlns='jabber:client' type='result' id='{id}' to='{to}'{more}>{inner}</iq>"


# -- what is delegated (sections 4.1 and 4.2) ------------------------------------------------------------------------


def test_advertised(server: MemoryServer) -> None:
    """Namespaces with their attributes, from the host, once the stream has begun."""
    entity = Entity(server)
    entity.grant(delegated={"urn:xmpp:mam:2": ("node",), ns.PUBSUB: ()})
    message, *asked = entity.connect()
    assert (message.name, message.get("from"), message.get("to")) == ("message", "localhost", DOMAIN)
    [delegation] = message.elements()
    assert delegation.ns == ns.DELEGATION
    assert shape(delegation) == ("delegation", {}, [
        ("delegated", {"namespace": "urn:xmpp:mam:2"}, [("attribute", {"name": "node"}, [])]),
        ("delegated", {"namespace": ns.PUBSUB}, []),
    ])  # fmt: skip
    nodes = {each.elements()[0].get("node") for each in asked}
    assert nodes == {
        f"urn:xmpp:delegation:2{separator}{space}"
        for separator in ("::", ":bare:") for space in ("urn:xmpp:mam:2", ns.PUBSUB)
    }  # fmt: skip


def test_changes(entity: Entity) -> None:
    """Other delegations are told while the component is connected (section 8 rule 3); other rights are not."""
    assert [each.name for each in entity.grant(delegated={PRIVATE: ()})] == ["message", "iq", "iq"]
    told = entity.grant(delegated={PRIVATE: ()}, message="outgoing")
    assert [each.elements()[0].ns for each in told] == [ns.PRIVILEGE]
    gone = entity.grant(message="outgoing")
    assert [shape(each.elements()[0]) for each in gone] == [("delegation", {}, [])]


# -- forwarding (section 4.3) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "type"), [
    (None, "get"), (None, "set"), ("localhost", "get"), ("alice@localhost", "get"), ("bob@localhost", "set"),
])  # fmt: skip
def test_forwarded(server: MemoryServer, entity: Entity, alice: MemoryClient, to: str | None, type: str) -> None:
    """To the host, to nobody or to any account: forwarded whole, and the result comes back as if it were ours."""
    server.account("bob")
    entity.grant(delegated={PRIVATE: ()})
    target = f" to='{to}'" if to else ""
    alice.send(f"<iq type='{type}' id='1'{target}>{QUERY}</iq>")
    [request] = entity.heard()
    assert (request.get("from"), request.get("to"), request.get("type")) == ("localhost", DOMAIN, "set")
    [delegation] = request.elements()
    [forwarded] = delegation.elements()
    [inner] = forwarded.elements()
    assert [delegation.ns, forwarded.ns, inner.ns] == [ns.DELEGATION, ns.FORWARD, ns.CLIENT]
    attrs = {"from": "alice@localhost/phone", "id": "1", "type": type, **({"to": to} if to else {})}
    assert (inner.name, dict(inner.attrs)) == ("iq", attrs)
    assert [child.ns for child in inner.elements()] == [PRIVATE]
    assert alice.take() == []
    answer(entity, request, result(more=f" from='{to}'" if to else ""))
    [reply] = alice.take()
    assert (reply.get("type"), reply.get("id"), reply.get("from")) == ("result", "1", to)
    assert [child.ns for child in reply.elements()] == [PRIVATE]


def test_emptyResult(entity: Entity, alice: MemoryClient) -> None:
    """A result may be empty (example 8), and leave out 'from' (examples 4 and 28)."""
    entity.grant(delegated={PRIVATE: ()})
    alice.send(f"<iq type='set' id='1' to='alice@localhost'>{QUERY}</iq>")
    answer(entity, entity.heard()[0], result(inner=""))
    [reply] = alice.take()
    assert (reply.get("type"), reply.elements(), reply.get("from")) == ("result", [], "alice@localhost")


@pytest.mark.parametrize(("inner", "type"), [
    (result(to="bob@localhost/phone"), "result"),
    (result(to="alice@localhost"), "result"),
    (result(to="@"), "result"),
    (result(id="2"), "result"),
    (result(more=" from='bob@localhost'"), "result"),
    (result(more=f" from='{DOMAIN}'"), "result"),
    (result().replace("'result'", "'set'"), "result"),
    (result().replace("'result'", "'error'"), "result"),
    (result().replace(" type='result'", ""), "result"),
    (result(inner=QUERY + QUERY), "result"),
    (result().replace("jabber:client", "jabber:server"), "result"),
    ("<message xmlns='jabber:client' to='alice@localhost/phone' id='1' type='result'/>", "result"),
    ("", "result"),
    ("<x xmlns='y'/>", "result"),
])  # fmt: skip
def test_badAnswers(entity: Entity, alice: MemoryClient, inner: str, type: str) -> None:
    """Who answers with anything else than the result of this request has answered service-unavailable."""
    entity.grant(delegated={PRIVATE: ()})
    alice.send(f"<iq type='get' id='1'>{QUERY}</iq>")
    answer(entity, entity.heard()[0], inner, type)
    [reply] = alice.take()
    assert (condition(reply), reply.get("id")) == ("service-unavailable", "1")


def test_errors(entity: Entity, alice: MemoryClient) -> None:
    """An error, silence, and a component that is away: service-unavailable each (N.B. 1 and 2)."""
    entity.grant(delegated={PRIVATE: ()})
    alice.send(f"<iq type='get' id='1'>{QUERY}</iq>")
    [request] = entity.heard()
    entity.say(
        f"<iq from='{DOMAIN}' to='localhost' type='error' id='{request.get('id')}'><error type='cancel'>"
        "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
    assert [condition(each) for each in alice.take()] == ["service-unavailable"]
    alice.send(f"<iq type='get' id='2'>{QUERY}</iq>")
    entity.server.advance(31)
    assert [condition(each) for each in alice.take()] == ["service-unavailable"]
    entity.link.streamLost()
    assert condition(ask(alice, QUERY)) == "service-unavailable"


def test_onlyItsAnswer(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """Nobody else can answer, not even with the right id (hardening I05); afterwards it is too late."""
    entity.grant(delegated={PRIVATE: ()})
    alice.send(f"<iq type='get' id='1'>{QUERY}</iq>")
    [request] = entity.heard()
    other = Entity(server, "irc.localhost")
    other.connect()
    wrapped = f"<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>{result()}"
    other.say(f"<iq from='irc.localhost' to='localhost' type='result' id='{request.get('id')}'>{wrapped}"
              "</forwarded></delegation></iq>")  # fmt: skip
    assert alice.take() == []
    answer(entity, request, result())
    answer(entity, request, result())
    assert len(alice.take()) == 1


def test_notHeld(entity: Entity, alice: MemoryClient) -> None:
    """What else a client asks does not wait for the component (section 9)."""
    entity.grant(delegated={PRIVATE: ()})
    alice.send(f"<iq type='get' id='1'>{QUERY}</iq>")
    assert payload(alice, INFO).ns == ns.DISCO_INFO


@pytest.mark.parametrize(("attribute", "forwarded"), [
    ("", False), (" node='x'", False), (" to='x'", False), (" node='x' to='y'", True), (" node='' to=''", True),
])  # fmt: skip
def test_attributes(entity: Entity, alice: MemoryClient, attribute: str, forwarded: bool) -> None:
    """Without all of the filtering attributes nothing is different (N.B. 3)."""
    entity.grant(delegated={PRIVATE: ("node", "to")})
    alice.send(f"<iq type='get' id='1'><query xmlns='{PRIVATE}'{attribute}><x xmlns='y:z'/></query></iq>")
    assert len(entity.heard()) == (1 if forwarded else 0)
    assert [each.get("type") for each in alice.take()] == ([] if forwarded else ["result"])


@pytest.mark.parametrize("to", ["alice@localhost/phone", "other.example", "juliet@other.example", "nobody@localhost"])
def test_notForwarded(server: MemoryServer, entity: Entity, alice: MemoryClient, to: str) -> None:
    """Not to a full address, nor to another host, nor to an account that does not exist."""
    server.account("juliet@other.example")
    bob = server.client("bob/phone")
    entity.grant(delegated={PRIVATE: ()})
    bob.send(f"<iq type='get' id='1' to='{to}'>{QUERY}</iq>")
    assert entity.heard() == []


def test_itsOwn(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """What the managing entity sends is not forwarded to it (section 4.3.1), in its own name or in an account's."""
    entity.grant(delegated={ns.ROSTER: (), PRIVATE: ()}, roster="both", iq={PRIVATE: "both"}, rosterPush=False)
    item = "<query xmlns='jabber:iq:roster'><item jid='romeo@montaigu.example'><group>Rivals</group></item></query>"
    assert entity.ask("set", "alice@localhost", item).get("type") == "result"
    assert "romeo@montaigu.example" in alice.session.account.roster
    inner = f"<iq xmlns='jabber:client' type='get' id='i'>{QUERY}</iq>"
    wrapped = f"<privileged_iq xmlns='urn:xmpp:privilege:2'>{inner}</privileged_iq>"
    assert entity.ask("get", "alice@localhost", wrapped).get("type") == "result"
    alice.send(f"<iq type='set' id='1'>{item}</iq>")
    assert [each.elements()[0].ns for each in entity.heard()] == [ns.DELEGATION]


def test_othersAreForwarded(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """A request of another component is as anybody's; and the blocked stay out (XEP-0191)."""
    entity.grant(delegated={PRIVATE: ()})
    other = Entity(server, "irc.localhost")
    other.connect()
    request = f"<iq from='irc.localhost' to='alice@localhost' type='get' id='q'>{QUERY}</iq>"
    assert other.say(request) == []
    assert len(entity.heard()) == 1
    alice.query("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='irc.localhost'/></block></iq>")
    assert [each.get("type") for each in other.say(request)] == ["error"]
    assert entity.heard() == []


def test_detached(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """Without the module, or without the right, the server answers itself again."""
    entity.grant(delegated={PRIVATE: ()})
    server.loader.detach(server.host, "delegation")
    assert payload(alice, QUERY).ns == PRIVATE
    server.loader.attach(server.host, ["delegation"])
    alice.send(f"<iq type='get' id='1'>{QUERY}</iq>")
    assert [each.name for each in entity.heard()] == ["message", "iq", "iq", "iq"]
    entity.grant()
    assert payload(alice, QUERY).ns == PRIVATE


@pytest.mark.parametrize(("space", "wanted"), [
    ("urn:xmpp:delegation:2", "forbidden"), (REMAINING_INFO, "forbidden"), (ns.PUBSUB, "service-unavailable"),
])  # fmt: skip
def test_clientMode(entity: Entity, space: str, wanted: str) -> None:
    """Nobody gets a delegation by asking (section 9 allows that); that of this protocol is forbidden (section 8)."""
    wish = f"<query xmlns='urn:xmpp:delegation:2' to='alice@localhost'><delegate namespace='{space}'/></query>"
    assert condition(entity.ask("get", "localhost", wish)) == wanted


# -- disco (section 7) -----------------------------------------------------------------------------------------------


def features(info: Element) -> set[str]:
    """The features of a disco#info answer."""
    return {each.get("var") or "" for each in info.findAll(ns.DISCO_INFO, "feature")}


def say(entity: Entity, asked: list[Element], children: dict[str, str]) -> None:
    """The component answers the questions for its nodes."""
    for each in asked:
        if each.name == "iq":
            query = each.elements()[0]
            node = query.get("node") or ""
            entity.say(
                f"<iq from='{DOMAIN}' to='localhost' type='result' id='{each.get('id')}'>"
                f"<query xmlns='{ns.DISCO_INFO}' node='{node}'>{children.get(node, '')}</query></iq>"
            )


def test_announced(alice: MemoryClient) -> None:
    """The host says that it supports delegation (section 7.1)."""
    assert "urn:xmpp:delegation:2" in features(payload(alice, INFO, to="localhost"))


def test_nested(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """What the component says stands in our answers, and what our own module says does not (section 7.2)."""
    own = features(payload(alice, INFO, to="localhost"))
    hash = server.host.provider(IHostInfo)
    assert hash is not None and PRIVATE in own
    before = hash.hostInfo()
    asked = entity.grant(delegated={PRIVATE: ("node",)})
    # Nothing is known yet: our own features are gone already, for those requests do not come to us.
    assert PRIVATE not in features(payload(alice, INFO, to="localhost"))
    form = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>f</value></field></x>"
    say(entity, asked, {
        f"urn:xmpp:delegation:2::{PRIVATE}": f"<feature var='{PRIVATE}'/><feature var='{PRIVATE}#more'/>{form}<evil/>",
        f"urn:xmpp:delegation:2:bare:{PRIVATE}": "<identity category='pubsub' type='pep'/><feature var='bare'/>",
    })  # fmt: skip
    info = payload(alice, INFO, to="localhost")
    assert features(info) == own | {f"{PRIVATE}#more"}
    assert info.find(ns.DATA, "x") is not None
    assert not [each for each in info.elements() if each.name == "evil"]
    account = payload(alice, INFO, to="alice@localhost")
    identities = [(each.get("category"), each.get("type")) for each in account.findAll(ns.DISCO_INFO, "identity")]
    assert identities == [("account", "registered"), ("pubsub", "pep")]
    assert "bare" in features(account) and f"{PRIVATE}#more" not in features(account)
    # XEP-0115: what is hashed is what is answered.
    assert hash.hostInfo() is not before
    entity.grant()
    assert features(payload(alice, INFO, to="localhost")) == own


def test_nestedAfterReturn(entity: Entity, alice: MemoryClient) -> None:
    """A component that comes back is asked again; what it said before stays until then."""
    asked = entity.grant(delegated={PRIVATE: ()})
    say(entity, asked, {f"urn:xmpp:delegation:2::{PRIVATE}": "<feature var='one'/>"})
    entity.link.streamLost()
    assert "one" in features(payload(alice, INFO, to="localhost"))
    say(entity, entity.connect(), {f"urn:xmpp:delegation:2::{PRIVATE}": "<feature var='two'/>"})
    found = features(payload(alice, INFO, to="localhost"))
    assert "two" in found and "one" not in found


@pytest.mark.parametrize(("query", "delegated", "forwarded"), [
    (f"<query xmlns='{ns.DISCO_INFO}' node='urn:xmpp:microblog:0'/>", REMAINING_INFO, True),
    (INFO, REMAINING_INFO, False),
    (f"<query xmlns='{ns.DISCO_ITEMS}' node='urn:xmpp:microblog:0'/>", REMAINING_INFO, False),
    (f"<query xmlns='{ns.DISCO_ITEMS}' node='urn:xmpp:microblog:0'/>", REMAINING_ITEMS, True),
    (ITEMS, REMAINING_ITEMS, True),
    (INFO, REMAINING_ITEMS, False),
])  # fmt: skip
def test_remaining(entity: Entity, alice: MemoryClient, query: str, delegated: str, forwarded: bool) -> None:
    """Discovery of accounts, for what we do not know ourselves (sections 7.2.4 and 7.2.5)."""
    assert [each.name for each in entity.grant(delegated={delegated: ()})] == ["message"]
    alice.send(f"<iq type='get' id='1' to='alice@localhost'>{query}</iq>")
    assert len(entity.heard()) == (1 if forwarded else 0)
    assert len(alice.take()) == (0 if forwarded else 1)
    alice.send(f"<iq type='get' id='2' to='localhost'>{query}</iq>")
    assert entity.heard() == []


def test_remainingIsPrivate(server: MemoryServer, entity: Entity, alice: MemoryClient) -> None:
    """Strangers learn nothing of an account this way either (XEP-0030 section 8)."""
    entity.grant(delegated={REMAINING_INFO: (), REMAINING_ITEMS: ()})
    bob = server.client("bob/phone")
    assert condition(ask(bob, ITEMS, to="alice@localhost")) == "service-unavailable"
    assert entity.heard() == []


def test_contract(server: MemoryServer) -> None:
    """The module is what service discovery expects."""
    verifyObject(INesting, server.module("delegation"))
