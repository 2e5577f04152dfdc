// @ts-check
// The WebSocket to the broker, opened again for ever. Knows when it is dead even if the network
// does not tell; knows nothing of robots and sessions.

import { Patience, Waits, stretch } from "./patience.js";
import { parseBrokerMessage } from "./protocol.js";

const WELCOME_WITHIN_MS = 5_000;
/**
 * When a probe is sent, and how long its answer may take. Pictures that go on need no broker, and may
 * fill the way to it.
 */
const CALM = { idleMs: 10_000, answerWithinMs: 3_000 };
const OUTAGE = { idleMs: 400, answerWithinMs: 1_000 };
const HEARD_LATELY_MS = 2_000;
/** Shorter connections do not count as a success: a broker that throws us out is not hammered. */
const SETTLED_MS = 5_000;

/**
 * @typedef {object} LinkEvents
 * @property {(up: boolean) => void} onChange
 * @property {(message: import("./protocol.js").BrokerMessage) => void} onMessage
 */

export class Link {
  #url;
  #events;
  #waits = new Waits();
  /** For the welcome. */
  #patience = new Patience(600, WELCOME_WITHIN_MS, WELCOME_WITHIN_MS);
  #failures = 0;
  /** @type {WebSocket | null} null while waiting for the next attempt */
  #socket = null;
  /** What must happen by when: the welcome, or the answer to a probe. */
  #deadlineMs = Infinity;
  #retryAtMs = 0;
  #openedMs = 0;
  #upSinceMs = 0;
  #heardMs = 0;

  /**
   * @param {string} url
   * @param {LinkEvents} events
   */
  constructor(url, events) {
    this.#url = url;
    this.#events = events;
    this.up = false;
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
  }

  /**
   * Does what is due; to be called several times a second.
   * @param {number} nowMs
   * @param {boolean} outage no pictures come any more: the way to the broker may be gone as well
   */
  tick(nowMs, outage) {
    if (nowMs > this.#deadlineMs) this.#drop();
    if (!this.#socket && nowMs >= this.#retryAtMs) this.#open();
    if (this.up && nowMs - this.#upSinceMs > SETTLED_MS) this.#waits.worked(nowMs);
    const { idleMs, answerWithinMs } = outage ? OUTAGE : CALM;
    if (nowMs - this.#heardMs > idleMs) this.#probe(nowMs, answerWithinMs);
  }

  /** The network or the user came back: does not wait for what was planned. */
  wake() {
    const nowMs = performance.now();
    this.#failures = 0;
    if (!this.up) this.#open();
    else if (nowMs - this.#heardMs > HEARD_LATELY_MS) this.#probe(nowMs, OUTAGE.answerWithinMs);
  }

  /** Lost when the link is down: everything is said anew on the next one. */
  send(/** @type {object} */ message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /**
   * Asks for a sign of life. A network that is gone closes no sockets, and browsers cannot send
   * WebSocket pings; a list that is nearly always empty serves as one.
   * @param {number} nowMs
   * @param {number} answerWithinMs
   */
  #probe(nowMs, answerWithinMs) {
    if (!this.up) return;
    if (this.#deadlineMs === Infinity) this.send({ type: "listConsumers" });
    this.#deadlineMs = Math.min(this.#deadlineMs, nowMs + answerWithinMs);
  }

  #open() {
    this.#discard();
    this.#openedMs = performance.now();
    const withinMs = Math.min(this.#patience.ms * stretch(this.#failures), WELCOME_WITHIN_MS);
    this.#deadlineMs = this.#openedMs + withinMs;
    const socket = new WebSocket(this.#url);
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = () => this.#drop();
    this.#socket = socket;
  }

  /** @param {unknown} data */
  #heard(data) {
    this.#heardMs = performance.now();
    const message = parseBrokerMessage(data);
    if (message?.type === "welcome") {
      this.iceServers = message.iceServers;
      this.up = true;
      this.#upSinceMs = this.#heardMs;
      this.#failures = 0;
      this.#patience.succeeded(this.#heardMs - this.#openedMs);
      this.send({ type: "setPeerStatus", roles: ["listener"] });
      this.send({ type: "list" });
      this.#events.onChange(true);
    }
    if (this.up) this.#deadlineMs = Infinity;
    if (message) this.#events.onMessage(message);
  }

  #drop() {
    const nowMs = performance.now();
    const wasUp = this.up;
    if (!wasUp) this.#failures += 1;
    this.#discard();
    this.#retryAtMs = nowMs + this.#waits.next(nowMs, Math.random());
    if (wasUp) this.#events.onChange(false);
  }

  /** Lets go of the socket without waiting for its close, which may never come. */
  #discard() {
    this.up = false;
    this.#deadlineMs = Infinity;
    if (!this.#socket) return;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }
}
