"""A client on aioxmpp, which judges what the server sends strictly."""

from __future__ import annotations

import asyncio
import socket
import warnings
from typing import Any

warnings.simplefilter("ignore")

import aioxmpp  # noqa: E402
import aioxmpp.connector  # noqa: E402
import aioxmpp.dispatcher  # noqa: E402
import aioxmpp.security_layer  # noqa: E402
from lines import Login, commandLines, obey, readLogin, tell  # noqa: E402


class Verifier(aioxmpp.security_layer.PKIXCertificateVerifier):
    """Trusts one certificate authority and no other; the name check stays."""

    def __init__(self, ca: str) -> None:
        super().__init__()
        self.ca = ca

    def setup_context(self, ctx: Any, transport: Any) -> None:
        """Loads the authority instead of the system's."""
        aioxmpp.security_layer.CertificateVerifier.setup_context(self, ctx, transport)
        ctx.load_verify_locations(self.ca)


class Client:
    """Tells what comes in; leaves subscription requests to the test."""

    def __init__(self, login: Login) -> None:
        connectors = aioxmpp.connector
        connector = connectors.XMPPOverTLSConnector() if login.direct else connectors.STARTTLSConnector()
        layer = aioxmpp.make_security_layer(login.password)
        layer = layer._replace(certificate_verifier_factory=lambda: Verifier(login.ca), tls_required=True)
        self.client = aioxmpp.PresenceManagedClient(
            aioxmpp.JID.fromstr(login.jid),
            layer,
            override_peer=[(login.host, login.port, connector)],
            max_initial_attempts=1,
        )
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stopped = asyncio.Event()
        self.rosterClient = self.client.summon(aioxmpp.RosterClient)
        self.presences = self.client.summon(aioxmpp.PresenceClient)
        self.client.on_failure.connect(lambda error: self.end(repr(error)))
        self.client.on_stopped.connect(self.end)
        self.client.on_stream_established.connect(lambda: tell("online", jid=str(self.client.local_jid)))
        self.client.on_stream_resumed.connect(lambda: tell("resumed"))
        self.watch()

    def end(self, reason: str = "stopped") -> None:
        """Remembers why the connection ended."""
        self.stopped.set()
        if not self.ended.done():
            self.ended.set_result(reason)

    def watch(self) -> None:
        """Asks for everything that the tests look at."""
        kinds = aioxmpp.MessageType
        messages = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        for kind in (kinds.CHAT, kinds.NORMAL):
            messages.register_callback(kind, None, self.onMessage)
        self.presences.on_available.connect(lambda jid, stanza: self.onPresence(stanza))
        self.presences.on_unavailable.connect(lambda jid, stanza: self.onPresence(stanza))
        for name in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            getattr(self.rosterClient, f"on_{name}").connect(self.onPresence)

    def onMessage(self, message: Any) -> None:
        """Tells of a message, and whether it was kept for us."""
        delayed = bool(message.xep0203_delay)
        tell("message", **{"from": str(message.from_), "body": message.body.any(), "delayed": delayed})

    def onPresence(self, presence: Any) -> None:
        """Tells of presence and of everything about subscriptions."""
        tell("presence", **{"from": str(presence.from_), "type": presence.type_.value or "available"})

    async def subscribe(self, to: str) -> None:
        """Asks for a contact's presence."""
        self.rosterClient.subscribe(aioxmpp.JID.fromstr(to))

    async def approve(self, to: str) -> None:
        """Grants a contact our presence."""
        self.rosterClient.approve(aioxmpp.JID.fromstr(to))

    async def chat(self, to: str, body: str) -> None:
        """Sends a chat message; with XEP-0198 this returns when the server has acknowledged it."""
        message = aioxmpp.Message(to=aioxmpp.JID.fromstr(to), type_=aioxmpp.MessageType.CHAT)
        message.body[None] = body
        await self.client.send(message)

    async def showRoster(self) -> None:
        """Tells the roster as the library keeps it from the result and the pushes."""
        items = self.rosterClient.items
        tell("roster", items={str(jid): item.subscription for jid, item in items.items()})

    async def askPing(self, to: str) -> None:
        """Asks an address for a sign of life (XEP-0199)."""
        await aioxmpp.ping.ping(self.client, aioxmpp.JID.fromstr(to))
        tell("pong", **{"from": to})

    async def drop(self) -> None:
        """Cuts the connection without a word, as a lost network does; the library comes back by itself."""
        connection = self.client.stream._xmlstream.transport.get_extra_info("socket")
        connection.shutdown(socket.SHUT_RDWR)

    async def logout(self) -> None:
        """Says goodbye and closes the stream."""
        self.client.presence = aioxmpp.PresenceState(available=False)
        self.client.stop()
        await asyncio.wait_for(self.stopped.wait(), 10)


async def main() -> None:
    """Logs in and does as told until the connection ends."""
    reader = await commandLines()
    client = Client(await readLogin(reader))
    client.client.presence = aioxmpp.PresenceState(available=True)
    work = asyncio.ensure_future(obey(reader, client))
    await asyncio.wait((work, client.ended), return_when=asyncio.FIRST_COMPLETED)
    if not work.done() and client.ended.result() != "stopped":
        tell("ended", reason=client.ended.result())
        return
    await work
    tell("offline")


asyncio.run(main())
