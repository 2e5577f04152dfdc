// @ts-check
// Which robots there are. A robot is known by its name, which outlives its connections; one that
// left stays in the list as off-line. Pure: told what the broker says, asked what to show.

import { MAX_CAMERAS, MAX_ROBOTS } from "./protocol.js";

/** @typedef {import("./protocol.js").Producer} Producer */
/** @typedef {import("./protocol.js").CameraMeta} CameraMeta */
/** @typedef {{name: string, peerId: string | null, cameras: CameraMeta[]}} Robot Off-line: no peer id. */

export class Roster {
  constructor() {
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
    return [...this.seen.keys()].sort().map((name) => this.robot(name));
  }

  /**
   * @param {string} name
   * @returns {Robot}
   */
  robot(name) {
    // Of several connections with one name the latest is the robot; the others are its past.
    const peer = [...this.peers.values()].filter((peer) => peer.name === name).pop();
    return { name, peerId: peer?.id ?? null, cameras: this.seen.get(name) ?? [] };
  }

  /** Keeps the list bounded: the robots longest off-line go first. */
  #forget() {
    const online = new Set([...this.peers.values()].map((peer) => peer.name));
    for (const name of this.seen.keys()) {
      if (this.seen.size <= MAX_ROBOTS) return;
      if (!online.has(name)) this.seen.delete(name);
    }
  }
}
