"""The loop: so many clients at a time against one server, a canary among them, and the oracles.

A client that is late is judged by the canary: if that too was kept waiting, the machine is busy and the client gets
ten times as long; else it is a finding. `slack` is added to every limit, for machines that have other things to do.
"""

from __future__ import annotations

import base64
import json
import select
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.client import Dialogue
from tests.fuzz.clients import LIMIT, Client, addressOf
from tests.fuzz.sessions import Script, Step, script
from tests.fuzz.target import Target

PATIENCE = 10.0
BUSY = 0.25
_PING = b"<iq type='get' id='c'><ping xmlns='urn:xmpp:ping'/></iq>"


@dataclass
class Report:
    """What a run has seen."""

    streams: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    late: int = 0
    hangs: int = 0
    resets: int = 0
    bound: int = 0
    tracebacks: int = 0
    findings: list[str] = field(default_factory=list)
    probes: list[dict[str, float]] = field(default_factory=list)


class Canary:
    """A client that pings all the time; `worst` since `reset`, and all its times."""

    def __init__(self, port: int) -> None:
        self._dialogue = Dialogue(port)
        self._dialogue.login("canary")
        self._dialogue.bind("canary")
        self.sock = self._dialogue.sock
        self.sock.setblocking(False)
        self._asked = 0.0
        self._next = 0.0
        self.times: list[float] = []

    def tick(self, now: float) -> None:
        """Ask if it is time to."""
        if not self._asked and now >= self._next:
            self._asked = now
            self.sock.send(_PING)

    def read(self, now: float) -> None:
        """The answer."""
        data = self.sock.recv(65536)
        if not data:
            raise AssertionError("the canary's stream was ended")
        if b"id='c'" in data and self._asked:
            self.times.append(now - self._asked)
            self._asked, self._next = 0.0, now + 0.05

    def waiting(self, now: float) -> float:
        """The worst of the last few answers, the one that is due included."""
        return max([now - self._asked if self._asked else 0.0, *self.times[-20:]])


