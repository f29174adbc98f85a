"""In-band registration (XEP-0077): new accounts, other passwords, and the end of accounts.

New accounts can be made only where the configuration says so; changing the own password and
removing the own account are allowed unless it says otherwise. Whoever asks is judged by the
stream, never by what the request says: a name in it may only repeat what is known.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from xmppservice.hub.commands import CommandError
from xmppservice.hub.hooks import ACCOUNT, HANDLED, HOST, iq, stream
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import Duration, option
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID, prepareLocal
from xmppservice.protocol.networks import networkOf
from xmppservice.protocol.payloads.forms import Form
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.session import Session

log = Logger()

#: Names that people would take for the operators' (RFC 2142 and custom).
RESERVED = (
    "abuse", "admin", "administrator", "hostmaster", "noc", "operator", "postmaster", "root", "security", "support",
    "webmaster", "xmpp",
)  # fmt: skip
#: Bytes of the longest password (RFC 8265 sets no bound; a resourcepart, RFC 7622, has this one).
PASSWORD_LIMIT = 1023
#: How many addresses and accounts are remembered at the same time for the rate limit.
TRACKED = 10_000


class Quota:
    """At most `count` tries in `period` seconds for each key; the longest unused keys are forgotten first."""

    def __init__(self, count: int, period: float) -> None:
        self._count = count
        self._period = period
        self._tries: OrderedDict[bytes, deque[float]] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        """Count a try; False if it is one too many. A count of 0 allows everything."""
        if not self._count:
            return True
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        tries = self._tries.setdefault(digest, deque())
        self._tries.move_to_end(digest)
        if len(self._tries) > TRACKED:
            self._tries.popitem(last=False)
        while tries and tries[0] <= now - self._period:
            tries.popleft()
        if len(tries) >= self._count:
            return False
        tries.append(now)
        return True


class Register(HostModule):
    """Lets clients make accounts, if that is open, and change and remove their own."""

    name = "register"
    xeps = (XEP(77, "2.4"),)
    features = (ns.REGISTER,)
    namespaces = (ns.REGISTER, ns.REGISTER_FEATURE)

    @attrs.frozen
    class Options:
        """What is allowed, and how often."""

        open: bool = option(False, "Whether anybody may make an account.")
        url: str = option("", "Web page where accounts are made, told to clients while registration is closed.")
        passwordChange: bool = option(True, "Whether users may change their password.")
        removal: bool = option(True, "Whether users may remove their account.")
        secureOnly: bool = option(True, "Whether all of this needs TLS.")
        attempts: int = option(
            5, "Tries to make an account that one network address has in a period; 0 for any number.", range=(0, 10_000)
        )
        changes: int = option(
            10, "Tries to change or remove an account that its owner has in a period; 0 for any number.",
            range=(0, 10_000),
        )
        period: Duration = option(3600.0, "The period for both.", range=(1, 7 * 86400))
        passwordLength: int = option(8, "The least number of characters of a password.", range=(1, 128))
        reserved: tuple[str, ...] = option(RESERVED, "Names that nobody can register.", range=(0, 10_000))

    def attached(self) -> None:
        """Nobody has tried yet."""
        options = self.options
        self._attempts = Quota(options.attempts, options.period)
        self._changes = Quota(options.changes, options.period)
        self._reserved = frozenset(prepareLocal(name) for name in options.reserved)

    # -- new accounts ----------------------------------------------------------------------------

    @stream.features("auth")
    def feature(self, stream: IStream) -> Element | None:
        """The stream feature (section 8), where a request would be granted."""
        if self.options.open and self._isSafe(stream):
            return Element(ns.REGISTER_FEATURE, "register")
        return None

    @stream.preAuth(ns.REGISTER)
    def onStranger(self, iq: Element, stream: IStream) -> Any:
        """A request on a stream that nobody has authenticated on (section 3.1.1)."""
        query = iq.elements()[0]
        if query.name != "query":
            raise StanzaError("service-unavailable")
        if iq.get("type") == "get":
            return self._fields(stream)
        if iq.get("type") != "set":
            raise StanzaError("bad-request")
        return self._create(query, stream)

    def _fields(self, stream: IStream) -> Element:
        """What a new account needs (section 3.1), or where it is made (section 5)."""
        if self.options.open and self._isSafe(stream):
            return _fieldsAndForm(self.options.passwordLength)
        if not self.options.url:
            raise StanzaError("service-unavailable")
        query = Element(ns.REGISTER, "query")
        query.child(ns.REGISTER, "instructions", None, f"To register, visit {self.options.url}")
        query.child(ns.OOB, "x").child(ns.OOB, "url", None, self.options.url)
        return query

    async def _create(self, query: Element, stream: IStream) -> None:
        if not self.options.open:
            raise StanzaError("not-allowed", text="Registration is closed.")
        self._checkSafe(stream)
        if query.find(ns.REGISTER, "remove") is not None:
            raise StanzaError("unexpected-request", text="Log in first.")
        network, now = networkOf(stream.peer), self.host.clock.seconds()
        if self.host.limited and not self._attempts.take(network, now):
            raise StanzaError("resource-constraint", text="Too many registrations from your network.")
        answers = _answers(query)
        local = self._newName(answers.get("username", ""))
        password = self._newPassword(answers.get("password", ""))
        if await self.host.account(local) is not None:
            raise StanzaError("conflict", text="That name is taken.")
        try:
            await self.host.administration.createAccount(JID.of(local, self.host.name), password, "user")
        except CommandError as error:
            # Somebody was faster, or the password has characters that none may have.
            taken = await self.host.account(local) is not None
            raise StanzaError("conflict" if taken else "not-acceptable", text=error.problem) from None

    def _newName(self, name: str) -> str:
        if not name:
            raise StanzaError("not-acceptable", text="A username is needed.")
        try:
            local = prepareLocal(name)
        except InvalidJID:
            raise StanzaError("not-acceptable", text="That username has characters that none may have.") from None
        if local in self._reserved:
            raise StanzaError("not-acceptable", text="That username is reserved.")
        return local

    def _newPassword(self, password: str) -> str:
        if len(password) < self.options.passwordLength:
            text = f"A password has {self.options.passwordLength} characters or more."
            raise StanzaError("not-acceptable", text=text)
        if len(password.encode()) > PASSWORD_LIMIT:
            raise StanzaError("not-acceptable", text="That password is too long.")
        return password

    # -- accounts of those who have logged in ----------------------------------------------------

    @iq.get(ns.REGISTER, "query", to=HOST | ACCOUNT, access="owner")
    def onGet(self, transit: Transit) -> Element:
        """Tell users what is on file; strangers on other servers register there (section 3.1)."""
        own = self._own(transit)
        if own is None:
            raise StanzaError("service-unavailable")
        query = Element(ns.REGISTER, "query")
        query.child(ns.REGISTER, "registered")
        query.child(ns.REGISTER, "instructions", None, "You can change your password or remove your account.")
        query.child(ns.REGISTER, "username", None, own.account.jid.local)
        query.child(ns.REGISTER, "password")
        return transit.result(query)

    @iq.set(ns.REGISTER, "query", to=HOST | ACCOUNT, access="owner")
    async def onSet(self, transit: Transit) -> Any:
        """Change the password or remove the account of the session that asks."""
        own, query = self._own(transit), transit.payload
        assert query is not None
        removal = query.find(ns.REGISTER, "remove") is not None
        if own is None or own.stream is None:
            raise StanzaError("registration-required" if removal else "not-allowed")
        if not (self.options.removal if removal else self.options.passwordChange):
            raise StanzaError("not-allowed")
        self._checkSafe(own.stream)
        if removal:
            if len(query.elements()) != 1:
                raise StanzaError("bad-request", text="Nothing goes with <remove/>.")
            self._countChange(own)
            return await self._remove(transit, own)
        await self._changePassword(own, _answers(query))
        return transit.result()

    def _own(self, transit: Transit) -> Session | None:
        """The session that asks, if its account is stored at this very host (A09); guests have id 0."""
        session = transit.session
        if session is None or session.account.host is not self.host or transit.sender.bare != session.jid.bare:
            return None
        return session if session.account.id else None

    def _countChange(self, session: Session) -> None:
        owner, now = session.account.jid.bare, self.host.clock.seconds()
        if self.host.limited and not self._changes.take(owner, now):
            raise StanzaError("resource-constraint", text="Too many changes; try again later.")

    async def _changePassword(self, session: Session, answers: dict[str, str]) -> None:
        """Section 3.3. The other sessions of the account end, this one stays."""
        account = session.account
        name = answers.get("username")
        if not name or "password" not in answers:
            raise StanzaError("bad-request", text="Username and password are needed.")
        if not _names(name, account.jid):
            raise StanzaError("not-allowed", text="That is not your account.")
        password = self._newPassword(answers["password"])
        self._countChange(session)
        try:
            await self.host.administration.setPassword(account.jid, password, session.jid)
        except CommandError as error:
            raise StanzaError("not-acceptable", text=error.problem) from None

    async def _remove(self, transit: Transit, session: Session) -> object:
        """Section 3.2: the answer comes first, then the stream error.

        All sessions end before the account does. This one lets go of its stream, so that the
        answer still gets through, and nothing more is read from it.
        """
        stream, session.stream = session.stream, None
        assert stream is not None
        stream.pause()
        try:
            await self.host.administration.deleteAccount(session.account.jid)
        except Exception as error:
            problem = error.problem if isinstance(error, CommandError) else "the account could not be removed"
            log.failure("an account could not be removed")
            if session.ended:
                stream.fail(StreamError("internal-server-error", problem))
                return HANDLED
            session.stream = stream
            stream.resume()
            raise StanzaError("internal-server-error", text=problem) from None
        stream.send(serialize(transit.result()))
        stream.fail(StreamError("not-authorized", "the account was removed"))
        return HANDLED

    # -- safety ----------------------------------------------------------------------------------

    def _isSafe(self, stream: IStream) -> bool:
        return stream.secure or not self.options.secureOnly

    def _checkSafe(self, stream: IStream) -> None:
        if not self._isSafe(stream):
            raise StanzaError("not-authorized", type="modify", text="This needs TLS.")


def _instructions(length: int) -> str:
    return f"Choose a username and a password of {length} characters or more."


def _form(length: int) -> Form:
    """The form of section 13.4.1, with what we need."""
    form = Form("form", ns.REGISTER, "Registration", (_instructions(length),))
    form.add("username", (), "text-single", "Username", required=True)
    form.add("password", (), "text-private", "Password", required=True)
    return form


def _fieldsAndForm(length: int) -> Element:
    """Fields for simple clients, and a form for the others (section 6)."""
    query = Element(ns.REGISTER, "query")
    query.child(ns.REGISTER, "instructions", None, _instructions(length))
    query.child(ns.REGISTER, "username")
    query.child(ns.REGISTER, "password")
    query.add(_form(length).toElement())
    return query


def _answers(query: Element) -> dict[str, str]:
    """What was filled in: the form if there is one, else the fields (section 4, rule 5)."""
    form = query.find(ns.DATA, "x")
    if form is not None:
        if len(query.elements()) != 1:
            raise StanzaError("bad-request", text="Send the form or the fields, not both.")
        answers = Form.parse(form)
        if answers.kind != "submit":
            raise StanzaError("bad-request", text="That form is not filled in.")
        return {field.var: answers.text(field.var) for field in answers.fields}
    found: dict[str, str] = {}
    for child in query.elements():
        if child.ns != ns.REGISTER or child.name in found:
            raise StanzaError("bad-request", text="Each field comes once.")
        found[child.name] = child.text
    return found


def _names(name: str, jid: JID) -> bool:
    """Whether a username, or a bare JID in its place (example 24), means `jid`."""
    try:
        return (JID.parse(name) if "@" in name else JID.of(prepareLocal(name), jid.domain)) == jid
    except InvalidJID:
        return False
