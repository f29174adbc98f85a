"""A network for slidge with one contact, who says back what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from slidge import BaseGateway, BaseSession, LegacyContact, LegacyRoster


class Gateway(BaseGateway):
    """The component; whoever registers with the password "open" gets in."""

    COMPONENT_NAME = "Echoes"
    COMPONENT_TYPE = "echo"

    async def validate(self, user_jid: Any, registration_form: dict[str, str | None]) -> None:
        """Judge a registration."""
        if registration_form["password"] != "open":
            raise ValueError("wrong password")


class Session(BaseSession):
    """Somebody on the network."""

    async def login(self) -> str:
        """Nothing has to be done."""
        return "connected"

    async def logout(self) -> None:
        """Nothing has to be undone."""


class Contact(LegacyContact):
    """The one who is there."""

    async def update_info(self) -> None:
        """Name and state, as a real network would have them."""
        self.name, self.is_friend = "Echo", True
        self.online("listening")

    async def on_message(self, message: Any) -> None:
        """Say it back; "app:" stands for what the user writes in the network's own program."""
        heard = message.body
        if heard.startswith("app:"):
            self.send_text(heard.removeprefix("app:"), carbon=True)
        else:
            self.send_text(heard)


class Roster(LegacyRoster):
    """Who is on the network."""

    async def fill(self) -> AsyncIterator[Any]:
        """One contact; it says itself that it belongs into the roster, which 0.4.2 forgets."""
        contact = await self.by_legacy_id("echo")
        await contact.add_to_roster()
        yield contact
