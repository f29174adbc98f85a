"""The history of a run, and the judgement on it.

Every message is written down when it is sent, when an acknowledgement covers it, when it arrives (each time) and when
it comes back as an error. `Book.judge` compares: what was acknowledged must have arrived or come back; what arrives
twice must be the same message, with the same stanza id; messages of one pair arrive in the order in which they were
sent.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields


@dataclass
class Verdict:
    """Figures of one run, or the sum of several."""

    sent: int = 0
    acked: int = 0
    arrived: int = 0
    bounced: int = 0
    duplicated: int = 0
    lost: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)

    def __iadd__(self, other: Verdict) -> Verdict:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self

    def __str__(self) -> str:
        return (
            f"sent={self.sent} acked={self.acked} arrived={self.arrived} bounced={self.bounced} lost={len(self.lost)}"
            f" duplicated={self.duplicated} forged={len(self.forged)} reordered={len(self.reordered)}"
        )

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.forged or self.reordered)


class Book:
    """What happened to each message; ids are unique within a book."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Id → (sender, recipient, running number of the pair).
        self.sent: dict[str, tuple[str, str, int]] = {}
        self.acked: set[str] = set()
        #: When which ids were acknowledged (monotonic seconds).
        self.acknowledgements: list[tuple[float, list[str]]] = []
        self.bounced: set[str] = set()
        #: Recipient → (message id, stanza id) in the order of arrival.
        self.arrivals: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._arrived: set[str] = set()
        self._numbers: Counter[tuple[str, str]] = Counter()

    def send(self, sender: str, recipient: str) -> str:
        """A new message; returns its id."""
        number = self._numbers[sender, recipient] = self._numbers[sender, recipient] + 1
        id = f"{self.name}-{sender}-{recipient}-{number}"
        self.sent[id] = (sender, recipient, number)
        return id

    def arrive(self, recipient: str, id: str, stanzaId: str) -> None:
        """A message reached its recipient."""
        self.arrivals[recipient].append((id, stanzaId))
        self._arrived.add(id)

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The server has taken these."""
        known = len(self.acked)
        new = list(ids)
        self.acked.update(new)
        if len(self.acked) > known:
            self.acknowledgements.append((time.monotonic(), new))

    def forget(self) -> None:
        """What arrived until now does not count: whoever got it has lost it."""
        self.arrivals.clear()
        self._arrived.clear()

    def missing(self, recipients: Collection[str] | None = None) -> set[str]:
        """Acknowledged, but neither arrived nor come back; for some recipients, or for all."""
        missing = self.acked - self._arrived - self.bounced
        return missing if recipients is None else {id for id in missing if self.sent[id][1] in recipients}

    def judge(self) -> Verdict:
        """Compare what was promised with what came."""
        verdict = Verdict(sent=len(self.sent), acked=len(self.acked), bounced=len(self.bounced))
        verdict.lost = sorted(self.missing())
        for recipient, arrived in self.arrivals.items():
            self._judgeArrivals(recipient, arrived, verdict)
        return verdict

    def _judgeArrivals(self, recipient: str, arrived: list[tuple[str, str]], verdict: Verdict) -> None:
        stanzaIds: dict[str, str] = {}
        last: dict[str, int] = {}
        for id, stanzaId in arrived:
            known = self.sent.get(id)
            if id in stanzaIds:
                verdict.duplicated += 1
                if stanzaIds[id] != stanzaId:
                    verdict.forged.append(f"{id}: {stanzaIds[id]} and {stanzaId}")
                continue
            stanzaIds[id] = stanzaId
            if known is None or known[1] != recipient:
                verdict.forged.append(f"{id}: never sent to {recipient}")
                continue
            verdict.arrived += 1
            sender, _, number = known
            if number < last.get(sender, 0):
                verdict.reordered.append(f"{id} after number {last[sender]}")
            last[sender] = max(number, last.get(sender, 0))
