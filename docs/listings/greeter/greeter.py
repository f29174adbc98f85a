"""Greets every account that is online, once in a while."""

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from xmppservice.wire import ns
from xmppservice.wire.element import Element


class Greeter(Service):
    """Sends a headline to all available sessions of a host every `seconds`.

    `hosts` maps domains to virtual hosts (``server.router.hosts``), `clock` is the reactor.
    """

    name = "greeter"

    def __init__(self, hosts, domain, text, seconds, clock):
        self._hosts = hosts
        self._domain = domain
        self._text = text
        self._loop = LoopingCall(self.greet)
        self._loop.clock = clock
        self._seconds = seconds

    def startService(self):
        """Begin; the first greeting comes after one interval."""
        super().startService()
        self._loop.start(self._seconds, now=False)

    def stopService(self):
        """End."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def greet(self):
        """Greet now."""
        host = self._hosts[self._domain]
        for session in host.sessions():
            if session.available:
                attrs = {"from": host.name, "to": session.jid.full, "type": "headline"}
                message = Element(ns.CLIENT, "message", attrs)
                message.child(ns.CLIENT, "body", text=self._text)
                host.send(message)
