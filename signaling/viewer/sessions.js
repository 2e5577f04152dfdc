// @ts-check
// The session whose pictures are shown and the one that is to take its place: carries out what
// supervisor.js decides. Decides nothing itself.

import { Patience, Waits } from "./patience.js";
import { Session } from "./session.js";
import { ASK_MS, DOUBT_MS, isAlive, isSettled, nextStep, silenceMs } from "./supervisor.js";

/** @typedef {import("./protocol.js").BrokerMessage} BrokerMessage */
/**
 * @typedef {object} SessionsEvents
 * @property {(session: Session) => void} onPictures another session, or another track of it
 * @property {() => void} onEnding the session whose pictures are shown is about to be closed
 * @property {(telemetry: import("./protocol.js").Telemetry, rttMs: number | null) => void} onTelemetry
 * @property {(problem: string) => void} onProblem
 */

/** What was said of something that is gone. Nobody need know. */
const UNKNOWN_SESSION = "unknown-session";
const UNKNOWN_PEER = "unknown-peer";

export class Sessions {
  #link;
  #settings;
  #events;
  #waits = new Waits();
  #patience = new Patience({ firstMs: 3_000, usualMs: [1_000, 2_000], mostMs: 10_000 });
  #retryAtMs = 0;
  /** @type {string | null} */
  #robotPeerId = null;
  /** @type {Session[]} that the broker has not answered for yet; it answers in order */
  #asked = [];

  /**
   * @param {import("./link.js").Link} link
   * @param {() => {cameras: string[], bufferMs: number, icePolicy: RTCIceTransportPolicy}} settings
   * @param {SessionsEvents} events
   */
  constructor(link, settings, events) {
    this.#link = link;
    this.#settings = settings;
    this.#events = events;
    /** @type {Session | null} */
    this.current = null;
    /** @type {Session | null} */
    this.pending = null;
  }

  /** Another robot was chosen. */
  clear() {
    this.#dropCurrent();
    this.pending?.close();
    this.pending = null;
    this.#waits.reset();
    this.#retryAtMs = 0;
  }

  /** The broker forgets the sessions of a connection that is gone; their media goes on. */
  linkLost() {
    if (this.current) this.current.id = null;
    if (this.pending) this.pending.id = null;
    this.#asked = [];
  }

  /** There may be a way where none was. */
  networkChanged() {
    this.#patience.reset();
    this.#retryAtMs = 0;
  }

  /**
   * Whether there are no pictures where there were some lately.
   * @param {number} nowMs
   */
  isOutage(nowMs) {
    const silent = this.current === null || silenceMs(this.current, nowMs) > DOUBT_MS;
    return silent && this.#waits.workedLately(nowMs);
  }

  /** Looks for signs of life. */
  async poll() {
    await Promise.all([this.current?.poll(), this.pending?.poll()]);
    const nowMs = performance.now();
    for (const session of [this.current, this.pending]) {
      // Pictures that come again do not tell the robot that we see them: it must not give us up.
      if (session?.doubted || (session && silenceMs(session, nowMs) > ASK_MS)) session.ask();
    }
  }

  /**
   * @param {string | null} robotPeerId the chosen robot's connection, null when it is off-line
   */
  step(robotPeerId = this.#robotPeerId) {
    if (robotPeerId !== null && robotPeerId !== this.#robotPeerId) this.#retryAtMs = 0;
    this.#robotPeerId = robotPeerId;
    const nowMs = performance.now();
    const settled = this.current && isSettled(this.current, nowMs);
    if (this.current && settled && isAlive(this.current, robotPeerId, nowMs)) {
      this.#waits.worked(nowMs);
    }
    // At most three steps follow from each other: drop, abandon, start.
    for (let i = 0; i < 3; i++) {
      const { current, pending } = this;
      const retryAtMs = this.#retryAtMs;
      const connectWithinMs = this.#patience.ms;
      const linkUp = this.#link.up;
      const step = nextStep({ nowMs, linkUp, robotPeerId, retryAtMs, connectWithinMs, current, pending });
      if (step === "keep") return;
      if (step === "start") return this.#start(robotPeerId ?? "");
      if (step === "promotePending") return this.#promote();
      if (step === "dropCurrent") this.#dropCurrent();
      else {
        pending?.close();
        this.pending = null;
      }
      if (step === "giveUpPending") this.#patience.exceeded();
      this.#retryAtMs = nowMs + this.#waits.next(nowMs, Math.random());
    }
  }

  /** @param {BrokerMessage} message */
  heard(message) {
    switch (message.type) {
      case "sessionStarted":
        return this.#started(message.sessionId);
      case "offer":
        return this.#find(message.sessionId)?.offered(message.sdp);
      case "candidate":
        return this.#find(message.sessionId)?.candidate(message.ice);
      case "endSession":
        return this.#ended(message.sessionId, message.reason);
      case "error":
        return this.#refused(message);
    }
  }

  /** @param {string} peerId */
  #start(peerId) {
    const { cameras, bufferMs, icePolicy } = this.#settings();
    const { iceServers } = this.#link;
    const session = new Session({ peerId, iceServers, icePolicy, bufferMs }, {
      send: (message) => this.#link.send(message),
      onChange: () => {
        if (session === this.current) this.#events.onPictures(session);
        this.step();
      },
      onTelemetry: this.#events.onTelemetry,
      onProblem: this.#events.onProblem,
    });
    this.pending = session;
    this.#asked.push(session);
    const wish = cameras.length > 0 ? { cameras } : {};
    this.#link.send({ type: "startSession", peerId, ...wish });
  }

  #dropCurrent() {
    if (!this.current) return;
    this.#events.onEnding();
    this.current.close();
    this.current = null;
  }

  #promote() {
    this.#dropCurrent();
    this.current = this.pending;
    this.pending = null;
    if (!this.current) return;
    const { offeredMs, connectedMs } = this.current;
    if (offeredMs !== null && connectedMs !== null) this.#patience.succeeded(connectedMs - offeredMs);
    this.#events.onPictures(this.current);
  }

  /** @param {string} sessionId */
  #started(sessionId) {
    const session = this.#asked.shift();
    if (session && session === this.pending) session.id = sessionId;
    // The promise comes too late: that attempt was given up.
    else this.#link.send({ type: "endSession", sessionId });
  }

  /**
   * @param {string} sessionId
   * @param {string} reason
   */
  #ended(sessionId, reason) {
    const session = this.#find(sessionId);
    if (!session) return;
    session.id = null;
    // Pictures need no broker: neither when one of us has left it, nor when it stops.
    session.over = session !== this.current || !["peerLeft", "brokerStops"].includes(reason);
    this.step();
  }

  /**
   * A complaint about no session in particular is the broker's answer to who asked for one.
   * @param {{sessionId: string | null, code: string, details: string}} complaint
   */
  #refused({ sessionId, code, details }) {
    if (sessionId === null && code === UNKNOWN_SESSION) return;
    const session = sessionId === null ? this.#asked.shift() : this.#find(sessionId);
    if (!session) return;
    if (code !== UNKNOWN_PEER) this.#events.onProblem(code === "" ? details : `${details} (${code})`);
    if (session !== this.pending) return;
    session.over = true;
    this.step();
  }

  /** @param {string} sessionId */
  #find(sessionId) {
    return [this.current, this.pending].find((session) => session?.id === sessionId);
  }
}
