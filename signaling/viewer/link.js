// @ts-check
// The WebSocket to the broker, opened again for ever. Knows when it is dead even if the network
// does not tell; knows nothing of robots and sessions.

import { Backoff } from "./backoff.js";
import { parseBrokerMessage } from "./protocol.js";

const WELCOME_WITHIN_MS = 5_000;
const IDLE_MS = 10_000;
const HEARD_LATELY_MS = 2_000;
const PROBE_ANSWER_WITHIN_MS = 3_000;
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
  #backoff = new Backoff(250, 5_000);
  /** @type {WebSocket | null} null while waiting for the next attempt */
  #socket = null;
  /** What must happen by when: the welcome, or the answer to a probe. */
  #deadlineMs = Infinity;
  #retryAtMs = 0;
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

  /** Does what is due; to be called several times a second. */
  tick(/** @type {number} */ nowMs) {
    if (nowMs > this.#deadlineMs) this.#drop();
    if (!this.#socket && nowMs >= this.#retryAtMs) this.#open();
    if (this.up && nowMs - this.#heardMs > IDLE_MS) this.probe();
  }

  /** The network or the user came back: does not wait for what was planned. */
  wake() {
    if (this.up) this.probe();
    else this.#open();
  }

  /**
   * Asks for a sign of life. A network that is gone closes no sockets, and browsers cannot send
   * WebSocket pings; the list serves as one, and refreshes the robots.
   */
  probe() {
    const nowMs = performance.now();
    if (!this.up || this.#deadlineMs !== Infinity || nowMs - this.#heardMs < HEARD_LATELY_MS) return;
    this.#deadlineMs = nowMs + PROBE_ANSWER_WITHIN_MS;
    this.send({ type: "list" });
  }

  /** Lost when the link is down: everything is said anew on the next one. */
  send(/** @type {object} */ message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #open() {
    this.#discard();
    this.#deadlineMs = performance.now() + WELCOME_WITHIN_MS;
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
    if (wasUp && nowMs - this.#upSinceMs > SETTLED_MS) this.#backoff.reset();
    this.#discard();
    this.#retryAtMs = nowMs + this.#backoff.next(Math.random());
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
