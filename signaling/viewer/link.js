// @ts-check
// The WebSocket to the broker, opened again for ever. Knows when it is dead even if the network
// does not tell; knows nothing of robots and sessions.

import { endOf, subprotocols, whyRefused } from "./access.js";
import { Patience, pace } from "./patience.js";
import { parseBrokerMessage } from "./protocol.js";

/** Pictures that go on need no broker, and may fill the way to it: it is asked seldom, and has time. */
const IDLE_MS = 10_000;
const ANSWER_WITHIN_MS = 3_000;
/** In an outage nothing else fills the way. */
const OUTAGE_IDLE_MS = 400;
const HEARD_LATELY_MS = 2_000;
/** TCP, HTTP, and the welcome; a TLS connection takes little more. */
const ROUND_TRIPS_TO_CONNECT = 3;
/** For how long the browser may hold back an attempt when many failed: Firefox is strict. */
const HELD_BACK_MS = navigator.userAgent.includes("Firefox/") ? 60_000 : 5_000;
/** Shorter connections do not count as a success: a broker that throws us out is not hammered. */
const SETTLED_MS = 5_000;
/** Somebody has to mend what a broker refuses: it is asked again, but not all the time. */
const REFUSED_WAIT_MS = 5_000;
/** How often it is asked why handshakes fail. */
const WHY_EVERY_MS = 2_000;
/** However short the credentials of ICE servers hold. */
const RENEW_AFTER_LEAST_MS = 1_000;

/**
 * @typedef {object} LinkEvents
 * @property {(up: boolean) => void} onChange
 * @property {(message: import("./protocol.js").BrokerMessage) => void} onMessage
 */

export class Link {
  #url;
  #events;
  /** For the welcome, and in an outage for any answer. */
  #patience = new Patience({ firstMs: 3_000, usualMs: [500, 1_500], mostMs: 3_000 });
  #failures = 0;
  /** @type {WebSocket | null} null while waiting for the next attempt */
  #socket = null;
  /** What must happen by when: the welcome, or the answer to a probe. */
  #deadlineMs = Infinity;
  #retryAtMs = 0;
  #upSinceMs = 0;
  #heardMs = 0;
  #token;
  /** When to ask for fresh ICE servers, and for how long the last ones hold. */
  #renewAtMs = Infinity;
  #holdMs = Infinity;
  #askingWhy = false;
  #whyAtMs = -Infinity;

  /**
   * @param {string} url
   * @param {() => string} token empty when there is none
   * @param {LinkEvents} events
   */
  constructor(url, token, events) {
    this.#url = url;
    this.#token = token;
    this.#events = events;
    this.up = false;
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
    /** Why the broker refuses us, in words; empty when it does not. */
    this.refusal = "";
  }

