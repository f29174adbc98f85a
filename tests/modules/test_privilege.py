"""Privileged entities: each MUST of XEP-0356, what is granted and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from tests.modules.entities import DOMAIN, MODULES, Entity, condition, shape
from xmppservice.hub.contracts.roster import IContactLists
from xmppservice.protocol.subscription import FROM, KNOWN, PENDING_IN, PENDING_OUT, TO
from xmppservice.testing.server import MemoryServer, result
from xmppservice.wire import ns

ROSTER = "<query xmlns='jabber:iq:roster'/>"
PRIVATE = "<query xmlns='jabber:iq:private'><x xmlns='y:z'/></query>"


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
    assert entity.connect() == []
    return entity


def item(jid: str, subscription: str = "", name: str = "n") -> str:
    """A roster set's payload."""
    more = f" subscription='{subscription}'" if subscription else ""
    return f"<query xmlns='jabber:iq:roster'><item jid='{jid}' name='{name}'{more}/></query>"


def privileged(message: str, outer: str = "to='localhost'", sender: str = DOMAIN) -> str:
    """A privileged message."""
    return (
        f"<message from='{sender}' {outer} id='m'><privilege xmlns='urn:xmpp:privilege:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded></privilege></message>"
    )


def said(sender: str, to: str = "bob@localhost", space: str = "jabber:client") -> str:
    """The message inside."""
    return f"<message xmlns='{space}' from='{sender}' to='{to}' type='chat' id='foo'><body>hi</body></message>"


def encapsulated(payload: str = PRIVATE, attrs: str = "type='get' id='i'", space: str = "jabber:client") -> str:
    """A privileged IQ's payload."""
    return f"<privileged_iq xmlns='urn:xmpp:privilege:2'><iq xmlns='{space}' {attrs}>{payload}</iq></privileged_iq>"


# -- advertisements (sections 4.2, 5.2, 6.2, 7.2, 7.5) ---------------------------------------------------------------


@pytest.mark.parametrize(("granted", "perms"), [
    ({}, []),
    ({"roster": "both"}, [{"access": "roster", "type": "both", "push": "true"}]),
    ({"roster": "get", "rosterPush": False}, [{"access": "roster", "type": "get", "push": "false"}]),
    # "Roster pushes MUST NOT be sent if roster permission type is either none or set" (4.1).
    ({"roster": "set"}, [{"access": "roster", "type": "set", "push": "false"}]),
    ({"message": "outgoing"}, [{"access": "message", "type": "outgoing"}]),
    ({"presence": "managed_entity"}, [{"access": "presence", "type": "managed_entity"}]),
    ({"iq": {"a": "set", "b": "both"}}, [{"access": "iq"}]),
    (
        {"roster": "both", "presence": "roster"},
        [{"access": "roster", "type": "both", "push": "true"}, {"access": "presence", "type": "roster"}],
    ),
])  # fmt: skip
def test_advertised(server: MemoryServer, granted: Mapping[str, Any], perms: list[dict[str, str]]) -> None:
    """What is granted is told once the stream has begun, from the host; of nothing nothing is said."""
    entity = Entity(server)
    entity.grant(**granted)
    told = entity.connect()
    if not perms:
        assert told == []
        return
    [message] = told
    assert (message.get("from"), message.get("to"), message.get("type")) == ("localhost", DOMAIN, None)
    [privilege] = message.elements()
    assert (privilege.ns, privilege.name) == (ns.PRIVILEGE, "privilege")
    assert [dict(each.attrs) for each in privilege.elements()] == perms
    if "iq" in granted:
        spaces = [dict(each.attrs) for each in privilege.elements()[0].elements()]
        assert spaces == [{"ns": "a", "type": "set"}, {"ns": "b", "type": "both"}]


def test_changesAreAdvertised(entity: Entity) -> None:
    """Rights that come, and rights that go: those are told as none, once."""
    entity.grant(roster="both", iq={"a": "get"})
    [gone] = entity.grant(message="outgoing")
    found = [shape(each) for each in gone.elements()[0].elements()]
    assert found == [
        ("perm", {"access": "roster", "type": "none", "push": "false"}, []),
        ("perm", {"access": "message", "type": "outgoing"}, []),
        ("perm", {"access": "iq"}, [("namespace", {"ns": "a", "type": "none"}, [])]),
    ]
    assert entity.grant(message="outgoing") == []


