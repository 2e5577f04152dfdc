// One session's control channel: signals that come and go, requests and their answers.

import assert from "node:assert/strict";
import test from "node:test";

import { Control } from "../../viewer/control.js";

/** A control channel whose messages are collected. */
function channel(open = true) {
  const sent = [];
  const control = new Control((message) => open && sent.push(message) > 0);
  return { sent, control };
}

const part = (request, index, parts, text) =>
  ({ type: "snapshot", request, part: index, parts, jpeg: Buffer.from(text).toString("base64") });

test("signals are lost until they are restored", () => {
  const { control } = channel();
  const lost = (camera, reason) => control.heard({ type: "signal_lost", camera, state: "lost", reason, sinceUs: 1 });
  lost("a", "first");
  lost("b", "gone");
  lost("a", "second");
  assert.equal(control.signals.get("a").reason, "second");
  control.heard({ type: "signal_restored", camera: "a", lostUs: 5 });
  control.heard({ type: "signal_restored", camera: "c", lostUs: 5 });
  assert.deepEqual([...control.signals.keys()], ["b"]);
  for (let i = 0; i < 1_000; i++) lost(`c${i}`, "");
  assert.equal(control.signals.size, 64, "more than a robot can have");
});

test("each request gets its own answer", async () => {
  const { sent, control } = channel();
  const first = control.ask({ type: "key_frame", camera: "a" });
  const second = control.ask({ type: "set_camera", camera: "a", fps: 5 });
  assert.deepEqual(sent, [
    { type: "key_frame", camera: "a", request: 1 },
    { type: "set_camera", camera: "a", fps: 5, request: 2 },
  ]);
  control.heard({ type: "result", request: 2, error: { code: "refused", details: "too slow" } });
  control.heard({ type: "result", request: 1, error: null });
  control.heard({ type: "result", request: 1, error: { code: "refused", details: "late" } });
  control.heard({ type: "result", request: 99, error: null });
  assert.deepEqual(await first, []);
  await assert.rejects(second, { message: "too slow" });
});

test("a snapshot is put together", async () => {
  const { control } = channel();
  const snapshot = control.ask({ type: "take_snapshot", camera: "a" });
  control.heard(part(1, 0, 2, "ab"));
  control.heard(part(7, 0, 1, "of another request"));
  control.heard(part(1, 1, 2, "c"));
  assert.equal(Buffer.concat(await snapshot).toString(), "abc");
});

test("a snapshot that is damaged fails in words", async () => {
  const damaged = { message: "The robot's snapshot is damaged." };
  const broken = [
    [part(1, 1, 2, "second first")],
    [part(1, 0, 2, "a"), part(1, 0, 2, "twice")],
    [part(1, 0, 0, "none of none")],
    [{ ...part(1, 0, 1, ""), jpeg: "?" }],
    Array.from({ length: 200 }, (_, index) => part(1, index, 200, "x".repeat(24 * 1024))),
  ];
  for (const parts of broken) {
    const { control } = channel();
    const snapshot = assert.rejects(control.ask({ type: "take_snapshot", camera: "a" }), damaged);
    parts.forEach((part) => control.heard(part));
    await snapshot;
  }
});

test("what cannot be asked, or is not answered before the end, fails in words", async () => {
  const closed = channel(false).control.ask({ type: "key_frame", camera: "a" });
  await assert.rejects(closed, { message: "There is no way to the robot just now." });
  const { control } = channel();
  const asked = control.ask({ type: "key_frame", camera: "a" });
  control.close();
  await assert.rejects(asked, { message: "The session is over." });
});

test("a robot that says nothing is given up", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { control } = channel();
  const asked = control.ask({ type: "key_frame", camera: "a" });
  context.mock.timers.tick(15_000);
  await assert.rejects(asked, { message: "The robot does not answer." });
});

test("what the robot says of our rights is kept", async () => {
  const { control } = channel();
  const asked = control.ask({ type: "key_frame", camera: "a" });
  control.heard({ type: "result", request: 1, error: { code: "refused", details: "busy" } });
  await assert.rejects(asked);
  assert.equal(control.denied, "");
  const again = control.ask({ type: "key_frame", camera: "a" });
  control.heard({ type: "result", request: 2, error: { code: "notAuthorised", details: "not you" } });
  await assert.rejects(again);
  assert.equal(control.denied, "not you");
});
