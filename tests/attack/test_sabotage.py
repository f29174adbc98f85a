"""Builds with a defence cut out: for each of them a row of the table has to show it, or the table shows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from tests.attack.compare import attempt
from tests.attack.servers.sabotaged import BUILDS, SabotagedServer
from tests.attack.table import ROWS
from tests.attack.table.row import RIGHT

pytestmark = pytest.mark.own("cuts into our code")

CUTS = [(build, cut) for build, cuts in BUILDS.items() for cut in cuts]
_ROWS = {row.key: row for row in ROWS}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[SabotagedServer, Iterator[str]]]]:
    """The sabotaged servers, each with a few accounts."""
    running = {}
    for build in BUILDS:
        server = SabotagedServer(tmp_path_factory.mktemp(build), build)
        names = [f"u{number}" for number in range(1, 21)]
        server.addUsers({name: name[::-1] for name in [*names, "canary", "user1"]})
        running[build] = (server, iter(names))
    yield running
    for server, _ in running.values():
        server.stop()


@pytest.mark.parametrize("build, cut", CUTS, ids=[cut for _, cut in CUTS])
def test_cutIsSeen(broken: dict[str, tuple[SabotagedServer, Iterator[str]]], build: str, cut: str) -> None:
    """The row that guards this defence does not get the sound reaction any more."""
    sabotage = BUILDS[build][cut]
    reaction = attempt(*broken[build], _ROWS[sabotage.row])
    assert not fnmatchcase(reaction, sabotage.sound), reaction
    print(f"{cut}: {reaction}")


@pytest.mark.parametrize("build, cut", CUTS, ids=[cut for _, cut in CUTS])
def test_soundServerPasses(reactions: dict[str, str], build: str, cut: str) -> None:
    """The counter-check: without the cut, the same row gets just this reaction, and a ✓."""
    sabotage = BUILDS[build][cut]
    reaction = reactions[sabotage.row]
    assert fnmatchcase(reaction, sabotage.sound), reaction
    assert _ROWS[sabotage.row].judge(reaction) == RIGHT
