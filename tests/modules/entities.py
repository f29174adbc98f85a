"""A component with rights, and what tests of them share (XEP-0355, XEP-0356)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xmppservice.hub.component import ComponentPort
from xmppservice.hub.rights import Rights
from xmppservice.testing.client import MemoryStream
from xmppservice.testing.server import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import parseDocument

DOMAIN = "gateway.localhost"
MODULES = ("roster", "offline", "blocking", "disco", "caps", "ping", "privilege", "delegation", "private_xml")


def parse(text: str) -> Element:
    """A stanza as the parser gives it."""
    return parseDocument(f"<x xmlns='jabber:client'>{text}</x>".encode()).elements()[0]


def rights(*hosts: str, **granted: Any) -> Rights:
    """Rights over some hosts, by default the first."""
    return Rights(frozenset(hosts or ("localhost",)), **granted)


class Entity:
    """A component in the test."""

    def __init__(self, server: MemoryServer, name: str = DOMAIN) -> None:
        self.server = server
        self.name = name
        self.port = ComponentPort(name, lambda: server.host)
        server.router.destinations[name] = self.port

    def grant(self, *hosts: str, **granted: Any) -> list[Element]:
        """Give it rights; returns what it is told if it is connected."""
        self.port.grant(rights(*hosts, **granted), self.server.hosts.values())
        return self.heard() if self.port.accepting else []

    def connect(self) -> list[Element]:
        """Connect; returns what it is told at once."""
        self.stream = MemoryStream()
        self.link = self.port.join(self.stream)
        self.port.opened()
        return self.heard()

    def say(self, text: str) -> list[Element]:
        """Send one stanza; returns what has come since last time."""
        self.link.receive(parse(text))
        return self.heard()

    def ask(self, type: str, to: str, payload: str, **attrs: str) -> Element:
        """Send an IQ; returns its answer and drops what else has come."""
        sender = attrs.pop("sender", self.name)
        answers = self.say(f"<iq from='{sender}' to='{to}' type='{type}' id='q'>{payload}</iq>")
        [answer] = [each for each in answers if each.name == "iq" and each.get("id") == "q"]
        return answer

    def heard(self) -> list[Element]:
        """What has come since last time."""
        stanzas = list(self.stream.received)
        self.stream.received.clear()
        return stanzas


def condition(stanza: Element) -> str:
    """The condition of an error stanza, "" for another."""
    error = stanza.find(ns.CLIENT, "error")
    return "" if error is None else error.elements()[0].name


def shape(element: Element) -> tuple[Any, ...]:
    """Name, attributes and children as plain data, for comparisons that read well."""
    attrs: Mapping[str, str] = element.attrs
    return (element.name, dict(attrs), [shape(child) for child in element.elements()])
