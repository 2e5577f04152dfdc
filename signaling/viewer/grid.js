// @ts-check
// All cameras on the page, and which of them is enlarged. The boxes come from layout.js.

import { find } from "./dom.js";
import { layout } from "./layout.js";
import { Tile } from "./tile.js";

/** @typedef {import("./protocol.js").CameraMeta} CameraMeta */

const ASPECT = 16 / 9;

export class Grid {
  #element = find(document, "#grid", HTMLElement);
  #shape = find(document, "#tile-shape", HTMLTemplateElement);
  /** @type {Map<string, Tile>} by camera, in the order on the page */
  #tiles = new Map();
  #aspect = ASPECT;
  /** @type {string | null} a camera: its place in the order may change */
  #enlarged = null;
  #onMenu;

  /** @param {(camera: CameraMeta) => void} onMenu */
  constructor(onMenu) {
    this.#onMenu = onMenu;
    new ResizeObserver(() => this.#place()).observe(this.#element);
  }

  /**
   * Tiles of cameras that stay keep their picture.
   * @param {CameraMeta[]} cameras
   */
  setCameras(cameras) {
    const before = this.#tiles;
    this.#tiles = new Map(
      cameras.map(({ id }) => [id, before.get(id) ?? new Tile(this.#shape, () => this.#toggle(id), this.#onMenu)]),
    );
    for (const [id, tile] of before) if (!this.#tiles.has(id)) tile.remove();
    cameras.forEach((camera, index) => {
      const tile = this.#tiles.get(camera.id);
      if (!tile) return;
      tile.describe(camera, index);
      // Moving an element stops its video; most of the time nothing moves.
      const next = this.#element.children[index] ?? null;
      if (next !== tile.element) this.#element.insertBefore(tile.element, next);
    });
    const shaped = cameras.find(({ width, height }) => width > 0 && height > 0);
    this.#aspect = shaped ? Math.min(Math.max(shaped.width / shaped.height, 0.5), 3) : ASPECT;
    this.#place();
  }

  /** @param {import("./session.js").Session} session */
  show(session) {
    for (const track of session.tracks.values()) this.#tiles.get(track.camera)?.show(track);
  }

  /** The session of the pictures is about to end. */
  keepPictures() {
    for (const tile of this.#tiles.values()) tile.keepPicture();
  }

  /**
   * @param {number} nowMs
   * @param {(camera: string) => import("./tile.js").Report} reportOf
   * @param {string} hint
   */
  refresh(nowMs, reportOf, hint) {
    for (const [id, tile] of this.#tiles) tile.refresh(nowMs, reportOf(id), hint);
  }

  /** Enlarges the camera at this place; the enlarged one goes back. */
  toggleAt(/** @type {number} */ index) {
    const id = [...this.#tiles.keys()][index];
    if (id !== undefined) this.#toggle(id);
  }

  /** Back to all cameras. */
  reduce() {
    this.#enlarged = null;
    this.#place();
  }

  /** @param {string} id */
  #toggle(id) {
    this.#enlarged = this.#enlarged === id ? null : id;
    this.#place();
  }

  #place() {
    const ids = [...this.#tiles.keys()];
    const index = this.#enlarged === null ? -1 : ids.indexOf(this.#enlarged);
    const room = { width: this.#element.clientWidth, height: this.#element.clientHeight };
    if (room.width === 0 || room.height === 0) return;
    const boxes = layout(ids.length, index < 0 ? null : index, room, this.#aspect);
    [...this.#tiles.values()].forEach((tile, i) => {
      tile.place(boxes[i]);
      tile.role = index < 0 ? "equal" : i === index ? "enlarged" : "aside";
    });
  }
}
