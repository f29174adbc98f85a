"""Plays of everyday chat, with the modules that every host has for it."""

from __future__ import annotations

import pytest

from tests.hub.kit import CHAT
from xmppservice.testing import MemoryServer, play

PLAYS = {
    "friends talk": """
        alice/phone and bob/desk are friends and online.
        alice/phone sends:
            <message to='bob@localhost' type='chat'><body>Hello</body></message>
        bob/desk receives:
            <message from='alice@localhost/phone' to='bob@localhost' type='chat'>
            <body>Hello</body><stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='*'/></message>
        nobody receives anything.
    """,
    "a message waits for who is away": """
        alice/phone connects.
        bob/desk connects.
        bob/desk disconnects.
        alice/phone sends:
            <message to='bob@localhost' type='chat'><body>Are you there?</body></message>
        nobody receives anything.
        3600 seconds pass.
        bob/desk connects.
        bob/desk sends:
            <presence/>
        bob/desk receives:
            <presence from='bob@localhost/desk'/>
        bob/desk receives:
            <message from='alice@localhost/phone'><body>Are you there?</body>
            <stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost'/>
            <delay xmlns='urn:xmpp:delay' from='localhost' stamp='2026-01-01T00:00:00Z'/></message>
        nobody receives anything.
    """,
    "two become friends": """
        alice/phone is online.
        bob/desk is online.
        alice/phone sends:
            <presence to='bob@localhost' type='subscribe'/>
        bob/desk receives:
            <presence from='alice@localhost' to='bob@localhost' type='subscribe'/>
        bob/desk sends:
            <presence to='alice@localhost' type='subscribed'/>
        alice/phone receives:
            <presence from='bob@localhost' to='alice@localhost' type='subscribed'/>
        alice/phone receives:
            <presence from='bob@localhost/desk' to='alice@localhost'>...</presence>
        nobody receives anything.
        bob/desk sends:
            <presence type='unavailable'/>
        bob/desk receives:
            <presence from='bob@localhost/desk' type='unavailable'/>
        alice/phone receives:
            <presence from='bob@localhost/desk' type='unavailable'/>
        nobody receives anything.
    """,
    "a blocked friend seems to be gone": """
        alice/phone and bob/desk are friends and online.
        alice/phone sends:
            <iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>
        alice/phone receives:
            <iq type='result' id='b'/>
        bob/desk receives:
            <presence from='alice@localhost/phone' type='unavailable'/>
        bob/desk sends:
            <message to='alice@localhost' type='chat' id='m'><body>Hello?</body></message>
        bob/desk receives:
            <message from='alice@localhost' type='error' id='m'><error type='cancel'>
            <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>
        nobody receives anything.
    """,
}


@pytest.mark.parametrize("name", PLAYS)
def test_play(name: str) -> None:
    """The play goes as it is written."""
    lines = PLAYS[name].strip("\n").splitlines()
    play("\n".join(line[8:] for line in lines), MemoryServer(CHAT))
