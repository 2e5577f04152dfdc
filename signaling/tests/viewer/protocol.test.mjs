// What of the things that come in is let through: everything that a robot and a broker say, and
// nothing else, without an exception.

import assert from "node:assert/strict";
import test from "node:test";

import { parseBrokerMessage, parseControlMessage, parseRobotMessage } from "../../viewer/protocol.js";

const fromBroker = (message) => parseBrokerMessage(JSON.stringify(message));
const fromRobot = (message) => parseRobotMessage(JSON.stringify(message));
const fromControl = (message) => parseControlMessage(JSON.stringify(message));
const bytes = (text) => new TextEncoder().encode(text).buffer;

const TYPES = ["welcome", "list", "peerStatusChanged", "sessionStarted", "endSession", "peer", "error",
  "iceServers", "telemetry", "clock", "pong", "signal_lost", "signal_restored", "result", "snapshot"];
const FIELDS = ["type", "peerId", "sessionId", "producers", "iceServers", "iceServersTtlS", "roles", "meta", "sdp", "ice", "details",
  "code", "reason", "seq", "host", "cameras", "tracks", "pingSentUs", "receivedUs", "sentUs", "id", "name", "urls",
  "camera", "state", "sinceUs", "lostUs", "fault", "request", "part", "parts", "jpeg"];
const RUBBISH = [null, true, 0, -1, 1e308, 0.5, "", "x", "x".repeat(5_000), [], [null], [[]], [1, "a", {}], {},
  { toString: 1 }, { length: -1 }, { type: "offer" }, { __proto__: null, a: { b: [] } }];

test("the broker's messages", () => {
  assert.deepEqual(fromBroker({ type: "welcome", peerId: "me" }), { type: "welcome", peerId: "me", iceServers: [], holdMs: Infinity });
  assert.deepEqual(fromBroker({ type: "sessionStarted", peerId: "p", sessionId: "s" }),
    { type: "sessionStarted", peerId: "p", sessionId: "s" });
  assert.deepEqual(fromBroker({ type: "endSession", sessionId: "s", reason: "peerLeft", more: 1 }),
    { type: "endSession", sessionId: "s", reason: "peerLeft" });
  assert.deepEqual(fromBroker({ type: "peer", sessionId: "s", sdp: { type: "offer", sdp: "v=0" } }),
    { type: "offer", sessionId: "s", sdp: "v=0" });
  assert.deepEqual(fromBroker({ type: "peer", sessionId: "s", ice: { candidate: "c", sdpMLineIndex: 1 } }),
    { type: "candidate", sessionId: "s", ice: { candidate: "c", sdpMLineIndex: 1 } });
  assert.deepEqual(fromBroker({ type: "error", details: "no", code: "full", sessionId: "s" }),
    { type: "error", details: "no", code: "full", sessionId: "s" });
  assert.deepEqual(fromBroker({ type: "error" }),
    { type: "error", details: "no details given", code: "", sessionId: null });
});

test("credentials hold for as long as the broker says", () => {
  const hold = (iceServersTtlS) => fromBroker({ type: "iceServers", iceServersTtlS }).holdMs;
  assert.deepEqual([600, 0, undefined, -1, "600"].map(hold), [600_000, 0, Infinity, Infinity, Infinity]);
});

test("STUN and TURN servers, with one address or several", () => {
  const iceServers = [
    { urls: "stun:a" },
    { urls: ["turn:b", "turn:c"], username: "u", credential: "p" },
    { urls: "turn:d", username: "u" },
  ];
  assert.deepEqual(fromBroker({ type: "welcome", peerId: "me", iceServers }).iceServers, [
    { urls: ["stun:a"] },
    { urls: ["turn:b", "turn:c"], username: "u", credential: "p" },
    { urls: ["turn:d"] },
  ]);
});

test("robots with and without meta", () => {
  const cameras = [{ id: "front", label: "Front", width: 640, height: 360 }, { id: "rear" }, { label: "no id" }];
  const producers = [{ id: "p", meta: { name: "rover", cameras } }, { id: "q" }, { meta: {} }, null, "x"];
  assert.deepEqual(fromBroker({ type: "list", producers }).producers, [
    {
      id: "p",
      name: "rover",
      cameras: [
        { id: "front", label: "Front", width: 640, height: 360 },
        { id: "rear", label: "rear", width: 0, height: 0 },
      ],
    },
    { id: "q", name: "q", cameras: [] },
  ]);
  const status = (roles) => fromBroker({ type: "peerStatusChanged", peerId: "p", roles, meta: null });
  assert.deepEqual([["producer"], [], ["listener"], "producer", null].map((roles) => status(roles).online),
    [true, false, false, false, false]);
});

