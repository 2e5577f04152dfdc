// @ts-check
// Which robots there are. A robot is known by its name, which outlives its connections; one that
// left stays in the list as off-line. Pure: told what the broker says, asked what to show.

import { MAX_CAMERAS } from "./protocol.js";

/** So many are shown to choose from; the chosen one is always among them. */
const MAX_ROBOTS = 2_000;

/** @typedef {import("./protocol.js").Producer} Producer */
/** @typedef {import("./protocol.js").CameraMeta} CameraMeta */
/** @typedef {{name: string, peerId: string | null, cameras: CameraMeta[]}} Robot Off-line: no peer id. */

export class Roster {
  #chosen;

  /** @param {() => string} chosen the name of the robot that is watched */
  constructor(chosen) {
    this.#chosen = chosen;
    /** @type {Map<string, Producer>} by peer id, the latest last */
    this.peers = new Map();
    /** @type {Map<string, CameraMeta[]>} the cameras of every robot seen, by its name, the latest last */
    this.seen = new Map();
  }

  /**
   * The broker's whole list.
   * @param {Producer[]} producers
   */
  replace(producers) {
    this.peers.clear();
    for (const producer of producers) this.joined(producer);
  }

  /** @param {Producer} producer */
  joined(producer) {
    this.peers.delete(producer.id);
    if (this.peers.size === MAX_ROBOTS) this.#makeRoom(producer.name);
    if (this.peers.size === MAX_ROBOTS) return;
    this.peers.set(producer.id, producer);
    this.seen.delete(producer.name);
    this.seen.set(producer.name, producer.cameras.slice(0, MAX_CAMERAS));
    this.#forget();
  }

  /** @param {string} peerId */
  left(peerId) {
    this.peers.delete(peerId);
  }

  /** @returns {Robot[]} sorted by name */
  robots() {
    /** @type {Map<string, string>} */
    const online = new Map();
    for (const { id, name } of this.peers.values()) online.set(name, id);
    return [...this.seen.keys()].sort().map((name) => this.#robot(name, online.get(name) ?? null));
  }

  /**
   * @param {string} name
   * @returns {Robot}
   */
  robot(name) {
    // Of several connections with one name the latest is the robot; the others are its past.
    const peer = [...this.peers.values()].filter((peer) => peer.name === name).pop();
    return this.#robot(name, peer?.id ?? null);
  }

  /**
   * @param {string} name
   * @param {string | null} peerId
   * @returns {Robot}
   */
  #robot(name, peerId) {
    return { name, peerId, cameras: this.seen.get(name) ?? [] };
  }

  /**
   * There are too many: one that nobody watches is not listed any more. Called off-line it would be
   * something false.
   * @param {string} name of the one that comes
   */
  #makeRoom(name) {
    if (name !== this.#chosen()) {
      if (this.robot(name).peerId === null) this.seen.delete(name);
      return;
    }
    const peers = [...this.peers.values()];
    const other = peers.find((peer) => peer.name !== name) ?? peers[0];
    this.peers.delete(other.id);
    if (this.robot(other.name).peerId === null) this.seen.delete(other.name);
  }

  /** Keeps the list bounded: the robots longest off-line go first. */
  #forget() {
    if (this.seen.size <= MAX_ROBOTS) return;
    const kept = new Set([...this.peers.values()].map((peer) => peer.name)).add(this.#chosen());
    for (const name of this.seen.keys()) {
      if (this.seen.size <= MAX_ROBOTS) return;
      if (!kept.has(name)) this.seen.delete(name);
    }
  }
}
