"""A component with Twisted's own client code; it echoes. Arguments: port, domain; the secret comes by stdin."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.words.protocols.jabber.component import componentFactory
from twisted.words.protocols.jabber.xmlstream import STREAM_AUTHD_EVENT, STREAM_ERROR_EVENT

#: Seconds after which it ends by itself, whatever a test forgot.
LIFE = 60


def main() -> None:
    """Connect, and say what happens, a line each."""
    loop: Any = reactor
    factory: Any = componentFactory(sys.argv[2], sys.stdin.readline().strip())

    def authenticated(stream: Any) -> None:
        print("connected", flush=True)

        def back(message: Any) -> None:
            message["to"], message["from"] = message["from"], message["to"]
            stream.send(message)

        stream.addObserver("/message", back)

    def refused(failure: Any) -> None:
        print(getattr(failure.value, "condition", failure.value), flush=True)
        factory.stopTrying()
        loop.stop()

    factory.addBootstrap(STREAM_AUTHD_EVENT, authenticated)
    factory.addBootstrap(STREAM_ERROR_EVENT, refused)
    loop.connectTCP("127.0.0.1", int(sys.argv[1]), factory)
    loop.callLater(LIFE, loop.stop)
    loop.run()


if __name__ == "__main__":
    main()