test("what is of no use to a viewer is dropped", () => {
  for (const message of [
    { type: "welcome" },
    { type: "peerStatusChanged", roles: ["producer"] },
    { type: "sessionStarted", peerId: "p" },
    { type: "endSession" },
    { type: "peer", sessionId: "s" },
    { type: "peer", sessionId: "s", sdp: { type: "answer", sdp: "v=0" } },
    { type: "peer", sessionId: "s", ice: { candidate: "", sdpMLineIndex: 0 } },
    { type: "peer", sessionId: "s", ice: { candidate: "c", sdpMLineIndex: -1 } },
    { type: "startSession", peerId: "p" },
    { type: "constructor" },
    { type: ["welcome"], peerId: "me" },
  ]) {
    assert.equal(fromBroker(message), null, JSON.stringify(message));
  }
});

test("the robot's messages, as bytes and as text", () => {
  const pong = { type: "pong", pingSentUs: 1, receivedUs: 2, sentUs: 3 };
  assert.deepEqual(fromRobot(pong), pong);
  assert.deepEqual(parseRobotMessage(bytes(JSON.stringify(pong))), pong);
  assert.deepEqual(fromRobot({ type: "clock", tracks: [{ mid: "0", rtp: 0xffff_ffff, captureUs: 5 }] }),
    { type: "clock", tracks: [{ mid: "0", anchor: { rtp: 0xffff_ffff, captureUs: 5 } }] });
  const memory = { memoryUsedBytes: 1, memoryTotalBytes: 2 };
  const host = { cpuPercent: 12.5, ...memory, temperatureCelsius: -5, load1m: 0.5, uptimeS: 9 };
  const rates = { fps: 30, bitrateKbps: 900, framesDropped: 1 };
  const status = { state: "live", reason: "gone", sinceUs: 4, fault: "black" };
  const camera = { id: "front", ...status, encoder: "x264enc", ...rates };
  const telemetry = { type: "telemetry", seq: 0, host, cameras: [camera] };
  assert.deepEqual(fromRobot(telemetry), telemetry);
});

test("figures that are none count as zero, and an unknown state is no claim that all is well", () => {
  const cameras = [{ id: "c", state: "fine", fps: -1, bitrateKbps: "9", framesDropped: null }, {}, null];
  const told = fromRobot({ type: "telemetry", seq: 1, host: { cpuPercent: "x" }, cameras });
  const memory = { memoryUsedBytes: 0, memoryTotalBytes: 0 };
  assert.deepEqual(told.host, { cpuPercent: 0, ...memory, temperatureCelsius: null, load1m: 0, uptimeS: 0 });
  const rates = { fps: 0, bitrateKbps: 0, framesDropped: 0 };
  const nothing = { reason: "", sinceUs: 0, fault: "", encoder: "" };
  assert.deepEqual(told.cameras, [{ id: "c", state: "starting", ...nothing, ...rates }]);
});

test("the messages of the control channel", () => {
  const lost = { type: "signal_lost", camera: "front", state: "stalled", reason: "why", sinceUs: 7 };
  assert.deepEqual(parseControlMessage(bytes(JSON.stringify(lost))), lost);
  assert.equal(fromControl({ ...lost, state: "live" }).state, "lost");
  assert.equal(fromControl({ ...lost, state: "melted" }).state, "lost");
  assert.equal(fromControl({ ...lost, camera: "" }), null);
  const restored = { type: "signal_restored", camera: "front", lostUs: 9 };
  assert.deepEqual(fromControl({ ...restored, more: 1 }), restored);
  assert.deepEqual(fromControl({ type: "result", request: 1 }), { type: "result", request: 1, error: null });
  const error = { code: "refused", details: "no" };
  assert.deepEqual(fromControl({ type: "result", request: 1, error }), { type: "result", request: 1, error });
  assert.equal(fromControl({ type: "result", request: -1 }), null);
  const part = { type: "snapshot", request: 1, part: 0, parts: 2, jpeg: "/9g=" };
  assert.deepEqual(fromControl({ ...part, camera: "front" }), part);
  assert.equal(fromControl({ ...part, jpeg: "x".repeat(32 * 1024 + 1) }), null);
  assert.equal(fromControl({ ...part, part: 0.5 }), null);
  assert.equal(fromControl({ type: "telemetry", seq: 1 }), null);
});

