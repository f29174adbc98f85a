"""The log: one event is one line, floods stay small, and nothing is in it that people wrote (hardening I09, D10)."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher
from twisted.logger._legacy import publishToNewObserver
from twisted.python.failure import Failure

from tests.attack.raw import auth, plain
from tests.interop.processes import Child, waitFor
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, PASSWORD, TWISTD, Site, environment
from tests.sources import ROOT
from xmppservice.server.logs import LINES, LONGEST, Lines
from xmppservice.wire import ns

#: What must never be in a log.
BODY, WRONG, TOKEN, NOTE = "body-9f1c", "wrong-password-77aa", "token-5d5d", "note-31ee"

NASTY = "a\nb\rc\x1b[31md\x00e\x7ff\x85g\u202eh\u2028i\u2066j\ud800k\tl\u200bm"

CRASHING = '''"""Fails in every way a module can, with what it was given in its words."""

from twisted.internet.defer import Deferred, fail
from twisted.internet import reactor
from xmppservice.hub.hooks import ACCOUNT, HOST, Phase, iq, message, session
from xmppservice.hub.module import HostModule
from xmppservice.wire import ns


class Crashing(HostModule):
    """It crashes."""

    name = "crashing"

    @message.sending(Phase.AMEND, types=("chat",))
    def onChat(self, transit):
        """By what it converts."""
        text = transit.stanza.find(ns.CLIENT, "body").text
        if "int" in text:
            int(text)
        if "key" in text:
            {}[text]
        if "element" in text:
            raise RuntimeError(transit.stanza)
        if "cause" in text:
            try:
                int(text)
            except ValueError as error:
                raise LookupError(f"no number: {text}") from error
        if "later" in text:
            return fail(ValueError(text))
        if "lost" in text:
            fail(ValueError(text))
        if "timer" in text:
            reactor.callLater(0, int, text)

    @message.sending(Phase.OBSERVE, types=("chat",))
    async def onObserved(self, transit):
        """In a coroutine."""
        if "observe" in transit.stanza.find(ns.CLIENT, "body").text:
            raise ValueError(transit.stanza.find(ns.CLIENT, "body").text)

    @iq.get("urn:crash", "crash", to=HOST)
    def onQuestion(self, transit):
        """Where an answer is due."""
        raise ValueError(transit.stanza.elements()[0].text)

    @session.bound
    def onBound(self, session):
        """In an event."""
        raise KeyError(session.jid)
'''


class Written:
    """Lines with what they have written, and a logger that reaches them."""

    def __init__(self, format: str = "text", level: str = "info", **more: Any) -> None:
        self.texts: list[str] = []
        self.lines = Lines(self.texts.append, **more)
        self.lines.configure(format, level)
        self.publisher = LogPublisher(self.lines)
        self.log = Logger("test.logs", observer=self.publisher)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)

    @property
    def records(self) -> list[dict[str, Any]]:
        """All objects."""
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.mark.parametrize("format", ["text", "json"])
def test_oneEventOneLine(format: str) -> None:
    """Whatever a value holds, it begins no line and moves no cursor; readable text of any script stays (D10)."""
    written = Written(format)
    written.log.info("{what}: {value} über 日本 {number}", what="x", value=NASTY, number=5)
    written.log.info(NASTY.replace("{", ""))
    written.log.info("plain")
    assert written.text.count("\n") == 3 and len(written.text.splitlines()) == 3
    assert all(character.isprintable() for character in written.text.replace("\n", ""))
    first = written.text.splitlines()[0]
    if format == "json":
        record = json.loads(first)
        assert record["message"].startswith("x: a\\nb") and "über 日本 5" in record["message"]
        assert record["value"] == NASTY
    else:
        assert r"a\nb\rc\x1b[31md\x00e\x7ff\x85g\u202eh\u2028i\u2066j" in first and first.endswith("über 日本 5")


def test_textForm() -> None:
    """Time in UTC, level, who, message."""
    written = Written()
    written.log.warn("low on {what}", what="tea")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn test\.logs: low on tea\n", written.text)
    assert abs(time.mktime(time.gmtime()) - time.mktime(time.strptime(written.text[:19], "%Y-%m-%dT%H:%M:%S"))) < 60


def test_jsonForm() -> None:
    """The event's own plain fields are there, bounded; objects are not, and no field takes the place of ours."""
    written = Written("json")
    written.log.info(
        "m {a}", a=1, b="x" * 9999, c=1.5, d=True, e=object(), f=float("nan"), g=b"bytes", message="mine", log_h=1,
        i=None,
    )  # fmt: skip
    (record,) = written.records
    assert list(record)[:4] == ["time", "level", "system", "message"]
    assert (record["level"], record["system"], record["message"]) == ("info", "test.logs", "m 1")
    assert (record["a"], record["c"], record["d"]) == (1, 1.5, True)
    assert 400 < len(record["b"]) < 600
    assert set(record) == {"time", "level", "system", "message", "a", "b", "c", "d"}
    assert len(Written().texts) == 0


