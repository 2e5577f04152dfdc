// @ts-check
// What can be said of one camera's picture: its state, and its figures from counters. Pure: the
// robot's word and what is seen here come in, with the time.

/** @typedef {"live" | "waiting" | "frozen" | "lost"} PictureState */
/** @typedef {{state: PictureState, title: string, detail: string, ageMs: number}} Verdict */
/**
 * @typedef {object} Evidence
 * @property {number} nowMs
 * @property {number} lastFrameMs when the last frame was decoded; -Infinity before the first
 * @property {{state: import("./protocol.js").CameraState, reason: string} | null} report
 *   the robot's word, null when there is none that is fresh
 * @property {boolean} paused the browser decodes, but does not play
 * @property {string} hint what stands between the robot and us just now; empty when nothing does
 */

const FROZEN_AFTER_MS = 1_000;
/** Beyond this a picture is too old to steer by. */
export const LATE_MS = 500;

/**
 * The robot's word comes first: of a lost camera it may well send a slate, which moves.
 * @param {Evidence} evidence
 * @returns {Verdict}
 */
export function judge({ nowMs, lastFrameMs, report, paused, hint }) {
  const ageMs = nowMs - lastFrameMs;
  if (report?.state === "lost") {
    return { state: "lost", title: "CAMERA LOST", detail: report.reason, ageMs };
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
