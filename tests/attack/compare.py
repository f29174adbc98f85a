"""``python -m tests.attack.compare``: the rows of the table against several servers, and the page that shows them."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.attack.raw import DOMAIN
from tests.attack.servers import SERVERS, Attacked, start
from tests.attack.table import GROUPS, ROWS, Row
from tests.attack.table.arena import Arena
from tests.attack.table.row import LEGEND, RIGHT
from tests.sources import ROOT
from xmppservice.wire import ns

PAGE = ROOT / "docs" / "attacks.rst"
TITLES = {"own": "xmppservice", "prosody": "Prosody", "ejabberd": "ejabberd"}
_AT_ONCE = 6
_ACCOUNTS = 400


def attempt(server: Attacked, users: Iterator[str], row: Row) -> str:
    """The reaction to one row; a server that leaves the script of the row altogether is told so."""
    arena = Arena(server, users)
    try:
        return row.attempt(arena)
    except (AssertionError, OSError) as failure:
        return f"no reaction that fits: {' '.join(str(failure).split())[:60] or type(failure).__name__}"
    finally:
        arena.leave()


def accounts() -> list[str]:
    """Accounts for all rows."""
    return [f"user{number}" for number in range(1, _ACCOUNTS + 1)]


@contextmanager
def running(name: str) -> Iterator[tuple[Attacked, Iterator[str]]]:
    """A server of that name in a temporary folder, and its unused accounts."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        names = accounts()
        server = start(name, Path(folder), {user: user[::-1] for user in [*names, "canary"]})
        try:
            yield server, iter(names)
        finally:
            server.stop()


def run(server: Attacked, users: Iterator[str], rows: Sequence[Row], tell: Callable[[str], None]) -> list[str]:
    """The reactions to all rows. Those that only wait do so beside the others."""
    with ThreadPoolExecutor(_AT_ONCE + len([row for row in rows if row.slow])) as threads:
        slow = {row.key: threads.submit(attempt, server, users, row) for row in rows if row.slow}
        quick = {row.key: threads.submit(attempt, server, users, row) for row in rows if not row.slow}
        reactions = []
        for row in rows:
            reactions.append((slow | quick)[row.key].result())
            tell(f"{server.name:9} {row.judge(reactions[-1])} {row.key}: {reactions[-1]}")
    return reactions


def version(server: Attacked, users: Iterator[str]) -> str:
    """What it says itself (XEP-0092)."""
    client = server.login(next(users))
    query = client.ask("get", f"<query xmlns='{ns.VERSION}'/>", DOMAIN).elements()[0]
    found = query.find(ns.VERSION, "version")
    client.close()
    return found.text if found else "?"


def faults(server: Attacked) -> int:
    """Tracebacks, or whatever its log has in their place."""
    return sum(log.read_text("utf-8", "replace").count(server.fault) for log in server.logs if log.exists())


def measure(name: str, tell: Callable[[str], None]) -> tuple[str, list[str], int]:
    """Version, reactions, faults in the log."""
    with running(name) as (server, users):
        told = version(server, users)
        return told, run(server, users, ROWS, tell), faults(server)


# -- the page -------------------------------------------------------------------------------------------


def _cell(row: Row, reaction: str) -> str:
    return f"{row.judge(reaction)} {_escaped(reaction)}"


def _escaped(text: str) -> str:
    return re.sub(r"([*`|\\_])", r"\\\1", text)


def page(results: dict[str, tuple[str, list[str], int]]) -> str:
    """The page in reStructuredText."""
    names = [f"{TITLES[name]} {told}" for name, (told, _, _) in results.items()]
    day = datetime.datetime.now(datetime.UTC).date()
    lines = [_INTRODUCTION.format(day=day, count=len(ROWS), names=", ".join(names))]
    lines += [f"* {mark} {meaning}." for mark, meaning in LEGEND.items()]
    lines += ["", _listTable("18 " + "20 " * len(results), ["", *names], _totals(results))]
    at = 0
    for title, rows in GROUPS.items():
        body = [
            [row.id, _escaped(row.sent), _reference(row), *(_cell(row, each[1][number]) for each in results.values())]
            for number, row in enumerate(rows, at)
        ]
        at += len(rows)
        head = ["id", "sent", "asked for by", *names]
        lines += ["", title, "-" * len(title), "", _listTable("6 26 12 " + "18 " * len(results), head, body)]
    return "\n".join([*lines, "", _SERVERS, "", _TIME]) + "\n"


