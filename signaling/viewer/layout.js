// @ts-check
// Where the tiles go. Pure: numbers in, boxes out, in pixels of the grid.

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

const GAP = 8;
/** What a tile adds to the height of its picture: its name and its figures, aside only the name. */
const BARS_HEIGHT = 60;
const BARS_HEIGHT_ASIDE = 32;
/** Narrower pictures say nothing; the grid scrolls instead. */
const MIN_WIDTH = 90;

/**
 * @param {number} count how many tiles
 * @param {number | null} enlarged which of them takes most of the room
 * @param {{width: number, height: number}} room
 * @param {number} aspect the pictures' width to height
 * @returns {Box[]} one for each tile
 */
export function layout(count, enlarged, room, aspect) {
  const whole = { x: 0, y: 0, ...room };
  if (enlarged === null) return cells(count, whole, aspect, BARS_HEIGHT);
  if (count === 1) return [whole];
  // The strip lies along the edge that costs the big picture least.
  const beside = room.width / room.height > aspect;
  const spare = beside ? room.width - room.height * aspect : room.height - room.width / aspect;
  const along = beside ? room.width : room.height;
  const strip = Math.round(Math.min(Math.max(spare, along * 0.18), along * 0.3));
  const big = beside
    ? { ...whole, width: room.width - strip - GAP }
    : { ...whole, height: room.height - strip - GAP };
  const edge = beside
    ? { x: big.width + GAP, y: 0, width: strip, height: room.height }
    : { x: 0, y: big.height + GAP, width: room.width, height: strip };
  const boxes = cells(count - 1, edge, aspect, BARS_HEIGHT_ASIDE);
  boxes.splice(enlarged, 0, big);
  return boxes;
}

/**
 * Equal cells, as large as they can be, in the middle of their room; an incomplete last row is
 * centred, too.
 * @param {number} count
 * @param {Box} room
 * @param {number} aspect
 * @param {number} barsHeight
 * @returns {Box[]}
 */
function cells(count, room, aspect, barsHeight) {
  const choices = Array.from({ length: count }, (_, i) => {
    const columns = i + 1;
    const rows = Math.ceil(count / columns);
    const cellWidth = (room.width - GAP * (columns - 1)) / columns;
    const cellHeight = (room.height - GAP * (rows - 1)) / rows;
    return { columns, rows, width: Math.min(cellWidth, (cellHeight - barsHeight) * aspect) };
  });
  const columns = Math.max(1, Math.min(count, Math.floor((room.width + GAP) / (MIN_WIDTH + GAP))));
  const scrolling = { columns, rows: Math.ceil(count / columns), width: Math.min(MIN_WIDTH, room.width) };
  const best = choices.reduce((a, b) => (b.width > a.width ? b : a), scrolling);
  const width = Math.floor(best.width);
  const height = Math.floor(width / aspect + barsHeight);
  const top = Math.max(0, (room.height - best.rows * (height + GAP) + GAP) / 2);
  return Array.from({ length: count }, (_, i) => {
    const row = Math.floor(i / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const left = (room.width - inRow * (width + GAP) + GAP) / 2;
    return {
      x: Math.round(room.x + left + (i % best.columns) * (width + GAP)),
      y: Math.round(room.y + top + row * (height + GAP)),
      width,
      height,
    };
  });
}
