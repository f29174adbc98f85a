"""The writer process: reads batches from its server, commits them, answers.

Started by :mod:`xmppservice.storage.process`.  It has no reactor and no threads.  It ends when
the server's end of the socket closes, after committing what had been sent completely, and it
ignores the signals that a terminal or a service supervisor sends to the whole process group:
the server decides when it is done.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys

from xmppservice.storage.batches import Batches
from xmppservice.storage.faults import Refusal
from xmppservice.storage.files import openWriter
from xmppservice.storage.frames import DONE, READY, REFUSED, pack, readFrame
from xmppservice.storage.operations import Operations
from xmppservice.storage.upgrades import prepare


def main(arguments: list[str]) -> int:
    """Serve the socket; the arguments are path, socket, lock, pragmas (by comma), modules…

    The lock's descriptor is only held, so that the data folder stays locked while this runs.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    path, descriptor, _lock, pragmas, *modules = arguments
    channel = socket.socket(fileno=int(descriptor))
    try:
        connection = openWriter(path, Operations.load(modules), [word for word in pragmas.split(",") if word])
        prepare(connection)
    except Refusal as refusal:
        channel.sendall(pack((REFUSED, str(refusal))))
        return 1
    batches = Batches(connection)
    try:
        channel.sendall(pack((READY, *batches.last())))
    except OSError:
        # The server was stopped in the midst of its start.
        return 0
    gc.collect()
    gc.freeze()
    serve(batches, channel)
    connection.raw.close()
    return 0


def serve(batches: Batches, channel: socket.socket) -> None:
    """Commit and answer until the server's end is closed."""
    stream = channel.makefile("rb")
    while True:
        try:
            message = readFrame(stream)
        except ConnectionResetError:
            # A killed server leaves our answers unread, and the socket tells so after its last whole frame.
            return
        if message is None:
            return
        number, groups = message
        failures = batches.run(number, groups)
        try:
            channel.sendall(pack((DONE, number, failures)))
        except OSError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
