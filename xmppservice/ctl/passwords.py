"""Passwords come from a prompt, asked twice, or as two lines from standard input; never from the command line."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from typing import TextIO

from xmppservice.hub.commands import CommandError


def askPassword(what: str, stream: TextIO, prompt: Callable[[str], str] = getpass) -> str:
    """Ask for a new password.

    @raise CommandError: it is empty, or the two do not match.
    """
    if stream.isatty():
        first, second = prompt(f"{what}: "), prompt(f"{what}, again: ")
    else:
        first, second = (stream.readline().rstrip("\r\n") for _ in range(2))
        if first and not second:
            raise CommandError(f"the {what.lower()} must come twice", "give it on two lines of standard input")
    if not first:
        raise CommandError(f"the {what.lower()} is empty")
    if first != second:
        raise CommandError("the two do not match", "try again")
    return first
