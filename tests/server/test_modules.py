"""``xmppctl module``: modules come, go and get new code while clients stay connected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.raw import RawClient, stanzaError
from tests.server.site import LOCAL, Site
from xmppservice.hub.commands import CommandError
from xmppservice.wire import ns

PATH = "greeting.module"
ASK = "<greet xmlns='urn:example:greet'/>"
CODE = '''
"""Says a word."""
import attrs
from greeting.words import WORD
from xmppservice.hub.hooks import HOST, iq
from xmppservice.hub.commands import command
from xmppservice.hub.module import HostModule, option
from xmppservice.wire.element import Element

@attrs.frozen
class Options:
    """Options."""
    times: int = option(1, "How often.")
    {more}

class Greeting(HostModule):
    """Says a word."""
    name = "greeting"
    features = ("urn:example:greet",)
    Options = Options

    @iq.get("urn:example:greet", "greet", to=HOST)
    def onGreet(self, transit):
        """Answers."""
        return transit.result(Element("urn:example:greet", "greet", None, WORD * self.options.times))

    @command("greeting word", "Tell the word.")
    def tell(self, call):
        """Tells."""
        return WORD

    def attached(self):
        """Fails if the word says so."""
        if WORD == "never":
            raise RuntimeError("not this word")
'''


class Greeter:
    """A server with the module, whose code tests change, and a client that must stay connected."""

    def __init__(self, site: Site) -> None:
        self.site = site
        (site.folder / "greeting").mkdir()
        self.code("hello")
        site.addToPath()
        site.write(LOCAL + f"enable = ['{PATH}']\n[modules.'{PATH}']\ntimes = 2\n[hosts.'other.test']\n")
        site.start()
        site.users("alice@localhost")
        self.client: RawClient = site.login("alice@localhost")

    def code(self, word: str, code: str = CODE, more: str = "") -> None:
        """Write the module's files: itself, and one that it imports."""
        folder = self.site.folder / "greeting"
        (folder / "module.py").write_text(code.replace("{more}", more), "utf-8")
        (folder / "words.py").write_text(f"WORD = {word!r}\n", "utf-8")

    def ask(self, domain: str = "localhost") -> str:
        """What the module says."""
        reply = self.client.ask("get", ASK, domain)
        return reply.elements()[0].text if reply.get("type") == "result" else stanzaError(reply)[1]

    def features(self) -> list[str | None]:
        """What the host says that it can do (XEP-0030)."""
        reply = self.client.ask("get", f"<query xmlns='{ns.DISCO_INFO}'/>", "localhost")
        return [each.get("var") for each in reply.elements()[0].elements()]

    def state(self) -> dict[str, str]:
        """Host → what ``module list`` says of the module."""
        return {row[0]: row[2] for row in self.site.command("module list").rows if row[1] == "greeting"}


@pytest.fixture(scope="module")
def greeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Greeter]:
    """The server of all these tests."""
    made = Greeter(Site(tmp_path_factory.mktemp("greeter")))
    yield made
    made.client.ping()
    made.site.stop()


def test_reload(greeter: Greeter) -> None:
    """Changed files of a module are really imported again, its own package with it, and its commands go along."""
    assert greeter.ask() == "hellohello"
    greeter.code("good day")
    assert greeter.ask() == "hellohello"
    done = greeter.site.ctl("module", "reload", "greeting", "--host", "localhost")
    assert (done.returncode, done.stdout) == (0, "The module greeting was reloaded on localhost.\n"), done.stderr
    assert greeter.ask() == "good daygood day"
    assert greeter.site.command("greeting word").text == "good day"


def test_newOption(greeter: Greeter) -> None:
    """Code with an option more gets its default, and the configured ones as before."""
    greeter.code("hi", more="loud: bool = option(False, 'Whether it shouts.')")
    greeter.site.command("module reload", name=PATH)
    assert greeter.ask() == "hihi"


@pytest.mark.parametrize(
    ("word", "code", "problem"),
    [
        ("x", "this is no Python\n", "cannot be imported"),
        ("x", "import not_there\n", "is its folder in PYTHONPATH?"),
        ("x", "nothing = 1\n", "must define one subclass"),
        ("x", CODE.replace("HOST)", "HOTS)"), "cannot be imported"),
        ("never", CODE, "cannot be attached to localhost: not this word"),
    ],
)
def test_brokenReload(greeter: Greeter, word: str, code: str, problem: str) -> None:
    """New code that cannot be used is refused, and the old code goes on as if nothing had been."""
    greeter.code("same")
    greeter.site.command("module reload", name="greeting")
    greeter.code(word, code)
    with pytest.raises(CommandError) as caught:
        greeter.site.command("module reload", name="greeting")
    assert problem in caught.value.problem
    assert greeter.ask() == "samesame"
    assert greeter.site.command("greeting word").text == "same"
    assert greeter.state()["localhost"] == "attached"
    greeter.code("mended")
    greeter.site.command("module reload", name="greeting")
    assert greeter.ask() == "mendedmended"


def test_detachAndAttach(greeter: Greeter) -> None:
    """A module that is taken away takes its handlers and features along, and brings them back."""
    greeter.code("back")
    assert "urn:example:greet" in greeter.features()
    greeter.site.command("module detach", name="greeting")
    assert greeter.ask() == "service-unavailable"
    assert "urn:example:greet" not in greeter.features()
    greeter.site.command("module attach", name=PATH, host="other.test")
    assert greeter.ask("other.test").startswith("mended") and greeter.ask() == "service-unavailable"
    greeter.site.command("module attach", name=PATH)
    assert greeter.ask() == greeter.ask("other.test")
    assert greeter.state() == {"localhost": "attached", "other.test": "attached"}
    greeter.site.command("module detach", name="greeting", host="other.test")
    assert greeter.ask("other.test") == "service-unavailable"


def test_wrong(greeter: Greeter) -> None:
    """What cannot be done is said in one line, and changes nothing."""
    before = greeter.site.command("module list").rows
    for words, problem in (
        (("attach", "pnig", None), "there is no module 'pnig' (did you mean 'ping'?)"),
        (("attach", "ping", None), "the module 'ping' is attached already"),
        (("detach", "nothing", None), "the module 'nothing' is not attached"),
        (("detach", "disco", None), "needs another that provides"),
        (("reload", "ping", "no.test"), "no.test is no host of this server"),
    ):
        with pytest.raises(CommandError) as caught:
            greeter.site.command(f"module {words[0]}", name=words[1], host=words[2])
        assert problem in caught.value.problem
    assert greeter.site.ctl("module", "attach", "pnig").returncode == 1
    assert greeter.site.command("module list").rows == before
    assert greeter.site.command("module reload", name="vcard").text.endswith("localhost, other.test.")
