"""Client libraries against the server: slixmpp, aioxmpp and @xmpp/client, each through the same plays.

The other end of a play is always slixmpp.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Login
from tests.interop.processes import Talker
from tests.interop.programs import TALKERS, Program

pytestmark = pytest.mark.interop
TEXT = "Grüße & <b>\u265a \U0001f600 ]]> \"'</b>"


@pytest.fixture(params=TALKERS.values(), ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    """The client under test."""
    chosen: Program = request.param
    chosen.demand()
    return chosen


def befriend(one: Talker, other: Talker) -> None:
    """Both ask, both approve (RFC 6121 section 3.1)."""
    for asking, asked in ((one, other), (other, one)):
        asking.tell("subscribe", to=asked.jid)
        asked.expect("presence", type="subscribe", sender=asking.jid)
        asked.tell("approve", to=asking.jid)
        asking.expect("presence", type="subscribed", sender=asked.jid)


@pytest.mark.parametrize("direct", [False, True], ids=["starttls", "direct-tls"])
def test_logsInAndPings(program: Program, direct: bool, account: Callable[[str], str], login: Login) -> None:
    """The client gets in over either kind of TLS, certificate verified, and the server answers its ping."""
    client = login(account("alice"), program, direct=direct)
    client.ask("askPing", "pong", to="localhost")
    client.logout()


@pytest.mark.parametrize("direct", [False, True], ids=["starttls", "direct-tls"])
def test_refusesStrangerCertificate(
    program: Program, direct: bool, account: Callable[[str], str], start: Login, strangerCA: Path
) -> None:
    """The client really verifies: with another certificate authority it does not log in."""
    client = start(account("alice"), program, direct=direct, ca=strangerCA)
    client.expect("ended")
    assert not any(each["event"] == "online" for each in client.events)


def test_refusesWrongPassword(program: Program, account: Callable[[str], str], start: Login) -> None:
    """A wrong password is told to the client as such, and it is not let in."""
    account("alice")
    client = start("nobody@localhost", program)
    client.expect("ended")
    assert not any(each["event"] == "online" for each in client.events)


def test_befriendsAndSeesPresence(program: Program, account: Callable[[str], str], login: Login) -> None:
    """Mutual subscription shows in both rosters, and presence flows from then on, both ways."""
    alice, bob = login(account("alice"), program), login(account("bob"))
    befriend(alice, bob)
    alice.expect("presence", type="available", sender=bob.jid)
    bob.expect("presence", type="available", sender=alice.jid)
    alice.expectRoster({bob.jid: "both"})
    bob.expectRoster({alice.jid: "both"})
    alice.logout()
    bob.expect("presence", type="unavailable", sender=alice.jid)
    again = login(alice.jid, program)
    bob.expect("presence", type="available", sender=alice.jid)
    again.expect("presence", type="available", sender=bob.jid)
    again.expectRoster({bob.jid: "both"})


def test_chats(program: Program, account: Callable[[str], str], login: Login) -> None:
    """Text goes both ways, in order and unharmed, to the bare and to the full address."""
    alice, bob = login(account("alice"), program), login(account("bob"))
    alice.tell("chat", to=bob.jid, body=TEXT)
    got = bob.expect("message", sender=alice.jid, body=TEXT, delayed=False)
    bob.tell("chat", to=got["from"], body="answer")
    alice.expect("message", sender=bob.jid, body="answer", delayed=False)
    for number in range(20):
        alice.tell("chat", to=bob.jid, body=str(number))
    assert [bob.expect("message", sender=alice.jid)["body"] for _ in range(20)] == [str(n) for n in range(20)]


def test_findsOfflineMessages(program: Program, account: Callable[[str], str], login: Login) -> None:
    """What was sent while the client was away is there when it is back, in order and with its time, once."""
    alice, bob = login(account("alice"), program), login(account("bob"))
    alice.logout()
    for body in ("first", TEXT, "last"):
        bob.tell("chat", to=alice.jid, body=body)
    bob.ask("askPing", "pong", to="localhost")
    again = login(alice.jid, program)
    for body in ("first", TEXT, "last"):
        assert again.expect("message", sender=bob.jid, delayed=True)["body"] == body
    again.ask("askPing", "pong", to="localhost")
    again.logout()
    third = login(alice.jid, program)
    third.ask("askPing", "pong", to="localhost")
    assert not any(each["event"] == "message" for each in third.events)


def test_survivesALostConnection(program: Program, account: Callable[[str], str], login: Login) -> None:
    """After a cut the client resumes its stream (XEP-0198), and what was sent meanwhile arrives, once and in order."""
    alice, bob = login(account("alice"), program), login(account("bob"))
    alice.tell("drop")
    for body in ("first", TEXT, "last"):
        bob.tell("chat", to=alice.jid, body=body)
    alice.expect("resumed")
    assert [alice.expect("message", sender=bob.jid)["body"] for _ in range(3)] == ["first", TEXT, "last"]
    alice.ask("askPing", "pong", to="localhost")
    assert not any(each["event"] == "message" for each in alice.events)
    alice.tell("chat", to=bob.jid, body="still here")
    bob.expect("message", sender=alice.jid, body="still here")
    alice.logout()