class Drive:
    """Runs scripts ``first`` to ``first + count - 1`` of a seed."""

    def __init__(
        self, target: Target, seed: int, folder: Path, width: int = 48, say: Callable[[str], None] = print,
        make: Callable[[int, int], Script] = script, probeEvery: int = 10_000, slack: float = 0.0,
    ) -> None:  # fmt: skip
        self.target, self.seed, self.folder = target, seed, folder
        self._width, self._say, self._make, self._probeEvery = width, say, make, probeEvery
        self._slack = slack
        self.report = Report()
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._canary = Canary(target.port)
        self._poll.register(self._canary.sock.fileno(), select.EPOLLIN)
        self._recent: dict[str, int] = {}

    def run(self, first: int, count: int) -> Report:
        """All of them; returns what was seen."""
        begin = time.monotonic()
        number, end = first, first + count
        nextProbe = self._probeEvery
        ticked = 0.0
        while number < end or self._clients:
            now = time.monotonic()
            draining = self.report.streams >= nextProbe
            while number < end and len(self._clients) < self._width and not draining:
                self._begin(number, now)
                number += 1
            self._turn()
            now = time.monotonic()
            if now - ticked > 0.02:
                ticked = now
                self._tick(now)
            if draining and not self._clients:
                nextProbe += self._probeEvery
                self._probe(now - begin)
        self._poll.unregister(self._canary.sock.fileno())
        self._probe(time.monotonic() - begin)
        self._canary.sock.close()
        self.report.seconds = time.monotonic() - begin
        return self.report

    # -- clients ------------------------------------------------------------------------------

    def _begin(self, number: int, now: float) -> None:
        made = self._make(self.seed, number)
        self.report.kinds[made.kind] += 1
        self._add(Client(number, made, made.steps, self.target.port, now))

    def _add(self, client: Client) -> None:
        self._clients[client.fd] = client
        self._poll.register(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _turn(self) -> None:
        for fd, event in self._poll.poll(0.02, 256):
            now = time.monotonic()
            client = self._clients.get(fd)
            if client is None:
                self._canary.read(now)
                continue
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                client.read(now)
            if event & select.EPOLLOUT and not client.ended:
                client.write(now)
            if client.ended:
                self._end(client, now)
            else:
                wanted = select.EPOLLIN | (select.EPOLLOUT if client.wantsWrite else 0)
                self._poll.modify(fd, wanted)

    def _end(self, client: Client, now: float) -> None:
        del self._clients[client.fd]
        self._poll.unregister(client.fd)
        client.sock.close()
        report = self.report
        report.streams += 1
        report.resets += client.reset
        report.bound += client.satisfied
        if now > client.due + self._slack and not client.finding:
            report.late += 1
        self._recent[addressOf(client.number)] = client.number
        if not client.finding:
            client.judge()
        if client.finding:
            self._found(client, client.finding)
        elif client.previd and client.script.second and not client.script.kind.endswith("+"):
            client.script.kind += "+"
            self._add(Client(client.number, client.script, client.script.second, self.target.port, now, client.previd))

    def _found(self, client: Client, what: str) -> None:
        self.report.findings.append(f"{what} (seed {self.seed}, number {client.number}, {client.script.kind})")
        self._say(f"FINDING {self.report.findings[-1]}")
        save(self.folder, self.seed, client, what)

    # -- time ---------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        canary = self._canary
        canary.tick(now)
        waiting = canary.waiting(now)
        for client in list(self._clients.values()):
            late = client.tick(now, self._slack)
            if late and (waiting < BUSY or now > client.due + PATIENCE - LIMIT + self._slack):
                self.report.hangs += 1
                client.finding = "late: leaving" if client.leaving else "late: no answer"
                client.abort()
            if client.ended:
                self._end(client, now)
        self._watch()

    def _watch(self) -> None:
        """The process is there, and its log has no traceback."""
        news = self.target.news()
        count = news.count("Traceback (most recent call last)") + news.count("Unhandled")
        if count:
            self.report.tracebacks += count
            numbers = sorted({number for address, number in self._recent.items() if address in news})
            what = f"traceback (seed {self.seed}, numbers {numbers or 'unknown'}):\n{news[-3000:]}"
            self.report.findings.append(what)
            self._say("FINDING " + self.report.findings[-1])
            (self.folder / f"log-{self.seed}-{self.report.streams}.txt").write_text(news, "utf-8")
        if not self.target.running:
            raise AssertionError(f"the server has ended:\n{self.target.log[-3000:]}")
        if len(self._recent) > 100_000:
            self._recent.clear()

    def _probe(self, seconds: float) -> None:
        """Memory, descriptors and the canary, while nobody is connected."""
        time.sleep(0.3)
        self._watch()
        times = sorted(self._canary.times) or [0.0]
        self._canary.times = self._canary.times[-20:]
        report = self.report
        probe = {
            "streams": report.streams, "seconds": round(seconds, 1), "rss": self.target.memory,
            "fds": self.target.descriptors, "p99": round(times[int(len(times) * 0.99)], 4),
            "worst": round(times[-1], 4), "late": report.late, "hangs": report.hangs, "tracebacks": report.tracebacks,
        }  # fmt: skip
        report.probes.append(probe)
        with (self.folder / f"probes-{self.seed}.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(probe) + "\n")
        self._say(" ".join(f"{key}={value}" for key, value in probe.items()))


def save(folder: Path, seed: int, client: Client, what: str) -> Path:
    """Keep a finding so that it can be played again: what was sent, and what was heard."""
    record = {
        "what": what, "seed": seed, "number": client.number, "kind": client.script.kind, "end": client.script.end,
        "user": client.script.user, "sent": [base64.b64encode(piece).decode() for piece in client.sent],
        "heard": client.heard[-4000:].decode("utf-8", "replace"),
    }  # fmt: skip
    file = folder / f"finding-{seed}-{client.number}.json"
    file.write_text(json.dumps(record, indent=1), "utf-8")
    return file


def replay(file: Path) -> Script:
    """A saved finding as a script: the same bytes, with a new answer to the server's challenge."""
    record = json.loads(file.read_text("utf-8"))
    sent = [base64.b64decode(piece) for piece in record["sent"]]
    made = Script(f"replay of {file.name}", record["user"], end=record["end"])
    if record["user"]:
        made.steps = [Step(sent[:1]), Step(sent[2:], b"</challenge>")]
    else:
        made.steps = [Step(sent)]
    return made
