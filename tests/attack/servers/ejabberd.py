"""Debian's ejabberd with the shaper, limits and modules of its package, TLS required, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.attack.servers.victim import Attacked
from tests.interop.processes import Child, accepts, freePort, waitFor
from tests.interop.servers import makeCertificates

_CONFIG = """
hosts: [localhost, other.test]
loglevel: info
log_rotate_count: 0
certfiles: ["{folder}/both.pem"]
s2s_access: none
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
define_macro:
  'TLS_OPTIONS': ["no_sslv3", "no_tlsv1", "no_tlsv1_1", "cipher_server_preference", "no_compression"]
  'TLS_CIPHERS': "HIGH:!aNULL:!eNULL:!3DES:@STRENGTH"
c2s_ciphers: 'TLS_CIPHERS'
c2s_protocol_options: 'TLS_OPTIONS'
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: c2s_shaper
    starttls_required: true
    protocol_options: 'TLS_OPTIONS'
  - port: {directPort}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: c2s_shaper
    tls: true
    protocol_options: 'TLS_OPTIONS'
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
shaper:
  normal:
    rate: 3000
    burst_size: 20000
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: 100
  c2s_shaper: normal
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_fail2ban: {{}}
  mod_last: {{}}
  mod_mam:
    default: always
    assume_mam_usage: true
  mod_offline:
    access_max_user_messages: max_user_offline_messages
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_pubsub:
    access_createnode: local
    plugins: [flat, pep]
  mod_roster:
    versioning: true
  mod_stream_mgmt:
    resend_on_timeout: if_offline
  mod_vcard:
    search: false
  mod_version: {{}}
"""
_REGISTER = """
-module(reg).
-export([go/0]).
go() -> spawn(fun() -> wait(300) end).
wait(0) -> ok;
wait(N) ->
    case lists:keymember(ejabberd, 1, application:which_applications()) of
        true -> register_all();
        false -> timer:sleep(100), wait(N - 1)
    end.
register_all() ->
    {{ok, Users}} = file:consult("{folder}/users"),
    [ejabberd_auth:try_register(U, <<"localhost">>, P) || {{U, P}} <- Users],
    file:write_file("{folder}/ready", "ok").
"""


class Ejabberd(Attacked):
    """A private instance: an Erlang machine without a name, its database and log in its folder."""

    name = "ejabberd"
    fault = "CRASH REPORT"

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        assert shutil.which("erl") and shutil.which("erlc"), "apt install ejabberd"
        libraries = Path("/usr/lib/x86_64-linux-gnu")
        assert list(libraries.glob("ejabberd-*")), "apt install ejabberd"
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        makeCertificates(folder)
        self.ca = folder / "ca.crt"
        (folder / "both.pem").write_bytes(
            (folder / "localhost.crt").read_bytes() + (folder / "localhost.key").read_bytes()
        )
        self._write("ejabberd.yml", _CONFIG.format(folder=folder, port=self.port, directPort=self.directPort))
        self._write("users", "".join(f'{{<<"{user}">>, <<"{password}">>}}.\n' for user, password in users.items()))
        self._write("reg.erl", _REGISTER.format(folder=folder))
        assert Child(["erlc", "reg.erl"], folder / "erlc.log", folder).process.wait(60) == 0
        environment = {
            "ERL_LIBS": str(libraries),
            "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
            "ERL_CRASH_DUMP": str(folder / "crash.dump"),
            "HOME": str(folder),
        }
        machine = ["erl", "+K", "true", "-noinput", "-pa", str(folder), "-mnesia", "dir", f'"{folder}/db"']
        self.child = Child([*machine, "-s", "ejabberd", "-s", "reg", "go"], folder / "output.log", folder, environment)
        waitFor("ejabberd's ports", lambda: accepts(self.port) and accepts(self.directPort), 60)
        waitFor("ejabberd's accounts", (folder / "ready").exists, 60)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    @property
    def logs(self) -> list[Path]:
        """Its output and its log."""
        return [self.child.log, self.folder / "ejabberd.log"]
