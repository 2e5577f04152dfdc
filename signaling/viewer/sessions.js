// @ts-check
// The session whose pictures are shown and the one that is to take its place: carries out what
// supervisor.js decides. Decides nothing itself.

import { Backoff } from "./backoff.js";
import { Session } from "./session.js";
import { isSettled, nextStep } from "./supervisor.js";

/** @typedef {import("./protocol.js").BrokerMessage} BrokerMessage */
/**
 * @typedef {object} SessionsEvents
 * @property {(session: Session) => void} onPictures another session, or another track of it
 * @property {() => void} onEnding the session whose pictures are shown is about to be closed
 * @property {(telemetry: import("./protocol.js").Telemetry, rttMs: number | null) => void} onTelemetry
 * @property {(problem: string) => void} onProblem
 */

const UNKNOWN_SESSION = "unknown-session";

export class Sessions {
  #link;
  #settings;
  #events;
  #backoff = new Backoff(250, 5_000);
  #retryAtMs = 0;
  /** @type {string | null} */
  #robotPeerId = null;

  /**
   * @param {import("./link.js").Link} link
   * @param {() => {cameras: string[], bufferMs: number}} settings
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
    this.#backoff.reset();
    this.#retryAtMs = 0;
  }

  /** The broker forgets the sessions of a connection that is gone; their media goes on. */
  linkLost() {
    if (this.current) this.current.id = null;
    if (this.pending) this.pending.id = null;
  }

  /**
   * @param {string | null} robotPeerId the chosen robot's connection, null when it is off-line
   */
  step(robotPeerId = this.#robotPeerId) {
    this.#robotPeerId = robotPeerId;
    const nowMs = performance.now();
    if (this.current && isSettled(this.current, nowMs)) this.#backoff.reset();
    // At most three steps follow from each other: drop, abandon, start.
    for (let i = 0; i < 3; i++) {
      const { current, pending } = this;
      const retryAtMs = this.#retryAtMs;
      const linkUp = this.#link.up;
      const step = nextStep({ nowMs, linkUp, robotPeerId, retryAtMs, current, pending });
      if (step === "keep") return;
      if (step === "start") return this.#start(robotPeerId ?? "");
      if (step === "promotePending") return this.#promote();
      if (step === "dropCurrent") this.#dropCurrent();
      if (step === "abandonPending") {
        pending?.close();
        this.pending = null;
      }
      this.#retryAtMs = nowMs + this.#backoff.next(Math.random());
    }
  }

  /** @param {BrokerMessage} message */
  heard(message) {
    switch (message.type) {
      case "sessionStarted":
        return this.#started(message.peerId, message.sessionId);
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
    const { cameras, bufferMs } = this.#settings();
    const { iceServers } = this.#link;
    const session = new Session({ peerId, iceServers, bufferMs }, {
      send: (message) => this.#link.send(message),
      onChange: () => {
        if (session === this.current) this.#events.onPictures(session);
        this.step();
      },
      onTelemetry: this.#events.onTelemetry,
      onProblem: this.#events.onProblem,
    });
    this.pending = session;
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
    if (this.current) this.#events.onPictures(this.current);
  }

  /**
   * @param {string} peerId
   * @param {string} sessionId
   */
  #started(peerId, sessionId) {
    const { pending } = this;
    if (pending && pending.id === null && pending.peerId === peerId) pending.id = sessionId;
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
    session.over = session !== this.current || reason !== "peerLeft";
    this.step();
  }

  /**
   * Requests are answered in order: a complaint about no session in particular concerns the one
   * that was asked for. Not so about an unknown one, which is an old one that we still spoke of.
   * @param {{sessionId: string | null, code: string, details: string}} complaint
   */
  #refused({ sessionId, code, details }) {
    const concerned = sessionId === null ? code !== UNKNOWN_SESSION : this.#find(sessionId);
    if (!concerned) return;
    this.#events.onProblem(code === "" ? details : `${details} (${code})`);
    if (this.pending && this.pending.id === sessionId) {
      this.pending.over = true;
      this.step();
    }
  }

  /** @param {string} sessionId */
  #find(sessionId) {
    return [this.current, this.pending].find((session) => session?.id === sessionId);
  }
}
