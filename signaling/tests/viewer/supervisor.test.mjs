// When a session is kept, replaced or given up: one situation each, and the step that follows.

import assert from "node:assert/strict";
import test from "node:test";

import { isAlive, isSettled, nextStep } from "../../viewer/supervisor.js";

const NOW = 100_000;

/** A session that came up a minute ago and whose media flows. */
const flowing = (changes = {}) => ({
  peerId: "robot",
  over: false,
  hungUp: false,
  startedMs: NOW - 61_000,
  connectedMs: NOW - 60_000,
  lastFrameMs: NOW - 30,
  lastMessageMs: NOW - 500,
  ...changes,
});

/** A session that was asked for half a second ago. */
const negotiating = (changes = {}) => ({
  peerId: "robot",
  over: false,
  hungUp: false,
  startedMs: NOW - 500,
  connectedMs: null,
  lastFrameMs: -Infinity,
  lastMessageMs: -Infinity,
  ...changes,
});

const silent = (forMs) =>
  flowing({ lastFrameMs: NOW - forMs, lastMessageMs: NOW - forMs });

const step = (changes) =>
  nextStep({
    nowMs: NOW,
    linkUp: true,
    robotPeerId: "robot",
    retryAtMs: 0,
    current: null,
    pending: null,
    ...changes,
  });

test("starts where there is a robot and no session", () => {
  assert.equal(step({}), "start");
});

test("waits for link, robot and time of the next attempt", () => {
  assert.equal(step({ linkUp: false }), "keep");
  assert.equal(step({ robotPeerId: null }), "keep");
  assert.equal(step({ retryAtMs: NOW + 1 }), "keep");
  assert.equal(step({ retryAtMs: NOW }), "start");
});

test("media that flows is kept, whatever the broker does", () => {
  for (const linkUp of [true, false]) {
    for (const robotPeerId of ["robot", "robot again", null]) {
      assert.equal(step({ linkUp, robotPeerId, current: flowing() }), "keep");
    }
  }
});

test("a silent session is replaced while it is still there", () => {
  assert.equal(step({ current: silent(5_000) }), "keep");
  assert.equal(step({ current: silent(5_001) }), "start");
  assert.equal(step({ current: silent(5_001), linkUp: false }), "keep");
  assert.equal(step({ current: silent(5_001), pending: negotiating() }), "keep");
});

test("pictures or messages alone keep a session alive, and a new one has time for both", () => {
  const { lastFrameMs, lastMessageMs } = flowing();
  assert.equal(step({ current: flowing({ lastFrameMs: -Infinity, lastMessageMs }) }), "keep");
  assert.equal(step({ current: flowing({ lastMessageMs: -Infinity, lastFrameMs }) }), "keep");
  assert.equal(step({ current: negotiating({ connectedMs: NOW - 5_000 }) }), "keep");
  assert.equal(step({ current: negotiating({ connectedMs: NOW - 5_001 }) }), "start");
});

test("a robot that came back or hung up has one second to send pictures", () => {
  const messages = { lastMessageMs: NOW };
  for (const lastFrameMs of [NOW - 1_001, -Infinity]) {
    const still = flowing({ lastFrameMs, ...messages });
    assert.equal(step({ current: still, robotPeerId: "robot again" }), "start");
    assert.equal(step({ current: { ...still, hungUp: true } }), "start");
    assert.equal(step({ current: still }), "keep");
  }
  const recent = flowing({ lastFrameMs: NOW - 1_000, ...messages });
  assert.equal(step({ current: recent, robotPeerId: "robot again" }), "keep");
});

test("a session that is over goes at once, before anything else", () => {
  const over = flowing({ over: true });
  assert.equal(step({ current: over }), "dropCurrent");
  assert.equal(step({ current: over, pending: negotiating({ connectedMs: NOW }) }), "dropCurrent");
  assert.equal(step({ current: over, linkUp: false, robotPeerId: null }), "dropCurrent");
});

test("a pending session takes over as soon as it is connected", () => {
  const pending = negotiating({ connectedMs: NOW });
  assert.equal(step({ pending }), "promotePending");
  assert.equal(step({ pending, current: silent(6_000) }), "promotePending");
  assert.equal(step({ pending, linkUp: false }), "promotePending");
});

test("a pending session is given up when it fails, takes too long or lost its robot", () => {
  assert.equal(step({ pending: negotiating() }), "keep");
  assert.equal(step({ pending: negotiating({ over: true }) }), "abandonPending");
  assert.equal(step({ pending: negotiating({ startedMs: NOW - 10_000 }) }), "keep");
  assert.equal(step({ pending: negotiating({ startedMs: NOW - 10_001 }) }), "abandonPending");
  assert.equal(step({ pending: negotiating(), linkUp: false }), "abandonPending");
  assert.equal(step({ pending: negotiating(), robotPeerId: null }), "abandonPending");
  assert.equal(step({ pending: negotiating(), robotPeerId: "robot again" }), "abandonPending");
});

test("a pending session is given up when the old one recovers", () => {
  assert.equal(step({ pending: negotiating(), current: flowing() }), "abandonPending");
});

test("every sequence of steps comes to rest", () => {
  const choices = [null, flowing(), silent(6_000), flowing({ over: true }), negotiating({ over: true }),
    negotiating(), negotiating({ connectedMs: NOW })];
  for (const current of choices) {
    for (const pending of choices) {
      for (const robotPeerId of ["robot", "robot again", null]) {
        let facts = { current, pending, robotPeerId, retryAtMs: 0 };
        let count = 0;
        for (let next = step(facts); next !== "keep" && next !== "start"; next = step(facts)) {
          assert.ok(++count <= 3, `${next} again and again`);
          if (next === "dropCurrent") facts = { ...facts, current: null };
          if (next === "abandonPending") facts = { ...facts, pending: null };
          if (next === "promotePending") facts = { ...facts, current: facts.pending, pending: null };
        }
      }
    }
  }
});

test("a robot that is off-line does not make its session doubtful", () => {
  assert.ok(isAlive(flowing({ lastFrameMs: NOW - 2_000 }), null, NOW));
});

test("a session that lasted counts as a success", () => {
  assert.ok(!isSettled({ connectedMs: null }, NOW));
  assert.ok(!isSettled({ connectedMs: NOW - 5_000 }, NOW));
  assert.ok(isSettled({ connectedMs: NOW - 5_001 }, NOW));
});
