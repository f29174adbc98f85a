"""Logs in with slixmpp, told how on the command line, and prints what it has used; a program of its own."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

import slixmpp


class Client(slixmpp.ClientXMPP):
    """Prints mechanism, TLS version and JID once there is a session."""

    def __init__(self, login: dict[str, Any]) -> None:
        super().__init__(login["jid"], login["password"], sasl_mech=login["mechanism"])
        self.ca_certs = login["ca"]
        self.enable_direct_tls = login["direct"]
        self.enable_starttls = not login["direct"]
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if login["tls12"]:
            self.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        if login["certificate"]:
            self.certfile, self.keyfile = login["certificate"], login["key"]
        self.add_event_handler("session_start", self.begin)
        for event in ("failed_all_auth", "connection_failed", "disconnected"):
            self.add_event_handler(event, lambda reason, event=event: self.finish(f"{event}: {reason}"))

    def begin(self, event: Any) -> None:
        """We are in."""
        self.finish(str(self.boundjid))

    def finish(self, what: str) -> None:
        """The first that happens is what the test wants to know."""
        if not self.ended.done():
            self.ended.set_result(what)


async def main(login: dict[str, Any]) -> None:
    """One login."""
    client = Client(login)
    client.connect(login["host"], login["port"])
    ended = await asyncio.wait_for(client.ended, 20)
    mechanism = getattr(client["feature_mechanisms"].mech, "name", None)
    print(json.dumps({"ended": ended, "mechanism": mechanism}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
