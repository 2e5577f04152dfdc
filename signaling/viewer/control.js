// @ts-check
// The reliable channel of one session: which cameras have no signal, and requests with their
// answers. No page, no connection: what is sent goes out by a function.

import { MAX_CAMERAS } from "./protocol.js";

/** @typedef {import("./protocol.js").ControlMessage} ControlMessage */
/** @typedef {import("./protocol.js").SignalLost} SignalLost */
/**
 * A request without its number.
 * @typedef {{type: "set_camera" | "key_frame" | "take_snapshot", camera: string,
 *   bitrateKbps?: number, fps?: number, enabled?: boolean}} Wish
 */
/**
 * @typedef {object} Pending
 * @property {Uint8Array[]} parts of the snapshot, as far as they have come
 * @property {(parts: Uint8Array[]) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
 */

const ANSWER_WITHIN_MS = 15_000;
const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024;

export class Control {
  #send;
  /** @type {Map<number, Pending>} by request */
  #pending = new Map();
  #lastRequest = 0;

  /** @param {(message: object) => boolean} send false when that is not possible now */
  constructor(send) {
    this.#send = send;
    /** Why we may not ask for anything, as the robot said; empty until it does. */
    this.denied = "";
    /** @type {Map<string, SignalLost>} cameras without signal */
    this.signals = new Map();
  }

  /**
   * Asks for something. Fails with an error in words.
   * @param {Wish} wish
   * @returns {Promise<Uint8Array[]>} the parts of a snapshot; of other requests none
   */
  ask(wish) {
    const request = ++this.#lastRequest;
    return new Promise((resolve, reject) => {
      const late = () => this.#fail(request, "The robot does not answer.");
      const timer = setTimeout(late, ANSWER_WITHIN_MS);
      this.#pending.set(request, { parts: [], resolve, reject, timer });
      if (!this.#send({ ...wish, request })) this.#fail(request, "There is no way to the robot just now.");
    });
  }

  /** @param {ControlMessage} message */
  heard(message) {
    switch (message.type) {
      case "signal_lost":
        if (this.signals.has(message.camera) || this.signals.size < MAX_CAMERAS) {
          this.signals.set(message.camera, message);
        }
        return;
      case "signal_restored":
        this.signals.delete(message.camera);
        return;
      case "result":
        if (message.error?.code === "notAuthorised") this.denied = words(message.error);
        if (message.error) return this.#fail(message.request, words(message.error));
        return this.#succeed(message.request);
      case "snapshot":
        return this.#took(message);
    }
  }

  /** The session is over. */
  close() {
    for (const request of [...this.#pending.keys()]) this.#fail(request, "The session is over.");
  }

  /** @param {{request: number, part: number, parts: number, jpeg: string}} message */
  #took({ request, part, parts, jpeg }) {
    const pending = this.#pending.get(request);
    if (!pending) return;
    const bytes = decode(jpeg);
    const size = pending.parts.reduce((sum, { length }) => sum + length, bytes?.length ?? 0);
    if (!bytes || part !== pending.parts.length || part >= parts || size > MAX_SNAPSHOT_BYTES) {
      return this.#fail(request, "The robot's snapshot is damaged.");
    }
    pending.parts.push(bytes);
    if (part + 1 === parts) this.#succeed(request);
  }

  /** @param {number} request */
  #succeed(request) {
    const pending = this.#settle(request);
    pending?.resolve(pending.parts);
  }

  /**
   * @param {number} request
   * @param {string} reason
   */
  #fail(request, reason) {
    this.#settle(request)?.reject(new Error(reason));
  }

  /** @param {number} request */
  #settle(request) {
    const pending = this.#pending.get(request);
    clearTimeout(pending?.timer);
    this.#pending.delete(request);
    return pending;
  }
}

/** @param {{code: string, details: string}} error */
function words({ code, details }) {
  return details || (code ? `The robot refuses (${code}).` : "The robot refuses.");
}

/** @param {string} base64 */
function decode(base64) {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
