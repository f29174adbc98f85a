"""Requests of the server's own: matched by id and address, with a time-out (I05)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.hub import requests
from xmppservice.protocol.errors import StanzaError
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element


class RequestTests(SynchronousTestCase):
    """The host asks Bob's client."""

    def setUp(self) -> None:
        """Bob is online and sees the host."""
        self.server = MemoryServer()
        self.bob = self.server.client("bob/desk", available=True)
        self.bob.send("<presence to='localhost'/>")
        self.mallory = self.server.client("mallory/desk")

    def ask(self, to: str = "bob@localhost/desk") -> Deferred[Element]:
        """Send a request."""
        iq = Element(ns.CLIENT, "iq", {"type": "get", "from": "localhost", "to": to}, Element(ns.VERSION, "query"))
        return self.server.host.request(iq)

    def test_result(self) -> None:
        """The answer fires the Deferred, once."""
        waiting = self.ask()
        request = self.bob.next("iq")
        for _ in range(2):
            self.bob.send(f"<iq type='result' id='{request.get('id')}' to='localhost'/>")
        self.assertEqual(self.successResultOf(waiting).get("from"), "bob@localhost/desk")
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """An error of the peer is a `StanzaError` with its condition."""
        waiting = self.ask()
        id = self.bob.next("iq").get("id")
        self.bob.send(
            f"<iq type='error' id='{id}' to='localhost'><error type='auth'>"
            "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )
        failure = self.failureResultOf(waiting, StanzaError)
        self.assertEqual((failure.value.condition, failure.value.type), ("forbidden", "auth"))

    def test_spoofed(self) -> None:
        """An answer with the right id from somebody else counts nothing."""
        waiting = self.ask()
        id = self.bob.next("iq").get("id")
        self.mallory.send(f"<iq type='result' id='{id}' to='localhost'/>")
        self.bob.send("<iq type='result' id='wrong' to='localhost'/>")
        self.assertNoResult(waiting)
        self.bob.send(f"<iq type='result' id='{id}' to='localhost'/>")
        self.successResultOf(waiting)

    def test_otherResource(self) -> None:
        """Another resource of the same account is somebody else."""
        waiting = self.ask()
        id = self.bob.next("iq").get("id")
        self.server.client("bob/phone").send(f"<iq type='result' id='{id}' to='localhost'/>")
        self.assertNoResult(waiting)
        self.server.advance(31)
        self.failureResultOf(waiting, StanzaError)

    def test_timeOut(self) -> None:
        """No answer in time; one that comes too late is dropped."""
        waiting = self.ask()
        id = self.bob.next("iq").get("id")
        self.server.advance(30)
        self.assertEqual(self.failureResultOf(waiting, StanzaError).value.condition, "remote-server-timeout")
        self.bob.send(f"<iq type='result' id='{id}' to='localhost'/>")
        self.assertEqual(self.bob.take(), [])

    def test_undeliverable(self) -> None:
        """A request that cannot be delivered fails at once, with the reason."""
        for to, reason in (("x@far.example", "remote-server-not-found"), ("bob@localhost/gone", "service-unavailable")):
            self.assertEqual(self.failureResultOf(self.ask(to), StanzaError).value.condition, reason)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_idsCannotBeGuessed(self) -> None:
        """Every request has an id of its own, long and random."""
        waiting = [self.ask(), self.ask()]
        ids = {self.bob.next("iq").get("id") or "" for _ in range(2)}
        self.assertEqual(len(ids), 2)
        self.assertTrue(all(len(id) >= 16 for id in ids))
        self.server.host.requests.cancelAll()
        for one in waiting:
            self.failureResultOf(one, StanzaError)

    def test_bounded(self) -> None:
        """So many may be open."""
        self.patch(requests, "OPEN_LIMIT", 1)
        first = self.ask()
        failure = self.failureResultOf(self.ask(), StanzaError)
        self.assertEqual(failure.value.condition, "resource-constraint")
        self.server.host.requests.cancelAll()
        self.failureResultOf(first, StanzaError)

    def test_stop(self) -> None:
        """When the host stops nobody waits any more, and no timer is left."""
        waiting = self.ask()
        self.server.host.stop()
        self.failureResultOf(waiting, StanzaError)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_unaskedAnswer(self) -> None:
        """A result that nobody waits for is dropped without an answer."""
        self.bob.send("<iq type='result' id='x' to='localhost'/>")
        self.assertEqual(self.bob.take(), [])
