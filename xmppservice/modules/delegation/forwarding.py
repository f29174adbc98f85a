"""Requests on their way to a managing entity and back (XEP-0355 section 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.component import ComponentLink, ComponentPort
from xmppservice.hub.contracts.delivery import IDelegation
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit

log = Logger()


class BadAnswer(Exception):
    """What a managing entity has answered fits no request of ours; the text says why."""


@implementer(IDelegation)
class Delegated:
    """One namespace of a host that a component answers for, if a request has all of `attributes`."""

    def __init__(self, host: VirtualHost, port: ComponentPort, namespace: str, attributes: Sequence[str]) -> None:
        self._host = host
        self.port = port
        self.namespace = namespace
        self.attributes = tuple(attributes)

    def take(self, transit: Transit) -> bool:
        """`IDelegation.take`: forward the request, unless it is the component's own (section 4.3.1)."""
        origin, payload = transit.origin, transit.payload
        if isinstance(origin, ComponentLink) and origin.port is self.port:
            return False
        if payload is None or any(name not in payload.attrs for name in self.attributes):
            return False
        if not self.port.accepting:
            raise StanzaError("service-unavailable")
        self._forward(transit)
        return True

    def _forward(self, transit: Transit) -> None:
        """Ask the component; what else the same client asks does not wait for it (section 9)."""
        host = self._host
        forwarded = Element(ns.FORWARD, "forwarded", None, transit.stanza)
        delegation = Element(ns.DELEGATION, "delegation", None, forwarded)
        request = Element(ns.CLIENT, "iq", {"from": host.name, "to": self.port.name, "type": "set"}, delegation)

        def refused(failure: Any) -> None:
            # Whatever went wrong, the client learns no more than this (section 4.3, N.B. 1 and 2).
            if failure.check(BadAnswer):
                log.warn(
                    "component {name} has given a bad answer for {space}: {why}",
                    name=self.port.name, space=self.namespace, why=str(failure.value),
                )  # fmt: skip
            elif not failure.check(StanzaError):
                log.failure("the answer of component {name} cannot be used", failure, name=self.port.name)
            host.bounce(transit, StanzaError("service-unavailable"))

        answer = host.request(request)
        answer.addCallback(lambda iq: host.reply(transit, transit.result(opened(iq, transit))))
        answer.addErrback(refused)


def opened(answer: Element, transit: Transit) -> Element | None:
    """The payload of the result inside an answer; raises `BadAnswer` for one that fits the request not exactly."""
    iq = answer
    for space, name in ((ns.DELEGATION, "delegation"), (ns.FORWARD, "forwarded"), (ns.CLIENT, "iq")):
        inner = iq.find(space, name)
        if inner is None:
            raise BadAnswer(f"there is no <{name}/>")
        iq = inner
    attrs = iq.attrs
    if attrs.get("type") != "result":
        raise BadAnswer("the type of the inner IQ is not result")
    if attrs.get("id") != transit.stanza.attrs["id"]:
        raise BadAnswer("the id of the inner IQ is not that of the request")
    if _address(attrs.get("to", "")) != transit.sender:
        raise BadAnswer("the inner 'to' is not who has asked")
    if "from" in attrs and _address(attrs["from"]) != transit.to:
        # The examples leave it out; what we send on has ours in any case.
        raise BadAnswer("the inner 'from' is not who was asked")
    children = iq.elements()
    if len(children) > 1:
        raise BadAnswer("the inner IQ has more than one child")
    return children[0] if children else None


def _address(text: str) -> JID | None:
    try:
        return JID.parse(text)
    except InvalidJID:
        return None
