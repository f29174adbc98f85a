"""Debian's ejabberd as a server to federate with."""

from __future__ import annotations

from pathlib import Path

from tests.attack.raw import RawClient, password
from tests.interop.federation.meeting import Meeting, accounts, plainLogin
from tests.interop.processes import Child, accepts, freePort, waitFor

_CONFIG = """
hosts: ["{certified}", "{uncertified}"]
loglevel: debug
log_rotate_count: 0
certfiles: ["{folder}/{certified}.pem", "{folder}/{uncertified}.pem"]
ca_file: "{ca}"
s2s_cafile: "{ca}"
s2s_use_starttls: required
# A domain that could not be reached is not asked again for so long; usually up to five minutes.
s2s_max_retry_delay: 1
outgoing_s2s_families: [ipv4]
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: true
  - port: {s2sPort}
    ip: "127.0.0.1"
    module: ejabberd_s2s_in
modules:
  mod_disco: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_s2s_dialback: {{}}
  mod_stream_mgmt: {{}}
  mod_version: {{}}
"""
#: Names from our server; the order matters, because an empty `resolv_conf` forgets the name servers before it.
_NAMES = """{{lookup, [dns]}}.
{{resolv_conf, ""}}.
{{hosts_file, ""}}.
{{nameserver, {{127,0,0,1}}, {resolver}}}.
"""
#: Runs inside the Erlang machine: makes the accounts as soon as ejabberd is up, and says so with a file.
_PREPARE = """spawn(fun() ->
    Wait = fun Loop() ->
        case lists:keymember(ejabberd, 1, application:which_applications()) of
            true -> ok;
            false -> timer:sleep(50), Loop()
        end
    end,
    Wait(),
    {{ok, Users}} = file:consult("{folder}/users"),
    [ejabberd_auth:try_register(User, Domain, Password) || {{User, Domain, Password}} <- Users],
    file:write_file("{folder}/ready", "")
end)."""


def libraries() -> list[Path]:
    """Where Debian keeps ejabberd, if it is installed: that depends on the processor."""
    return sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))


class EjabberdPeer:
    """A private instance with two domains, in an Erlang machine without a name."""

    certified, uncertified, foreign = "ejabberd.test", "dialback.ejabberd.test", "unknown.ejabberd.test"

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.folder = meeting.folder / "ejabberd"
        self.folder.mkdir()
        self.port, self.s2sPort = freePort(), freePort()
        self._child: Child | None = None
        domains = (self.certified, self.uncertified)
        for domain in (*domains, self.foreign):
            meeting.place(domain, self.s2sPort)
        for domain in domains:
            certificate = meeting.certify(domain, self.folder, trusted=domain == self.certified)
            key = certificate.with_suffix(".key")
            (self.folder / f"{domain}.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
        users = ((name, domain) for domain in domains for name in accounts())
        lines = [f'{{<<"{name}">>, <<"{domain}">>, <<"{password(name)}">>}}.\n' for name, domain in users]
        (self.folder / "users").write_text("".join(lines), "utf-8")

    def start(self) -> None:
        """See `Side`."""
        folder = self.folder
        (folder / "ready").unlink(missing_ok=True)
        (folder / "names").write_text(_NAMES.format(resolver=self.meeting.resolver), "utf-8")
        (folder / "ejabberd.yml").write_text(
            _CONFIG.format(
                folder=folder, ca=self.meeting.ca, certified=self.certified, uncertified=self.uncertified,
                port=self.port, s2sPort=self.s2sPort,
            ),
            "utf-8",
        )  # fmt: skip
        environment = {
            "ERL_LIBS": str(libraries()[0].parents[1]),
            "ERL_INETRC": str(folder / "names"),
            "ERL_CRASH_DUMP": str(folder / "crash.dump"),
            "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
            "HOME": str(folder),
        }
        # One scheduler that does not spin: it is not alone on the machine.
        machine = ["erl", "+K", "true", "+S", "1", "+sbwt", "none", "-noinput", "-mnesia", "dir", f'"{folder}/db"']
        command = [*machine, "-s", "ejabberd", "-eval", _PREPARE.format(folder=folder)]
        child = self._child = Child(command, folder / "output.log", folder, environment)
        waitFor("ejabberd", lambda: not child.running() or self._ready())
        assert child.running(), self.report()
        # After a restart they are there.
        (folder / "users").write_text("")

    def _ready(self) -> bool:
        return (self.folder / "ready").exists() and accepts(self.port) and accepts(self.s2sPort)

    def login(self, jid: str, available: bool = True) -> RawClient:
        """See `Side`."""
        return plainLogin(self.port, jid, available)

    def report(self) -> str:
        """See `Side`."""
        log = self.folder / "ejabberd.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def stop(self) -> None:
        """See `Side`."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """See `Side`."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait()
