// Where the tiles go: rules that hold for every number of cameras on every screen.

import assert from "node:assert/strict";
import test from "node:test";

import { layout } from "../../viewer/layout.js";

const ROOMS = [[1920, 1000], [1280, 700], [1000, 1000], [820, 1100], [390, 700], [844, 300], [320, 400], [60, 60]];
const ASPECTS = [0.5, 4 / 3, 16 / 9, 3];
const rooms = ROOMS.map(([width, height]) => ({ width, height }));

/** Every number of cameras, room and aspect ratio. */
function forAll(counts, check) {
  for (const room of rooms) {
    for (const aspect of ASPECTS) {
      for (const count of counts) {
        const where = `${count} in ${room.width}x${room.height} at ${aspect.toFixed(2)}`;
        check(count, room, aspect, where);
      }
    }
  }
}

function assertSound(boxes, count, room, where) {
  assert.equal(boxes.length, count, where);
  for (const [i, box] of boxes.entries()) {
    const { x, y, width, height } = box;
    assert.ok([x, y, width, height].every(Number.isFinite), `${where}: ${JSON.stringify(box)}`);
    assert.ok(width > 0 && height > 0, `${where}: an empty box ${JSON.stringify(box)}`);
    // One pixel for rounding; downwards the grid scrolls.
    assert.ok(x >= -1 && y >= -1 && x + width <= room.width + 1, `${where}: outside`);
    for (const other of boxes.slice(i + 1)) {
      const beside = x + width <= other.x || other.x + other.width <= x;
      const above = y + height <= other.y || other.y + other.height <= y;
      assert.ok(beside || above, `${where}: ${JSON.stringify(box)} over ${JSON.stringify(other)}`);
    }
  }
}

test("equal tiles are alike, apart from each other and in reach", () => {
  forAll([0, 1, 2, 3, 4, 5, 7, 9, 16, 33, 64], (count, room, aspect, where) => {
    const boxes = layout(count, null, room, aspect);
    assertSound(boxes, count, room, where);
    const sizes = new Set(boxes.map(({ width, height }) => `${width}x${height}`));
    assert.ok(sizes.size <= 1, `${where}: ${[...sizes]}`);
  });
});

test("tiles keep the order of the cameras: row by row, from left to right", () => {
  forAll([2, 3, 5, 8], (count, room, aspect, where) => {
    const boxes = layout(count, null, room, aspect);
    for (const [i, box] of boxes.entries()) {
      const next = boxes[i + 1];
      assert.ok(!next || next.y > box.y || (next.y === box.y && next.x > box.x), where);
    }
  });
});

test("a few cameras fit on a desktop without scrolling", () => {
  const room = { width: 1280, height: 700 };
  for (let count = 1; count <= 16; count++) {
    for (const { y, height } of layout(count, null, room, 16 / 9)) assert.ok(y + height <= 701);
  }
});

test("two cameras go side by side on a wide screen, and above each other on a tall one", () => {
  const [a, b] = layout(2, null, { width: 1600, height: 600 }, 16 / 9);
  assert.ok(a.y === b.y && a.x < b.x);
  const [c, d] = layout(2, null, { width: 600, height: 1600 }, 16 / 9);
  assert.ok(c.x === d.x && c.y < d.y);
});

test("an enlarged camera is the largest, whichever it is", () => {
  forAll([1, 2, 3, 5, 9], (count, room, aspect, where) => {
    if (room.width < 300) return;
    for (let enlarged = 0; enlarged < count; enlarged++) {
      const boxes = layout(count, enlarged, room, aspect);
      assertSound(boxes, count, room, `${where}, ${enlarged} enlarged`);
      const area = ({ width, height }) => width * height;
      const others = boxes.filter((_, i) => i !== enlarged);
      assert.ok(others.every((box) => area(box) < area(boxes[enlarged])), where);
      assert.ok(area(boxes[enlarged]) >= 0.6 * room.width * room.height, where);
    }
  });
});

test("an enlarged camera that is alone has the whole room", () => {
  const room = { width: 800, height: 600 };
  assert.deepEqual(layout(1, 0, room, 16 / 9), [{ x: 0, y: 0, ...room }]);
});
