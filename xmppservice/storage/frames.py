"""The frames between the server and its writer process: four bytes of length, then plain tuples.

`marshal` is the fastest way to move tuples of ints, strings and bytes between two processes of
the same Python.  Both ends are ours and share one interpreter; nothing from outside enters here.
"""

from __future__ import annotations

import marshal
from typing import Any, BinaryIO

_LENGTH = 4

#: The writer is up: ("ready", number of the last committed batch, its failures).
READY = "ready"
#: The database must not be opened: ("refused", text).
REFUSED = "refused"
#: A batch is settled: ("done", number, failures), each failure (position, kind, text).
DONE = "done"


def pack(message: Any) -> bytes:
    """One frame.

    :raises ValueError: the message holds something else than plain data.
    """
    body = marshal.dumps(message)
    return len(body).to_bytes(_LENGTH, "big") + body


def readFrame(stream: BinaryIO) -> Any:
    """The next message of a blocking stream; None at its end."""
    head = stream.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    size = int.from_bytes(head, "big")
    body = stream.read(size)
    return marshal.loads(body) if len(body) == size else None


class FrameBuffer:
    """Cuts a stream that comes in pieces into messages."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are complete now."""
        buffer = self._data
        buffer += data
        messages = []
        while len(buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(buffer[:_LENGTH], "big")
            if len(buffer) < end:
                break
            messages.append(marshal.loads(bytes(buffer[_LENGTH:end])))
            del buffer[:end]
        return messages
