// When a session is kept, replaced or given up: one situation each, and the step that follows. In the
// end, what comes of many steps in a world where everything fails at random.

import assert from "node:assert/strict";
import test from "node:test";

import { ASK_MS, isAlive, isSettled, nextStep, silenceMs } from "../../viewer/supervisor.js";

const NOW = 100_000;

/** A session that came up a minute ago and whose media flows. */
const flowing = (changes = {}) => ({
  peerId: "robot",
  over: false,
  hungUp: false,
  startedMs: NOW - 61_000,
  offeredMs: NOW - 60_500,
  connectedMs: NOW - 60_000,
  lastFrameMs: NOW - 30,
  lastMessageMs: NOW - 500,
  askedMs: NOW - 600,
  pictured: ["front", "rear"],
  ...changes,
});

/** A session that was asked for half a second ago. */
const negotiating = (changes = {}) => ({
  peerId: "robot",
  over: false,
  hungUp: false,
  startedMs: NOW - 500,
  offeredMs: null,
  connectedMs: null,
  lastFrameMs: -Infinity,
  lastMessageMs: -Infinity,
  askedMs: -Infinity,
  pictured: [],
  ...changes,
});

/** One that is connected, but for no longer than this. */
const connected = (forMs, changes = {}) =>
  negotiating({ offeredMs: NOW - forMs - 100, connectedMs: NOW - forMs, ...changes });

/** A session without a sign of life for so long, though the robot was asked for one. */
const silent = (forMs, changes = {}) =>
  flowing({ lastFrameMs: NOW - forMs, lastMessageMs: NOW - forMs, askedMs: NOW - forMs + 150, ...changes });