def test_eachHostTells(server: MemoryServer) -> None:
    """Rights over two hosts are told by each of them, and rights over one by that one alone."""
    entity = Entity(server)
    entity.grant("localhost", "other.example", message="outgoing")
    assert [each.get("from") for each in entity.connect()] == ["localhost", "other.example"]


def test_moduleComesLater(server: MemoryServer) -> None:
    """A module that comes while the component is connected tells it then; without the module nothing is granted."""
    entity = Entity(server)
    entity.grant(roster="both")
    server.account("alice")
    server.loader.detach(server.host, "privilege")
    assert entity.connect() == []
    assert entity.ask("get", "alice@localhost", ROSTER).get("type") == "error"
    server.loader.attach(server.host, ["privilege"])
    assert [each.name for each in entity.heard()] == ["message"]
    assert entity.ask("get", "alice@localhost", ROSTER).get("type") == "result"


# -- rosters (section 4) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("granted", "type", "allowed"), [
    ("none", "get", False), ("none", "set", False), ("get", "get", True), ("get", "set", False),
    ("set", "get", False), ("set", "set", True), ("both", "get", True), ("both", "set", True),
])  # fmt: skip
def test_roster(server: MemoryServer, entity: Entity, granted: str, type: str, allowed: bool) -> None:
    """The right to read or change is checked; without it the error is forbidden (section 4.3)."""
    server.account("alice")
    entity.grant(roster=granted)
    answer = entity.ask(type, "alice@localhost", ROSTER if type == "get" else item("nurse@x.example"))
    assert condition(answer) == ("" if allowed else "forbidden")
    assert ("nurse@x.example" in server.account("alice").roster) == (allowed and type == "set")


@pytest.mark.parametrize("to", ["alice@other.example", "nobody@localhost", "alice@localhost"])
def test_rosterOfOthers(server: MemoryServer, entity: Entity, to: str) -> None:
    """Another host's account, one that does not exist, one that is disabled: forbidden, none told from another."""
    server.account("alice@other.example")
    server.account("alice").enabled = False
    entity.grant(roster="both")
    assert condition(entity.ask("get", to, ROSTER)) == "forbidden"
    assert condition(entity.ask("set", to, item("nurse@x.example"))) == "forbidden"


