"""Privileged entities that see presence (XEP-0356 sections 7 and 8)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules.entities import DOMAIN, MODULES, Entity
from xmppservice.modules.privilege import contacts
from xmppservice.protocol.subscription import FROM, KNOWN, TO
from xmppservice.testing.server import MemoryServer
from xmppservice.wire.element import XML_LANG, Element

ROMEO = "romeo@montaigu.example"


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
def elsewhere(server: MemoryServer) -> Entity:
    """What stands for another server: presence from there comes as stanzas."""
    other = Entity(server, "montaigu.example")
    other.connect()
    return other


def seen(stanzas: list[Element]) -> list[tuple[str | None, str | None]]:
    """(from, type) of presence; each is for the component itself."""
    found = [each for each in stanzas if each.name == "presence"]
    assert all(each.get("to") == DOMAIN for each in found)
    return [(each.get("from"), each.get("type")) for each in found]


def test_managed(server: MemoryServer, entity: Entity) -> None:
    """Each change of an account's presence, from its full address, as it is (sections 7.1 and 7.3)."""
    entity.grant(presence="managed_entity")
    alice = server.client("alice/phone")
    alice.send("<presence id='p1' xml:lang='en'><show>chat</show><status>Staying</status></presence>")
    [presence] = entity.heard()
    attrs = {"from": "alice@localhost/phone", "to": DOMAIN, "id": "p1", XML_LANG: "en"}
    assert dict(presence.attrs) == attrs
    assert [(child.name, child.text) for child in presence.elements()] == [("show", "chat"), ("status", "Staying")]
    alice.send("<presence type='unavailable'/>")
    assert seen(entity.heard()) == [("alice@localhost/phone", "unavailable")]
    alice.available()
    alice.lose()
    assert seen(entity.heard()) == [("alice@localhost/phone", None), ("alice@localhost/phone", "unavailable")]


@pytest.mark.parametrize("presence", ["none", "managed_entity", "roster"])
def test_nothingElse(server: MemoryServer, entity: Entity, presence: str) -> None:
    """No other presence (section 7.1), none of another host, and none at all without the right."""
    entity.grant(presence=presence, roster="get", rosterPush=False)
    entity.heard()
    alice = server.client("alice/phone")
    alice.send("<presence type='subscribe' to='bob@localhost'/><presence type='probe' to='bob@localhost'/>")
    alice.send("<presence to='bob@localhost'/><presence to='bob@localhost' type='unavailable'/>")
    alice.send("<presence type='unsubscribe' to='bob@localhost'/><presence to='bob@localhost' type='error'/>")
    server.client("juliet@other.example/phone").available()
    assert entity.heard() == []


def test_transparent(server: MemoryServer, entity: Entity) -> None:
    """The roster is not modified, and the account's clients notice nothing (section 7.1)."""
    entity.grant(presence="managed_entity")
    alice = server.client("alice/phone", available=True)
    assert alice.session.account.roster == {}
    assert alice.session.directed is None
    assert alice.take() == []


def test_connectedLater(server: MemoryServer, entity: Entity) -> None:
    """Who comes later is told of all that are available (section 8 rule 1), also when the right comes later."""
    server.client("alice/phone", available=True)
    server.client("bob/silent")
    server.client("juliet@other.example/phone", available=True)
    assert seen(entity.grant(presence="managed_entity")) == [("alice@localhost/phone", None)]
    entity.link.streamLost()
    assert seen(entity.connect()) == [("alice@localhost/phone", None)]
    assert seen(entity.grant(presence="managed_entity", message="outgoing")) == []


def test_onceOnly(server: MemoryServer, entity: Entity) -> None:
    """A component that is a contact too gets it once (section 8 rule 2)."""
    entity.grant(presence="managed_entity")
    alice = server.client("alice/phone")
    alice.session.account.setState(DOMAIN, KNOWN | FROM)
    alice.available()
    assert seen(entity.heard()) == [("alice@localhost/phone", None)]


def test_absent(server: MemoryServer, entity: Entity) -> None:
    """A component that is away gets nothing, and nobody an error for that."""
    entity.grant(presence="managed_entity")
    entity.link.streamLost()
    alice = server.client("alice/phone")
    alice.available()
    assert [each.get("type") for each in alice.take() if each.name == "presence"] == [None]


# -- contacts of accounts (section 7.4) ------------------------------------------------------------------------------


def befriend(server: MemoryServer, *names: str) -> None:
    """Accounts that see Romeo's presence."""
    for name in names:
        server.account(name).setState(ROMEO, KNOWN | TO)


