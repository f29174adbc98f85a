"""Where DNS leads: delegation, nonsense, and networks that are refused (S07, S08, S10, RFC 6120 8.3.3).

Every domain is written to when the first of these tests begins, and each answer is looked at when it is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.attack.peer import EXTERNAL
from tests.attack.raw import stanzaError
from tests.attack.s2s.writer import TIMEOUT, Writer
from tests.attack.s2s.zone import LIES
from tests.attack.servers.federating import FederatingServer, Town
from xmppservice.wire.element import Element

GONE = ("cancel", "remote-server-not-found")

#: What comes back for each domain (S07).
NAMES = {
    "gone.test": GONE, "no.such.name.gone.test": GONE, "dot.test": GONE, "port0.test": GONE, "empty.test": GONE,
    "number.test": GONE, "servfail.test": TIMEOUT, "refusing.test": TIMEOUT, "many.test": TIMEOUT,
    "fleeting.test": TIMEOUT, "nowhere.test": TIMEOUT, "denied.test": GONE, "a.denied.test": GONE,
}  # fmt: skip
#: Those for which either is right: aliases in a circle, and without end, lead nowhere.
CIRCLES = ("circle.test", "circling.test", "chain0.test")
LYING = tuple(f"{mode}.test" for mode in LIES)
#: S10.
INSIDE = ("inside.test", "at-home.test", "127.9.0.1", "[::1]", "[::ffff:127.9.0.1]", "[::ffff:7f09:1]", "169.254.0.1")


@pytest.fixture(scope="module")
def asked(server: FederatingServer) -> Iterator[tuple[Writer, dict[str, str], float, int]]:
    """A user who has written to all of them: the ids, when that was, and how much memory there was."""
    client = server.login("user4")
    user = Writer(client)
    memory = server.memory
    ids = {name: user.write(name, owed=False) for name in (*NAMES, *CIRCLES, *LYING, *INSIDE)}
    yield user, ids, time.monotonic(), memory
    client.close()


Asked = tuple[Writer, dict[str, str], float, int]


@pytest.mark.attack("S07")
@pytest.mark.parametrize("name, wanted", NAMES.items())
def test_names(asked: Asked, name: str, wanted: tuple[str, str]) -> None:
    """S07, 3.3 remote-server-not-found, remote-server-timeout: each failure is told as what it is."""
    user, ids, _, _ = asked
    assert user.bounce(ids[name]) == wanted


@pytest.mark.attack("S07")
@pytest.mark.parametrize("name", CIRCLES)
def test_aliasesWithoutEnd(asked: Asked, name: str) -> None:
    """S07: they are followed so far and no further."""
    user, ids, _, _ = asked
    assert user.bounce(ids[name]) in (GONE, TIMEOUT)


@pytest.mark.attack("S07")
def test_boundedAttempts(town: Town, asked: Asked) -> None:
    """S07: of 64 targets a few are tried, and each of them once an attempt."""
    assert 2 <= town.places.door.knocks <= 80


@pytest.mark.attack("S08")
def test_lyingNameServers(server: FederatingServer, asked: Asked) -> None:
    """S08: garbage, loops, pointers without end, other people's answers 64 KB of them: a bounce, within a minute."""
    user, ids, begun, memory = asked
    for name in LYING:
        assert user.bounce(ids[name]) == TIMEOUT, name
    assert time.monotonic() - begun < 60
    assert server.memory - memory < 16 << 20


@pytest.mark.attack("S10")
@pytest.mark.parametrize("name", INSIDE)
def test_refusedNetworks(town: Town, asked: Asked, name: str) -> None:
    """S10: whatever DNS says, nobody gets us to connect to a network that the operator refuses."""
    user, ids, _, _ = asked
    item = user.client.find(lambda item: isinstance(item, Element) and item.get("id") == ids[name])
    assert stanzaError(item)[1].startswith("remote-server")
    assert town.places.inside.knocks == 0


@pytest.mark.attack("S07")
@pytest.mark.parametrize("name, paper", [("delegated", "provider.test"), ("alias", "delegated.test"),
                                         ("trusted", "trusted.test")])  # fmt: skip
def test_delegation(town: Town, server: FederatingServer, name: str, paper: str) -> None:
    """S07: SRV and aliases say where to connect, not whom to trust: the certificate has to be for the domain."""
    client, provider = server.login("user5"), town.places.providers[name]
    Writer(client).write(f"{name}.test", owed=False)
    peer = provider.secured(EXTERNAL, paper)
    if paper != f"{name}.test":
        assert peer.refused("policy-violation") == []
        assert b"secret" not in peer.raw
    else:
        peer.takeExternal()
        assert peer.element().name == "message"
    provider.close()
    client.close()
