"""Runs every workload against our server, Prosody and ejabberd in turn, and prints the tables."""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import presence
from benchmarks.load.link import LoadError
from benchmarks.load.meter import readCpu
from benchmarks.peers import about, debian
from benchmarks.peers.linkrun import LINKS, LinkComparison
from benchmarks.peers.process import Peer
from benchmarks.peers.servers import COLUMNS, Column, build, checkRosters, prepareAll, ringContacts, target, tlsSpoken
from benchmarks.peers.table import Report, Row
from benchmarks.run import WORKLOADS, usersOf

#: How long things take: the whole comparison, and a quick look.
FULL = {"passes": 3, "seconds": 2.0, "logins": 300, "sessions": 1500, "hold": 10.0}
QUICK = {"passes": 1, "seconds": 1.0, "logins": 100, "sessions": 300, "hold": 5.0}
#: Processor time the servers that are not measured may use together, in cores, before the run is called disturbed.
QUIET = 0.03


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    names = [column.name for column in COLUMNS]
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    everything = ",".join([*WORKLOADS, *LINKS])
    parser.add_argument("--only", default=everything, help="workloads, separated by commas: %(default)s")
    parser.add_argument("--servers", default=",".join(names), help="servers, separated by commas: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one short pass: a look, not a measurement")
    for name, kind in (("passes", int), ("seconds", float), ("logins", int), ("sessions", int), ("hold", float)):
        parser.add_argument(f"--{name}", type=kind, help=f"default {FULL[name]}, with --quick {QUICK[name]}")
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second of `rate` (%(default)s)")
    parser.add_argument("--contacts", type=int, default=20, help="everybody's contacts (%(default)s)")
    parser.add_argument("--modules", choices=("alike", "shipped"), default="alike", help="the others' modules: those "
                        "whose features ours has, or Debian's list (%(default)s)")  # fmt: skip
    parser.add_argument("--tls-kind", choices=("starttls", "direct"), default="starttls")
    parser.add_argument("--no-install", action="store_true", help="install nothing; leave out servers that are missing")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every run's figures there")
    options = parser.parse_args(arguments)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.names, chosen = options.only.split(","), options.servers.split(",")
    for given, known in ((options.names, [*WORKLOADS, *LINKS]), (chosen, names)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    if options.sessions > presence.FIRST:
        parser.error(f"--sessions: at most {presence.FIRST}")
    options.links = [name for name in options.names if name in LINKS]
    options.columns = [column for column in COLUMNS if column.name in chosen and _needed(column, options.names)]
    options.names = [name for name in options.names if name in WORKLOADS]
    return options


def _needed(column: Column, workloads: Sequence[str]) -> bool:
    return any(column.runs(name) for name in workloads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if every server delivered everything exactly once, else 1."""
    options = parse(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    start = time.perf_counter()
    try:
        _installed(options)
        with ExitStack() as stack:
            facts, rows = _measure(options, stack)
    except LoadError as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1
    publish(options, facts | {"minutes": f"{(time.perf_counter() - start) / 60:.1f}"}, rows)
    return 0 if all(row["ok"] for row in rows) else 1


def _measure(options: argparse.Namespace, stack: ExitStack) -> tuple[dict[str, str], list[Row]]:
    """All passes: (what a reader has to know, every run)."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xmppservice-peers-")))
    alone = Comparison(options, folder, stack) if options.names else None
    linked = LinkComparison(options, folder / "links", stack.callback) if options.links else None
    for number in range(options.passes):
        print(f"pass {number + 1} of {options.passes}", flush=True)
        for comparison in (alone, linked):
            if comparison is not None:
                comparison.onePass(number)
    facts = alone.facts if alone is not None else about.facts(options)
    return facts, [row for comparison in (alone, linked) if comparison is not None for row in comparison.rows]


def _installed(options: argparse.Namespace) -> None:
    """Install the packages that the chosen servers need, or leave those servers out."""
    for column in list(options.columns):
        wanted = [name for name in debian.PACKAGES if _uses(column, name)]
        if options.no_install and not all(map(debian.version, wanted)):
            print(f"{column.title}: left out, not installed")
            options.columns.remove(column)
        elif not options.no_install and (new := debian.install(wanted)):
            print(f"installed {', '.join(new)}", flush=True)
    if not options.columns:
        raise LoadError("no server is left to measure")


