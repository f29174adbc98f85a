"""Federation with Debian's Prosody: with certificates and with dialback, over one stream for both directions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.federation.gathering import Gathering, gathering, running
from tests.interop.federation.meeting import World
from tests.interop.federation.prosody import ProsodyPeer
from tests.interop.federation.scenarios import Conversations
from tests.interop.programs import PROSODY

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
