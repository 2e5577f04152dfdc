// The robot's clock as seen from here, and what RTP timestamps say on it.

import assert from "node:assert/strict";
import test from "node:test";

import { OffsetEstimator, captureUs, toUs } from "../../viewer/clock.js";
import { Track } from "../../viewer/track.js";

test("our clock counts from the epoch, in whole microseconds", () => {
  assert.equal(toUs(0), Math.round(performance.timeOrigin * 1000));
  assert.ok(Number.isSafeInteger(toUs(performance.now())));
  assert.ok(Math.abs(toUs(performance.now()) / 1000 - Date.now()) < 60_000);
});

test("knows nothing before the first exchange", () => {
  assert.equal(new OffsetEstimator().best(), null);
});

test("finds the offset where both ways take as long", () => {
  const estimator = new OffsetEstimator();
  // The robot is 1,000,000 ahead, each way takes 300, the robot 50.
  estimator.exchange(10_000, 1_010_300, 1_010_350, 10_650);
  assert.deepEqual(estimator.best(), { offsetUs: 1_000_000, rttUs: 600 });
});

test("errs by no more than half the round trip where one way takes all of it", () => {
  for (const [out, back] of [[800, 0], [0, 800]]) {
    const estimator = new OffsetEstimator();
    estimator.exchange(0, -5_000 + out, -5_000 + out, out + back);
    const { offsetUs, rttUs } = estimator.best();
    assert.equal(rttUs, 800);
    assert.ok(Math.abs(offsetUs + 5_000) <= rttUs / 2);
  }
});

test("trusts the shortest round trip, as long as it is among the last sixteen", () => {
  const estimator = new OffsetEstimator();
  const exchange = (offsetUs, wayUs) =>
    estimator.exchange(0, wayUs + offsetUs, wayUs + offsetUs, 2 * wayUs);
  exchange(7, 10);
  for (let i = 0; i < 15; i++) exchange(100 + i, 500 + i);
  assert.deepEqual(estimator.best(), { offsetUs: 7, rttUs: 20 });
  exchange(200, 600);
  assert.deepEqual(estimator.best(), { offsetUs: 100, rttUs: 1000 });
  for (let i = 0; i < 1000; i++) exchange(1, 1);
  assert.equal(estimator.exchanges.length, 16);
});

test("ignores times that contradict each other", () => {
  const estimator = new OffsetEstimator();
  estimator.exchange(0, 500, 400, 1000);
  estimator.exchange(1000, 0, 0, 900);
  estimator.exchange(0, 0, 1001, 1000);
  assert.equal(estimator.best(), null);
});

test("RTP timestamps lie before and after their anchor", () => {
  const anchor = { rtp: 90_000, captureUs: 5_000_000 };
  assert.equal(captureUs(anchor, 90_000), 5_000_000);
  assert.equal(captureUs(anchor, 90_090), 5_001_000);
  assert.equal(captureUs(anchor, 0), 4_000_000);
});

test("RTP timestamps wrap around, forwards and backwards", () => {
  const beforeWrap = { rtp: 0xffff_ffff, captureUs: 1_000_000 };
  assert.equal(captureUs(beforeWrap, 8_999), 1_100_000);
  const afterWrap = { rtp: 8_999, captureUs: 1_100_000 };
  assert.equal(captureUs(afterWrap, 0xffff_ffff), 1_000_000);
});

test("a frame's age spans capture on the robot's clock and display on ours", () => {
  const track = new Track("front", "0", /** @type {any} */ ({ id: "t" }));
  const shownMs = 2_000;
  const frame = { expectedDisplayTime: shownMs, rtpTimestamp: 8_999 };
  track.presented(frame, 2_001);
  assert.equal(track.latency.median(2_001), null, "without anchor and offset there is no age");
  assert.equal(track.lastFrameMs, 2_001);

  // Captured 40 ms before it is shown; the robot's clock is an hour behind.
  const offsetUs = -3_600e6;
  const capturedUs = toUs(shownMs) + offsetUs - 40_000;
  track.anchor = { rtp: 0xffff_ffff, captureUs: capturedUs - 100_000 };
  track.offset = { offsetUs, rttUs: 500 };
  track.presented(frame, 2_002);
  assert.equal(track.latency.median(2_002), 40);
  track.presented({ presentationTime: 2_000 }, 2_003);
  assert.equal(track.latency.samples.length, 1, "no RTP timestamp, no age");
});

test("counters that the browser does not know, or that are less than nothing, count as none", () => {
  const track = new Track("front", "0", /** @type {any} */ ({ id: "t" }));
  track.counted({}, 1_000);
  assert.deepEqual([track.frames, track.packetsLost, track.lastFrameMs], [0, 0, -Infinity]);
  track.counted({ framesDecoded: 3, packetsLost: -2, bytesReceived: 10 }, 2_000);
  assert.deepEqual([track.frames, track.packetsLost, track.lastFrameMs], [3, 0, 2_000]);
  track.counted({ framesDecoded: 3, packetsLost: 5 }, 3_000);
  assert.deepEqual([track.packetsLost, track.lastFrameMs], [5, 2_000]);
});
