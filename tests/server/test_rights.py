"""The rights of components as the configuration has them: what can be granted, and each mistake with its line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.modules.entities import DOMAIN, rights
from xmppservice.hub.rights import NOTHING, REMAINING_INFO, Rights
from xmppservice.server.ports import Ports
from xmppservice.server.rights import readRights
from xmppservice.settings import Settings, SettingsError, loadSettings
from xmppservice.testing.client import MemoryStream
from xmppservice.testing.server import MemoryServer

MODULES: Mapping[str, type | None] = {"privilege": None, "delegation": None}
HOSTS = '[hosts.localhost]\n[hosts."example.com"]\n[hosts."sub.example.com"]\ndisable = ["delegation", "privilege"]\n'
HEAD = f'{HOSTS}[ports."gateway.example.com"]\nkind = "component"\n'


def settings(folder: Path, text: str) -> Settings:
    """The settings of a file."""
    path = folder / "x.toml"
    path.write_text(text, "utf-8")
    return loadSettings(str(path), MODULES, tuple(MODULES))


def test_nothingByDefault(tmp_path: Path) -> None:
    """A component that is merely configured has no rights over anybody."""
    assert readRights(settings(tmp_path, HEAD)) == {"gateway.example.com": NOTHING}
    assert not NOTHING.hosts and not NOTHING.privileged and not NOTHING.pushes


@pytest.mark.parametrize(("text", "wanted"), [
    ('roster = "both"', rights("example.com", roster="both")),
    ('roster = "get"\nroster_push = false', rights("example.com", roster="get", rosterPush=False)),
    ('message = "outgoing"\nhosts = ["LOCALHOST"]', rights("localhost", message="outgoing")),
    ('presence = "managed_entity"\nhosts = ["localhost", "example.com"]',
     rights("localhost", "example.com", presence="managed_entity")),
    ('presence = "roster"\nroster = "get"', rights("example.com", presence="roster", roster="get")),
    ('iq = [["a", "get"], ["b", "both"]]', rights("example.com", iq={"a": "get", "b": "both"})),
    ('delegated = [["a"], ["b", "node", "to"]]', rights("example.com", delegated={"a": (), "b": ("node", "to")})),
    (f'delegated = [["{REMAINING_INFO}"]]', rights("example.com", delegated={REMAINING_INFO: ()})),
])  # fmt: skip
def test_granted(tmp_path: Path, text: str, wanted: Rights) -> None:
    """Each key; the hosts are those that are named, else the one that the component is below."""
    assert readRights(settings(tmp_path, HEAD + text)) == {"gateway.example.com": wanted}


@pytest.mark.parametrize(("text", "line", "words"), [
    ('rooster = "both"', 7, "unknown key (did you mean 'roster'?)"),
    ('roster = "all"', 7, '"none", "get", "set" or "both"'),
    ('roster = true', 7, "roster"),
    ('message = "incoming"', 7, '"none" or "outgoing"'),
    ('presence = "roster"', 7, 'needs the right to read rosters'),
    ('roster = "set"\npresence = "roster"', 8, 'needs the right to read rosters'),
    ('iq = ["a"]', 7, "must be a list of lists"),
    ('iq = [["a"]]', 7, 'a namespace and "get", "set" or "both"'),
    ('iq = [["a", "none"]]', 7, 'a namespace and "get", "set" or "both"'),
    ('iq = [["a", "get"], ["a", "set"]]', 7, "a is there twice"),
    ('iq = [["a", 1]]', 7, "list of texts"),
    ('delegated = [[]]', 7, "the attributes that a request must have"),
    ('delegated = [["a", ""]]', 7, "the attributes that a request must have"),
    ('delegated = [["a"], ["a", "node"]]', 7, "a is there twice"),
    # XEP-0355 section 8 rule 5
    ('delegated = [["urn:xmpp:delegation:2"]]', 7, "must not be delegated"),
    (f'delegated = [["{REMAINING_INFO}", "node"]]', 7, "must not be delegated with attributes"),
    ('message = "outgoing"\nhosts = ["exampel.com"]', 8, "is no host of this server (did you mean 'example.com'?)"),
    ('hosts = [""]', 7, "is no host of this server"),
    ('message = "outgoing"\nhosts = ["sub.example.com"]', 5, "the module privilege, which is not enabled"),
    ('delegated = [["a"]]\nhosts = ["sub.example.com"]', 5, "the module delegation, which is not enabled"),
    ('[ports."irc.elsewhere.example"]\nkind = "component"\nroster = "get"', 7, "is below no host"),
    ('delegated = [["a"]]\n[ports."b.example.com"]\nkind = "component"\ndelegated = [["a"]]', 10,
     "a is delegated to gateway.example.com already"),
])  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, line: int, words: str) -> None:
    """What cannot be granted is refused with the file and the line."""
    with pytest.raises(SettingsError) as caught:
        readRights(settings(tmp_path, HEAD + text))
    message = str(caught.value).replace(f"{tmp_path}{os.sep}", "")
    assert message.startswith(f"x.toml:{line}: "), message
    assert words in message


def test_applied() -> None:
    """A reload gives and takes rights while the component stays; one that is not expected any more loses all."""
    server = MemoryServer(modules=("roster", "privilege"))
    ports = Ports(server.router)
    secrets = {DOMAIN: b"x" * 20}
    ports.apply(secrets, {DOMAIN: rights(roster="both")})
    seat = ports.seatFor(DOMAIN)
    assert seat is not None
    stream = MemoryStream()
    seat.port.join(stream)
    seat.port.opened()
    ports.apply(secrets, {DOMAIN: rights(roster="get")})
    ports.apply(secrets)
    types = [each.elements()[0].elements()[0].get("type") for each in stream.received]
    assert types == ["both", "get", "none"]
    ports.apply(secrets, {DOMAIN: rights(roster="get")})
    ports.apply({})
    assert (seat.port.rights, stream.closed) == (NOTHING, True)
    server.stop()