def test_levels() -> None:
    """What is less important than asked for is not written."""
    for level, expected in (("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
        written = Written(level=level)
        for name in ("debug", "info", "warn", "error", "critical"):
            written.log.emit(LogLevel.lookupByName(name), "m")
        assert len(written.texts) == expected, level


def test_longMessage() -> None:
    """A message has an end."""
    written = Written()
    written.log.info("{a}", a="x" * 100_000)
    assert len(written.text) < LONGEST + 200 and "98000 characters more" in written.text


def test_unfillable() -> None:
    """A format that cannot be filled shows itself, and none of the values."""
    written = Written()
    written.log.info("a {missing} b {value}", value=BODY)
    written.log.info("{value.nothing}", value=BODY)
    written.log.info("{value:d}", value=BODY)
    assert len(written.texts) == 3 and BODY not in written.text and "KeyError" in written.text


def _raise(error: Exception, cause: BaseException | None = None) -> Failure:
    try:
        raise error from cause
    except Exception:
        return Failure()


def _deep(depth: int) -> None:
    _deep(depth + 1)


@pytest.mark.parametrize("format", ["text", "json"])
def test_traceback(format: str) -> None:
    """Where and which exception, but not the data in its words; an incident id is in the line."""
    written = Written(format)
    written.log.failure("it failed", _raise(ValueError(f"invalid: {BODY}"), _raise(KeyError(BODY)).value))
    assert BODY not in written.text
    assert "ValueError" in written.text and "KeyError" in written.text and "in _raise" in written.text
    assert "raise error from cause" in written.text
    if format == "json":
        (record,) = written.records
        assert record["incident"] in record["message"] and record["traceback"][0].startswith("Traceback")
        assert len(record["incident"]) == 12
    else:
        lines = written.text.splitlines()
        assert re.search(r"critical test.logs: it failed \(incident [0-9a-f]{12}\)$", lines[0])
        assert all(line.startswith("    ") for line in lines[1:]) and len(lines) > 6


def test_tracebackWords() -> None:
    """Words that name code and types are there always; any others at the level debug only."""
    written = Written()
    written.log.failure("a", _raise(AttributeError("'NoneType' object has no attribute 'text'")))
    written.log.failure("b", _raise(OSError(28, "No space left on device")))
    assert "has no attribute 'text'" in written.text and "No space left" in written.text
    written = Written(level="debug")
    written.log.failure("a", _raise(ValueError(f"x\n{BODY}")))
    assert f"ValueError: x\\n{BODY}" in written.text


def test_tracebackBounds() -> None:
    """A recursion without end fits on a page."""
    written = Written()
    try:
        _deep(0)
    except RecursionError:
        written.log.failure("deep")
    assert len(written.text.splitlines()) < 110 and "frames …" in written.text


def test_incidentIsKept() -> None:
    """An id that the peer was told is the one in the log, once."""
    written = Written("json")
    written.log.failure("x (incident {incident})", _raise(ValueError()), incident="abc123")
    (record,) = written.records
    assert record["incident"] == "abc123" and record["message"] == "x (incident abc123)"


def test_olderInterface() -> None:
    """Failures by ``twisted.python.log`` carry their traceback as text: that is not taken."""
    written = Written()
    failure = _raise(ValueError(BODY))
    text = {"why": "it broke", "isError": 1, "failure": failure, "message": (), "time": 1.0, "system": "[x,0,y]"}
    publishToNewObserver(written.lines, dict(text), lambda event: f"it broke\n{failure.getTraceback()}")
    assert BODY not in written.text and "twisted: it broke (incident " in written.text.splitlines()[0]
    assert "[x,0,y]" not in written.text


def test_flood() -> None:
    """A million bad inputs leave less than 50 MB, told in full what was left out (D10); others are not drowned."""
    written = Written()
    share = 5
    for number in range(1_000_000 // share):
        event: LogEvent = {
            "log_format": "bad input {value}", "value": "x" * 300, "log_time": 1e9 + number / 5000,
            "log_namespace": "test", "log_level": LogLevel.warn,
        }  # fmt: skip
        written.lines(event)
    written.lines({"log_format": "another", "log_time": 1e9 + 100, "log_namespace": "test", "log_level": LogLevel.info})
    assert "info test: another" in written.text
    assert len(written.text) < 50_000_000 // share
    told = re.findall(r"(\d+) more like this were left out: bad input {value}", written.text)
    left = sum(map(int, told))
    assert left + sum(text.count("bad input x") for text in written.texts) == 1_000_000 // share


def test_floodIsToldLater() -> None:
    """What was left out is told by a timer, if nothing else happens; tracebacks are fewer than lines."""
    clock = Clock()
    written = Written(clock=clock)
    stamp: LogEvent = {"log_format": "x", "log_namespace": "test", "log_level": LogLevel.info, "log_time": 1e9}
    for _ in range(LINES + 3):
        written.lines(dict(stamp))
    assert len(written.texts) == LINES
    clock.advance(1)
    assert "3 more like this were left out: x" in written.texts[-1]
    assert clock.getDelayedCalls() == []
    written = Written(clock=clock)
    for _ in range(LINES):
        written.lines({**stamp, "log_failure": _raise(ValueError())})
    assert len(written.texts) < LINES / 2


def test_nobodyReads() -> None:
    """A disk that is full does not stop the server."""

    def write(text: str) -> None:
        raise OSError(28, "No space left on device")

    Lines(write)({"log_format": "x", "log_level": LogLevel.info, "log_time": 1.0})


def test_priorities() -> None:
    """The journal gets its levels, on each line of a traceback too."""
    written = Written(priorities=True)
    written.log.failure("x", _raise(ValueError()))
    written.log.info("y")
    lines = written.text.splitlines()
    assert len(lines) > 3 and all(line.startswith("<2>") for line in lines[:-1]) and lines[-1].startswith("<6>")
    written = Written("json", priorities=True)
    written.log.info("y")
    assert written.records


# -- the real server ---------------------------------------------------------------------------------------------------


def _crashing(make: MakeSite, more: str) -> Site:
    site = make()
    package = site.folder / "crashes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "crashing.py").write_text(CRASHING)
    site.write(LOCAL + "enable = ['crashes.crashing', 'register']\n[hosts.localhost.register]\nopen = true\n" + more)
    site.addToPath()
    return site


def _useEverything(site: Site) -> list[str]:
    """Sessions with every kind of secret, and a module that fails with each; returns the incidents that were told."""
    site.users("alice@localhost", "bob@localhost")
    client = site.secured()
    client.send(plain("alice", WRONG))
    assert client.element().name == "failure"
    client.send(auth("SCRAM-SHA-1", f"n,,n=alice,r={TOKEN}".encode()))
    client.element()
    client.send(auth("PLAIN", TOKEN))
    client.send(auth(TOKEN, b"x"))
    client.send(f"<{TOKEN} xmlns='{TOKEN}'>{BODY}</{TOKEN}>")
    client.close()
    register = site.secured()
    register.send(
        f"<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>carol</username>"
        f"<password>{WRONG}</password></query></iq>"
    )
    register.element()
    register.close()
    alice = site.login("alice@localhost")
    alice.ask("set", f"<query xmlns='{ns.PRIVATE}'><x xmlns='urn:x'>{NOTE}</x></query>")
    for word in ("int", "key", "element", "cause", "later", "lost", "timer", "observe", "plain"):
        alice.send(f"<message to='bob@localhost' type='chat' id='{word}'><body>{word} {BODY}</body></message>")
    alice.send(f"<iq type='get' id='q' to='localhost'><crash xmlns='urn:crash'>{BODY}</crash></iq>")
    alice.send(f"<message to='@@' type='chat'><body>{BODY}</body></message>")
    alice.ping()
    told = re.findall(rb"incident ([0-9a-f]+)", alice.raw)
    alice.send(f"<message to='bob@localhost'><body>{BODY}</message>")
    alice.rest()
    return [incident.decode() for incident in told]


@pytest.mark.parametrize("format", ["text", "json"])
def test_nothingPrivate(make: MakeSite, format: str) -> None:
    """Logins, messages and crashes with all of them in hand: no body, password, token or note in the log (I09).

    Each traceback has an incident id, and those that the peer was told are among them.
    """
    site = _crashing(make, f"[log]\nformat = '{format}'\n")
    site.start()
    told = _useEverything(site)
    assert len(told) == 6, told
    waitFor("the last line", lambda: "not-well-formed" in site.log)
    site.process.terminate()
    site.process.wait(60)
    log = site.log
    for secret in (BODY, WRONG, PASSWORD, TOKEN, NOTE):
        assert secret not in log, [line for line in log.splitlines() if secret in line]
    assert all(incident in log for incident in told)
    tracebacks = log.count("Traceback (most recent call last)")
    assert tracebacks >= 10, log
    if format == "json":
        records = [json.loads(line) for line in log.splitlines()]
        failed = [record for record in records if "traceback" in record]
        assert all(re.fullmatch(r"[0-9a-f]{8,12}", record["incident"]) for record in failed) and len(failed) >= 9
        assert {record["level"] for record in records} >= {"info", "warn", "critical"}
    else:
        heads = [line for line in log.splitlines() if not line.startswith("    ")]
        assert sum("incident " in line for line in heads) >= 9


def _failregex() -> str:
    """The expression of the manual, with what fail2ban puts for an address."""
    manual = (ROOT / "docs/howto/monitor.rst").read_text("utf-8")
    found = re.search(r"^ +failregex = (.+)$", manual, re.MULTILINE)
    assert found is not None
    return found[1].replace("<HOST>", r"(?P<host>[0-9a-fA-F.:]+)")


def test_logins(site: Site) -> None:
    """Who logged in and who did not, from where and how; no name can pass for another address."""
    site.start()
    site.users("alice@localhost")
    alice = site.login("alice@localhost")
    wrong = site.secured()
    wrong.send(plain("from 10.9.9.9: x", "y"))
    wrong.element()
    wrong.send(plain("alice", "y"))
    wrong.element()
    waitFor("the lines", lambda: site.log.count("login failed") == 2)
    line = next(line for line in site.log.splitlines() if " login from " in line)
    expected = rf"login from {alice.address}: alice@localhost \(SCRAM-\S+, TLSv1\.3\)"
    assert re.fullmatch(rf"\S+ info xmppservice\.edge\.reports: {expected}", line)
    failed = [line for line in site.log.splitlines() if "login failed" in line]
    matches = [re.match(_failregex(), line) for line in failed]
    assert [match and match["host"] for match in matches] == [wrong.address] * 2, failed
    assert "(PLAIN, TLSv1.3) as 'alice'" in failed[1] and ": not-authorized (" in failed[1]
    site.stop()


def test_levelAndFormatFollowReload(site: Site) -> None:
    """``[log]`` is taken over by a reload; debug tells how sessions end."""
    site.start()
    site.users("alice@localhost")
    site.login("alice@localhost").close()
    site.write(LOCAL + "[log]\nlevel = 'debug'\nformat = 'json'\n")
    site.hangUp()
    waitFor("the reload", lambda: "log.level changed" in site.log)
    before = len(site.log)
    site.login("alice@localhost", "second").close()
    waitFor("the end of the session", lambda: "session alice@localhost/second" in site.log[before:])
    assert "session alice@localhost/r" not in site.log
    assert all(json.loads(line) for line in site.log[before:].splitlines())
    site.stop()


def test_logfile(site: Site) -> None:
    """``--logfile`` of twistd is honoured, in our form."""
    command = [*TWISTD, "--logfile=own.log", "xmpp", *site.options]
    site.child = Child(command, site.folder / "server.log", site.folder, environment())
    own = site.folder / "own.log"
    waitFor("the start", lambda: own.exists() and " info xmppservice.tap: serving localhost" in own.read_text())
    site.process.terminate()
    assert site.process.wait(60) == 0
    assert own.read_text().splitlines()[-1].endswith("Server Shut Down.")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z \w+ \S+: ", line) for line in own.read_text().splitlines())


def test_refusedStartIsToldOnce(site: Site) -> None:
    """On one terminal the reason why the server does not start stands once, and no class of Twisted's in front."""
    site.write('[database]\nurl = "sqlite"\n' + LOCAL)
    (site.folder / "var").write_text("a file where a folder should be")
    child = site.launch()
    assert child.process.wait(60) == 1
    assert site.log.count("cannot start") == 1, site.log
    assert "Traceback" not in site.log

