"""The sections of the configuration file as typed options; the manual and the commented example are made from them."""

from __future__ import annotations

import attrs

from xmppservice.hub.options import Duration, FilePath, Size, option

MECHANISMS = (
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "PLAIN",
    "EXTERNAL",
)


@attrs.frozen
class Main:
    """Keys at the top of the file."""

    data: FilePath = option("var", "Folder of the database, the control socket and whatever else the server keeps.")


@attrs.frozen
class Database:
    """``[database]``: where accounts, rosters and stored messages are."""

    url: str = option(
        "sqlite",
        'Database: "sqlite" (a file in the data folder), "sqlite-memory" (forgotten at the end; test beds), '
        'or "postgresql://user@host/name".',
    )


@attrs.frozen
class Listen:
    """``[listen]``: where the server listens, as Twisted endpoint strings, each a list."""

    interface: str = option(
        "127.0.0.1",
        "Address that the default listeners below use; a listener given by itself ignores it.",
        range=(1, None),
    )
    c2s: tuple[str, ...] = option(
        ("tcp:5222:interface=127.0.0.1",), "Clients, with STARTTLS. Left out: port 5222 of `interface`."
    )
    c2sTls: tuple[str, ...] = option(
        ("tcp:5223:interface=127.0.0.1",), "Clients, with direct TLS (XEP-0368). Left out: port 5223 of `interface`."
    )
    s2s: tuple[str, ...] = option(
        (), 'Other servers, with STARTTLS: "tcp:5269". Without this and s2s_tls the server talks to no other one.'
    )
    s2sTls: tuple[str, ...] = option((), 'Other servers, with direct TLS (XEP-0368): "tcp:5270".')
    component: tuple[str, ...] = option(
        (), "External components (XEP-0114). Left out: port 5347 of loopback, if any component is configured."
    )
    http: tuple[str, ...] = option((), "Web.")
    metrics: tuple[str, ...] = option(
        (),
        'Figures for Prometheus, by HTTP at /metrics, for instance "tcp:9270:interface=127.0.0.1"; there is no '
        "password, so keep it where only your monitoring reaches it.",
    )


@attrs.frozen
class TLS:
    """``[tls]``: encryption."""

    policy: str = option(
        "required",
        'Whether clients must encrypt before they log in; "optional" is for a trusted test network.',
        choices=("required", "optional"),
    )
    certificates: FilePath = option(
        "certs", "Folder with <host>.crt and <host>.key for each host, reloaded on SIGHUP."
    )
    clientCertificates: FilePath = option(
        "", "PEM file of the authorities whose client certificates may log in with EXTERNAL; empty asks for none."
    )
    developmentCertificates: bool = option(
        False, "Make a certificate, signed by an authority of its own in the same folder, for a host that has none."
    )


@attrs.frozen
class S2S:
    """``[s2s]``: other servers, as soon as `listen.s2s` says where they are listened for."""

    authentication: str = option(
        "certificates",
        'How other servers prove their domain: "certificates" wants a valid one for it; with "dialback" a server '
        "without one may prove itself by DNS alone (XEP-0220), which whoever controls DNS can forge.",
        choices=("certificates", "dialback"),
    )
    tls: str = option(
        "required",
        'Whether streams between servers must be encrypted; "optional" is for trusted networks.',
        choices=("required", "optional"),
    )
    authorities: FilePath = option(
        "", "PEM file of those who may issue the certificates of other servers; empty: those that the system trusts."
    )
    posh: bool = option(False, "Accept certificates that a domain's web server vouches for (POSH, RFC 7711).")
    dane: bool = option(
        False, "Accept certificates that TLSA records vouch for (DANE, RFC 7673); needs a resolver that checks DNSSEC."
    )
    allow: tuple[str, ...] = option(
        (), 'Domains to talk to, and no others; "*.example.org" is every domain below it. Empty: all.'
    )
    deny: tuple[str, ...] = option((), "Domains not to talk to, in the same form.")
    resolver: tuple[str, ...] = option(
        (), 'Name servers to ask, such as "127.0.0.1:53"; empty: those of the system. Only one of your own can be '
        "trusted with what it says of DNSSEC.",
    )  # fmt: skip
    overrides: tuple[str, ...] = option(
        (),
        'Where the server of a domain is, past DNS: "example.org = 192.0.2.1:5269", with "direct" in front of the '
        "address if TLS comes before the stream.",
    )
    refused: tuple[str, ...] = option(
        (),
        'Networks that are never connected to, such as "192.0.2.0/24", whatever DNS says; "private" is every network '
        "that means something only here.",
    )
    bidi: bool = option(True, "Use one stream for both directions with servers that can (XEP-0288).")
    management: bool = option(
        True, "Have other servers acknowledge what they get (XEP-0198), so that a cut loses nothing."
    )
    resumption: Duration = option(300.0, "Time in which a stream that broke may be resumed.", range=(0, 3600))
    queueTime: Duration = option(
        20.0, "Time that a stanza waits for a server that cannot be reached, before it goes back.", range=(1, 3600)
    )
    queueStanzas: int = option(1000, "Stanzas that may wait for one server.", range=(1, None))
    queueBytes: Size = option(1 << 20, "Bytes that may wait for one server.", range=(10_000, None))
    stanzaBytes: Size = option(512 * 1024, "Largest stanza from another server.", range=(10_000, None))
    streamBytes: Size = option(
        500_000,
        "Bytes per second that one stream of another server may send in the long run; over it we read it more slowly.",
        range=(1000, None),
    )
    streamStanzas: int = option(1000, "Stanzas per second of such a stream.", range=(1, None))
    perAddress: int = option(500, "Streams of other servers from one address.", range=(1, None))


