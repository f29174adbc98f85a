"""The servers that are compared, in the order of the columns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.certificates import selfSigned
from benchmarks.load.crowd import RING, crowd, fillRosters
from benchmarks.load.dialogue import Target
from benchmarks.load.link import LoadError
from benchmarks.load.local import LocalServer
from benchmarks.load.place import DOMAIN, Place, newPlace
from benchmarks.peers import ejabberd, prosody
from benchmarks.peers.ejabberd import NO_BUSY_WAIT, Ejabberd, EjabberdKind
from benchmarks.peers.process import Peer
from benchmarks.peers.prosody import Prosody, ProsodyKind

PASSWORD = "password"


@dataclass(frozen=True)
class Column:
    """One server of the comparison."""

    name: str
    title: str
    #: The workloads it runs; empty for all.
    only: frozenset[str] = frozenset()

    def runs(self, workload: str) -> bool:
        """Whether it takes part in this workload."""
        return not self.only or workload in self.only


_OFFLINE = frozenset({"offline"})

COLUMNS = (
    Column("own", "xmppservice"),
    Column("prosody", "Prosody"),
    Column("prosody-tuned", "Prosody, tuned"),
    Column("ejabberd", "ejabberd"),
    Column("ejabberd-s1", "ejabberd, one scheduler"),
    Column("ejabberd-nobw", "ejabberd, no busy-wait"),
    Column("prosody-sqlite", "Prosody, SQLite", _OFFLINE),
    Column("ejabberd-sqlite", "ejabberd, SQLite", _OFFLINE),
)
OWN = COLUMNS[0].name


class Own:
    """Our own server, with the interface of the others."""

    def __init__(self, place: Place) -> None:
        self.name, self.place = OWN, place
        self._server = LocalServer(place, PASSWORD)

    @property
    def pid(self) -> int:
        """The main process; the writer is its child."""
        return self._server.pid

    def prepare(self, contacts: dict[int, list[int]]) -> None:
        """Import the users; subscribe them to each other over the protocol."""
        self._server.importUsers(contacts)
        if not any(contacts.values()):
            return
        self.start()
        for first in sorted({number - number % RING for number in contacts}):
            fillRosters(target(self, "none"), first, len(contacts[first]))
        self.stop()

    def start(self) -> None:
        """Start and wait until it listens."""
        self._server.start()

    def stop(self) -> None:
        """Stop; safe to call twice."""
        self._server.stop()


def target(server: Peer, tls: str) -> Target:
    """Where the generator finds a server; all are asked for the same mechanism."""
    place = server.place
    return Target("127.0.0.1", place.port, place.tlsPort, place.domain, PASSWORD, tls, "SCRAM-SHA-1", place.service)


def build(names: Iterable[str], folder: Path, modules: str) -> dict[str, Peer]:
    """The chosen servers, configured in folders of their own below ``folder``, nothing started."""
    (folder / "certificate").mkdir()
    files = selfSigned(folder / "certificate", DOMAIN)
    return {name: make(name, newPlace(folder / name, files), modules) for name in names}


def make(name: str, place: Place, modules: str) -> Peer:
    """One server, configured, not started."""
    prosodies, ejabberds = _prosodies(modules), _ejabberds(modules)
    if name in prosodies:
        return Prosody(name, place, PASSWORD, prosodies[name])
    return Ejabberd(name, place, PASSWORD, ejabberds[name]) if name in ejabberds else Own(place)


def _prosodies(modules: str) -> dict[str, ProsodyKind]:
    chosen = prosody.SHIPPED if modules == "shipped" else prosody.ALIKE
    return {
        "prosody": ProsodyKind("", chosen),
        "prosody-tuned": ProsodyKind(prosody.TUNING, chosen),
        "prosody-sqlite": ProsodyKind(prosody.TUNING, chosen, "sql"),
    }


def _ejabberds(modules: str) -> dict[str, EjabberdKind]:
    chosen = tuple((ejabberd.SHIPPED if modules == "shipped" else ejabberd.ALIKE).items())
    return {
        "ejabberd": EjabberdKind((), chosen),
        "ejabberd-s1": EjabberdKind(("+S", "1", *NO_BUSY_WAIT), chosen),
        "ejabberd-nobw": EjabberdKind(NO_BUSY_WAIT, chosen),
        "ejabberd-sqlite": EjabberdKind((), chosen, True),
    }


def ringContacts(numbers: Iterable[int], contacts: Callable[[int], int]) -> dict[int, list[int]]:
    """Everybody's contacts: as many of the nearest neighbours in the ring as ``contacts`` says for the ring's first."""
    made = {}
    for number in numbers:
        first = number - number % RING
        steps = range(1, contacts(first) // 2 + 1)
        places = [place for step in steps for place in (number + step, number - step)]
        made[number] = [first + (place - first) % RING for place in places]
    return made


def prepareAll(servers: Iterable[Peer], contacts: dict[int, list[int]]) -> None:
    """Create users and rosters everywhere; the ejabberds of a domain share one database, made once."""
    sources: dict[str, Ejabberd] = {}
    for server in servers:
        domain = server.place.domain
        if isinstance(server, Ejabberd) and domain in sources:
            ejabberd.copyDatabase(sources[domain], server)
            continue
        server.prepare(contacts)
        if isinstance(server, Ejabberd):
            sources[domain] = server


def checkRosters(server: Peer, contacts: dict[int, list[int]]) -> None:
    """The first and the last ring's rosters, written into the server's storage, are what the server says."""
    rings = sorted({number - number % RING for number in contacts})
    for first in {rings[0], rings[-1]}:
        if missing := fillRosters(target(server, "none"), first, len(contacts[first])):
            raise LoadError(f"{server.name}: {missing} subscriptions missing from {first} on")


def tlsSpoken(server: Peer, kind: str) -> str:
    """Protocol version and cipher that the generator and this server agree on."""
    with crowd(target(server, kind)) as people, people.opened([people.session(0)]) as live:
        return " ".join(live[0].link.spoken())
