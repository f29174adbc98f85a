// A client on @xmpp/client. Same lines as the other programs: JSON commands in, JSON events out.
// The certificate authority comes in NODE_EXTRA_CA_CERTS, which Node reads at its start.
import { webcrypto } from "node:crypto";
import readline from "node:readline";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // Debian 12 has Node 18, which lacks the global that the library uses.

const tell = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");

function onStanza(stanza) {
  const from = stanza.attrs.from;
  if (stanza.is("message") && stanza.getChildText("body") !== null) {
    const delayed = stanza.getChild("delay", "urn:xmpp:delay") !== undefined;
    tell("message", { from, body: stanza.getChildText("body"), delayed });
  } else if (stanza.is("presence")) {
    tell("presence", { from, type: stanza.attrs.type ?? "available" });
  }
}

function connect(login) {
  const [username, domain] = login.jid.split("/")[0].split("@");
  const scheme = login.direct ? "xmpps" : "xmpp";
  const xmpp = client({
    service: `${scheme}://${login.direct ? domain : login.host}:${login.port}`,
    domain,
    username,
    password: login.password,
  });
  xmpp.timeout = 60_000; // its two seconds are short on a slow machine
  xmpp.reconnect.stop();
  xmpp.on("error", (error) => tell("ended", { reason: String(error) }));
  xmpp.on("stanza", onStanza);
  xmpp.on("online", async (address) => {
    await xmpp.iqCaller.get(xml("query", "jabber:iq:roster"));
    await xmpp.send(xml("presence"));
    tell("online", { jid: address.toString() });
  });
  xmpp.streamManagement.on("resumed", () => tell("resumed"));
  xmpp.start().catch((error) => {
    tell("ended", { reason: String(error) });
    process.exit(0);
  });
  return xmpp;
}

function commandsOf(xmpp) {
  return {
    subscribe: ({ to }) => xmpp.send(xml("presence", { to, type: "subscribe" })),
    approve: ({ to }) => xmpp.send(xml("presence", { to, type: "subscribed" })),
    chat: ({ to, body }) => xmpp.send(xml("message", { to, type: "chat" }, xml("body", {}, body))),
    showRoster: async () => {
      const query = await xmpp.iqCaller.get(xml("query", "jabber:iq:roster"));
      const items = query.getChildren("item").map((item) => [item.attrs.jid, item.attrs.subscription]);
      tell("roster", { items: Object.fromEntries(items) });
    },
    askPing: async ({ to }) => {
      await xmpp.iqCaller.request(xml("iq", { type: "get", to }, xml("ping", "urn:xmpp:ping")));
      tell("pong", { from: to });
    },
    drop: () => {
      xmpp.reconnect.delay = 100;
      xmpp.reconnect.start();
      xmpp.socket.socket.destroy();
    },
    logout: async () => {
      await xmpp.send(xml("presence", { type: "unavailable" }));
      await xmpp.stop();
      tell("offline");
      process.exit(0);
    },
  };
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const first = await lines.next();
const commands = commandsOf(connect(JSON.parse(first.value)));
for await (const line of lines) {
  const { do: name, ...fields } = JSON.parse(line);
  await commands[name](fields);
}
process.exit(0);