@attrs.frozen
class Auth:
    """``[auth]``: how clients prove who they are (SASL)."""

    mechanisms: tuple[str, ...] = option(
        MECHANISMS,
        "SASL mechanisms that may be offered, where TLS and the stored accounts allow.",
        choices=MECHANISMS,
    )
    anonymous: bool = option(False, "Offer ANONYMOUS too: anybody may log in and gets a temporary address.")
    tries: int = option(5, "Failed tries on one stream before it is closed.", range=(1, 100))
    iterations: int = option(10_000, "PBKDF2 iterations of newly stored SCRAM keys.", range=(10_000, 10_000_000))


@attrs.frozen
class Limits:
    """``[limits]``: what one client may use."""

    enabled: bool = option(
        True,
        "Whether connections, rates, sessions and failed logins are limited; false is for test beds. Sizes are always.",
    )
    preAuthBytes: Size = option(8 * 1024, "Largest element before authentication.", range=(1024, None))
    preAuthElements: int = option(32, "Most elements inside one element before authentication.", range=(8, None))
    preAuthTotal: Size = option(64 * 1024, "Bytes in all before authentication.", range=(4096, None))
    authTime: Duration = option(30.0, "Time from the connection to the end of authentication.", range=(1, 3600))
    stanzaBytes: Size = option(256 * 1024, "Largest stanza, advertised to clients (XEP-0478).", range=(10_000, None))
    stanzaElements: int = option(4096, "Most elements inside one stanza.", range=(32, None))
    depth: int = option(64, "Deepest nesting inside one stanza.", range=(8, 1024))
    attributes: int = option(64, "Most attributes of one element.", range=(8, 10_000))
    tokenBytes: Size = option(
        64 * 1024, "Largest attribute, name or piece of text before its next markup.", range=(1024, None)
    )
    queue: Size = option(
        256 * 1024,
        "Bytes that may wait for a client that does not read; over it the stream is closed.",
        range=(10_000, None),
    )
    perAddress: int = option(100, "Connections from one address (IPv6: one /64 network).", range=(1, None))
    unauthenticated: int = option(2000, "Connections in all that have not logged in yet.", range=(1, None))
    streamBytes: Size = option(
        50_000,
        "Bytes that one stream may send per second in the long run, white space included. A client that is over one of "
        "these rates is not closed: the server reads it more slowly.",
        range=(1000, None),
    )
    streamBytesBurst: Size = option(
        1 << 20, "Bytes that one stream may send at once after a silence.", range=(4096, None)
    )
    streamStanzas: int = option(
        100, "Stanzas (and acknowledgements) that one stream may send per second in the long run.", range=(1, None)
    )
    streamStanzasBurst: int = option(2000, "Stanzas that one stream may send at once.", range=(10, None))
    streamDeliveries: int = option(
        1000,
        "Deliveries per second that one stream may cause by stanzas that go to many, such as presence to all contacts.",
        range=(10, None),
    )
    streamDeliveriesBurst: int = option(20_000, "Such deliveries at once.", range=(100, None))
    addressBytes: Size = option(
        500_000,
        "Bytes per second of all streams from one address (IPv6: one /64 network) together. Keep the rates of an "
        "address at several times those of a stream: many users may share one address.",
        range=(1000, None),
    )
    addressBytesBurst: Size = option(8 << 20, "Bytes of all streams from one address at once.", range=(4096, None))
    addressStanzas: int = option(1000, "Stanzas per second of all streams from one address.", range=(1, None))
    addressStanzasBurst: int = option(20_000, "Stanzas of all streams from one address at once.", range=(10, None))
    addressDeliveries: int = option(
        10_000, "Deliveries per second that all streams from one address may cause by stanzas that go to many.",
        range=(10, None),
    )
    addressDeliveriesBurst: int = option(200_000, "Such deliveries at once.", range=(100, None))
    exempt: tuple[str, ...] = option(
        (), 'Addresses and networks ("192.0.2.0/24") to which neither these rates nor per_address apply.'
    )
    memory: str = option(
        "auto",
        'Memory of the server process over which new connections and sessions are refused: a size such as "2 GiB", "0" '
        'for no mark, or "auto" for 80 % of what the machine, its control group or RLIMIT_AS grants.',
    )
    resources: int = option(10, "Sessions of one account at the same time.", range=(1, None))
    resourceConflict: str = option(
        "replace",
        'What happens to a client that asks for a resource that is in use: "replace" ends the older session, '
        '"refuse" tells the newer one, "rename" gives it another resource.',
        choices=("replace", "refuse", "rename"),
    )
    silence: Duration = option(300.0, "Silence of a client after which it is pinged (XEP-0199).", range=(10, None))
    pingTime: Duration = option(
        60.0, "Time a client has to answer such a ping before its stream is closed.", range=(1, None)
    )


