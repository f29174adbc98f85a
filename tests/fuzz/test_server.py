"""F6: mutated sessions against a real process, former findings again, and proof that each oracle sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz.drive import Drive, Report, replay
from tests.fuzz.profile import TIMES
from tests.fuzz.sessions import Script, Step, bind, ping, scramFirst, script
from tests.fuzz.target import Target

FINDINGS = sorted((Path(__file__).parent / "findings").glob("*.json"))
CLIENTS = 2000 * TIMES
#: What a slow machine, busy with other things, may need beyond what the oracles allow.
SLACK = 20.0
OPENING = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='localhost' version='1.0'>"
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with the limits of an installation."""
    running = Target(tmp_path_factory.mktemp("fuzzed"), limits=True)
    yield running
    running.end()


def drive(target: Target, folder: Path, make: Callable[[int, int], Script], count: int, slack: float = SLACK) -> Report:
    """Play scripts against a server; returns what was seen."""
    return Drive(target, 20261122, folder, 24, lambda text: None, make, slack=slack).run(0, count)


def test_scriptsRepeat() -> None:
    """The same seed and number give the same client."""
    assert [script(3, number) for number in range(50)] == [script(3, number) for number in range(50)]
    assert script(3, 0) != script(4, 0)


def test_mutatedSessions(target: Target, tmp_path: Path) -> None:
    """No traceback, no end, no silence, nothing ill-formed; descriptors are given back."""
    # What is opened when it is first wanted, such as the database's files, stays open.
    warm = drive(target, tmp_path, lambda seed, number: script(seed + 1, number), 300)
    assert warm.findings == []
    before = target.descriptors
    report = drive(target, tmp_path, script, CLIENTS)
    assert report.findings == []
    assert report.bound > CLIENTS / 5
    assert report.resets < CLIENTS / 10
    # The canary has one, and what was closed last may not be gone.
    assert target.descriptors <= before + 5


def test_formerFindings(target: Target, tmp_path: Path) -> None:
    """What was found once is not found again."""
    assert FINDINGS
    report = drive(target, tmp_path, lambda seed, number: replay(FINDINGS[number]), len(FINDINGS))
    assert report.findings == []


def self(seed: int, number: int) -> Script:
    """A client that sends itself a message with everything in it that needs escaping."""
    made = Script("self", "user1", strict=True, number=number)
    message = b"<message to='user1@localhost/s' id='&apos;&lt;'><body>&lt;&amp;</body></message>"
    session = OPENING + bind("s") + b"<presence/>" + message + ping(made.last)
    made.steps = [Step([OPENING + scramFirst("user1")]), Step([session], b"</challenge>")]
    return made


_SESSION = "from xmppservice.hub.session import Session; real = Session.receive; Session.receive = lambda self, item: "
_DRIVER = "from xmppservice.edge.driver import StreamDriver; real = StreamDriver.{0}; StreamDriver.{0} = lambda {1}; "
SABOTAGES = {
    "traceback": _SESSION + "1 / 0 if item.name == 'message' else real(self, item); ",
    "late: no answer": _SESSION + "None if item.attrs.get('id', '').startswith('fin') else real(self, item); ",
    "late: leaving": _DRIVER.format("letGo", "self, expected: None"),
    "answered more than once": _SESSION
    + "[real(self, item) for _ in range(2 if item.attrs.get('id', '').startswith('fin') else 1)]; ",
    "ill-formed output": "from xmppservice.wire import serializer; serializer._TEXT = {}; ",
}


@pytest.mark.parametrize("what", SABOTAGES)
def test_seesSabotage(what: str, tmp_path: Path) -> None:
    """A server that fails inside, keeps silent, never lets go, repeats itself or escapes nothing, is found out."""
    target = Target(tmp_path, sabotage=SABOTAGES[what])
    try:
        report = drive(target, tmp_path, self, 3, 0.0)
    finally:
        target.end()
    assert any(finding.startswith(what) for finding in report.findings), report
    assert list(tmp_path.glob("log-*" if what == "traceback" else "finding-*"))


def test_seesEnd(tmp_path: Path) -> None:
    """A server that dies is noticed."""
    sabotage = "import os; " + _SESSION + "os._exit(1) if item.name == 'message' else real(self, item); "
    target = Target(tmp_path, sabotage=sabotage)
    try:
        with pytest.raises((AssertionError, OSError)):
            drive(target, tmp_path, self, 3)
    finally:
        target.end()
