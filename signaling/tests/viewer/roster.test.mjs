// Which robots there are, as the broker's words come in.

import assert from "node:assert/strict";
import test from "node:test";

import { Roster } from "../../viewer/roster.js";

const camera = (id) => ({ id, label: id, width: 640, height: 360 });
const peer = (id, name, ...cameras) => ({ id, name, cameras: cameras.map(camera) });

test("a robot is on-line while it has a connection, and stays listed afterwards", () => {
  const roster = new Roster(() => "");
  assert.deepEqual(roster.robots(), []);
  roster.joined(peer("p1", "rover", "front"));
  assert.deepEqual(roster.robots(), [{ name: "rover", peerId: "p1", cameras: [camera("front")] }]);
  roster.left("p1");
  assert.deepEqual(roster.robots(), [{ name: "rover", peerId: null, cameras: [camera("front")] }]);
});

test("a robot that comes back is the same robot, with the cameras of today", () => {
  const roster = new Roster(() => "");
  roster.joined(peer("p1", "rover", "front"));
  roster.left("p1");
  roster.joined(peer("p2", "rover", "front", "rear"));
  assert.deepEqual(roster.robots().map(({ name, peerId }) => [name, peerId]), [["rover", "p2"]]);
  assert.equal(roster.robot("rover").cameras.length, 2);
});

test("of two connections with one name the latest counts, and the other when it has left", () => {
  const roster = new Roster(() => "");
  roster.joined(peer("old", "rover"));
  roster.joined(peer("new", "rover"));
  assert.equal(roster.robot("rover").peerId, "new");
  roster.left("old");
  assert.equal(roster.robot("rover").peerId, "new", "the late farewell of the old one means nothing");
  roster.joined(peer("newer", "rover"));
  roster.left("newer");
  assert.equal(roster.robot("rover").peerId, "new");
});

test("the whole list replaces the connections, not the memory", () => {
  const roster = new Roster(() => "");
  roster.joined(peer("p1", "rover", "front"));
  roster.joined(peer("p2", "boat"));
  roster.replace([peer("p3", "arm"), peer("p4", "boat")]);
  const told = roster.robots().map(({ name, peerId }) => [name, peerId]);
  assert.deepEqual(told, [["arm", "p3"], ["boat", "p4"], ["rover", null]]);
  assert.deepEqual(roster.robot("rover").cameras, [camera("front")]);
});

test("a robot never heard of is off-line and has no cameras", () => {
  assert.deepEqual(new Roster(() => "").robot("ghost"), { name: "ghost", peerId: null, cameras: [] });
  const roster = new Roster(() => "");
  roster.left("nobody");
  assert.deepEqual(roster.robots(), []);
});

test("connections, names and cameras are bounded; the longest off-line are forgotten first", () => {
  const roster = new Roster(() => "");
  for (let i = 0; i < 3000; i++) roster.joined(peer(`p${i}`, `robot ${i}`));
  assert.equal(roster.robots().length, 2000);
  assert.ok(roster.robots().every(({ peerId }) => peerId !== null));

  for (let i = 0; i < 2000; i++) roster.left(`p${i}`);
  for (let i = 0; i < 1500; i++) roster.joined(peer(`q${i}`, `boat ${i}`));
  assert.equal(roster.robots().length, 2000);
  assert.equal(roster.robots().filter(({ peerId }) => peerId !== null).length, 1500);
  assert.deepEqual(roster.robot("robot 0").peerId, null);
  const kept = roster.robots().filter(({ name }) => name.startsWith("robot"));
  assert.ok(kept.every(({ name }) => Number(name.slice(6)) >= 1500), "the first to leave is kept");

  const many = Array.from({ length: 100 }, (_, i) => `c${i}`);
  roster.joined(peer("many", "many", ...many));
  assert.equal(roster.robot("many").cameras.length, 64);
});

test("the robot that is watched is on-line however many there are", () => {
  const list = Array.from({ length: 5000 }, (_, i) => peer(`p${i}`, `robot ${i}`));
  for (const chosen of [250, 1999, 2000, 4999]) {
    const roster = new Roster(() => `robot ${chosen}`);
    for (const tell of [() => roster.replace(list), () => list.forEach((robot) => roster.joined(robot))]) {
      tell();
      assert.equal(roster.robot(`robot ${chosen}`).peerId, `p${chosen}`);
      assert.equal(roster.robots().length, 2000);
      assert.ok(roster.robots().every(({ peerId }) => peerId !== null), "called off-line though it is not");
    }
    roster.left(`p${chosen}`);
    assert.equal(roster.robot(`robot ${chosen}`).peerId, null);
    for (let i = 0; i < 3000; i++) roster.joined(peer(`q${i}`, `robot ${chosen}`));
    assert.equal(roster.robot(`robot ${chosen}`).peerId, "q2999", "of many with its name the latest");
    assert.equal(roster.peers.size, 2000);
  }
});

test("a robot for which there is no room is not called off-line", () => {
  const roster = new Roster(() => "");
  roster.joined(peer("old", "rover"));
  roster.left("old");
  for (let i = 0; i < 2000; i++) roster.joined(peer(`p${i}`, `robot ${i % 1000}`));
  assert.ok(roster.robots().some(({ name }) => name === "rover"));
  roster.joined(peer("new", "rover"));
  assert.ok(!roster.robots().some(({ name }) => name === "rover"));
});

test("a connection that speaks again is not counted twice", () => {
  const roster = new Roster(() => "");
  for (let i = 0; i < 300; i++) roster.joined(peer("p1", `name ${i % 2}`));
  assert.equal(roster.peers.size, 1);
  assert.equal(roster.robot("name 0").peerId, null);
  assert.equal(roster.robot("name 1").peerId, "p1");
});