def _reference(row: Row) -> str:
    return row.rfc if row.rfc[:1].isalpha() else f"RFC 6120 {row.rfc}"


def _totals(results: dict[str, tuple[str, list[str], int]]) -> list[list[str]]:
    counted = [Counter(row.judge(text) for row, text in zip(ROWS, reactions, strict=True))
               for _, reactions, _ in results.values()]  # fmt: skip
    rows = [[mark, *(str(count[mark]) for count in counted)] for mark in LEGEND]
    return [*rows, ["faults in the log", *(str(found) for _, _, found in results.values())]]


def _listTable(widths: str, head: list[str], rows: list[list[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths.strip()}", ""]
    for row in [head, *rows]:
        lines += [f"   {'* -' if not at else '  -'} {cell}".rstrip() for at, cell in enumerate(row)]
    return "\n".join(lines)


_INTRODUCTION = """Attacks, side by side
=====================

``python -m tests.attack.compare`` sends the same inputs to several servers and writes this page. The inputs are those
of ``tests/attack``, where they are sent to xmppservice with every test run; ``tests/attack/test_table.py`` fails
when a row of ours is not ✓.

Measured {day} with {count} inputs over loopback: {names}. Prosody and ejabberd are Debian 12's
packages with the limits and the modules that the packages enable, and the archive (XEP-0313), TLS required, a
certificate of a test authority; newer versions may do better. Each input got a stream and, where it needs them,
accounts of its own. Beside the first condition of an error stands what became of the stream. *Faults in the log* are
tracebacks, and crash reports of Erlang processes.

"""


_SERVERS = """Between servers
---------------

Streams between servers are not in the tables. ``tests/attack/s2s`` plays the other servers, in both directions, and
asks for the exact reaction to each of about 600 inputs, under both policies of ``[s2s]``: answers of dialback that
nobody asked for (S01), keys (S02), certificates and domains of others (S03-S06, T06, T07), name servers that lie and
records that lead where nobody should go (S07, S08, S10), both directions on one stream (S09), TLS that is taken away
or has something behind it (T01-T03), XML, sizes and silence as above. ``test_sabotage.py`` there cuts out one defence
after the other and sees that the attempts notice. It was not run against the others."""

_TIME = """What time tells
---------------

``python -m tests.attack.timing`` compares how long our refusals take (A04, A05): whether the user exists, and where a
proof or a password is wrong. It was not run against the others.

.. include:: timing.inc"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.attack.compare")
    parser.add_argument("--servers", default="own,prosody,ejabberd", help="which, separated by commas")
    parser.add_argument("--page", type=Path, help=f"where to write the page (default, with all three: {PAGE})")
    options = parser.parse_args(arguments)
    chosen = options.servers.split(",")
    if unknown := set(chosen) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    results = {name: measure(name, print) for name in chosen}
    target = options.page or (PAGE if set(chosen) == set(SERVERS) else None)
    if target:
        target.write_text(page(results), "utf-8")
        print(f"{target} written")
    for name, (_, reactions, found) in results.items():
        count = Counter(row.judge(text) for row, text in zip(ROWS, reactions, strict=True))
        print(f"{name}: " + ", ".join(f"{count[mark]} {mark}" for mark in LEGEND) + f", {found} faults in the log")
    own = results.get("own")
    return int(own is not None and any(row.judge(text) != RIGHT for row, text in zip(ROWS, own[1], strict=True)))


if __name__ == "__main__":
    sys.exit(main())
