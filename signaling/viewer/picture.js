// @ts-check
// What can be said of one camera's picture: its state, and its figures from counters. Pure: the
// robot's word and what is seen here come in, with the time.

/** @typedef {"live" | "waiting" | "frozen" | "stalled" | "lost" | "failed" | "off"} PictureState */
/**
 * @typedef {object} Verdict
 * @property {PictureState} state
 * @property {string} title
 * @property {string} detail
 * @property {number | null} ageMs the age of the picture, or how long there has been no signal; null
 *   when that is not known
 */
/**
 * The robot's word on one camera.
 * @typedef {object} Word
 * @property {import("./protocol.js").CameraState} state
 * @property {string} reason
 * @property {number | null} forMs how long it has been so, null when that is not known
 */
/**
 * @typedef {object} Evidence
 * @property {number} nowMs
 * @property {number} lastFrameMs when the last frame was decoded; -Infinity before the first
 * @property {Word | null} report the robot's word, null when there is none that is fresh
 * @property {boolean} paused the browser decodes, but does not play
 * @property {string} hint what stands between the robot and us just now; empty when nothing does
 */

const FROZEN_AFTER_MS = 1_000;
/** Beyond this a picture is too old to steer by. */
export const LATE_MS = 500;

/** What is said of a camera without signal, by its state; the detail where the robot gives none. */
const NO_SIGNAL = {
  stalled: ["SIGNAL LOST", "The camera gives no pictures."],
  lost: ["SIGNAL LOST", "The camera is gone."],
  failed: ["CAMERA FAILED", "Nothing works before someone mends it."],
  off: ["SWITCHED OFF", ""],
};

/** @type {Record<PictureState | import("./protocol.js").CameraState, string>} */
const ICONS = {
  live: "live",
  waiting: "waiting",
  starting: "waiting",
  frozen: "frozen",
  stalled: "lost",
  lost: "lost",
  failed: "lost",
  off: "off",
};

/** @param {keyof typeof ICONS} state */
export function iconOf(state) {
  return ICONS[state];
}

/**
 * Whether the robot has a signal of the camera, as far as it says.
 * @param {PictureState} state
 * @returns {"there" | "lost" | "off"}
 */
export function signalOf(state) {
  if (state === "off") return "off";
  return state in NO_SIGNAL ? "lost" : "there";
}

/** What is said of pictures in which something seems wrong. */
export const FAULTS = { "": "", frozen: "Picture stands still", black: "Picture is dark", blinded: "Picture is blinded" };

/**
 * The robot's word comes first: of a lost camera it may well send a slate, which moves.
 * @param {Evidence} evidence
 * @returns {Verdict}
 */
export function judge({ nowMs, lastFrameMs, report, paused, hint }) {
  const ageMs = nowMs - lastFrameMs;
  if (report && report.state in NO_SIGNAL) {
    const state = /** @type {keyof typeof NO_SIGNAL} */ (report.state);
    const [title, detail] = NO_SIGNAL[state];
    return { state, title, detail: report.reason || detail, ageMs: report.forMs };
  }
  if (report?.state === "starting") {
    return { state: "waiting", title: "Camera is starting", detail: report.reason, ageMs };
  }
  if (lastFrameMs === -Infinity) {
    return { state: "waiting", title: "Waiting for picture", detail: hint, ageMs };
  }
  if (ageMs > FROZEN_AFTER_MS) {
    return { state: "frozen", title: "FROZEN", detail: hint || "no new picture", ageMs };
  }
  if (paused) {
    const detail = "The browser holds it back: tap here.";
    return { state: "waiting", title: "Not playing", detail, ageMs };
  }
  return { state: "live", title: "LIVE", detail: "", ageMs };
}

/** Rates of counters that only grow, over the last second or a little more. */
export class Meter {
  constructor() {
    /** @type {{atMs: number, frames: number, bytes: number}[]} */
    this.samples = [];
  }

  /**
   * @param {number} atMs
   * @param {number} frames
   * @param {number} bytes
   */
  sample(atMs, frames, bytes) {
    const kept = this.samples.filter((sample) => sample.atMs > atMs - 1_500);
    this.samples = [...kept, { atMs, frames, bytes }];
  }

  /** @returns {{fps: number, bps: number} | null} null until half a second was seen */
  rates() {
    const first = this.samples[0];
    const last = this.samples[this.samples.length - 1];
    if (!first || !last || last.atMs - first.atMs < 500) return null;
    const seconds = (last.atMs - first.atMs) / 1000;
    return {
      fps: (last.frames - first.frames) / seconds,
      bps: ((last.bytes - first.bytes) * 8) / seconds,
    };
  }
}

/** The median of the last second's latencies: one late frame is no news, a late second is. */
export class Latency {
  constructor() {
    /** @type {{atMs: number, ms: number}[]} */
    this.samples = [];
  }

  /**
   * @param {number} atMs
   * @param {number} ms
   */
  sample(atMs, ms) {
    this.samples.push({ atMs, ms });
    if (this.samples.length > 250) this.samples.shift();
  }

  /**
   * @param {number} nowMs
   * @returns {number | null}
   */
  median(nowMs) {
    this.samples = this.samples.filter((sample) => sample.atMs > nowMs - 1_000);
    const sorted = this.samples.map((sample) => sample.ms).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }
}
