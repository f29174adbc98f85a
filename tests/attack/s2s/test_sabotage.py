"""Builds with a defence between servers cut out: each attempt has to show it, or the tests here show nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.attack.raw import RawClient, password
from tests.attack.s2s import attempts, cuts
from tests.attack.s2s.attempts import Attempt, Take
from tests.attack.servers.federating import ChangedFederation, Town


class Sabotage(NamedTuple):
    """What is cut out, the attempt that has to notice, and the reaction of a sound server."""

    cut: Callable[[], None]
    attempt: Attempt
    sound: str


#: By policy, the cuts that are made in one process.
BUILDS: dict[str, list[Sabotage]] = {
    "dialback": [
        Sabotage(cuts.anyAnswer, attempts.unasked, "not-authorized, closed, 0 delivered"),
        Sabotage(cuts.anyKey, attempts.anotherKey, "invalid"),
        Sabotage(cuts.anythingBehind, attempts.injected, "policy-violation, closed"),
        Sabotage(cuts.bothDirections, attempts.bothDirections, "nothing"),
        Sabotage(cuts.nobodyIsAsked, attempts.otherDomain, "0 delivered"),
        Sabotage(cuts.clearCalls, attempts.withoutTLS, "an error"),
        Sabotage(cuts.clearAnswers, attempts.stripped, "nothing"),
    ],
    "certificates": [
        Sabotage(cuts.anySender, attempts.foreignSender, "invalid-from, closed, 0 delivered"),
        Sabotage(cuts.anySender, attempts.onOurStream, "0 delivered"),
        Sabotage(cuts.whoeverIsUs, attempts.ourselves, "invalid-from, closed"),
        Sabotage(cuts.anyCertificate, attempts.selfMade, "nothing offered, refused"),
    ],
}
CUTS = [pytest.param(build, each, id=each.attempt.__name__) for build, each in
        ((build, each) for build, found in BUILDS.items() for each in found)]
Running = tuple[ChangedFederation, RawClient]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, town: Town) -> Iterator[dict[str, Running]]:
    """The sabotaged servers, each with a user to whom something is to be sent."""
    running: dict[str, Running] = {}
    for build, sabotages in BUILDS.items():
        names = dict.fromkeys(each.cut.__name__ for each in sabotages)
        code = "from tests.attack.s2s import cuts; " + "; ".join(f"cuts.{name}()" for name in names)
        server = ChangedFederation(tmp_path_factory.mktemp(f"broken-{build}"), town, code, build)
        server.addUsers({"victim": password("victim")})
        victim = server.login("victim")
        victim.available()
        running[build] = server, victim
    yield running
    for server, victim in running.values():
        victim.close()
        server.stop()


@pytest.mark.parametrize("build, sabotage", CUTS)
def test_cutIsSeen(
    broken: dict[str, Running], neighbours: Take, build: str, sabotage: Sabotage
) -> None:
    """The attempt does not get the sound reaction any more."""
    reaction = sabotage.attempt(*broken[build], neighbours)
    assert reaction != sabotage.sound
    print(f"{sabotage.cut.__name__}: {reaction}")


@pytest.mark.parametrize("build, sabotage", CUTS)
def test_soundServerPasses(
    request: pytest.FixtureRequest, neighbours: Take, build: str, sabotage: Sabotage
) -> None:
    """The counter-check: without the cut it gets just this reaction."""
    server = request.getfixturevalue("server" if build == "certificates" else "easy")
    victim = server.login("user6")
    victim.available()
    assert sabotage.attempt(server, victim, neighbours) == sabotage.sound
    victim.close()
