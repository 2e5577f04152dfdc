// @ts-check
// One session with one robot: its peer connection, tracks and data channel. Says what happens to
// it; whether it is kept or replaced is decided in supervisor.js.

import { OffsetEstimator, toUs } from "./clock.js";
import { Control } from "./control.js";
import { CHANNEL, CONTROL_CHANNEL, parseControlMessage, parseRobotMessage } from "./protocol.js";
import { camerasByMid } from "./sdp.js";
import { Track } from "./track.js";
import { forget, play } from "./video.js";

/** @typedef {import("./protocol.js").Candidate} Candidate */
/**
 * @typedef {object} SessionOptions
 * @property {string} peerId the robot's connection
 * @property {RTCIceServer[]} iceServers
 * @property {RTCIceTransportPolicy} icePolicy which paths may be taken
 * @property {number} bufferMs what the browser holds back; 0 shows every frame at once
 */
/**
 * @typedef {object} SessionEvents
 * @property {(message: object) => void} send to the broker
 * @property {() => void} onChange connected, over, or another track
 * @property {(telemetry: import("./protocol.js").Telemetry, rttMs: number | null) => void} onTelemetry
 * @property {(problem: string) => void} onProblem
 */

const PING_EVERY_MS = 1_000;
const ASK_EVERY_MS = 250;
const MAX_EARLY_CANDIDATES = 256;
/** What a TURN server says of credentials that it does not take (RFC 8489, section 14.8). */
const STUN_UNAUTHORIZED = 401;

export class Session {
  #events;
  #bufferMs;
  #connection;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {RTCDataChannel | null} */
  #controlChannel = null;
  #pinging = 0;
  #lastPingMs = -Infinity;
  #clock = new OffsetEstimator();
  /** @type {Map<string, import("./protocol.js").RtpAnchor>} by mid */
  #anchors = new Map();
  /** @type {Map<string, string>} camera by mid */
  #cameras = new Map();
  /** @type {Candidate[]} that came before the remote description */
  #early = [];
  /** One step of the negotiation after the other. */
  #negotiation = Promise.resolve();
  #lastSeq = -1;
  #polling = false;