  /**
   * Does what is due; to be called several times a second.
   * @param {number} nowMs
   * @param {boolean} outage no pictures come any more: the way to the broker may be gone as well
   */
  tick(nowMs, outage) {
    if (nowMs > this.#deadlineMs) this.#drop(true);
    if (!this.#socket && nowMs >= this.#retryAtMs) this.#open();
    if (this.up && nowMs - this.#upSinceMs > SETTLED_MS) this.#failures = 0;
    if (this.up && nowMs > this.#renewAtMs) {
      this.send({ type: "getIceServers" });
      this.#renewAtMs = nowMs + Math.max(this.#holdMs / 8, RENEW_AFTER_LEAST_MS);
    }
    const silentMs = nowMs - this.#heardMs;
    if (outage && silentMs > OUTAGE_IDLE_MS) this.#probe(nowMs, this.#patience.ms);
    else if (silentMs > IDLE_MS) this.#probe(nowMs, ANSWER_WITHIN_MS);
  }

  /** The network or the user came back, or pictures did: does not wait for what was planned. */
  wake() {
    const nowMs = performance.now();
    this.#failures = 0;
    if (!this.up) this.#open();
    else if (nowMs - this.#heardMs > HEARD_LATELY_MS) this.#probe(nowMs, ANSWER_WITHIN_MS);
  }

  /** Another token is to be used from now on. */
  renew() {
    this.refusal = "";
    this.#whyAtMs = -Infinity;
    this.#failures = 0;
    this.#drop(true);
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
    this.#deadlineMs = performance.now() + this.#pace().withinMs;
    let opened = false;
    const socket = new WebSocket(this.#url, subprotocols(this.#token()));
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = () => {
      this.#drop(false);
      if (!opened) void this.#learnWhy();
    };
    this.#socket = socket;
  }

  /** @param {unknown} data */
  #heard(data) {
    this.#heardMs = performance.now();
    const message = parseBrokerMessage(data);
    if (message?.type === "welcome") {
      this.refusal = "";
      this.#given(message, this.#heardMs);
      this.up = true;
      this.#upSinceMs = this.#heardMs;
      this.send({ type: "setPeerStatus", roles: ["listener"] });
      this.send({ type: "list" });
      this.#events.onChange(true);
    }
    if (message?.type === "list") this.#learn(this.#heardMs - this.#upSinceMs);
    if (message?.type === "iceServers") this.#given(message, this.#heardMs);
    if (this.up) this.#deadlineMs = Infinity;
    if (message?.type === "error" && message.sessionId === null) {
      const end = endOf(message.code);
      if (end !== null) return this.#refused(end);
    }
    if (message) this.#events.onMessage(message);
  }

  /**
   * @param {{iceServers: RTCIceServer[], holdMs: number}} servers
   * @param {number} nowMs
   */
  #given({ iceServers, holdMs }, nowMs) {
    this.iceServers = iceServers;
    this.#holdMs = holdMs;
    this.#renewAtMs = nowMs + Math.max(holdMs / 2, RENEW_AFTER_LEAST_MS);
  }

  /** @param {string} why */
  #refused(why) {
    this.refusal = why;
    this.#drop(false);
    if (why !== "") this.#retryAtMs = performance.now() + REFUSED_WAIT_MS;
  }

  /** A handshake failed, and the browser does not say why. */
  async #learnWhy() {
    const nowMs = performance.now();
    if (this.#askingWhy || nowMs < this.#whyAtMs) return;
    this.#askingWhy = true;
    this.#whyAtMs = nowMs + WHY_EVERY_MS;
    const token = this.#token();
    const why = await whyRefused(token, (url, options) => fetch(url, options));
    this.#askingWhy = false;
    // Meanwhile it may have worked, or there is another token.
    if (this.up || token !== this.#token()) return;
    this.refusal = why;
    if (why !== "") this.#retryAtMs = Math.max(this.#retryAtMs, performance.now() + REFUSED_WAIT_MS);
  }

  /**
   * How long connecting took would tell less: in an outage that is mostly how long TCP waited.
   * @param {number} roundTripMs
   */
  #learn(roundTripMs) {
    this.#patience.succeeded(ROUND_TRIPS_TO_CONNECT * roundTripMs);
  }

  #pace() {
    return pace(this.#failures, this.#patience.ms, HELD_BACK_MS);
  }

  /** @param {boolean} late nothing came: then we have waited, and are not the whole fleet at once */
  #drop(late) {
    const wasUp = this.up;
    this.#discard();
    const { waitMs } = this.#pace();
    this.#retryAtMs = performance.now() + (late ? 0 : waitMs * (0.5 + Math.random() / 2));
    this.#failures += 1;
    if (wasUp) this.#events.onChange(false);
  }

  /** Lets go of the socket without waiting for its close, which may never come. */
  #discard() {
    this.up = false;
    this.#deadlineMs = Infinity;
    if (!this.#socket) return;
    this.#socket.onmessage = null;
    this.#socket.onopen = null;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }
}
