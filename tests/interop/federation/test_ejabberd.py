"""Federation with Debian's ejabberd: with certificates, with dialback, and with dialback over a certified stream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.federation.ejabberd import EjabberdPeer
from tests.interop.federation.gathering import Gathering, gathering, running
from tests.interop.federation.meeting import World
from tests.interop.federation.scenarios import Conversations, exchange
from tests.interop.processes import waitFor
from tests.interop.programs import EJABBERD

WAYS = ("certificates", "dialback", "called only")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gathering]:
    """A running ejabberd."""
    EJABBERD.demand()
    with gathering(tmp_path_factory.mktemp("federation"), WAYS, EjabberdPeer) as found:
        yield found


@pytest.fixture(scope="module", params=WAYS[:2])
def world(request: pytest.FixtureRequest, worlds: Gathering) -> Iterator[World]:
    """The two servers, in each way."""
    with running(worlds[request.param]) as found:
        yield found


class TestEjabberd(Conversations):
    """All that is asked of every peer."""


def test_calledOnly(worlds: Gathering) -> None:
    """Our certificate is for servers that are called, as those of public authorities are. ejabberd does not take it
    for EXTERNAL; what remains is dialback on the same stream, whose certificate is the right one all the same."""
    with running(worlds["called only"]) as world:
        ours, theirs = world.pair()
        a, b = world.own.login(ours), world.peer.login(theirs)
        exchange(a, b, "called")
        waitFor("ejabberd's complaint", lambda: "unsupported certificate purpose" in world.peer.report())
        found = {row["pair"]: row["authenticated"] for row in world.streams()}
        assert found[f"{world.ownDomain} → {world.peerDomain}"] == "dialback"
        assert "pkix" in found[f"{world.peerDomain} → {world.ownDomain}"]