def test_rosterAnswer(server: MemoryServer, entity: Entity) -> None:
    """The answer is what the account would have got, from its bare address (example 3), whatever version is known."""
    server.befriend("alice", "bob")
    entity.grant(roster="get")
    account = server.account("alice")
    version = f"{account.id}-{account.rosterVersion}"
    answer = entity.ask("get", "alice@localhost", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
    assert (answer.get("from"), answer.get("to"), answer.get("id")) == ("alice@localhost", DOMAIN, "q")
    [query] = answer.elements()
    assert [dict(each.attrs) for each in query.elements()] == [{"jid": "bob@localhost", "subscription": "both"}]


@pytest.mark.parametrize(("contact", "subscription", "before", "after"), [
    (f"c@{DOMAIN}", "both", 0, KNOWN | TO | FROM),
    (f"c@{DOMAIN}", "to", KNOWN | FROM | PENDING_OUT, KNOWN | TO),
    (f"c@{DOMAIN}", "from", PENDING_IN, KNOWN | FROM),
    (f"c@{DOMAIN}", "none", KNOWN | TO | FROM, KNOWN),
    (f"c@{DOMAIN}", "", KNOWN | TO, KNOWN | TO),
    (f"c@{DOMAIN}", "nonsense", 0, KNOWN),
    # RFC 6121 2.1.2.5: for others than its own contacts the attribute does not count.
    ("c@elsewhere.example", "both", 0, KNOWN),
    ("bob@localhost", "both", 0, KNOWN),
    (f"c@x.{DOMAIN}", "both", 0, KNOWN),
])  # fmt: skip
def test_subscriptions(
    server: MemoryServer, entity: Entity, contact: str, subscription: str, before: int, after: int
) -> None:
    """A gateway decides about subscriptions with its own contacts; the user's presence follows."""
    alice = server.client("alice/phone", available=True)
    account = alice.session.account
    if before:
        account.setState(contact, before)
    entity.grant(roster="both", rosterPush=False)
    answer = entity.say(
        f"<iq from='{DOMAIN}' to='alice@localhost' type='set' id='q'>{item(contact, subscription)}</iq>"
    )
    assert account.roster[contact] == after
    told = [(each.get("to"), each.get("type")) for each in answer if each.name == "presence"]
    changed = (before ^ after) & FROM
    assert told == ([(contact, None if after & FROM else "unavailable")] if changed else [])


def test_privilegedRemoval(server: MemoryServer, entity: Entity) -> None:
    """Removing a contact is a roster set too (RFC 6121 2.5)."""
    server.account("alice").setState(f"c@{DOMAIN}", KNOWN)
    entity.grant(roster="set")
    assert condition(entity.ask("set", "alice@localhost", item(f"c@{DOMAIN}", "remove"))) == ""
    assert server.account("alice").roster == {}


def test_clientsDoNotDecide(server: MemoryServer) -> None:
    """What is new for components is not there for clients: 'subscription' is ignored (RFC 6121 2.1.2.5)."""
    alice = server.client("alice/phone")
    alice.query(f"<iq type='set' id='1'>{item('localhost', 'both')}</iq>")
    alice.query(f"<iq type='set' id='2'>{item('bob@localhost', 'both')}</iq>")
    assert set(alice.session.account.roster.values()) == {KNOWN}


@pytest.mark.parametrize(("roster", "push", "pushed"), [
    ("both", True, True), ("get", True, True), ("both", False, False), ("set", True, False), ("none", True, False),
])  # fmt: skip
def test_pushes(server: MemoryServer, entity: Entity, roster: str, push: bool, pushed: bool) -> None:
    """Every change to a managed roster is pushed if that is granted, and MUST NOT be otherwise (sections 4.1, 4.4)."""
    entity.grant(roster=roster, rosterPush=push)
    alice = server.client("alice/phone")
    alice.query(f"<iq type='set' id='1'>{item('nurse@x.example')}</iq>")
    server.client("juliet@other.example/x").query(f"<iq type='set' id='1'>{item('nurse@x.example')}</iq>")
    alice.query(f"<iq type='set' id='2'>{item('nurse@x.example', 'remove')}</iq>")
    heard = entity.heard()
    assert len(heard) == (2 if pushed else 0)
    for each, subscription in zip(heard, ("none", "remove"), strict=False):
        assert (each.get("from"), each.get("to"), each.get("type")) == ("alice@localhost", DOMAIN, "set")
        [entry] = each.elements()[0].elements()
        assert (entry.get("jid"), entry.get("subscription")) == ("nurse@x.example", subscription)
        entity.say(f"<iq from='{DOMAIN}' to='alice@localhost' type='result' id='{each.get('id')}'/>")
    assert alice.take() == []


def test_contract(server: MemoryServer) -> None:
    """The module for rosters is what this one expects."""
    verifyObject(IContactLists, server.host.provider(IContactLists))


# -- messages (section 5) --------------------------------------------------------------------------------------------


def test_message(server: MemoryServer, entity: Entity) -> None:
    """A message in an account's name arrives as that account's own, whole, and nothing of the wrapping (example 7)."""
    server.account("alice")
    bob = server.client("bob/phone", available=True)
    entity.grant(message="outgoing")
    delay = "<delay xmlns='urn:xmpp:delay' stamp='2014-11-25T14:34:32Z'/>"
    inner = said("alice@localhost").replace("<body>", delay + "<body>")
    assert entity.say(privileged(inner)) == []
    [message] = bob.take()
    attrs = {"from": "alice@localhost", "to": "bob@localhost", "type": "chat", "id": "foo"}
    assert dict(message.attrs) == attrs
    assert [child.name for child in message.elements()] == ["delay", "body"]


def test_messageOfTheServer(server: MemoryServer, entity: Entity) -> None:
    """In the name of the server itself (section 5.1)."""
    bob = server.client("bob/phone", available=True)
    entity.grant(message="outgoing")
    assert entity.say(privileged(said("localhost"))) == []
    assert [each.get("from") for each in bob.take()] == ["localhost"]


@pytest.mark.parametrize(("inner", "outer", "wanted"), [
    (said("alice@localhost/phone"), "to='localhost'", "forbidden"),
    (said("localhost/x"), "to='localhost'", "forbidden"),
    (said("alice@other.example"), "to='localhost'", "forbidden"),
    (said("alice@other.example"), "to='other.example'", "forbidden"),
    (said("alice@elsewhere.example"), "to='localhost'", "forbidden"),
    (said(f"x@{DOMAIN}"), "to='localhost'", "forbidden"),
    (said("nobody@localhost"), "to='localhost'", "forbidden"),
    (said("a b@@"), "to='localhost'", "forbidden"),
    (said("alice@localhost").replace(" from='alice@localhost'", ""), "to='localhost'", "forbidden"),
    (said("alice@localhost"), "to='alice@localhost'", "forbidden"),
    (said("alice@localhost"), "to='localhost/x'", "forbidden"),
    (said("alice@localhost", space="jabber:server"), "to='localhost'", "bad-request"),
    ("<iq xmlns='jabber:client' from='alice@localhost' type='get'/>", "to='localhost'", "bad-request"),
    ("", "to='localhost'", "bad-request"),
    (said("alice@localhost", to="a b"), "to='localhost'", "jid-malformed"),
])  # fmt: skip
def test_messageRefused(server: MemoryServer, entity: Entity, inner: str, outer: str, wanted: str) -> None:
    """From nobody but a bare address of the host: else forbidden, and nothing goes out (section 5.1)."""
    server.account("alice")
    server.account("alice@other.example")
    bob = server.client("bob/phone", available=True)
    entity.grant(message="outgoing")
    [answer] = entity.say(privileged(inner, outer))
    assert (answer.name, answer.get("type"), answer.get("id"), condition(answer)) == ("message", "error", "m", wanted)
    assert bob.take() == []


@pytest.mark.parametrize("granted", [{}, {"roster": "both", "iq": {"a": "both"}, "presence": "managed_entity"}])
def test_messageNotGranted(server: MemoryServer, entity: Entity, granted: Mapping[str, Any]) -> None:
    """Other rights do not help."""
    server.account("alice")
    bob = server.client("bob/phone", available=True)
    entity.grant(**granted)
    entity.heard()
    [answer] = [each for each in entity.say(privileged(said("alice@localhost"))) if each.name == "message"]
    assert condition(answer) == "forbidden"
    assert [each for each in bob.take() if each.name == "message"] == []


def test_otherComponent(server: MemoryServer, entity: Entity) -> None:
    """The rights of one component are not those of another, whatever addresses its stanzas have."""
    server.account("alice")
    bob = server.client("bob/phone", available=True)
    entity.grant(message="outgoing", roster="both", iq={"jabber:iq:private": "both"})
    other = Entity(server, "irc.localhost")
    other.connect()
    [answer] = other.say(privileged(said("alice@localhost"), sender="irc.localhost"))
    assert condition(answer) == "forbidden"
    assert condition(other.ask("get", "alice@localhost", ROSTER)) == "forbidden"
    assert condition(other.ask("get", "alice@localhost", encapsulated())) == "forbidden"
    assert bob.take() == []


def test_clientsAreRefused(server: MemoryServer) -> None:
    """A user who sends what only components may gets forbidden, or nowhere: no address has a right."""
    bob = server.client("bob/phone", available=True)
    alice = server.client("alice/phone")
    assert condition(alice.query(f"<iq type='get' id='1' to='bob@localhost'>{encapsulated()}</iq>")) == "forbidden"
    assert condition(alice.query(f"<iq type='get' id='1' to='localhost'>{encapsulated()}</iq>")) == "forbidden"
    alice.send(privileged(said("bob@localhost", to="alice@localhost")).replace(f"from='{DOMAIN}'", ""))
    assert [each.get("type") for each in alice.take()] == ["error"]
    assert bob.take() == []


def test_messagesObeyTheAccount(server: MemoryServer, entity: Entity) -> None:
    """It goes the way of the account's own messages: to who is blocked nothing goes (section 9 rule 4)."""
    alice = server.client("alice/phone")
    server.account("bob")
    alice.query("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>")
    entity.grant(message="outgoing")
    [answer] = entity.say(privileged(said("alice@localhost")))
    assert condition(answer) == "not-acceptable"


def test_messageBounces(server: MemoryServer, entity: Entity) -> None:
    """An error for the message is the account's, as for a message of its own; the component's stream stays clean."""
    server.account("alice")
    entity.grant(message="outgoing")
    assert entity.say(privileged(said("alice@localhost", to="nobody@localhost"))) == []
    assert entity.say(privileged(said("alice@localhost", to=f"c@{DOMAIN}")))[0].get("from") == "alice@localhost"


# -- IQs (section 6) -------------------------------------------------------------------------------------------------


def test_iq(server: MemoryServer, entity: Entity) -> None:
    """The request goes out from the account; the whole answer comes back inside (examples 9 to 11)."""
    server.account("alice")
    entity.grant(iq={"jabber:iq:private": "get"})
    answer = entity.ask("get", "alice@localhost", encapsulated())
    assert dict(answer.attrs) == {"type": "result", "id": "q", "from": "alice@localhost", "to": DOMAIN}
    [privilege] = answer.elements()
    [forwarded] = privilege.elements()
    [inner] = forwarded.elements()
    assert (privilege.ns, privilege.name) == (ns.PRIVILEGE, "privilege")
    assert (forwarded.ns, forwarded.name) == (ns.FORWARD, "forwarded")
    assert (inner.ns, inner.name) == (ns.CLIENT, "iq")
    assert dict(inner.attrs) == {"type": "result", "id": "i", "from": "alice@localhost", "to": "alice@localhost"}
    assert [child.ns for child in inner.elements()] == ["jabber:iq:private"]


def test_iqToSomebody(server: MemoryServer, entity: Entity) -> None:
    """To another client: what arrives has the bare address as sender; other stanzas do not wait for the answer."""
    server.befriend("alice", "bob")
    bob = server.client("bob/phone", available=True)
    entity.grant(iq={"jabber:iq:private": "set"})
    payload = encapsulated(attrs="type='set' id='i' to='bob@localhost/phone' from='alice@localhost'")
    entity.say(f"<iq from='{DOMAIN}' to='alice@localhost' type='set' id='q'>{payload}</iq>")
    [request] = bob.take()
    assert (request.get("from"), request.get("to"), request.get("type")) == (
        "alice@localhost", "bob@localhost/phone", "set",
    )  # fmt: skip
    ping = f"<iq from='{DOMAIN}' to='alice@localhost' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
    assert [each.get("id") for each in entity.say(ping)] == ["p"]
    bob.send(f"<iq type='result' id='{request.get('id')}' to='alice@localhost'/>")
    [answer] = entity.heard()
    assert (answer.get("id"), answer.get("type")) == ("q", "result")
    [inner] = answer.elements()[0].elements()[0].elements()
    assert (inner.get("id"), inner.get("from")) == ("i", "bob@localhost/phone")


@pytest.mark.parametrize(("to", "wanted"), [
    ("x@elsewhere.example", "remote-server-not-found"), ("nobody@localhost", "service-unavailable"),
])  # fmt: skip
def test_iqErrors(server: MemoryServer, entity: Entity, to: str, wanted: str) -> None:
    """An error is answered as an error, with what came inside it."""
    server.account("alice")
    entity.grant(iq={"jabber:iq:private": "get"})
    answer = entity.ask("get", "alice@localhost", encapsulated(attrs=f"type='get' id='i' to='{to}'"))
    assert (answer.get("type"), answer.get("from")) == ("error", "alice@localhost")
    privilege, error = answer.elements()
    assert error.elements()[0].name == wanted
    [inner] = privilege.elements()[0].elements()
    assert (inner.get("type"), inner.get("id"), inner.get("from"), condition(inner)) == ("error", "i", to, wanted)


def test_iqWithoutAnswer(server: MemoryServer, entity: Entity) -> None:
    """Nobody answers: the component is told after a while."""
    server.befriend("alice", "bob")
    server.client("bob/phone", available=True)
    entity.grant(iq={"jabber:iq:private": "get"})
    payload = encapsulated(attrs="type='get' id='i' to='bob@localhost/phone'")
    assert entity.say(f"<iq from='{DOMAIN}' to='alice@localhost' type='get' id='q'>{payload}</iq>") == []
    server.advance(31)
    assert [each.get("type") for each in entity.heard()] == ["error"]


@pytest.mark.parametrize(("to", "type", "payload", "wanted"), [
    # "MUST refuse the request with a <forbidden/> error if any of the following condition happens" (6.3)
    ("localhost", "get", encapsulated(), "forbidden"),
    ("alice@localhost/phone", "get", encapsulated(), "forbidden"),
    ("nobody@localhost", "get", encapsulated(), "forbidden"),
    ("alice@other.example", "get", encapsulated(), "forbidden"),
    ("alice@localhost", "get", encapsulated("<query xmlns='jabber:iq:version'/>"), "forbidden"),
    ("alice@localhost", "get", encapsulated("<vCard xmlns='vcard-temp'/>"), "forbidden"),
    ("alice@localhost", "set", encapsulated("<x xmlns='only:get'/>", "type='set' id='i'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(space="jabber:server"), "forbidden"),
    ("alice@localhost", "get", encapsulated(space="x"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='get' id='i' from='bob@localhost'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='get' id='i' from='alice@localhost/phone'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='get' id='i' from='@'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='set' id='i'"), "forbidden"),
    ("alice@localhost", "set", encapsulated(attrs="type='get' id='i'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='result' id='i'"), "forbidden"),
    ("alice@localhost", "get", encapsulated(attrs="type='get'"), "bad-request"),
    ("alice@localhost", "get", encapsulated(PRIVATE + PRIVATE), "bad-request"),
    ("alice@localhost", "get", "<privileged_iq xmlns='urn:xmpp:privilege:2'/>", "bad-request"),
    ("alice@localhost", "get", encapsulated(attrs="type='get' id='i' to='a b'"), "jid-malformed"),
    ("alice@localhost", "get", "<privilege xmlns='urn:xmpp:privilege:2'/>", "forbidden"),
    # A privilege inside a privilege.
    ("alice@localhost", "get", encapsulated(encapsulated()), "forbidden"),
])  # fmt: skip
def test_iqRefused(
    server: MemoryServer, entity: Entity, to: str, type: str, payload: str, wanted: str
) -> None:
    """Each condition under which a privileged IQ is refused; nobody sees anything of it."""
    alice = server.client("alice/phone", available=True)
    server.account("alice@other.example")
    entity.grant(iq={"jabber:iq:private": "both", "only:get": "get"})
    answer = entity.ask(type, to, payload)
    assert (condition(answer), answer.get("from")) == (wanted, to)
    assert alice.take() == []


# -- who has blocked the component -----------------------------------------------------------------------------------


def test_blocked(server: MemoryServer, entity: Entity) -> None:
    """A component that an account has blocked has no rights over it: nothing is sent, answered, pushed or shown."""
    alice = server.client("alice/phone", available=True)
    bob = server.client("bob/phone", available=True)
    entity.grant(
        roster="both", message="outgoing", presence="managed_entity", iq={"jabber:iq:private": "both"}
    )
    entity.heard()
    alice.query(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{DOMAIN}'/></block></iq>")
    entity.heard()
    assert condition(entity.ask("get", "alice@localhost", ROSTER)) == "forbidden"
    assert condition(entity.ask("set", "alice@localhost", item(f"c@{DOMAIN}"))) == "forbidden"
    assert condition(entity.ask("get", "alice@localhost", encapsulated())) == "forbidden"
    [answer] = entity.say(privileged(said("alice@localhost")))
    assert condition(answer) == "forbidden"
    alice.send("<presence><show>away</show></presence>")
    alice.query(f"<iq type='set' id='1'>{item('nurse@x.example')}</iq>")
    assert entity.heard() == []
    entity.link.streamLost()
    senders = [each.get("from") for each in entity.connect() if each.name == "presence"]
    assert senders == ["bob@localhost/phone"]
    assert [each for each in bob.take() if each.name == "message"] == []


def test_revoked(server: MemoryServer, entity: Entity) -> None:
    """A right that is taken away is gone at once, without a new connection."""
    server.account("alice")
    entity.grant(roster="both")
    assert condition(entity.ask("get", "alice@localhost", ROSTER)) == ""
    entity.grant()
    assert condition(entity.ask("get", "alice@localhost", ROSTER)) == "forbidden"
    assert result(server.host.account("alice")).roster == {}
