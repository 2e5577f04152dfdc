// The link to the broker, on a socket and a broker made by hand: tokens, refusals, fresh ICE servers.

import assert from "node:assert/strict";
import test from "node:test";

globalThis.navigator ??= { userAgent: "" };
const { Link } = await import("../../viewer/link.js");

/** The sockets that were made, the newest last. */
const sockets = [];

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

globalThis.WebSocket = FakeSocket;
const never = 1e9;

/** A link that has begun to connect. */
function begun(token = () => "") {
  const heard = [];
  const link = new Link("ws://b/ws", token, { onChange: (up) => heard.push(up), onMessage: (m) => heard.push(m.type) });
  link.tick(performance.now(), false);
  return { link, heard, socket: sockets.at(-1) };
}

/** One that is up. */
function up(welcome = {}) {
  const made = begun();
  made.socket.open();
  made.socket.say({ type: "welcome", peerId: "me", ...welcome });
  return made;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("the token goes along as a subprotocol, the newest each time", () => {
  let token = "";
  const { link, socket } = begun(() => token);
  assert.deepEqual(socket.protocols, []);
  token = "t.o.k";
  link.renew();
  link.tick(never, false);
  assert.deepEqual(sockets.at(-1).protocols, ["rovercast", "rovercast.bearer.t.o.k"]);
  assert.ok(!sockets.at(-1).url.includes("t.o.k"));
});

test("a handshake that fails is explained, until one succeeds", async () => {
  globalThis.fetch = async () => new Response('{"code":"token-expired","details":""}', { status: 401 });
  const { link, socket, heard } = begun(() => "t");
  socket.onclose();
  await settled();
  await settled();
  assert.match(link.refusal, /expired/);
  const before = sockets.length;
  link.tick(performance.now() + 1_000, false);
  assert.equal(sockets.length, before, "it is not asked all the time");
  link.tick(performance.now() + 10_000, false);
  sockets.at(-1).open();
  sockets.at(-1).say({ type: "welcome", peerId: "me" });
  assert.deepEqual([link.up, link.refusal, heard.at(0)], [true, "", true]);
});

test("a broker that is gone refuses nothing", async () => {
  globalThis.fetch = () => Promise.reject(new TypeError("network"));
  const { link, socket } = begun();
  socket.onclose();
  await settled();
  await settled();
  assert.equal(link.refusal, "");
});

test("a token that expires ends the link with its reason; other errors do not", () => {
  const { link, socket, heard } = up();
  socket.say({ type: "error", code: "unknown-peer", details: "d" });
  socket.say({ type: "error", code: "token-expired", details: "d", sessionId: "s" });
  assert.ok(link.up, "what is said of a session is not said of us");
  socket.say({ type: "error", code: "token-expired", details: "d" });
  assert.match(link.refusal, /expired/);
  assert.deepEqual([link.up, heard.at(-1)], [false, false]);
});

test("a broker that stops is a link that is lost", () => {
  const { link, socket } = up();
  socket.say({ type: "error", code: "shutting-down", details: "d" });
  assert.deepEqual([link.up, link.refusal], [false, ""]);
});

test("ICE servers are asked for again at half their time", () => {
  const { link, socket } = up({ iceServers: [{ urls: "turn:old" }], iceServersTtlS: 100 });
  const asked = () => socket.sent.filter(({ type }) => type === "getIceServers").length;
  const nowMs = performance.now();
  link.tick(nowMs + 49_000, false);
  assert.equal(asked(), 0);
  link.tick(nowMs + 51_000, false);
  socket.say({ type: "listConsumers", consumers: [] });
  link.tick(nowMs + 52_000, false);
  socket.say({ type: "listConsumers", consumers: [] });
  assert.equal(asked(), 1);
  link.tick(nowMs + 64_000, false);
  assert.equal(asked(), 2, "no answer came");
  socket.say({ type: "iceServers", iceServers: [{ urls: "turn:new" }], iceServersTtlS: 100 });
  assert.deepEqual(link.iceServers, [{ urls: ["turn:new"] }]);
  link.tick(nowMs + 49_000, false);
  assert.equal(asked(), 2);
  const forEver = up({ iceServers: [] });
  forEver.link.tick(never, false);
  assert.ok(!forEver.socket.sent.some(({ type }) => type === "getIceServers"));
});