  /**
   * @param {SessionOptions} options
   * @param {SessionEvents} events
   */
  constructor({ peerId, iceServers, icePolicy, bufferMs }, events) {
    this.#events = events;
    this.#bufferMs = bufferMs;
    this.peerId = peerId;
    /** @type {string | null} null until the broker named it, and once the broker forgot it */
    this.id = null;
    this.startedMs = performance.now();
    /** @type {number | null} */
    this.offeredMs = null;
    /** @type {number | null} */
    this.connectedMs = null;
    this.lastMessageMs = -Infinity;
    /** When the robot was asked for a sign of life first since the last one. */
    this.askedMs = -Infinity;
    /** Whether it was in doubt since the last message. */
    this.doubted = false;
    this.over = false;
    this.hungUp = false;
    /** @type {Map<string, Track>} by camera */
    this.tracks = new Map();
    this.control = new Control((message) => this.#sendControl(message));
    this.#connection = connect(iceServers, icePolicy, events.onProblem);
    this.#connection.onconnectionstatechange = () => this.#connectionChanged();
    this.#connection.ontrack = (event) => this.#trackCame(event);
    this.#connection.ondatachannel = (event) => this.#channelCame(event.channel);
    this.#connection.onicecandidate = ({ candidate }) => {
      if (this.id === null || !candidate?.candidate) return;
      const ice = { candidate: candidate.candidate, sdpMLineIndex: candidate.sdpMLineIndex ?? 0 };
      events.send({ type: "peer", sessionId: this.id, ice });
    };
    this.#connection.onicecandidateerror = (event) => {
      const { url, errorCode } = /** @type {RTCPeerConnectionIceErrorEvent} */ (event);
      // What does not answer costs nothing where there is another path; this somebody has to mend.
      if (errorCode !== STUN_UNAUTHORIZED) return;
      events.onProblem(`The TURN server ${url} refuses the broker's credentials: ` +
        "both need the same secret and the right time.");
    };
  }

  get lastFrameMs() {
    return Math.max(-Infinity, ...[...this.tracks.values()].map((track) => track.lastFrameMs));
  }

  /** The cameras of which a picture was decoded. */
  get pictured() {
    const tracks = [...this.tracks.values()].filter((track) => track.lastFrameMs !== -Infinity);
    return tracks.map((track) => track.camera);
  }

  /** Whether the robot can be asked for anything: other producers cannot. */
  get takesRequests() {
    return this.#controlChannel?.readyState === "open";
  }

  /**
   * How long ago a moment of the robot's clock was.
   * @param {number} robotUs 0 when it is not known
   * @param {number} nowMs
   * @returns {number | null} null when that is not known
   */
  elapsedMs(robotUs, nowMs) {
    const offset = this.#clock.best();
    return offset && robotUs !== 0 ? (toUs(nowMs) + offset.offsetUs - robotUs) / 1000 : null;
  }

  /**
   * The robot offers; we answer.
   * @param {string} sdp
   */
  offered(sdp) {
    this.offeredMs ??= performance.now();
    this.#next(async () => {
      this.#cameras = camerasByMid(sdp);
      await this.#connection.setRemoteDescription({ type: "offer", sdp });
      await this.#connection.setLocalDescription(await this.#connection.createAnswer());
      const answer = this.#connection.localDescription?.sdp;
      if (this.id) {
        this.#events.send({ type: "peer", sessionId: this.id, sdp: { type: "answer", sdp: answer } });
      }
      for (const candidate of this.#early.splice(0)) await this.#add(candidate);
    });
  }

  /** @param {Candidate} candidate */
  candidate(candidate) {
    this.#next(async () => {
      if (this.#connection.remoteDescription) await this.#add(candidate);
      else if (this.#early.length < MAX_EARLY_CANDIDATES) this.#early.push(candidate);
    });
  }

  /** Refreshes the counters of all tracks. */
  async poll() {
    if (this.#polling || this.over) return;
    this.#polling = true;
    try {
      const reports = await this.#connection.getStats();
      const nowMs = performance.now();
      reports.forEach((report) => {
        if (report.type === "inbound-rtp") this.#trackOf(report)?.counted(report, nowMs);
      });
    } catch {
      // Closed meanwhile: there is nothing to count.
    } finally {
      this.#polling = false;
    }
  }

  /** Asks for a sign of life, and tells the robot that we are here: as often as one likes. */
  ask() {
    this.doubted = true;
    if (performance.now() - this.#lastPingMs >= ASK_EVERY_MS) this.#ping();
  }

  /** The end, on both sides. The last pictures stay where they are shown. */
  close() {
    this.over = true;
    clearInterval(this.#pinging);
    const channel = this.#channel;
    if (channel) channel.onopen = channel.onmessage = channel.onclose = null;
    if (this.#controlChannel) this.#controlChannel.onmessage = null;
    this.control.close();
    for (const { video } of this.tracks.values()) if (video && !video.isConnected) forget(video);
    const connection = this.#connection;
    connection.onconnectionstatechange = connection.ontrack = null;
    connection.ondatachannel = connection.onicecandidate = null;
    connection.close();
    if (this.id) this.#events.send({ type: "endSession", sessionId: this.id });
    this.id = null;
  }

  /** @param {() => Promise<void>} step */
  #next(step) {
    this.#negotiation = this.#negotiation.then(async () => {
      if (this.over) return;
      try {
        await step();
      } catch (error) {
        if (this.over) return;
        this.over = true;
        this.#events.onProblem(`The robot's offer cannot be used: ${error}`);
        this.#events.onChange();
      }
    });
  }

  /** @param {Candidate} candidate */
  async #add(candidate) {
    try {
      await this.#connection.addIceCandidate(candidate);
    } catch (error) {
      // One candidate less is no reason to give up the others.
      console.warn("a candidate of the robot cannot be used", error);
    }
  }

  #connectionChanged() {
    const state = this.#connection.connectionState;
    if (state === "connected") this.connectedMs ??= performance.now();
    if (state === "failed" || state === "closed") this.over = true;
    this.#events.onChange();
  }

  /** @param {RTCTrackEvent} event */
  #trackCame({ track, transceiver, receiver }) {
    const mid = transceiver.mid;
    const label = mid === null ? undefined : this.#cameras.get(mid);
    if (track.kind !== "video" || mid === null || label === undefined) return;
    buffer(receiver, this.#bufferMs);
    // Two sections with one label are two cameras all the same.
    const camera = this.tracks.has(label) && this.tracks.get(label)?.mid !== mid ? mid : label;
    const received = new Track(camera, mid, track);
    received.video = play(received, this.#events.onChange);
    this.tracks.set(camera, received);
    this.#align();
    this.#events.onChange();
  }

  /** @param {any} report */
  #trackOf({ mid, trackIdentifier }) {
    const tracks = [...this.tracks.values()];
    return tracks.find((track) => track.mid === mid || track.media.id === trackIdentifier);
  }

  /** @param {RTCDataChannel} channel */
  #channelCame(channel) {
    if (channel.label === CONTROL_CHANNEL && !this.#controlChannel) {
      this.#controlChannel = channel;
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        this.#spoke(performance.now());
        const message = parseControlMessage(data);
        if (message) this.control.heard(message);
      };
      return;
    }
    if (channel.label !== CHANNEL || this.#channel) return;
    this.#channel = channel;
    const ping = () => this.#ping();
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onopen = ping;
    channel.onclose = () => {
      this.hungUp = true;
      this.#events.onChange();
    };
    ping();
    this.#pinging = window.setInterval(ping, PING_EVERY_MS);
  }

  /** @param {number} nowMs */
  #spoke(nowMs) {
    this.lastMessageMs = nowMs;
    this.doubted = false;
  }

  #ping() {
    if (this.#channel?.readyState !== "open") return;
    const nowMs = performance.now();
    this.#lastPingMs = nowMs;
    if (this.askedMs <= Math.max(this.lastFrameMs, this.lastMessageMs)) this.askedMs = nowMs;
    this.#channel.send(encode({ type: "ping", sentUs: toUs(nowMs) }));
  }

  /** @param {object} message */
  #sendControl(message) {
    if (!this.#controlChannel || !this.takesRequests) return false;
    this.#controlChannel.send(encode(message));
    return true;
  }

  /** @param {unknown} data */
  #heard(data) {
    const receivedMs = performance.now();
    const message = parseRobotMessage(data);
    if (!message) return;
    this.#spoke(receivedMs);
    if (message.type === "pong") {
      const { pingSentUs, receivedUs, sentUs } = message;
      this.#clock.exchange(pingSentUs, receivedUs, sentUs, toUs(receivedMs));
    } else if (message.type === "clock") {
      for (const { mid, anchor } of message.tracks) {
        if (this.#cameras.has(mid)) this.#anchors.set(mid, anchor);
      }
    } else if (message.seq > this.#lastSeq) {
      // The channel is unordered: what comes late is out of date.
      this.#lastSeq = message.seq;
      const offset = this.#clock.best();
      this.#events.onTelemetry(message, offset && offset.rttUs / 1000);
    }
    this.#align();
  }

  #align() {
    const offset = this.#clock.best();
    for (const track of this.tracks.values()) {
      track.anchor = this.#anchors.get(track.mid) ?? null;
      track.offset = offset;
    }
  }
}

/**
 * As bytes: GStreamer does not check that texts are UTF-8, so robots do not listen to them.
 * @param {object} message
 */
function encode(message) {
  return new TextEncoder().encode(JSON.stringify(message));
}

/**
 * A server address that the browser refuses must not cost the local connection.
 * @param {RTCIceServer[]} iceServers
 * @param {RTCIceTransportPolicy} iceTransportPolicy
 * @param {(problem: string) => void} onProblem
 */
function connect(iceServers, iceTransportPolicy, onProblem) {
  try {
    return new RTCPeerConnection({ iceServers, iceTransportPolicy });
  } catch (error) {
    onProblem(`The broker's STUN and TURN servers cannot be used: ${error}`);
    return new RTCPeerConnection({ iceTransportPolicy });
  }
}

/**
 * @param {any} receiver
 * @param {number} bufferMs
 */
function buffer(receiver, bufferMs) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = bufferMs;
  if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = bufferMs / 1000;
}
