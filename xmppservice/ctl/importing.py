"""Files of accounts: lines with an address, a tab and a password, all checked before one is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xmppservice.ctl import protocol
from xmppservice.hub.commands import CommandError
from xmppservice.protocol.jid import JID, InvalidJID

_SHOWN = 10
_BATCH_ROWS = 100
_BATCH_BYTES = protocol.MAX_REQUEST // 2


def readAccounts(path: str) -> list[tuple[str, str]]:
    """Read and check a whole file.

    @raise CommandError: naming every line that is wrong (the first ten), or that the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as stream:
            lines = stream.read().split("\n")
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path}: is not UTF-8 text") from None
    accounts: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        problem = _take(line, number, accounts, seen)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
    if problems:
        more = [f"… and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise CommandError("\n".join([*problems[:_SHOWN], *more]), "nothing was imported")
    return accounts


def _take(line: str, number: int, accounts: list[tuple[str, str]], seen: dict[str, int]) -> str:
    """Add the account of a line, or say what is wrong with it."""
    address, tab, password = line.partition("\t")
    if not tab or not password:
        return "needs an address, a tab and a password"
    try:
        jid = JID.parse(address)
    except InvalidJID as error:
        return f"{address!r} is no address: {error}"
    if not jid.local or jid.resource:
        return f"{address!r} is no account: write user@domain"
    if jid.bare in seen:
        return f"{jid.bare} is on line {seen[jid.bare]} already"
    seen[jid.bare] = number
    accounts.append((jid.bare, password))
    return ""


def batches(accounts: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Parts that fit into one request each."""
    batch: list[tuple[str, str]] = []
    weight = 0
    for account in accounts:
        size = len(protocol.encode({"": account}))
        if batch and (len(batch) == _BATCH_ROWS or weight + size > _BATCH_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(account)
        weight += size
    if batch:
        yield batch
