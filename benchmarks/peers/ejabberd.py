"""A private ejabberd: its configuration, users and rosters in Mnesia, its process. No Erlang distribution, no epmd."""

import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.link import LoadError
from benchmarks.load.place import DOMAIN, Federation, Place
from benchmarks.peers.process import Process, listens

#: The virtual machine's arguments that Debian's `ejabberdctl` gives.
DEBIAN_FLAGS = ("+K", "true", "+P", "250000")
NO_BUSY_WAIT = ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")

_OFFLINE = "{ access_max_user_messages: max_user_offline_messages }"
#: The modules whose features our server has too.
ALIKE = {
    "mod_blocking": "{}",
    "mod_caps": "{}",
    "mod_disco": "{}",
    "mod_last": "{}",
    "mod_offline": _OFFLINE,
    "mod_ping": "{}",
    "mod_privacy": "{}",
    "mod_private": "{}",
    "mod_roster": "{ versioning: true }",
    "mod_stream_mgmt": "{}",
    "mod_time": "{}",
    "mod_vcard": "{ search: false }",
    "mod_version": "{}",
}
#: Debian's list, without what listens elsewhere, speaks to other servers, limits, or administrates.
SHIPPED = ALIKE | {
    "mod_adhoc": "{}",
    "mod_avatar": "{}",
    "mod_carboncopy": "{}",
    "mod_client_state": "{}",
    "mod_muc": "{ default_room_options: { mam: false } }",
    "mod_pubsub": "{ plugins: [flat, pep] }",
    "mod_push": "{}",
    "mod_push_keepalive": "{}",
    "mod_shared_roster": "{}",
    "mod_stream_mgmt": "{ resend_on_timeout: if_offline }",
    "mod_vcard_xupdate": "{}",
}

#: A backlog of 5, the default, drops connections when 32 come at once; the client then tries again a second later.
_COMMON = 'ip: "127.0.0.1", backlog: 4096'
_C2S = f"{_COMMON}, module: ejabberd_c2s, shaper: none, max_stanza_size: 262144"
_FEDERATION = """\
  - {{ port: {port}, module: ejabberd_s2s_in, shaper: none, max_stanza_size: 262144, {common} }}
s2s_use_starttls: required
ca_file: "{authority}"
"""

_CONFIG = """\
hosts: ["{place.domain}"]
loglevel: warning
log_rotate_count: 0
certfiles: ["{place.folder}/both.pem"]
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
sql_type: sqlite
sql_database: "{place.folder}/ejabberd.sqlite"
cache_size: 1000000
listen:
  - {{ port: {place.port}, starttls: true, {c2s} }}
  - {{ port: {place.tlsPort}, tls: true, {c2s} }}
  - {{ port: {place.service.port}, module: ejabberd_service, {common}, hosts: {{ {component} }} }}
{federation}shaper_rules:
  max_user_sessions: 1000
  max_user_offline_messages: 1000000
modules:
{modules}
"""


@dataclass(frozen=True)
class EjabberdKind:
    """How one ejabberd differs from another: the virtual machine's arguments, the modules, offline messages in SQL."""

    flags: Sequence[str] = ()
    modules: tuple[tuple[str, str], ...] = tuple(ALIKE.items())
    offlineSql: bool = False


def configuration(kind: EjabberdKind, place: Place) -> str:
    """The text of ``ejabberd.yml``."""
    modules = dict(kind.modules)
    met, service = place.federation, place.service
    if kind.offlineSql:
        modules["mod_offline"] = _OFFLINE.replace("{", "{ db_type: sql,", 1)
    return _CONFIG.format(
        place=place,
        c2s=_C2S,
        common=_COMMON,
        component=f'"{service.domain}": {{ password: "{service.secret}" }}',
        federation=_federation(met) if met else "",
        modules="\n".join(f"  {name}: {options}" for name, options in sorted(modules.items())),
    )


def _federation(met: Federation) -> str:
    return _FEDERATION.format(port=met.port, common=_COMMON, authority=met.authority)


