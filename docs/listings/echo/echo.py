"""A component that says everything back, with Twisted's own code: python echo.py echo.example.com echo.secret 5347."""

import sys

from twisted.internet import reactor
from twisted.words.protocols.jabber.component import componentFactory
from twisted.words.protocols.jabber.xmlstream import STREAM_AUTHD_EVENT, STREAM_ERROR_EVENT


def authenticated(stream):
    """The server knows us now."""

    def echo(message):
        # An error answered would come back as the next one.
        if message.getAttribute("type") != "error":
            message["to"], message["from"] = message["from"], message["to"]
            stream.send(message)

    stream.addObserver("/message", echo)
    print("connected", flush=True)


def refused(failure):
    """The server does not want us, and says why; we try again later."""
    print(failure.value, flush=True)


domain, secret, port = sys.argv[1:]
with open(secret, encoding="utf-8") as file:
    factory = componentFactory(domain, file.read().strip())
factory.addBootstrap(STREAM_AUTHD_EVENT, authenticated)
factory.addBootstrap(STREAM_ERROR_EVENT, refused)
reactor.connectTCP("127.0.0.1", int(port), factory)
reactor.run()