def _uses(column: Column, package: str) -> bool:
    """Whether a server needs this package: its own, and the driver if it keeps things in SQLite."""
    server = "prosody" if package in ("prosody", "lua-dbi-sqlite3") else "ejabberd"
    return column.name.startswith(server) and ("sqlite" not in package or "sqlite" in column.name)


def publish(options: argparse.Namespace, facts: dict[str, str], rows: list[Row]) -> None:
    """Print the tables; write the files that were asked for."""
    tables = Report(rows).tables()
    lines = about.lines(facts, rows)
    print("\n" + "\n".join([*(table.text() for table in tables), *lines]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"about": facts, "rows": rows}, indent=1) + "\n")
    if options.rst:
        text = ".. Made by ``make bench-peers``; do not edit.\n\n"
        text += "\n".join([*(table.rst() for table in tables), *(f"* {line}" for line in lines)])
        options.rst.write_text(text + "\n")


def _timed(options: argparse.Namespace, workload: str) -> argparse.Namespace:
    """The options for one workload: a server slow at keeping messages acknowledges many at once, seconds apart."""
    if workload != "offline":
        return options
    return argparse.Namespace(**vars(options) | {"seconds": 3 * options.seconds})


def waitQuiet(servers: Sequence[Peer], limit: float = 10.0) -> None:
    """Let servers end what their last workload left them to do, at most ``limit`` seconds."""
    end = time.perf_counter() + limit
    busy = float("inf")
    while busy > QUIET and time.perf_counter() < end:
        before = [readCpu(server.pid) for server in servers]
        time.sleep(0.2)
        busy = sum(sum(readCpu(server.pid).since(then)) for server, then in zip(servers, before, strict=True)) / 0.2e6


class Comparison:
    """The servers of one run, their folder, and what was measured so far."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options = options
        self._columns: list[Column] = options.columns
        self._servers: dict[str, Peer] = build([column.name for column in self._columns], folder, options.modules)
        for server in self._servers.values():
            stack.callback(server.stop)
        self.rows: list[Row] = []
        start = time.perf_counter()
        self._contacts = ringContacts(usersOf(options), self._contactsOf)
        prepareAll(self._servers.values(), self._contacts)
        print(f"{len(self._contacts)} users on {len(self._servers)} servers in {time.perf_counter() - start:.0f} s")
        self.facts = about.facts(options)

    def _contactsOf(self, first: int) -> int:
        return presence.CONTACTS if first == presence.FIRST else int(self._options.contacts)

    def onePass(self, number: int) -> None:
        """Fresh processes; each workload against each server in turn, another one first in each pass."""
        shift = number % len(self._columns)
        order = [*self._columns[shift:], *self._columns[:shift]]
        for column in order:
            server = self._servers[column.name]
            server.start()
            if number == 0:
                checkRosters(server, self._contacts)
                self.facts[f"tls {column.name}"] = tlsSpoken(server, self._options.tls_kind)
        for workload in self._options.names:
            # Memory hardly varies, and opening thousands of sessions takes long: once is enough.
            if number and WORKLOADS[workload].fresh:
                continue
            for column in order:
                if column.runs(workload):
                    self._one(workload, column, number)
        for server in self._servers.values():
            server.stop()

    def _one(self, name: str, column: Column, number: int) -> None:
        """One workload against one server, while the others are idle."""
        work, server, options = WORKLOADS[name], self._servers[column.name], self._options
        if work.fresh:
            server.stop()
            server.start()
            time.sleep(1.0)
        others = [other for other in self._servers.values() if other is not server]
        waitQuiet(others)
        before, start = [readCpu(other.pid) for other in others], time.perf_counter()
        row: dict[str, object] = {"server": column.name, "workload": name, "pass": number}
        try:
            where = target(server, options.tls_kind if work.tls else "none")
            result = work.run(where, server.pid, _timed(options, name))
            if not result.count:
                result.problems.append("nothing was delivered in the measured time")
            row = result.asDict() | row
        except LoadError as problem:
            row |= {"ok": False, "problems": [str(problem)]}
        busy = sum(sum(readCpu(other.pid).since(then)) for other, then in zip(others, before, strict=True))
        row["othersCores"] = busy / 1e6 / (time.perf_counter() - start)
        self.rows.append(row)
        print(about.progress(row, QUIET), flush=True)
        if not row["ok"]:
            # What is left of a run that broke off must not disturb the next ones.
            server.stop()
            server.start()


if __name__ == "__main__":
    sys.exit(main())