def names(met: Federation) -> str:
    """The virtual machine's resolver: our name server and nothing else, no files."""
    return f'{{resolv_conf, ""}}.\n{{nameserver, {{127,0,0,1}}, {met.resolver}}}.\n{{lookup, [dns]}}.\n'


def plan(password: str, contacts: dict[int, list[int]], domain: str = DOMAIN) -> str:
    """The file of Erlang terms that ``fill.erl`` reads."""
    lines = [f'{{password, <<"{domain}">>, <<"{password}">>}}.']
    for number, others in contacts.items():
        names = ", ".join(f'<<"user{other}">>' for other in others)
        lines.append(f'{{user, <<"user{number}">>, [{names}]}}.')
    return "\n".join(lines) + "\n"


class Ejabberd:
    """One private ejabberd."""

    def __init__(self, name: str, place: Place, password: str, kind: EjabberdKind) -> None:
        self.name, self.place, self.password, self.kind = name, place, password, kind
        self.folder = folder = place.folder
        self.pid = 0
        folder.mkdir(parents=True)
        both = folder / "both.pem"
        both.write_bytes(place.certificate.chain.read_bytes() + place.certificate.key.read_bytes())
        both.chmod(0o600)
        if place.federation is not None:
            (folder / "inetrc").write_text(names(place.federation))
        self._config = folder / "ejabberd.yml"
        self._config.write_text(configuration(kind, place))
        self._process = Process(folder / "output.log")

    def prepare(self, contacts: dict[int, list[int]]) -> None:
        """Run it once, to fill its database."""
        (self.folder / "code").mkdir()
        (self.folder / "plan").write_text(plan(self.password, contacts, self.place.domain))
        done = subprocess.run(
            ["erlc", "-o", str(self.folder / "code"), str(Path(__file__).with_name("fill.erl"))],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise LoadError(f"erlc: {done.stdout}{done.stderr}")
        if self.kind.offlineSql:
            self._tables()
        self._run(str(self.folder / "plan"))
        self.stop()

    def _tables(self) -> None:
        """This version does not create its SQL tables itself; the script comes with the package."""
        script = Path("/usr/share/ejabberd/sql/lite.sql").read_text()
        with sqlite3.connect(self.folder / "ejabberd.sqlite") as database:
            database.executescript(script)
        database.close()

    def start(self) -> None:
        """Start with the database that `prepare` filled."""
        self._run("")

    def _run(self, planFile: str) -> None:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = ["erl", *DEBIAN_FLAGS, *self.kind.flags, "-noinput", "-pa", str(self.folder / "code")]
        command += ["-mnesia", "dir", f'"{self.folder}/database"', "-s", "ejabberd", "-s", "fill"]
        environment = {
            "ERL_LIBS": str(_libraries()),
            "EJABBERD_CONFIG_PATH": str(self._config),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "ERL_CRASH_DUMP": str(self.folder / "crash.dump"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "ERL_MAX_ETS_TABLES": "1400",
            "HOME": str(self.folder),
            "PEER_PLAN": planFile,
            "PEER_READY": str(ready),
        }
        if self.place.federation is not None:
            environment["ERL_INETRC"] = str(self.folder / "inetrc")
        self.pid = self._process.start(
            command, lambda: ready.exists() and listens(self.place.port) and listens(self.place.tlsPort), environment
        )

    def stop(self) -> None:
        """Stop; safe to call twice."""
        self.pid = 0
        self._process.stop()


def _libraries() -> Path:
    """Where Debian keeps ejabberd's libraries: it depends on the processor."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*"))
    if not found:
        raise LoadError("ejabberd's libraries are not below /usr/lib; is Debian's package installed?")
    return found[0].parent


def copyDatabase(source: Ejabberd, target: Ejabberd) -> None:
    """Give ``target`` the users of ``source``, which is down: quicker than filling again."""
    shutil.copytree(source.folder / "database", target.folder / "database")
    shutil.copytree(source.folder / "code", target.folder / "code")
