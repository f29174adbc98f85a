"""A power loss: from the journal of a disk, the files as they would be found when the power is back.

Synced is what was written before the last sync of its file. Of everything later each sector of 512 bytes survives or
not as the seed decides; so writes are torn, and later ones survive earlier ones. A new file exists only if its folder
was synced; a deleted one may come back.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.inside.disk import CREATE, DELETE, FOLDER, JOURNAL, RECORD, SYNC, TRUNCATE, WRITE

SECTOR = 512
#: The wal-index; SQLite makes it anew.
_SHARED = "-shm"


@dataclass
class Record:
    """One thing that was done to the disk, and when (monotonic seconds)."""

    kind: bytes
    path: str
    time: float
    place: int
    data: bytes


def records(rules: Path) -> Iterator[Record]:
    """The journal; a torn record at its end is left out."""
    whole = (rules / JOURNAL).read_bytes()
    at = 0
    while at + RECORD.size <= len(whole):
        kind, path, time, place, size = RECORD.unpack_from(whole, at)
        begin = at + RECORD.size
        at = begin + path + size
        if at > len(whole):
            return
        yield Record(kind, os.fsdecode(whole[begin : begin + path]), time, place, whole[begin + path : at])


@dataclass
class _File:
    """What is safe of a file, and what was done since."""

    safe: bytearray
    #: Whether its name is safe.
    named: bool = True
    deleted: bool = False
    pending: list[Record] = field(default_factory=list)

    def sync(self) -> None:
        for each in self.pending:
            _apply(self.safe, each)
        self.pending.clear()

    def found(self, chance: random.Random, survival: float) -> bytearray:
        """The contents after the loss, each unsynced sector surviving with this probability."""
        found = bytearray(self.safe)
        for each in self.pending:
            if each.kind == TRUNCATE:
                if chance.random() < survival:
                    _apply(found, each)
                continue
            for start in range(0, len(each.data), SECTOR):
                if chance.random() < survival:
                    _put(found, each.place + start, each.data[start : start + SECTOR])
        return found


def _apply(data: bytearray, record: Record) -> None:
    if record.kind == WRITE:
        _put(data, record.place, record.data)
    else:
        del data[record.place :]
        data.extend(bytes(record.place - len(data)))


def _put(data: bytearray, place: int, piece: bytes) -> None:
    data.extend(bytes(max(0, place - len(data))))
    data[place : place + len(piece)] = piece


class Platter:
    """The files of a data folder, as a disk has them."""

    def __init__(self, folder: Path) -> None:
        """What stands in the folder is safe."""
        self._files = {
            str(path): _File(bytearray(path.read_bytes()))
            for path in folder.glob("*.sqlite3*")
            if not path.name.endswith(_SHARED)
        }
        self.syncs = 0

    def play(self, record: Record) -> None:
        """One thing is done."""
        if record.kind == FOLDER:
            self._syncFolder(record.path)
            return
        file = self._files.get(record.path)
        if record.kind == CREATE and file is None:
            self._files[record.path] = _File(bytearray(), named=False)
        elif file is None:
            return
        elif record.kind == DELETE:
            file.deleted = True
        elif record.kind == CREATE:
            # Deleted and made again: both contents have the same name, and only the new one is written to.
            self._files[record.path] = _File(bytearray())
        elif record.kind == SYNC:
            self.syncs += 1
            file.sync()
        else:
            file.pending.append(record)

    def _syncFolder(self, folder: str) -> None:
        for path in [path for path in self._files if os.path.dirname(path) == folder]:
            self._files[path].named = True
            if self._files[path].deleted:
                del self._files[path]

    @property
    def unsynced(self) -> int:
        """Writes that the power loss may take."""
        return sum(len(file.pending) for file in self._files.values())

    def leave(self, folder: Path, chance: random.Random) -> None:
        """Write into `folder` what is found after the loss, and remove what is not."""
        for former in folder.glob("*.sqlite3*"):
            former.unlink()
        survival = chance.choice((0.0, 0.5, 0.9))
        for path, file in self._files.items():
            if file.named or chance.random() < survival:
                (folder / Path(path).name).write_bytes(file.found(chance, survival))
