"""External components: addresses that are served through a stream (XEP-0114).

`ComponentPort` owns the address, whether its component is connected or not; `ComponentLink` is the connected component,
what a session is for a client. A component speaks for every address of its domain, and for no other.

With rights over accounts (`xmppservice.hub.rights`) it does more than that: the modules of the host that one of its
stanzas goes to see it first, and what they let it say in an account's name goes the way of that account's own stanzas.

What the server promises: a message that was acknowledged to its sender is in the kernel's hands, on its way to the
component. What is not when the stream breaks goes back to its sender as an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from xmppservice.hub import hooks
from xmppservice.hub.account import stanzaBytes
from xmppservice.hub.contracts.delivery import IPort
from xmppservice.hub.contracts.stream import ISession
from xmppservice.hub.origin import Origin
from xmppservice.hub.rights import NOTHING, Rights
from xmppservice.hub.telemetry import Traffic
from xmppservice.hub.transit import Transit
from xmppservice.hub.unflushed import Unflushed
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.stanza import STANZAS, checkIQ, errorFor, messageType, presenceType
from xmppservice.wire import ns
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.host import VirtualHost
    from xmppservice.wire.element import Element

_TYPES: dict[str, Callable[[Element], str]] = {"message": messageType, "presence": presenceType}


@implementer(IPort)
class ComponentPort:
    """The address of a component. `home` is the virtual host that looks at what the component sends."""

    def __init__(self, name: str, home: Callable[[], VirtualHost]) -> None:
        self.name = name
        self.home = home
        self.link: ComponentLink | None = None
        #: Stanzas from and to all components that have been connected here.
        self.traffic = Traffic()
        self.rights = NOTHING

    @property
    def accepting(self) -> bool:
        """Whether the component is connected; if not the router bounces, with an error that says to try again."""
        return self.link is not None

    def join(self, stream: IStream) -> ComponentLink:
        """Connect the component; raises `StreamError` if there is one already (XEP-0114 section 3, hardening V11)."""
        if self.link is not None:
            raise StreamError("conflict", "this component is connected already")
        self.link = ComponentLink(self, stream)
        return self.link

    def deliver(self, transit: Transit) -> None:
        """`IPort.deliver`: whatever it is, it is the component's."""
        assert self.link is not None
        self.link.deliver(transit)

    def grant(self, rights: Rights, hosts: Iterable[VirtualHost] = ()) -> None:
        """From now on these are its rights; `hosts` are told."""
        former, self.rights = self.rights, rights
        if rights != former:
            for host in hosts:
                host.fire(hooks.component.changed, self, former)

    def opened(self) -> None:
        """The component can be written to: tell the hosts that it has rights over."""
        if self.rights.hosts:
            hosts = self.home().router.hosts
            for host in [hosts[name] for name in sorted(self.rights.hosts) if name in hosts]:
                host.fire(hooks.component.connected, self)

    def stop(self, error: StreamError) -> None:
        """The address is given up: end the stream."""
        link, self.link = self.link, None
        if link is not None and link.stream is not None:
            link.stream.fail(error)
            link.end()


def portsOver(host: VirtualHost, here: bool = True) -> list[ComponentPort]:
    """The components with rights over accounts of a host or, with `here` false, of any host."""
    ports = [port for port in host.router.destinations.values() if isinstance(port, ComponentPort)]
    return [port for port in ports if (host.name in port.rights.hosts if here else port.rights.hosts)]


