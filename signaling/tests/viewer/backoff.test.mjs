// The waits between attempts: they grow, they scatter, they end nowhere.

import assert from "node:assert/strict";
import test from "node:test";

import { Backoff } from "../../viewer/backoff.js";

const waits = (backoff, count, random) => Array.from({ length: count }, () => backoff.next(random));

test("doubles up to the ceiling and stays there", () => {
  assert.deepEqual(waits(new Backoff(250, 5_000), 8, 1), [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
});

test("scatters between half of the step and all of it", () => {
  assert.deepEqual(waits(new Backoff(100, 400), 4, 0), [50, 100, 200, 200]);
  assert.deepEqual(waits(new Backoff(100, 400), 4, 0.5), [75, 150, 300, 300]);
});

test("starts over after a success", () => {
  const backoff = new Backoff(250, 5_000);
  waits(backoff, 10, 1);
  backoff.reset();
  assert.deepEqual(waits(backoff, 2, 1), [250, 500]);
});

test("never gives up, and never comes to zero", () => {
  const all = waits(new Backoff(250, 5_000), 10_000, 0);
  assert.ok(all.every((ms) => ms >= 125 && ms <= 5_000));
});