test("numbers that would spoil the clock are dropped", () => {
  for (const rtp of [-1, 0.5, 2 ** 32, "1", null]) {
    assert.deepEqual(fromRobot({ type: "clock", tracks: [{ mid: "0", rtp, captureUs: 1 }] }).tracks, []);
  }
  assert.deepEqual(fromRobot({ type: "clock", tracks: [{ mid: "0", rtp: 1, captureUs: 2 ** 53 }] }).tracks, []);
  assert.deepEqual(fromRobot({ type: "clock", tracks: [{ mid: 0, rtp: 1, captureUs: 1 }] }).tracks, []);
  assert.equal(fromRobot({ type: "pong", pingSentUs: 1.5, receivedUs: 2, sentUs: 3 }), null);
  assert.equal(fromRobot({ type: "pong", pingSentUs: 1, receivedUs: 2 }), null);
  assert.equal(fromRobot({ type: "telemetry", seq: "1" }), null);
});

test("names, texts and lists are bounded; ids are never shortened", () => {
  const long = "x".repeat(1_000);
  const meta = { name: long, cameras: Array.from({ length: 500 }, (_, i) => ({ id: `c${i}`, label: long })) };
  const { producers } = fromBroker({ type: "list", producers: Array(25_000).fill({ id: "p" }).concat({ id: "p", meta }) });
  assert.equal(producers.length, 20_000);
  const { producer } = fromBroker({ type: "peerStatusChanged", peerId: "p", roles: ["producer"], meta });
  assert.deepEqual([producer.name.length, producer.cameras.length, producer.cameras[0].label.length], [64, 64, 64]);
  assert.equal(fromBroker({ type: "error", details: long }).details.length, 500);
  assert.equal(fromBroker({ type: "endSession", sessionId: long }), null);
  assert.equal(fromBroker({ type: "welcome", peerId: long }), null);
});

test("what is too long, or no JSON object, is dropped unread", () => {
  const padded = (length) => JSON.stringify({ type: "list", producers: [], pad: "x".repeat(length) });
  assert.notEqual(parseBrokerMessage(padded(8_000_000)), null);
  assert.equal(parseBrokerMessage(padded(8 << 20)), null);
  const telemetry = (length) => JSON.stringify({ type: "telemetry", seq: 1, pad: "x".repeat(length) });
  for (const wrap of [String, bytes]) {
    assert.notEqual(parseRobotMessage(wrap(telemetry(60_000))), null);
    assert.equal(parseRobotMessage(wrap(telemetry(64 * 1024))), null);
  }
  const texts = ["", "null", "3", "[]", '"list"', "{", '{"type":"list"', "\u0000", "[".repeat(60_000)];
  const others = [undefined, null, 3, {}, [], { type: "list" }, new Uint8Array(3), new ArrayBuffer(0)];
  const broken = new Uint8Array([0xff, 0xfe, 0x7b, 0x7d]).buffer;
  for (const data of [...texts, ...texts.map(bytes), ...others, broken]) {
    assert.equal(parseBrokerMessage(data), null);
    assert.equal(parseRobotMessage(data), null);
  }
});

test("no field's value makes a parser throw", () => {
  for (const type of TYPES) {
    for (const field of FIELDS) {
      for (const value of RUBBISH) {
        const times = { pingSentUs: 1, receivedUs: 1, sentUs: 1 };
        const whole = { type, peerId: "p", sessionId: "s", seq: 1, ...times, [field]: value };
        const lists = { producers: [whole], cameras: [whole], tracks: [whole], iceServers: [whole] };
        const meta = { cameras: [whole], [field]: value };
        const nested = { ...whole, ...lists, meta, host: whole, sdp: whole, ice: whole };
        for (const message of [whole, nested]) {
          fromBroker(message);
          fromRobot(message);
          fromControl(message);
        }
      }
    }
  }
});

test("names of JavaScript's own objects are names like any other", () => {
  const meta = '{"name":"constructor","__proto__":{"cameras":[{"id":"x"}]}}';
  const text = `{"type":"list","producers":[{"id":"__proto__","meta":${meta}}]}`;
  const { producers } = parseBrokerMessage(text);
  assert.equal(producers[0].name, "constructor");
  assert.equal(producers[0].id, "__proto__");
  assert.deepEqual(producers[0].cameras, []);
  assert.equal({}.cameras, undefined);
});