@pytest.mark.parametrize("presence", ["managed_entity", "roster"])
@pytest.mark.parametrize("online", [True, False])
def test_contacts(
    server: MemoryServer, entity: Entity, elsewhere: Entity, presence: str, online: bool
) -> None:
    """A contact's presence, from its full address, whether or not the account is online; only with that right."""
    befriend(server, "alice")
    entity.grant(presence=presence, roster="get", rosterPush=False)
    if online:
        server.client("alice/phone", available=True)
    entity.heard()
    elsewhere.say(f"<presence from='{ROMEO}/orchard' to='alice@localhost' id='r'><show>away</show></presence>")
    elsewhere.say(f"<presence from='{ROMEO}/orchard' to='alice@localhost' type='unavailable'/>")
    expected = [(f"{ROMEO}/orchard", None), (f"{ROMEO}/orchard", "unavailable")] if presence == "roster" else []
    heard = entity.heard()
    assert seen(heard) == expected
    if heard:
        assert (heard[0].get("id"), [child.name for child in heard[0].elements()]) == ("r", ["show"])


def test_contactsOnce(server: MemoryServer, entity: Entity, elsewhere: Entity) -> None:
    """What comes for each of several accounts is passed on once (section 8 rule 2); what is new is passed on."""
    befriend(server, "alice", "bob")
    entity.grant(presence="roster", roster="get", rosterPush=False)
    for show in ("away", "chat"):
        for to in ("alice", "bob"):
            elsewhere.say(f"<presence from='{ROMEO}/o' to='{to}@localhost'><show>{show}</show></presence>")
    for to in ("alice", "bob"):
        elsewhere.say(f"<presence from='{ROMEO}/o' to='{to}@localhost' type='unavailable'/>")
    assert seen(entity.heard()) == [(f"{ROMEO}/o", None), (f"{ROMEO}/o", None), (f"{ROMEO}/o", "unavailable")]


def test_noContacts(server: MemoryServer, entity: Entity, elsewhere: Entity) -> None:
    """Presence of a stranger, such as of a room, and other types: none of the component's business."""
    server.account("alice").setState(ROMEO, KNOWN | FROM)
    entity.grant(presence="roster", roster="get", rosterPush=False)
    for type in ("", " type='subscribe'", " type='probe'", " type='unavailable'"):
        elsewhere.say(f"<presence from='{ROMEO}/o' to='alice@localhost'{type}/>")
        elsewhere.say(f"<presence from='room@montaigu.example/nick' to='alice@localhost/phone'{type}/>")
    assert seen(entity.heard()) == []


def test_contactsLater(server: MemoryServer, entity: Entity, elsewhere: Entity) -> None:
    """Who connects later learns of the contacts that are available (section 8 rule 1)."""
    befriend(server, "alice")
    entity.grant(presence="roster", roster="get", rosterPush=False)
    entity.link.streamLost()
    for resource, type in (("o", ""), ("gone", ""), ("gone", " type='unavailable'")):
        elsewhere.say(f"<presence from='{ROMEO}/{resource}' to='alice@localhost'{type}/>")
    assert seen(entity.connect()) == [(f"{ROMEO}/o", None)]
    entity.grant()
    assert seen(entity.grant(presence="roster", roster="get", rosterPush=False)) == []


def test_contactsOnOurHosts(server: MemoryServer, entity: Entity) -> None:
    """A contact on a host of ours that is not managed, and one on the host that is: each once, now and later."""
    server.account("alice").setState("juliet@other.example", KNOWN | TO)
    server.account("juliet@other.example").setState("alice@localhost", KNOWN | FROM)
    entity.grant(presence="roster", roster="get", rosterPush=False)
    entity.heard()
    server.client("juliet@other.example/phone").available()
    server.client("nurse@other.example/phone").available()
    server.client("bob/phone").available()
    expected = [("juliet@other.example/phone", None), ("bob@localhost/phone", None)]
    assert seen(entity.heard()) == expected
    entity.link.streamLost()
    assert sorted(seen(entity.connect())) == sorted(expected)


def test_bounded(server: MemoryServer, entity: Entity, elsewhere: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources without end, or presence without end, do not fill the memory."""
    monkeypatch.setattr(contacts, "LIMIT", 10)
    befriend(server, "alice")
    entity.grant(presence="roster", roster="get", rosterPush=False)
    for number in range(30):
        elsewhere.say(f"<presence from='{ROMEO}/{number}' to='alice@localhost'/>")
    long = "x" * contacts.SIZE_LIMIT
    elsewhere.say(f"<presence from='{ROMEO}/long' to='alice@localhost'><status>{long}</status></presence>")
    assert len(entity.heard()) == 31
    entity.link.streamLost()
    assert len(seen(entity.connect())) == 10
