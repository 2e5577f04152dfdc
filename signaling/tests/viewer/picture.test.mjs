// What is said of a camera's picture, and the figures made from counters.

import assert from "node:assert/strict";
import test from "node:test";

import { Latency, Meter, iconOf, judge, signalOf } from "../../viewer/picture.js";

const NOW = 50_000;
const verdict = (changes) =>
  judge({ nowMs: NOW, lastFrameMs: NOW - 20, report: null, paused: false, hint: "", ...changes });
const state = (changes) => verdict(changes).state;

test("pictures that come are live", () => {
  assert.deepEqual(verdict({}), { state: "live", title: "LIVE", detail: "", ageMs: 20 });
  assert.equal(state({ report: { state: "live", reason: "" } }), "live");
  assert.equal(state({ hint: "no link to the broker" }), "live");
});

test("a picture older than a second is frozen, whatever the robot says", () => {
  assert.equal(state({ lastFrameMs: NOW - 1_000 }), "live");
  for (const report of [null, { state: "live", reason: "" }]) {
    const frozen = verdict({ lastFrameMs: NOW - 1_001, report });
    assert.deepEqual(frozen, { state: "frozen", title: "FROZEN", detail: "no new picture", ageMs: 1_001 });
  }
  assert.equal(verdict({ lastFrameMs: 0, hint: "robot is off-line" }).detail, "robot is off-line");
  assert.equal(state({ lastFrameMs: 0, paused: true }), "frozen");
});

test("no picture yet is waiting, not frozen", () => {
  const first = verdict({ lastFrameMs: -Infinity, hint: "connecting" });
  assert.deepEqual([first.state, first.detail], ["waiting", "connecting"]);
});

test("a lost camera is lost even if a slate moves in its place", () => {
  const report = { state: "lost", reason: "no such device", forMs: 5_000 };
  for (const lastFrameMs of [NOW, 0, -Infinity]) {
    const lost = { state: "lost", title: "SIGNAL LOST", detail: "no such device", ageMs: 5_000 };
    assert.deepEqual(verdict({ report, lastFrameMs }), lost);
  }
});

test("every state without signal is told in words, also where the robot gives none", () => {
  const titles = { stalled: "SIGNAL LOST", lost: "SIGNAL LOST", failed: "CAMERA FAILED", off: "SWITCHED OFF" };
  for (const [state, title] of Object.entries(titles)) {
    const told = verdict({ report: { state, reason: "", forMs: null } });
    assert.deepEqual([told.state, told.title, told.ageMs], [state, title, null]);
    assert.equal(told.detail !== "", state !== "off");
    assert.equal(signalOf(state), state === "off" ? "off" : "lost");
    assert.ok(["lost", "off"].includes(iconOf(state)));
  }
  for (const state of ["live", "waiting", "frozen"]) {
    assert.deepEqual([signalOf(state), iconOf(state)], ["there", state]);
  }
});

test("a camera that starts again is not live, though old frames may come", () => {
  assert.equal(state({ report: { state: "starting", reason: "" } }), "waiting");
});

test("what the browser holds back is not live", () => {
  assert.equal(state({ paused: true }), "waiting");
});

test("rates need half a second, and are those of the last", () => {
  const meter = new Meter();
  assert.equal(meter.rates(), null);
  meter.sample(0, 0, 0);
  meter.sample(499, 15, 1_000);
  assert.equal(meter.rates(), null);
  meter.sample(500, 15, 125_000);
  assert.deepEqual(meter.rates(), { fps: 30, bps: 2_000_000 });
  for (let ms = 750; ms <= 10_000; ms += 250) meter.sample(ms, 15, 125_000);
  assert.deepEqual(meter.rates(), { fps: 0, bps: 0 }, "what was before does not count");
  assert.ok(meter.samples.length <= 7);
});

test("the latency is the median of the last second", () => {
  const latency = new Latency();
  assert.equal(latency.median(0), null);
  for (const [i, ms] of [40, 900, 30].entries()) latency.sample(i, ms);
  assert.equal(latency.median(10), 40, "one late frame is no news");
  assert.equal(latency.median(1_001), 30);
  assert.equal(latency.median(1_002), null, "nothing is said of what is long past");
  for (let i = 0; i < 10_000; i++) latency.sample(i, 1);
  assert.ok(latency.samples.length <= 250);
});
