"""ANONYMOUS: guests, who come and go and leave nothing (RFC 4505, XEP-0175; hardening A02)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.attack.raw import DOMAIN, auth, response, stanzaError
from tests.security.conftest import SecuredServer
from tests.security.tlsclient import SecureClient, failed
from xmppservice.server.hosts import HostService
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns

EMPTY = f"<auth xmlns='{ns.SASL}' mechanism='ANONYMOUS'/>"
CHAT = "<message to='{}' type='chat' id='m'><body>x</body></message>"
ITEM = f"<query xmlns='{ns.ROSTER}'><item jid='user1@localhost'/></query>"


def guest(lax: SecuredServer, resource: str = "") -> SecureClient:
    """A guest with a session."""
    client = lax.secured()
    client.send(EMPTY)
    assert client.element().name == "success"
    client.restart()
    client.open()
    client.bind(resource)
    return client


def bare(client: SecureClient) -> str:
    """A client's bare JID."""
    return client.jid.partition("/")[0]


def settled(lax: SecuredServer, user: str) -> SecureClient:
    """Somebody with an account, available."""
    client = lax.secured()
    assert client.scram(user, user[::-1], "SCRAM-SHA-256").name == "success"
    client.enter()
    client.available()
    return client


def test_offByDefault(server: SecuredServer) -> None:
    """A server as it comes neither offers nor has it."""
    client = server.secured()
    assert "ANONYMOUS" not in client.mechanisms
    client.send(EMPTY)
    assert failed(client.element()) == "invalid-mechanism"


@pytest.mark.parametrize("trace", ["", "=", "c2lyaGM=", base64.b64encode(b"x" * 255).decode()])
def test_everybodyIsSomebodyElse(lax: SecuredServer, trace: str) -> None:
    """An address that is new each time and has nothing of the trace; success at once (XEP-0175 3)."""
    seen = set()
    for secured in (True, False):
        client = lax.secured() if secured else lax.plain()
        client.send(auth("ANONYMOUS", trace))
        answer = client.element()
        assert (answer.name, answer.children) == ("success", [])
        local = client.enter().partition("@")[0]
        assert len(local) >= 32
        assert "sirhc" not in client.jid
        seen.add(local)
    assert len(seen) == 2


@pytest.mark.parametrize("trace", [b"x" * 256, b"\xff", b"a\0b"])
def test_badTrace(lax: SecuredServer, trace: bytes) -> None:
    """A trace of more than 255 characters is the RFC's own example of malformed-request (6.5.8)."""
    client = lax.secured()
    client.send(auth("ANONYMOUS", trace))
    assert failed(client.element()) == "malformed-request"
    client.send(response("="))
    assert failed(client.element()) == "malformed-request"


def test_guestsTalk(lax: SecuredServer, user: str) -> None:
    """While they are here they can be talked to."""
    one, two, host = guest(lax), guest(lax), settled(lax, user)
    one.available()
    one.send(CHAT.format(f"{user}@{DOMAIN}"))
    assert host.find(lambda each: each.name == "message").get("from") == one.jid
    host.send(CHAT.format(bare(one)))
    assert one.find(lambda each: each.name == "message").get("from") == host.jid
    two.send(CHAT.format(one.jid))
    assert one.find(lambda each: each.name == "message").get("from") == two.jid


def test_nothingIsStoredForGuests(lax: SecuredServer, user: str) -> None:
    """A message that a guest's session cannot take is refused, and no other guest finds it."""
    host, quiet = settled(lax, user), guest(lax)
    host.send(CHAT.format(bare(quiet)))
    assert stanzaError(host.find(lambda each: each.name == "message"))[1] == "service-unavailable"
    newcomer = guest(lax)
    for client in (newcomer, quiet):
        client.available()
        assert client.messages() == []


def test_guestsAreGone(lax: SecuredServer, user: str) -> None:
    """After a guest has left, his address is nobody's, and is told so like any other."""
    host, leaving = settled(lax, user), guest(lax)
    leaving.available()
    address = bare(leaving)
    leaving.send("</stream:stream>")
    leaving.rest()
    host.send(CHAT.format(address))
    gone = host.find(lambda each: each.name == "message")
    host.send(CHAT.format(f"nobody@{DOMAIN}"))
    never = host.find(lambda each: each.name == "message")
    assert stanzaError(gone) == stanzaError(never) == ("cancel", "service-unavailable")


def test_unboundGuestIsGone() -> None:
    """A guest whose connection ends without a session is forgotten with it, one who has a session is not."""
    server = MemoryServer()
    service = HostService.__new__(HostService)
    service.host, service.domain = server.host, server.host.name
    known = server.host.accounts.known
    for local, bound in (("without", False), ("with", True)):
        service._guest(local)
        account: Any = known[local]
        client = server.client(f"{local}/x") if bound else None
        service._released(account, None)
        assert (local in known) is bound
        if client is not None:
            client.close()
            assert local not in known


def test_noRoster(lax: SecuredServer, user: str) -> None:
    """A guest's roster is empty and stays so: neither items nor subscriptions, in neither direction."""
    one, host = guest(lax), settled(lax, user)
    one.available()
    empty = one.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    assert empty.get("type") == "result"
    assert empty.elements()[0].children == []
    assert stanzaError(one.ask("set", ITEM))[1] == "not-allowed"
    one.send(f"<presence type='subscribe' to='{user}@{DOMAIN}'/>")
    one.ping()
    assert [each for each in host.stanzas() if each.name == "presence"] == []
    host.send(f"<presence type='subscribe' to='{bare(one)}'/>")
    host.ping()
    assert [each for each in one.stanzas() if each.get("type") == "subscribe"] == []
    two = guest(lax)
    again = two.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    assert again.elements()[0].children == []


def test_noBlockList(lax: SecuredServer, user: str) -> None:
    """What one guest blocks is not blocked for the next."""
    one = guest(lax)
    block = f"<block xmlns='{ns.BLOCKING}'><item jid='{user}@{DOMAIN}'/></block>"
    assert stanzaError(one.ask("set", block))[1] == "not-allowed"
    two = guest(lax)
    blocked = two.ask("get", f"<blocklist xmlns='{ns.BLOCKING}'/>")
    assert blocked.elements()[0].children == []


def test_discovery(lax: SecuredServer) -> None:
    """A guest's account says that it is one (XEP-0175 5)."""
    one = guest(lax)
    reply = one.ask("get", f"<query xmlns='{ns.DISCO_INFO}'/>", bare(one))
    identity = reply.elements()[0].find(ns.DISCO_INFO, "identity")
    assert identity is not None
    assert (identity.get("category"), identity.get("type")) == ("account", "anonymous")


def test_guestsHaveNoRights(lax: SecuredServer) -> None:
    """No registration, no password, no removal, and no login under the address."""
    one = guest(lax)
    local = bare(one).partition("@")[0]
    change = f"<query xmlns='{ns.REGISTER}'><username>{local}</username><password>secret word</password></query>"
    assert one.ask("set", change).get("type") == "error"
    client = lax.secured()
    assert failed(client.scram(local, "secret word", "SCRAM-SHA-256")) == "not-authorized"
