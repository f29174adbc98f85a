"""Runs the workloads that need two servers of each kind; they are started for a run and stopped after it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.load.chat import PAIRS
from benchmarks.load.federated import Site, s2s
from benchmarks.load.link import LoadError
from benchmarks.load.place import Place
from benchmarks.peers import about
from benchmarks.peers.links import Linked
from benchmarks.peers.process import Peer
from benchmarks.peers.servers import Column, make, prepareAll, target
from benchmarks.peers.table import Row

LINKS = ("s2s",)


def _site(server: Peer) -> Site:
    return Site(target(server, "none"), server.pid)


class LinkComparison:
    """The pairs of servers of one run; measured runs go to `rows`."""

    def __init__(self, options: argparse.Namespace, folder: Path, keep: Callable[[Callable[[], None]], object]) -> None:
        self._options = options
        self._columns: list[Column] = [column for column in options.columns if not column.only]
        self._linked: dict[tuple[str, str], Linked] = {}
        self.rows: list[Row] = []
        for name in options.links:
            for column in self._columns:
                made = Linked(folder / name / column.name, self._maker(column))
                keep(made.stop)
                self._linked[name, column.name] = made
        contacts: dict[int, list[int]] = {number: [] for number in range(PAIRS)}
        prepareAll([server for linked in self._linked.values() for server in linked.servers], contacts)

    def _maker(self, column: Column) -> Callable[[Place], Peer]:
        return lambda place: make(column.name, place, self._options.modules)

    def onePass(self, number: int) -> None:
        """Each workload against each kind of server, another one first in each pass."""
        shift = number % len(self._columns)
        for name in self._options.links:
            for column in [*self._columns[shift:], *self._columns[:shift]]:
                self._one(name, column, number)

    def _one(self, name: str, column: Column, number: int) -> None:
        linked = self._linked[name, column.name]
        row: dict[str, object] = {"server": column.name, "workload": name, "pass": number, "othersCores": 0.0}
        try:
            linked.start()
            near, far = linked.sites(_site)
            result = s2s(name, near, far, self._options.seconds)
            if not result.count:
                result.problems.append("nothing was delivered in the measured time")
            row = result.asDict() | row
        except LoadError as problem:
            row |= {"ok": False, "problems": [str(problem)]}
        finally:
            linked.stop()
        self.rows.append(row)
        print(about.progress(row, 1.0), flush=True)
