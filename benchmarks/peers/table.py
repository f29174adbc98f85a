"""The tables of the comparison: for people at a terminal, and as reStructuredText."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers.servers import COLUMNS, OWN, Column

#: One measured run: what `Result.asDict` gives, and the keys server, pass and othersCores.
Row = Mapping[str, object]
Cell = Callable[[Sequence[Row]], str]

#: Workloads with acknowledgements: their own latency says nothing or less than the acknowledgement's.
_ACKED = ("sm", "offline")
_NONE = "–"
SIDES = "Server CPU, µs a message between servers: sending side + receiving side"


@dataclass
class Table:
    """A title, a header and rows of text."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.header))]
        made = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        return "\n".join([self.title, *made, *self.notes]) + "\n"

    def rst(self) -> str:
        """A list-table."""
        lines = [f".. list-table:: {self.title}", "   :header-rows: 1", ""]
        for row in [self.header, *self.rows]:
            lines += [f"   {'*' if place == 0 else ' '} - {cell}" for place, cell in enumerate(row)]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _values(rows: Sequence[Row], take: Callable[[Row], float]) -> float:
    return median(take(row) for row in rows)


def _plain(key: str) -> Callable[[Row], float]:
    return lambda row: float(str(row[key]))


def _extra(*keys: str) -> Callable[[Row], float]:
    def take(row: Row) -> float:
        extra = row["extra"]
        assert isinstance(extra, Mapping)
        return sum(float(extra.get(key, 0.0)) for key in keys)

    return take


def ratio(own: Sequence[Row], others: Sequence[Row], take: Callable[[Row], float]) -> float | None:
    """Ours divided by another's: the median over the passes in which both ran, since a machine's speed changes."""
    theirs = {row["pass"]: take(row) for row in others}
    shares = [take(row) / theirs[row["pass"]] for row in own if theirs.get(row["pass"])]
    return median(shares) if shares else None


class Report:
    """All good runs, by workload and server."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._bad = {(str(row["workload"]), str(row["server"])) for row in rows if not row["ok"]}
        for row in rows:
            if row["ok"]:
                self._rows.setdefault((str(row["workload"]), str(row["server"])), []).append(row)
        keys = {(str(row["workload"]), str(row["server"])) for row in rows}
        self._columns = [column for column in COLUMNS if any(key[1] == column.name for key in keys)]
        self._workloads = list(dict.fromkeys(str(row["workload"]) for row in rows))

    def tables(self) -> list[Table]:
        """Processor time, throughput, latency, memory, and offline messages."""
        main = [column for column in self._columns if not column.only]
        flowing = [name for name in self._workloads if not name.startswith("idle")]
        resting = [name for name in self._workloads if name.startswith("idle")]
        stored = [name for name in flowing if any(column.only for column in self._columns) and name == "offline"]
        made = [
            self._table("Server CPU, µs a stanza or login (ours ÷ theirs)", flowing, main, self._cpu),
            self._table(SIDES, [name for name in flowing if name.startswith("s2s")], main, self._sides),
            self._table("Stanzas or logins a second", flowing, main, self._rate),
            self._table("Latency, p50 / p99 ms", flowing, main, self._latency),
            self._table("KiB a session (ours ÷ theirs)", resting, main, self._memory),
        ]
        for title, cell in (("CPU µs a message", self._cpu), ("acknowledged a second", self._rate)):
            made.append(self._table(f"Offline messages by storage: {title}", stored, self._columns, cell))
        return [table for table in made if table.rows]

    def _table(
        self, title: str, workloads: Sequence[str], columns: Sequence[Column], cell: Callable[[str, str], str]
    ) -> Table:
        table = Table(title, ["workload", *(column.title for column in columns)])
        for workload in workloads:
            table.rows.append([workload, *(self._one(workload, column.name, cell) for column in columns)])
        return table

    def _one(self, workload: str, server: str, cell: Callable[[str, str], str]) -> str:
        mark = " *" if (workload, server) in self._bad else ""
        if (workload, server) not in self._rows:
            return "failed" if mark else _NONE
        return cell(workload, server) + mark

    def _compared(self, workload: str, server: str, take: Callable[[Row], float]) -> str:
        rows = self._rows[workload, server]
        text = number(_values(rows, take))
        share = None if server == OWN else ratio(self._rows.get((workload, OWN), []), rows, take)
        return text if share is None else f"{text} ({share:.2f})"

    def _cpu(self, workload: str, server: str) -> str:
        return self._compared(workload, server, _plain("serverMicros"))

    def _sides(self, workload: str, server: str) -> str:
        rows = self._rows[workload, server]
        return " + ".join(number(_values(rows, _extra(key))) for key in ("nearMicros", "farMicros"))

    def _memory(self, workload: str, server: str) -> str:
        return self._compared(workload, server, _extra("rssKiB", "writerRssKiB"))

    def _rate(self, workload: str, server: str) -> str:
        return number(_values(self._rows[workload, server], _plain("perSecond")))

    def _latency(self, workload: str, server: str) -> str:
        rows = self._rows[workload, server]
        if workload in _ACKED:
            takes = (_extra("ackP50Ms"), _extra("ackP99Ms"))
        else:
            takes = (_plain("p50Ms"), _plain("p99Ms"))
        return " / ".join(number(_values(rows, take)) for take in takes)
