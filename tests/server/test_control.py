"""xmppctl against the real server, running and stopped."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator

import pytest

from tests.attack.raw import RawClient, condition
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, PASSWORD, Site

#: The promise to operators: a changed account's streams are closed within this time.
CLOSED_WITHIN = 5.0
TWICE = f"{PASSWORD}\n{PASSWORD}\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running server; at the end no secret may be in its log."""
    site = Site(tmp_path_factory.mktemp("control"))
    site.start()
    yield site
    site.stop()
    assert PASSWORD not in site.log and "another password" not in site.log


def _closed(client: RawClient, *conditions: str) -> None:
    begin = time.monotonic()
    client.refused(*conditions, patience=CLOSED_WITHIN)
    assert time.monotonic() - begin < CLOSED_WITHIN


def test_add(running: Site) -> None:
    """The password is two equal lines on standard input; the account is ready when the command ends."""
    done = running.ctl("user", "add", "adam@localhost", input=TWICE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The account adam@localhost is ready.\n", "")
    running.login("adam@localhost").close()
    for input, problem in ((TWICE, "already"), ("one\ntwo\n", "do not match")):
        done = running.ctl("user", "add", "adam@localhost", input=input)
        assert done.returncode == 1 and problem in done.stderr and done.stderr.startswith("xmppctl: "), done.stderr
    assert running.ctl("user", "add", "adam@localhost", PASSWORD, input=TWICE).returncode == 2, "never from argv"


def test_password(running: Site) -> None:
    """A new password closes the account's streams, ends the old password, and lets the new one in."""
    running.users("paul@localhost")
    first, second = running.login("paul@localhost", "one"), running.login("paul@localhost", "two")
    done = running.ctl("user", "passwd", "paul@localhost", input="another password\nanother password\n")
    assert done.returncode == 0, done.stderr
    _closed(first, "reset")
    _closed(second, "reset")
    assert condition(running.secured().scram("paul", PASSWORD)) == "not-authorized"
    running.login("paul@localhost", password="another password").close()


def test_disable(running: Site) -> None:
    """A disabled account is thrown out and refused with ``account-disabled``, until it is enabled."""
    running.users("dora@localhost")
    client = running.login("dora@localhost")
    assert "may not log in" in running.command("user disable", jid="dora@localhost").text
    _closed(client, "not-authorized")
    assert condition(running.secured().scram("dora", PASSWORD)) == "account-disabled"
    running.command("user enable", jid="dora@localhost")
    running.login("dora@localhost").close()


def test_delete(running: Site) -> None:
    """A deleted account is thrown out and gone; a new one of that name inherits nothing."""
    running.users("zoe@localhost", "yan@localhost")
    zoe, yan = running.login("zoe@localhost"), running.login("yan@localhost")
    running.command("user delete", jid="zoe@localhost")
    _closed(zoe, "not-authorized")
    assert condition(running.secured().scram("zoe", PASSWORD)) == "not-authorized"
    yan.ping()
    running.users("zoe@localhost")
    running.login("zoe@localhost").close()
    assert running.ctl("user", "delete", "nobody@localhost").returncode == 1


def test_roleAndList(running: Site) -> None:
    """Roles change without a login being disturbed, and the list shows them."""
    running.users("rita@localhost")
    client = running.login("rita@localhost")
    running.command("user role", jid="rita@localhost", role="admin")
    rows = {row[0]: row for row in running.command("user list").rows}
    assert rows["rita@localhost"][1:3] == ["admin", "enabled"]
    client.ping()
    assert running.ctl("user", "role", "rita@localhost", "king").returncode == 2


def test_kick(running: Site) -> None:
    """One session, or all of an account, is closed; the account can log in again."""
    running.users("kim@localhost")
    one, two, three = (running.login("kim@localhost", name) for name in ("one", "two", "three"))
    sessions = {row[0] for row in running.command("sessions").rows}
    assert {"kim@localhost/one", "kim@localhost/two", "kim@localhost/three"} <= sessions
    assert running.command("kick", jid="kim@localhost/two").text == "1 session closed."
    _closed(two, "policy-violation")
    one.ping()
    assert running.command("kick", jid="kim@localhost").text == "2 sessions closed."
    _closed(one, "policy-violation")
    _closed(three, "policy-violation")
    done = running.ctl("kick", "kim@localhost")
    assert done.returncode == 1 and "has no session" in done.stderr
    running.login("kim@localhost").close()


def test_import(running: Site) -> None:
    """A thousand accounts in one go; a file with a wrong line changes nothing and names it."""
    file = running.folder / "users"
    file.write_text("".join(f"mass{n}@localhost\tpassword {n}\n" for n in range(1000)))
    begin = time.monotonic()
    done = running.ctl("user", "import", "users")
    took = time.monotonic() - begin
    assert done.returncode == 0 and "1000 accounts made." in done.stdout, done.stderr
    running.login("mass999@localhost", password="password 999").close()
    assert took < 60
    file.write_text("mass1@localhost\tanother\nmass1000@localhost\tx\n")
    again = running.ctl("user", "import", "users")
    assert again.returncode == 1 and "1 accounts made." in again.stdout and "exists already" in again.stdout
    file.write_text("fine@localhost\tx\nno tab here\n")
    done = running.ctl("user", "import", "users")
    assert done.returncode == 1 and "users:2: needs an address, a tab and a password" in done.stderr
    assert "fine@localhost" not in {row[0] for row in running.command("user list").rows}


def test_looking(running: Site) -> None:
    """``status``, ``sessions`` and ``check`` end with status 0, also as JSON; the socket is ours alone."""
    for words in (("status",), ("sessions",), ("check",)):
        done = running.ctl(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)
    control = running.folder / "var" / "control.sock"
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700


def test_brokenConfiguration(make: MakeSite) -> None:
    """A configuration that is wrong by now does not hide the running server; only with it stopped it is in the way."""
    site = make(LOCAL)
    site.start()
    site.write(f"{LOCAL}[auth]\nnonsense = 1\n")
    assert site.ctl("status").returncode == 0
    for words in (("reload",), ("check",)):
        done = site.ctl(*words)
        assert done.returncode == 1 and "auth.nonsense: unknown key" in done.stderr, words
    site.stop()
    done = site.ctl("status")
    assert done.returncode == 1 and "auth.nonsense: unknown key" in done.stderr


def test_stopped(make: MakeSite) -> None:
    """What makes sense with the server stopped works; what needs it ends with status 3 and a clear line."""
    site = make(LOCAL)
    assert site.ctl("user", "add", "alice@localhost", "--role", "admin", input=TWICE).returncode == 0
    for words in (("kick", "a@localhost"), ("module", "list")):
        done = site.ctl(*words)
        said = f"xmppctl: the server is not running\n  nobody listens on {site.folder / 'var' / 'control.sock'}\n"
        assert (done.returncode, done.stdout, done.stderr) == (3, "", said), words
    assert site.ctl("check").returncode == 0
    site.start()
    site.login("alice@localhost").close()
    site.stop()
    assert site.ctl("user", "disable", "alice@localhost").returncode == 0
    site.start()
    assert condition(site.secured().scram("alice", PASSWORD)) == "account-disabled"
    site.stop()
