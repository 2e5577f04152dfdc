// What the page says in words: figures, the way to the robot; and what its address says to it.

import assert from "node:assert/strict";
import test from "node:test";

import { age, bitrate, gibibytes, uptime } from "../../viewer/format.js";
import { readSettings, withRobot } from "../../viewer/settings.js";
import { tell } from "../../viewer/situation.js";

test("figures as people read them", () => {
  assert.deepEqual([null, undefined, 0, 999_499, 999_500, 12_345_678].map(bitrate),
    ["–", "–", "0 kb/s", "999 kb/s", "1.0 Mb/s", "12.3 Mb/s"]);
  assert.equal(gibibytes(3 * 2 ** 30), "3.0");
  assert.deepEqual([-5, 0, 1_234, 60_000, 754_000, 3_600_000, 3_725_000].map(age),
    ["0.0 s", "0.0 s", "1.2 s", "1:00 min", "12:34 min", "1:00:00 h", "1:02:05 h"]);
  assert.deepEqual([59, 3_600, 90_061].map(uptime), ["0 min", "1 h 0 min", "1 d 1 h"]);
});

test("the seconds of an age never read sixty", () => {
  assert.deepEqual([59_940, 59_999, 60_000, 119_999].map(age), ["59.9 s", "59.9 s", "1:00 min", "1:59 min"]);
});

const way = (changes) =>
  tell({
    linkUp: true,
    everUp: true,
    refusal: "",
    robot: "rover",
    robotOnline: true,
    robotsOnline: 1,
    connected: true,
    mediaFlows: true,
    ...changes,
  });

test("says nothing while all is well", () => {
  assert.deepEqual(way({}), { level: "none", banner: "", hint: "" });
});

test("tells a lost broker from a lost robot, and whether pictures go on", () => {
  const said = (changes) => [way(changes).level, way(changes).banner];
  assert.deepEqual(said({ linkUp: false }), ["bad", "No link to the broker. Pictures go on."]);
  assert.deepEqual(said({ linkUp: false, mediaFlows: false }), ["bad", "No link to the broker. Trying again."]);
  assert.deepEqual(said({ linkUp: false, everUp: false, mediaFlows: false }), ["info", "Looking for the broker."]);
  const refusal = "This link has expired: ask for a new one.";
  assert.deepEqual(said({ linkUp: false, refusal }), ["bad", `${refusal} Pictures go on.`]);
  assert.deepEqual(said({ linkUp: false, mediaFlows: false, everUp: false, refusal }), ["bad", refusal]);
  assert.deepEqual(said({ robotOnline: false }), ["info", "rover has left the broker. Pictures go on."]);
  assert.deepEqual(said({ robotOnline: false, mediaFlows: false }), ["bad", "rover is off-line. Waiting for it."]);
  assert.deepEqual(said({ connected: false, mediaFlows: false }), ["info", "Connecting to rover."]);
  assert.deepEqual(said({ robot: "", robotsOnline: 2 }), ["info", "Choose a robot."]);
  assert.deepEqual(said({ robot: "", robotsOnline: 0 }), ["info", "No robot is on-line. Waiting for one."]);
});

test("a camera without a picture is told why", () => {
  assert.equal(way({ linkUp: false }).hint, "no link to the broker");
  assert.equal(way({ robotOnline: false, mediaFlows: false }).hint, "robot is off-line");
  assert.equal(way({ connected: false }).hint, "connecting");
});

test("the address chooses robot, cameras and buffer", () => {
  assert.deepEqual(readSettings(""), { robot: "", cameras: [], bufferMs: 0, icePolicy: "all" });
  assert.deepEqual(readSettings("#robot=a%20b&cameras=x,,y&buffer=150"),
    { robot: "a b", cameras: ["x", "y"], bufferMs: 150, icePolicy: "all" });
  const buffers = ["-1", "x", "", "NaN", "1e9", "Infinity"];
  const policies = ["relay", "all", "none", ""].map((ice) => readSettings(`#ice=${ice}`).icePolicy);
  assert.deepEqual(policies, ["relay", "all", "all", "all"]);
  assert.deepEqual(buffers.map((ms) => readSettings(`#buffer=${ms}`).bufferMs), [0, 0, 0, 0, 4_000, 4_000]);
});

test("another robot has other cameras; the first keeps those that were asked for", () => {
  assert.deepEqual(readSettings(withRobot("#cameras=front&buffer=50", "rover & co")),
    { robot: "rover & co", cameras: ["front"], bufferMs: 50, icePolicy: "all" });
  assert.deepEqual(readSettings(withRobot("#robot=boat&cameras=mast&buffer=50", "rover")),
    { robot: "rover", cameras: [], bufferMs: 50, icePolicy: "all" });
});
