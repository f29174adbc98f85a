"""Figures that a server keeps of itself: counters, gauges and histograms, by name and labels.

Whoever counts holds a `Counter` and adds to its `value`; where even that is too much, on the way of a stanza, it
keeps a plain list or dict and gives a function that reads it when somebody asks (`Figures.table`). No label is
ever made of what a peer has said (hardening H07), and a name has a bounded number of labels whatever happens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeAlias, TypeVar

import attrs

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

#: So many sets of labels one name may have; what comes on top is counted under "other".
MOST_LABELS = 200

#: Bounds of times, in seconds, from a wake-up to a disaster.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Values: TypeAlias = Mapping[tuple[str, ...], float]
"""By the values of the labels."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Counter:
    """Counts up. `value` may be added to directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1) -> None:
        """Count something that has happened; it never goes down."""
        self.value += amount


class Gauge:
    """Goes up and down: set, or read from somewhere when asked for."""

    __slots__ = ("_read", "_value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self._read = read
        self._value = 0.0

    def set(self, value: float) -> None:
        """From now on it is this."""
        self._value = value

    @property
    def value(self) -> float:
        """What it is now."""
        return self._value if self._read is None else float(self._read())


class Histogram:
    """How often a value was at most each of `bounds`."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Iterable[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        if list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError("the bounds of a histogram must rise")
        #: One more than bounds: the last is for what is above them all.
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[int]:
        """How many were at most each bound; the last is how many there were."""
        return list(accumulate(self.counts))


class Table:
    """Many values under one name that somebody else keeps: read when asked for, by the values of the labels."""

    __slots__ = ("names", "read")

    def __init__(self, names: tuple[str, ...], read: Callable[[], Values]) -> None:
        self.names = names
        self.read = read


Figure: TypeAlias = Counter | Gauge | Histogram | Table
Labels: TypeAlias = tuple[tuple[str, str], ...]
F = TypeVar("F", Counter, Gauge, Histogram, Table)


@attrs.define
class Family:
    """All that has one name."""

    name: str
    kind: str
    help: str
    members: dict[Labels, Figure] = attrs.field(factory=dict)

    def samples(self) -> Iterator[tuple[Labels, float | Histogram]]:
        """What it is now: labels, and a number or a histogram."""
        for labels, figure in self.members.items():
            if isinstance(figure, Histogram):
                yield labels, figure
            elif isinstance(figure, Table):
                for values, number in figure.read().items():
                    yield tuple(zip(figure.names, values, strict=True)), number
            else:
                yield labels, figure.value


class Figures:
    """The figures of one server. Names are lower-case with underscores; a counter's ends in ``_total``."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def counter(self, name: str, help: str, /, **labels: str) -> Counter:
        """A counter; asked for again, the same one."""
        if not name.endswith("_total"):
            raise ValueError(f"the name of a counter ends in _total, not {name!r}")
        found = self._find(name, COUNTER, help, labels)
        assert isinstance(found, Counter)
        return found

    def gauge(self, name: str, help: str, read: Callable[[], float] | None = None, /, **labels: str) -> Gauge:
        """A gauge that is set, or one that is read when asked for.

        @raise ValueError: there is one already.
        """
        return self.add(name, GAUGE, help, Gauge(read), **labels)

    def histogram(self, name: str, help: str, bounds: Iterable[float] = SECONDS, /, **labels: str) -> Histogram:
        """A histogram."""
        return self.add(name, HISTOGRAM, help, Histogram(bounds), **labels)

    def table(self, name: str, kind: str, help: str, names: tuple[str, ...], read: Callable[[], Values]) -> Table:
        """Values that somebody else keeps: `read` gives them by the values of the labels `names`."""
        return self.add(name, kind, help, Table(names, read))

    def add(self, name: str, kind: str, help: str, figure: F, /, **labels: str) -> F:
        """Take in a figure that somebody else has made.

        @raise ValueError: the name is none, or is taken for something else.
        """
        family, key = self._family(name, kind, help), _key(labels)
        if key in family.members:
            raise ValueError(f"there is a figure {name!r} already")
        family.members[key] = figure
        return figure

    def remove(self, figure: Figure) -> None:
        """Take a figure away, as its owner goes."""
        for family in list(self._families.values()):
            for key in [key for key, member in family.members.items() if member is figure]:
                del family.members[key]
            if not family.members:
                del self._families[family.name]

    def families(self) -> list[Family]:
        """All figures, by name."""
        return [self._families[name] for name in sorted(self._families)]

    def value(self, name: str, /, **labels: str) -> float:
        """One number: of a counter, a gauge or a table; the sum of all that match if some labels are left out.

        A histogram counts what it has observed. What is not there is 0.
        """
        family, wanted = self._families.get(name), set(labels.items())
        found = family.samples() if family is not None else ()
        return sum(
            sum(value.counts) if isinstance(value, Histogram) else value
            for key, value in found
            if wanted.issubset(key)
        )

    def _find(self, name: str, kind: str, help: str, labels: Mapping[str, str]) -> Figure:
        family, key = self._family(name, kind, help), _key(labels)
        if key not in family.members:
            if len(family.members) >= MOST_LABELS:
                key = tuple((label, "other") for label, _ in key)
            family.members.setdefault(key, Counter())
        return family.members[key]

    def _family(self, name: str, kind: str, help: str) -> Family:
        known = self._families.get(name)
        if known is None:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a figure")
            known = self._families[name] = Family(name, kind, help)
        elif known.kind != kind:
            raise ValueError(f"{name!r} is a {known.kind} already")
        return known


def _key(labels: Mapping[str, str]) -> Labels:
    for label in labels:
        if not _NAME.fullmatch(label):
            raise ValueError(f"{label!r} is no name of a label")
    return tuple(sorted(labels.items()))