const step = (changes) =>
  nextStep({
    nowMs: NOW,
    linkUp: true,
    robotPeerId: "robot",
    retryAtMs: 0,
    connectWithinMs: 1_000,
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

test("a session that is silent, and does not answer, is replaced while it is still there", () => {
  assert.equal(step({ current: silent(400) }), "keep");
  assert.equal(step({ current: silent(401) }), "start");
  assert.equal(step({ current: silent(401), linkUp: false }), "keep");
  assert.equal(step({ current: silent(401), robotPeerId: null }), "keep");
  assert.equal(step({ current: silent(401), retryAtMs: NOW + 1 }), "keep");
  assert.equal(step({ current: silent(401), pending: negotiating() }), "keep");
});

test("a session is silent only if the robot was asked, and had time to answer", () => {
  for (const askedMs of [NOW - 200, NOW - 2_001, -Infinity]) {
    assert.ok(isAlive(silent(2_000, { askedMs }), "robot", NOW), `asked at ${askedMs}`);
    assert.ok(!isAlive(silent(5_001, { askedMs }), "robot", NOW), "but not for ever");
  }
  assert.ok(!isAlive(silent(2_000, { askedMs: NOW - 201 }), "robot", NOW));
});

test("silence says more when the robot has another connection to the broker", () => {
  for (const [forMs, expected] of [[250, "keep"], [300, "keep"], [301, "start"]]) {
    assert.equal(step({ robotPeerId: "robot again", current: silent(forMs) }), expected, `${forMs} ms`);
  }
  assert.equal(step({ current: silent(400) }), "keep");
});

test("pictures or messages alone keep a session alive", () => {
  for (const robotPeerId of ["robot", "robot again", null]) {
    const lastFrameMs = NOW - 20_000;
    assert.equal(step({ robotPeerId, current: flowing({ lastFrameMs }) }), "keep");
    assert.equal(step({ robotPeerId, current: flowing({ lastFrameMs: -Infinity }) }), "keep");
    assert.equal(step({ robotPeerId, current: flowing({ lastMessageMs: NOW - 20_000 }) }), "keep");
    assert.equal(step({ robotPeerId, current: flowing({ lastMessageMs: -Infinity }) }), "keep");
  }
});

test("a robot that never says anything may show a picture that stands still", () => {
  const still = (forMs) => flowing({ lastFrameMs: NOW - forMs, lastMessageMs: -Infinity, askedMs: -Infinity });
  assert.equal(step({ current: still(5_000) }), "keep");
  assert.equal(step({ current: still(5_001) }), "start");
  assert.equal(step({ current: still(1_000), robotPeerId: "robot again" }), "keep");
  assert.equal(step({ current: still(1_001), robotPeerId: "robot again" }), "start");
  assert.equal(step({ current: still(5_000), robotPeerId: null }), "keep");
  assert.equal(step({ current: connected(5_000) }), "keep", "a new one has time for both");
  assert.equal(step({ current: connected(5_001) }), "start");
});

test("a robot that hung up has half a second to send pictures", () => {
  const hungUp = (forMs) => flowing({ hungUp: true, lastFrameMs: NOW - forMs, lastMessageMs: NOW });
  assert.equal(step({ current: hungUp(500) }), "keep");
  assert.equal(step({ current: hungUp(501) }), "start");
});

test("a session that is over goes at once, before anything else", () => {
  const over = flowing({ over: true });
  assert.equal(step({ current: over }), "dropCurrent");
  assert.equal(step({ current: over, pending: connected(0) }), "dropCurrent");
  assert.equal(step({ current: over, linkUp: false, robotPeerId: null }), "dropCurrent");
});

test("where nothing is shown a pending session is shown as soon as it is connected", () => {
  assert.equal(step({ pending: connected(0) }), "promotePending");
  assert.equal(step({ pending: connected(0), linkUp: false }), "promotePending");
  assert.equal(step({ pending: connected(0), current: silent(6_000, { pictured: [] }) }), "promotePending");
});

test("else it takes over with its first picture of a camera that is shown", () => {
  for (const linkUp of [true, false]) {
    for (const robotPeerId of ["robot", "robot again", null]) {
      const pending = (pictured) => connected(100, { pictured });
      const facts = { linkUp, robotPeerId, current: silent(6_000) };
      assert.equal(step({ ...facts, pending: pending([]) }), "keep");
      assert.equal(step({ ...facts, pending: pending(["other"]) }), "keep");
      assert.equal(step({ ...facts, pending: pending(["rear"]) }), "promotePending");
    }
  }
});

test("a robot that speaks need not have a picture", () => {
  const current = silent(6_000);
  const speaks = { lastMessageMs: NOW - 500 };
  assert.equal(step({ current, pending: connected(2_000, speaks) }), "keep");
  assert.equal(step({ current, pending: connected(2_001, speaks) }), "promotePending");
  assert.equal(step({ current, pending: connected(2_001) }), "giveUpPending");
  const spoke = { lastMessageMs: NOW - 1_500, askedMs: NOW - 1_200 };
  assert.equal(step({ current, pending: connected(2_001, spoke) }), "giveUpPending");
});

test("a pending session is abandoned when it fails, gets no answer or lost its robot", () => {
  assert.equal(step({ pending: negotiating() }), "keep");
  assert.equal(step({ pending: negotiating({ over: true }) }), "abandonPending");
  assert.equal(step({ pending: connected(0, { over: true }) }), "abandonPending");
  assert.equal(step({ pending: negotiating({ startedMs: NOW - 10_000 }) }), "keep");
  assert.equal(step({ pending: negotiating({ startedMs: NOW - 10_001 }) }), "abandonPending");
  assert.equal(step({ pending: negotiating(), linkUp: false }), "abandonPending");
  assert.equal(step({ pending: negotiating(), robotPeerId: null }), "abandonPending");
  assert.equal(step({ pending: negotiating(), robotPeerId: "robot again" }), "abandonPending");
});

test("a pending session that is answered but not connected is given up soon", () => {
  const answered = (forMs) => negotiating({ startedMs: NOW - 9_000, offeredMs: NOW - forMs });
  assert.equal(step({ pending: answered(1_000) }), "keep");
  assert.equal(step({ pending: answered(1_001) }), "giveUpPending");
  assert.equal(step({ pending: answered(1_001), connectWithinMs: 1_001 }), "keep");
});

test("a pending session is abandoned when the old one revives, even at the last moment", () => {
  for (const pending of [negotiating(), connected(0), connected(100, { pictured: ["front"] })]) {
    assert.equal(step({ pending, current: flowing() }), "abandonPending");
    const speaks = flowing({ lastFrameMs: NOW - 3_000, lastMessageMs: NOW });
    assert.equal(step({ pending, current: speaks }), "abandonPending");
  }
});

test("every sequence of steps comes to rest", () => {
  const choices = [null, flowing(), silent(6_000), flowing({ over: true }), negotiating({ over: true }),
    negotiating(), negotiating({ offeredMs: NOW - 2_000 }), connected(0), connected(3_000),
    connected(0, { pictured: ["front"] })];
  for (const current of choices) {
    for (const pending of choices) {
      for (const robotPeerId of ["robot", "robot again", null]) {
        let facts = { current, pending, robotPeerId, retryAtMs: 0 };
        let count = 0;
        for (let next = step(facts); next !== "keep" && next !== "start"; next = step(facts)) {
          assert.ok(++count <= 3, `${next} again and again`);
          if (next === "dropCurrent") facts = { ...facts, current: null };
          if (next === "promotePending") facts = { ...facts, current: facts.pending, pending: null };
          if (next.endsWith("Pending")) facts = { ...facts, pending: null };
        }
      }
    }
  }
});

test("a session that lasted counts as a success", () => {
  assert.ok(!isSettled({ connectedMs: null }, NOW));
  assert.ok(!isSettled({ connectedMs: NOW - 2_000 }, NOW));
  assert.ok(isSettled({ connectedMs: NOW - 2_001 }, NOW));
});

/** A linear congruential generator: the same sequences every time. */
function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const LOOK_MS = 100;

/** Robot, broker, path and viewer, in a time of their own. What the viewer does is up to the rules. */
class World {
  nowMs = 0;
  path = true;
  link = true;
  life = 1;
  robot = true;
  current = null;
  pending = null;
  retryAtMs = 0;
  starts = 0;
  steps = [];

  get robotPeerId() {
    return this.robot ? `robot ${this.life}` : null;
  }

  /** Whether media and messages of a session come through. */
  reaches(session) {
    return this.path && this.robot && session.peerId === this.robotPeerId && !session.over;
  }

  look() {
    this.nowMs += LOOK_MS;
    const { nowMs, current, pending } = this;
    for (const session of [current, pending].filter((session) => session?.connectedMs != null)) {
      if (this.reaches(session)) {
        session.lastFrameMs = session.lastMessageMs = nowMs;
        session.pictured = ["front"];
      } else if (silenceMs(session, nowMs) > ASK_MS) {
        const heardMs = Math.max(session.lastFrameMs, session.lastMessageMs);
        if (session.askedMs <= heardMs) session.askedMs = nowMs;
      }
      // As browsers say of a path that is gone for long.
      if (silenceMs(session, nowMs) > 20_000) session.over = true;
    }
    if (pending && pending.connectedMs === null && this.reaches(pending)) {
      if (pending.offeredMs === null) pending.offeredMs = nowMs;
      else if (nowMs - pending.offeredMs >= 300) pending.connectedMs = nowMs;
    } else if (pending && this.robot && this.link && pending.peerId === this.robotPeerId) {
      pending.offeredMs ??= nowMs;
    }
    for (let i = 0; i < 3 && this.#step(); i++);
  }

  #step() {
    const { nowMs, current, pending, retryAtMs, robotPeerId } = this;
    const alive = current !== null && isAlive(current, robotPeerId, nowMs);
    const facts = { nowMs, linkUp: this.link, robotPeerId, retryAtMs, connectWithinMs: 1_000, current, pending };
    const next = nextStep(facts);
    if (next !== "keep") this.steps.push(next);
    switch (next) {
      case "keep":
        return false;
      case "start":
        assert.equal(pending, null, "a third session");
        assert.ok(!alive, "a second session beside one that lives");
        this.starts += 1;
        this.pending = negotiating({ peerId: robotPeerId, startedMs: nowMs });
        return false;
      case "promotePending":
        assert.ok(pending.connectedMs !== null && !alive);
        assert.ok(current === null || current.pictured.length === 0 || pending.pictured.length > 0,
          "the shown pictures went before there were others");
        [this.current, this.pending] = [pending, null];
        return false;
      case "dropCurrent":
        assert.ok(current.over, "the shown session was closed without need");
        this.current = null;
        break;
      default:
        assert.notEqual(pending, null);
        this.pending = null;
    }
    this.retryAtMs = nowMs + 200;
    return true;
  }

  run(ms) {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) this.look();
  }

  /** A world whose pictures run. */
  static running() {
    const world = new World();
    world.run(5_000);
    assert.deepEqual(world.steps.splice(0), ["start", "promotePending"]);
    return world;
  }

  assertWell() {
    assert.ok(this.current && isAlive(this.current, this.robotPeerId, this.nowMs), "no pictures");
    assert.equal(this.pending, null, "two sessions");
  }
}

test("a path that is away for less than a third of a second is not noticed", () => {
  const world = World.running();
  for (let ms = 100; ms <= 300; ms += 100) {
    world.path = false;
    world.run(ms);
    world.path = true;
    world.run(1_000);
  }
  assert.deepEqual(world.steps, []);
  world.assertWell();
});

test("a path that is away for longer revives the session, and attempts end", () => {
  const world = World.running();
  world.path = false;
  world.run(3_000);
  assert.ok(world.steps.includes("start"));
  world.path = true;
  const { current } = world;
  world.run(500);
  assert.equal(world.current, current);
  world.assertWell();
});

test("the broker alone may go and come as it likes", () => {
  const world = World.running();
  for (const up of [false, true, false, true]) {
    world.link = up;
    world.run(7_000);
  }
  assert.deepEqual(world.steps, []);
});

test("broker and path go together, and pictures come back within a second of both", () => {
  const world = World.running();
  [world.link, world.path] = [false, false];
  world.run(10_000);
  assert.equal(world.starts, 1, "nobody can be asked");
  assert.equal(world.pending, null);
  [world.link, world.path] = [true, true];
  world.current.over = true;
  world.run(1_000);
  world.assertWell();
});

test("a robot that restarts is shown within a second of its return", () => {
  const world = World.running();
  world.robot = false;
  world.run(10_000);
  assert.deepEqual(world.steps, []);
  [world.robot, world.life] = [true, 2];
  world.run(1_000);
  assert.deepEqual(world.steps, ["start", "promotePending"]);
  world.assertWell();
});

test("whatever fails and in whatever order, there are never more than two sessions, and one in the end", () => {
  const random = generator(11);
  let [starts, promotions] = [0, 0];
  for (let sequence = 0; sequence < 300; sequence++) {
    const world = new World();
    for (let event = 0; event < 40; event++) {
      switch (random(8)) {
        case 0:
        case 1:
          world.path = !world.path;
          break;
        case 2:
        case 3:
          world.link = !world.link;
          break;
        case 4:
          world.robot = false;
          break;
        case 5:
          if (!world.robot) world.life += 1;
          world.robot = true;
          break;
        case 6:
          if (world.current) world.current.over = true;
          break;
        case 7:
          if (world.pending) world.pending.over = true;
          break;
      }
      world.run(random(25) * LOOK_MS);
    }
    [world.path, world.link, world.robot] = [true, true, true];
    world.run(2_000);
    world.assertWell();
    starts += world.starts;
    promotions += world.steps.filter((next) => next === "promotePending").length;
  }
  assert.ok(starts > 2_000 && promotions > 500, `too tame to prove a thing: ${starts}, ${promotions}`);
});