@implementer(ISession)
class ComponentLink(Origin):
    """A connected component."""

    __slots__ = ("_unsent", "jid", "port", "since")

    def __init__(self, port: ComponentPort, stream: IStream) -> None:
        home = port.home()
        super().__init__(stream, home.store)
        self.jid = JID.of("", port.name)
        self.since = home.clock.now()
        self.port = port
        #: Messages that are not in the kernel yet, with what their senders are told if they never get there.
        self._unsent: Unflushed[Transit] = Unflushed(stream, Transit.finish)

    # -- from the component ----------------------------------------------------------------------

    def receive(self, element: Element) -> None:
        """`ISession.receive`. Raises `StreamError` for what no component may send."""
        if element.ns != ns.CLIENT or element.name not in STANZAS:
            raise StreamError("unsupported-stanza-type")
        sender = self._senderOf(element)
        try:
            transit = self._transit(element, sender)
        except StanzaError as error:
            self._refuse(element, error)
            return
        self._take(transit)

    def _senderOf(self, element: Element) -> JID:
        """Every stanza has both addresses, and comes from the component's domain (XEP-0114 section 3)."""
        claimed = element.attrs.get("from")
        if claimed is None or "to" not in element.attrs:
            raise StreamError("improper-addressing", "stanzas of a component have 'from' and 'to'")
        try:
            sender = JID.parse(claimed)
        except InvalidJID:
            raise StreamError("invalid-from") from None
        if sender.domain != self.port.name:
            raise StreamError("invalid-from", f"a component speaks for {self.port.name} only")
        return sender

    def _transit(self, element: Element, sender: JID) -> Transit:
        kind, attrs = element.name, element.attrs
        home = self.port.home()
        self.port.traffic.received[kind] += 1
        attrs["from"] = sender.full
        try:
            to = JID.parse(attrs["to"])
        except InvalidJID:
            raise StanzaError("jid-malformed", text=f"The 'to' address is not valid: {attrs['to'][:100]!a}") from None
        attrs["to"] = to.full
        if kind == "iq":
            checkIQ(element)
            type = attrs["type"]
        else:
            type = _TYPES[kind](element)
        return Transit(element, kind, type, sender, to, self, home)

    def _dispatch(self, transit: Transit) -> None:
        router = transit.host.router
        try:
            if transit.account is not None:
                transit.account.send(transit)
                return
            host = router.hosts.get(transit.to.domain)
            if host is None or not host.fromComponent(transit):
                router.route(transit)
        except Exception:
            self._failed(transit)

    def rightsOver(self, host: str) -> Rights:
        """What the component may do with the accounts of a host."""
        rights = self.port.rights
        return rights if host in rights.hosts else NOTHING

    def speak(self, account: Account, transit: Transit) -> None:
        """Send a stanza in the name of a local account (XEP-0356), behind what waits of the same pair.

        Raises `StanzaError` if it is refused at once.
        """
        transit.account = account
        if self._waiting and (key := (transit.sender.bare, transit.to.bare)) in self._waiting:
            transit.park()
            self._waiting.join(key, lambda: self._follow(transit))
        else:
            account.send(transit)

    def _refuse(self, element: Element, error: StanzaError) -> None:
        """Answer a stanza that is too broken to travel, in the addressee's name if that is one."""
        home = self.port.home()
        if error.condition == "jid-malformed":
            element.attrs["to"] = home.name
        reply = errorFor(element, error)
        if reply is not None:
            home.traffic.refused(error.condition)
            self.reply(reply)

    # -- to the component ------------------------------------------------------------------------

    def reply(self, stanza: Element) -> None:
        """See `Origin.reply`; what was said in an account's name is answered to that account."""
        if JID.parse(stanza.attrs["to"]).domain == self.port.name:
            self._send(serialize(stanza))
        else:
            self.port.home().send(stanza)

    def deliver(self, transit: Transit) -> None:
        """Send a stanza to the component; a message is settled when the kernel has it."""
        self._send(stanzaBytes(transit))
        if transit.kind == "message" and self.stream is not None:
            transit.park()
            self._unsent.sent(transit)

    def _send(self, data: bytes) -> None:
        self.port.traffic.sent[data[1]] += 1
        if self.stream is not None:
            self.stream.send(data)

    # -- the end ---------------------------------------------------------------------------------

    def streamLost(self) -> None:
        """`ISession.streamLost`."""
        self.end()

    def streamClosed(self) -> None:
        """`ISession.streamClosed`."""
        self.end()

    def end(self) -> None:
        """The component has gone; messages that it did not get go back."""
        if self.ended:
            return
        self.ended = True
        self.stream = None
        if self.port.link is self:
            self.port.link = None
        for transit in self._unsent.takeBack():
            transit.host.bounce(transit, StanzaError("service-unavailable", type="wait"))
            transit.finish()