@attrs.frozen
class Log:
    """``[log]``: what is written down while the server runs."""

    format: str = option(
        "text",
        'Form of the lines: "text" for people, "json" for programs, one object a line.',
        choices=("text", "json"),
    )
    level: str = option(
        "info",
        'The least important lines to write; "debug" also shows what exceptions say of themselves, which may hold '
        "what users wrote.",
        choices=("debug", "info", "warn", "error"),
    )


@attrs.frozen
class HostKeys:
    """Keys of ``[hosts."example.com"]``; every other key is the table of a module."""

    enable: tuple[str, ...] = option((), "Modules beyond the default set.")
    disable: tuple[str, ...] = option((), "Modules of the default set to leave out.")


@attrs.frozen
class PortKeys:
    """Keys of ``[ports."conference.example.com"]`` that every kind has; the rest belongs to the kind."""

    kind: str = option("", "What answers at this address.", range=(1, None))
    secretFile: FilePath = option("", "File with the shared secret of an external component, readable by us alone.")


@attrs.frozen
class ComponentKeys:
    """Keys of ``[ports."irc.example.com"]`` with the kind component: its rights over accounts, by default none."""

    hosts: tuple[str, ...] = option((), "Hosts whose accounts the rights are about. Left out: the host it is below.")
    roster: str = option(
        "none",
        "Whether it may read and change the rosters of accounts (XEP-0356).",
        choices=("none", "get", "set", "both"),
    )
    rosterPush: bool = option(True, "Whether it is told of changes to rosters that it may read.")
    message: str = option(
        "none", "Whether it may send messages in the name of accounts (XEP-0356).", choices=("none", "outgoing")
    )
    presence: str = option(
        "none",
        'Whether it sees who is online (XEP-0356): "managed_entity" accounts, "roster" also their contacts.',
        choices=("none", "managed_entity", "roster"),
    )
    iq: tuple[tuple[str, ...], ...] = option(
        (),
        'IQs that it may send in the name of accounts (XEP-0356), each a namespace and "get", "set" or "both": '
        '[["jabber:iq:private", "both"]].',
    )
    delegated: tuple[tuple[str, ...], ...] = option(
        (),
        "Namespaces of IQs that it answers in place of the server (XEP-0355), each with the attributes that a request "
        'must have: [["http://jabber.org/protocol/pubsub"], ["urn:xmpp:mam:2", "node"]].',
    )


SECTIONS: dict[str, type] = {
    "database": Database,
    "listen": Listen,
    "tls": TLS,
    "auth": Auth,
    "s2s": S2S,
    "limits": Limits,
    "log": Log,
}
"""Section name → its options, in the order of the manual."""
