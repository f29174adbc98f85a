"""A client on slixmpp."""

from __future__ import annotations

import asyncio
from typing import Any

import slixmpp
from lines import Login, commandLines, obey, readLogin, tell


class Client(slixmpp.ClientXMPP):
    """Tells what comes in; leaves subscription requests to the test."""

    def __init__(self, login: Login) -> None:
        super().__init__(login.jid, login.password)
        self.auto_authorize = None
        self.auto_subscribe = False
        self.ca_certs = login.ca
        self.enable_direct_tls = login.direct
        self.enable_starttls = not login.direct
        self.login = login
        self.leaving = self.dropped = False
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        for plugin in ("xep_0030", "xep_0045", "xep_0050", "xep_0077", "xep_0199", "xep_0203", "xep_0198"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("session_resumed", self.onResumed)
        self.add_event_handler("message", self.onMessage)
        self.add_event_handler("message_error", self.onBounce)
        self.add_event_handler("presence", self.onPresence)
        for event in ("failed_all_auth", "ssl_invalid_chain", "connection_failed", "disconnected"):
            self.add_event_handler(event, lambda reason, event=event: self.end(f"{event}: {reason}"))

    def end(self, reason: str) -> None:
        """Remembers why the connection ended, or comes back if it was cut on purpose."""
        if self.dropped:
            self.dropped = False
            self.connect(self.login.host, self.login.port)
        elif not self.ended.done():
            self.ended.set_result(reason)

    async def begin(self, event: Any) -> None:
        """Fetches the roster, then becomes available (RFC 6121 section 2.2)."""
        await self.get_roster()
        self.send_presence()
        tell("online", jid=str(self.boundjid))

    def onResumed(self, event: Any) -> None:
        """Tells that the old stream goes on (XEP-0198)."""
        tell("resumed")

    def onMessage(self, message: Any) -> None:
        """Tells of a message, and whether it was kept for us."""
        delayed = message.xml.find("{urn:xmpp:delay}delay") is not None
        fields = {"from": str(message["from"]), "type": message["type"], "body": message["body"]}
        tell("message", **fields, delayed=delayed)

    def onBounce(self, message: Any) -> None:
        """Tells of a message that came back."""
        error = message["error"]
        tell("bounce", **{"from": str(message["from"]), "type": error["type"], "condition": error["condition"]})

    def onPresence(self, presence: Any) -> None:
        """Tells of presence and of everything about subscriptions."""
        kind = presence.xml.get("type") or "available"
        tell("presence", **{"from": str(presence["from"]), "type": kind})

    async def subscribe(self, to: str) -> None:
        """Asks for a contact's presence."""
        self.send_presence(pto=to, ptype="subscribe")

    async def approve(self, to: str) -> None:
        """Grants a contact our presence."""
        self.send_presence(pto=to, ptype="subscribed")

    async def chat(self, to: str, body: str) -> None:
        """Sends a chat message."""
        self.send_message(mto=to, mbody=body, mtype="chat")

    async def showRoster(self) -> None:
        """Fetches the roster anew and tells it."""
        request = self.make_iq_get()
        request.enable("roster")
        answer = await request.send()
        items = answer["roster"]["items"]
        tell("roster", items={str(jid): item["subscription"] for jid, item in items.items()})

    async def askPing(self, to: str) -> None:
        """Asks an address for a sign of life (XEP-0199)."""
        answer = await self.plugin["xep_0199"].send_ping(to)
        tell("pong", **{"from": str(answer["from"])})

    async def discover(self, to: str) -> None:
        """Asks what an address is (XEP-0030)."""
        answer = await self.plugin["xep_0030"].get_info(to)
        info = answer["disco_info"]
        tell("features", identities=[each[:2] for each in info["identities"]], features=list(info["features"]))

    async def command(self, to: str, node: str, **fields: str) -> None:
        """Fills in the form of an ad-hoc command (XEP-0050): these fields, the others as they are offered."""
        commands = self.plugin["xep_0050"]
        offered = (await commands.send_command(to, node))["command"]
        form = offered["form"]
        form["type"] = "submit"
        form.set_values({**form.get_values(), **fields})
        answer = await commands.send_command(
            to, node, action="complete", sessionid=offered["sessionid"], payload=[form]
        )
        tell("commanded", status=answer["command"]["status"])

    async def register(self, to: str, **fields: str) -> None:
        """Fills in the form of a service that wants to know its users (XEP-0077)."""
        request = self.make_iq_set(ito=to)
        request["register"]["username"] = fields["username"]
        request["register"]["password"] = fields["password"]
        try:
            await request.send()
        except slixmpp.exceptions.IqError as error:
            tell("registered", condition=error.condition)
        else:
            tell("registered", condition="")

    async def join(self, room: str, nick: str) -> None:
        """Enters a room (XEP-0045), and tells who is in it."""
        rooms = self.plugin["xep_0045"]
        await rooms.join_muc_wait(room, nick, timeout=60)
        tell("joined", occupants=rooms.get_roster(room))

    async def say(self, room: str, body: str) -> None:
        """Sends a message to a room."""
        self.send_message(mto=room, mbody=body, mtype="groupchat")

    async def leave(self, room: str, nick: str) -> None:
        """Leaves a room."""
        self.plugin["xep_0045"].leave_muc(room, nick)

    async def askAcknowledgement(self) -> None:
        """Waits until the server has acknowledged all that was sent (XEP-0198)."""
        management = self.plugin["xep_0198"]
        # The library's own `request_ack` overtakes stanzas that wait in its queue, and is not answered for them.
        self.send("<r xmlns='urn:xmpp:sm:3'/>")
        while management.unacked_queue or not self.waiting_queue.empty():
            await asyncio.sleep(0.02)
        tell("acknowledged")

    async def drop(self) -> None:
        """Cuts the connection without a word, as a lost network does."""
        self.dropped = True
        self.transport.abort()

    async def logout(self) -> None:
        """Says goodbye and closes the stream."""
        self.leaving = True
        self.send_presence(ptype="unavailable")
        await self.disconnect(wait=5)


async def main() -> None:
    """Logs in and does as told until the connection ends."""
    reader = await commandLines()
    login = await readLogin(reader)
    client = Client(login)
    client.connect(login.host, login.port)
    work = asyncio.ensure_future(obey(reader, client))
    await asyncio.wait((work, client.ended), return_when=asyncio.FIRST_COMPLETED)
    if not work.done() and not client.leaving:
        tell("ended", reason=client.ended.result())
        return
    await work
    tell("offline")


asyncio.run(main())
