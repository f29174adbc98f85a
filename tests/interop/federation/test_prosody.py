"""Federation with Debian's Prosody: with certificates and with dialback, over one stream for both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.attack.raw import RawClient
from tests.interop.federation.gathering import Gathering, gathering, running
from tests.interop.federation.meeting import World
from tests.interop.federation.prosody import ProsodyPeer
from tests.interop.federation.scenarios import BOTH, Conversations, accounted, exchange
from tests.interop.processes import waitFor
from tests.interop.programs import PROSODY
from xmppservice.wire import ns

WAYS = ("certificates", "dialback")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gathering]:
    """A running Prosody, which insists on our certificate where we have one."""
    PROSODY.demand()
    folder = tmp_path_factory.mktemp("federation")
    with gathering(folder, WAYS, lambda meeting: ProsodyPeer(meeting, ("certificates.own.test",))) as found:
        yield found


@pytest.fixture(scope="module", params=WAYS)
def world(request: pytest.FixtureRequest, worlds: Gathering) -> Iterator[World]:
    """The two servers, in each way."""
    with running(worlds[request.param]) as found:
        yield found


class TestProsody(Conversations):
    """All that is asked of every peer."""


@pytest.fixture(scope="module")
def certified(worlds: Gathering) -> Iterator[World]:
    """The way with certificates: Prosody offers XEP-0198 only there, because dialback has no second stream."""
    with running(worlds["certificates"]) as found:
        yield found


@BOTH
def test_oneStream(certified: World, direction: str) -> None:
    """Whoever has opened it, one stream carries both directions, and each side trusts it for that (XEP-0288)."""
    certified.peer.stop()
    certified.peer.start()
    waitFor("the end of former streams", lambda: not certified.streams())
    near, one, far, two = certified.sides(direction)
    a, b = near.login(one), far.login(two)
    exchange(a, b, "bidi")
    rows = certified.streams()
    ours, theirs = certified.ownDomain, certified.peerDomain
    assert {row["pair"] for row in rows} == {f"{ours} → {theirs}", f"{theirs} → {ours}"}
    assert {row["opened by"] for row in rows} == {"us" if direction == "out" else "them"}
    assert len(rows) == 2


def test_peerKilled(certified: World) -> None:
    """Prosody dies in the middle of 150 messages: each that was acknowledged has arrived or comes back (XEP-0198)."""
    ours, theirs = certified.pair()
    a, b = certified.own.login(ours), certified.peer.login(theirs)
    exchange(a, b, "first")
    b.send("</stream:stream>")
    assert b.rest() or b.closed
    a.enable()
    ids = _flood(a, theirs, lambda: certified.counted("sent"), certified.peer.kill, certified.peer.start)
    waitFor("the last acknowledgement", lambda: _acknowledged(a) == len(ids))
    accounted(set(ids), a, certified.peer.login(theirs))


def test_weAreKilled(certified: World) -> None:
    """The same with our process: what we acknowledged to Prosody is stored, the rest it gives back."""
    ours, theirs = certified.pair()
    a, b = certified.own.login(ours), certified.peer.login(theirs)
    exchange(b, a, "first")
    a.send("</stream:stream>")
    assert a.rest() or a.closed
    ids = _flood(b, ours, lambda: certified.counted("received"), certified.own.kill, certified.own.start)
    accounted(set(ids), b, certified.own.login(ours))


def _flood(
    client: RawClient, to: str, passed: Callable[[], int], kill: Callable[[], None], start: Callable[[], None]
) -> list[str]:
    """Messages before, while and after a server is not there; returns their ids.

    `passed` counts what went over the stream between the servers: the end comes in the middle of a burst.
    """
    ids = [f"f{number}" for number in range(150)]
    texts = [f"<message to='{to}' id='{id}' type='chat'><body>{id}</body></message>" for id in ids]
    begin = passed()
    client.send("".join(texts[:40]))
    waitFor("the first messages", lambda: passed() >= begin + 40)
    client.send("".join(texts[40:110]))
    waitFor("some more", lambda: passed() > begin + 40)
    kill()
    client.send("".join(texts[110:130]))
    start()
    client.send("".join(texts[130:]))
    return ids


def _acknowledged(client: RawClient) -> int:
    """How much the server acknowledges now."""
    client.send(f"<r xmlns='{ns.SM}'/>")
    return int(client.find(lambda item: (item.ns, item.name) == (ns.SM, "a")).get("h") or "0")
