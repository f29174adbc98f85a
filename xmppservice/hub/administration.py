"""The commands that every server has, over `IAdministration`."""

from __future__ import annotations

from datetime import UTC, datetime

from xmppservice.hub.commands import ROLES, Argument, Call, CommandError, Result, Secret, Table, command
from xmppservice.hub.contracts.administration import IAdministration
from xmppservice.protocol.jid import JID, InvalidJID

_JID = Argument("jid", "Account, as user@domain.", "account")
_HOST = Argument("host", "Only of this virtual host.", "domain", required=False)
_PASSWORD = Secret("password", "Password of the account.")


class AdministrationCommands:
    """Accounts, sessions, state and database as commands; add an instance to the catalogue."""

    def __init__(self, administration: IAdministration) -> None:
        self._administration = administration

    @command(
        "user add",
        "Make an account.",
        (_JID, _PASSWORD, Argument("role", "Role.", "choice", False, "user", ROLES, named=True)),
        offline=True,
    )
    async def addUser(self, call: Call, jid: JID, password: str, role: str) -> str:
        """Make an account."""
        await self._administration.createAccount(jid, password, role)
        return f"The account {jid.bare} is ready."

    @command("user passwd", "Give an account a new password.", (_JID, _PASSWORD), offline=True)
    async def changePassword(self, call: Call, jid: JID, password: str) -> str:
        """Replace a password."""
        await self._administration.setPassword(jid, password)
        return f"The password of {jid.bare} is changed."

    @command("user list", "List the accounts.", (_HOST,), offline=True, changes=False)
    async def listUsers(self, call: Call, host: str | None) -> Result:
        """List accounts with role and state."""
        lines = await self._administration.accounts(host)
        rows = [(line.jid, line.role, "enabled" if line.enabled else "disabled", _date(line.created)) for line in lines]
        return Result(columns=("account", "role", "state", "created"), rows=rows)

    @command("user enable", "Let an account log in again.", (_JID,), offline=True)
    async def enableUser(self, call: Call, jid: JID) -> str:
        """Allow logins."""
        await self._administration.setEnabled(jid, True)
        return f"{jid.bare} may log in."

    @command("user disable", "Close an account's streams and refuse its logins; nothing is deleted.", (_JID,), True)
    async def disableUser(self, call: Call, jid: JID) -> str:
        """Forbid logins."""
        await self._administration.setEnabled(jid, False)
        return f"{jid.bare} may not log in any more."

    @command("user delete", "Delete an account and everything it owns.", (_JID,), offline=True)
    async def deleteUser(self, call: Call, jid: JID) -> str:
        """Remove an account."""
        await self._administration.deleteAccount(jid)
        return f"{jid.bare} is deleted."

    @command(
        "user role", "Give an account a role.", (_JID, Argument("role", "Role.", "choice", choices=ROLES)), offline=True
    )
    async def setRole(self, call: Call, jid: JID, role: str) -> str:
        """Set a role."""
        await self._administration.setRole(jid, role)
        return f"{jid.bare} has the role {role}."

    @command(
        "user import",
        "Make many accounts.",
        (Table("accounts", "File with lines: jid, a tab, password.", ("jid", "password")),),
        offline=True,
    )
    async def importUsers(self, call: Call, accounts: list[tuple[str, str]]) -> Result:
        """Make many accounts; a wrong address refuses all of them before anything is written."""
        parsed = [(_account(jid), password) for jid, password in accounts]
        refused = await self._administration.importAccounts(parsed, call.progress)
        text = f"{len(parsed) - len(refused)} accounts made."
        return Result(text, ("account", "not made because"), [tuple(line) for line in refused], bool(refused))

    @command("sessions", "List the sessions of the running server.", (_HOST,), changes=False)
    async def listSessions(self, call: Call, host: str | None) -> Result:
        """List bound sessions."""
        lines = await self._administration.sessions(host)
        rows = [
            (line.jid, line.address, "TLS" if line.secure else "plain", _date(line.since), line.state)
            for line in lines
        ]
        return Result(columns=("session", "from", "transport", "since", "state"), rows=rows)

    @command("kick", "Close the sessions of an account, or one by its full address.", (Argument("jid", "Who.", "jid"),))
    async def kick(self, call: Call, jid: JID) -> str:
        """Close sessions."""
        count = await self._administration.kick(jid)
        if not count:
            raise CommandError(f"{jid} has no session", "`sessions` lists all")
        return f"{count} session{'s' if count != 1 else ''} closed."

    @command("status", "Show how the running server does.", changes=False)
    async def status(self, call: Call) -> Result:
        """Figures of the server."""
        return Result(columns=("what", "value"), rows=await self._administration.status())

    @command("reload", "Read configuration and certificates again.")
    async def reload(self, call: Call) -> str:
        """Reload; a wrong configuration is refused and the old one kept."""
        lines = await self._administration.reload()
        return "\n".join(lines) or "Nothing has changed."

    @command("db status", "Show the versions of the database's parts.", offline=True, changes=False)
    async def databaseStatus(self, call: Call) -> Result:
        """Versions of the schema, part by part."""
        lines = await self._administration.databaseStatus()
        rows = [(line.part, line.version, line.wanted, _state(line.version, line.wanted)) for line in lines]
        return Result(columns=("part", "version", "wanted", "state"), rows=rows)

    @command("db upgrade", "Bring the database to the version of this software.", offline=True)
    async def databaseUpgrade(self, call: Call) -> str:
        """Run what upgrade steps are missing."""
        lines = await self._administration.databaseUpgrade(call.progress)
        return "\n".join(lines) or "The database is up to date."


def _account(text: str) -> JID:
    try:
        jid = JID.parse(text)
    except InvalidJID as error:
        raise CommandError(f"{text!r} is no address: {error}", "nothing was imported") from None
    if not jid.local or jid.resource:
        raise CommandError(f"{text!r} is no account: write user@domain", "nothing was imported")
    return jid


def _state(version: int, wanted: int) -> str:
    if version == wanted:
        return "up to date"
    return "needs an upgrade" if version < wanted else "newer than this software"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""
