// How long attempts may take, and the waits between them.

import assert from "node:assert/strict";
import test from "node:test";

import { Patience, Waits, pace } from "../../viewer/patience.js";

const MINUTE_MS = 60_000;

test("what never worked is tried less and less often", () => {
  const waits = new Waits();
  const all = Array.from({ length: 7 }, () => waits.next(0, 1));
  assert.deepEqual(all, [250, 500, 1000, 2000, 4000, 5000, 5000]);
  assert.ok(!waits.workedLately(0));
});

test("in an outage of what just worked nobody waits long, for two minutes", () => {
  const waits = new Waits();
  for (let i = 0; i < 5; i++) waits.next(0, 1);
  waits.worked(MINUTE_MS);
  for (let ms = MINUTE_MS; ms < 3 * MINUTE_MS; ms += 100) {
    assert.ok(waits.workedLately(ms));
    assert.deepEqual([waits.next(ms, 0), waits.next(ms, 1)], [100, 200]);
  }
  const later = Array.from({ length: 6 }, () => waits.next(3 * MINUTE_MS, 1));
  assert.deepEqual(later, [250, 500, 1000, 2000, 4000, 5000]);
});

test("that one thing worked says nothing of another", () => {
  const waits = new Waits();
  waits.worked(0);
  waits.reset();
  assert.ok(!waits.workedLately(0));
  assert.deepEqual([waits.next(0, 1), waits.next(0, 1)], [250, 500]);
});

const limits = { firstMs: 3_000, usualMs: [1_000, 2_000], mostMs: 10_000 };

test("patience grows with every failure, up to the most, and starts anew on another network", () => {
  const patience = new Patience(limits);
  const grown = Array.from({ length: 4 }, () => {
    const { ms } = patience;
    patience.exceeded();
    return ms;
  });
  assert.deepEqual(grown, [3_000, 6_000, 10_000, 10_000]);
  patience.reset();
  assert.equal(patience.ms, 3_000);
});

test("patience learns from successes, within its limits", () => {
  const patience = new Patience(limits);
  for (const [tookMs, expectedMs] of [[100, 1_000], [500, 1_500], [9_000, 2_000]]) {
    patience.exceeded();
    patience.succeeded(tookMs);
    assert.equal(patience.ms, expectedMs);
    patience.exceeded();
    assert.equal(patience.ms, 2 * expectedMs);
    patience.reset();
    assert.equal(patience.ms, expectedMs);
  }
});

test("attempts in the dark are quick at first, then longer and fewer, and never stop", () => {
  const row = Array.from({ length: 100 }, (_, failures) => pace(failures, 500, 5_000));
  assert.deepEqual(row[0], { withinMs: 500, waitMs: 200 });
  for (const [i, { withinMs, waitMs }] of row.entries()) {
    assert.ok(i === 0 || (withinMs >= row[i - 1].withinMs && waitMs >= row[i - 1].waitMs));
    assert.ok(withinMs <= 8_000 && waitMs <= 5_000);
  }
  for (const failures of [3, 4]) assert.equal(pace(failures, 3_000, 5_000).withinMs, 3_000);
});

test("an attempt outlasts what the browser holds it back for, by the time that it does", () => {
  for (const [heldBackMs, from] of [[5_000, 14], [60_000, 4]]) {
    for (let failures = from; failures < 40; failures++) {
      assert.ok(pace(failures, 500, heldBackMs).withinMs >= heldBackMs + 3_000);
    }
  }
});
