// @ts-check
// How long an attempt may take, and how long to wait before the next one. Pure: times and random
// numbers come in as arguments.

import { Backoff } from "./backoff.js";

const SOON_MS = 200;
/** For so long after it worked last the way may be open again at any moment. */
const OUTAGE_MS = 120_000;

/** Waits between attempts: short in an outage of what just worked, else those of a backoff. */
export class Waits {
  #backoff = new Backoff(250, 5_000);
  #workedMs = -Infinity;

  /** @param {number} nowMs */
  worked(nowMs) {
    this.#workedMs = nowMs;
    this.#backoff.reset();
  }

  /**
   * Whether it works now, or did lately.
   * @param {number} nowMs
   */
  workedLately(nowMs) {
    return nowMs - this.#workedMs < OUTAGE_MS;
  }

  /**
   * The next wait, in milliseconds.
   * @param {number} nowMs
   * @param {number} random uniform in 0 … 1
   */
  next(nowMs, random) {
    if (this.workedLately(nowMs)) return SOON_MS * (0.5 + random / 2);
    return this.#backoff.next(random);
  }

  /** Something else is attempted. */
  reset() {
    this.#workedMs = -Infinity;
    this.#backoff.reset();
  }
}

const USUAL_TIMES = 3;

/**
 * @typedef {object} Limits
 * @property {number} firstMs before any success
 * @property {[number, number]} usualMs after a success: at least and at most
 * @property {number} mostMs after failures
 */

/**
 * How long an attempt may take when answers come, but it does not succeed: at first a few times what
 * the last success took, then longer and longer.
 */
export class Patience {
  #limits;
  #usualMs;

  /** @param {Limits} limits */
  constructor(limits) {
    this.#limits = limits;
    this.#usualMs = limits.firstMs;
    this.ms = limits.firstMs;
  }

  /**
   * An attempt succeeded.
   * @param {number} tookMs
   */
  succeeded(tookMs) {
    const [leastMs, mostMs] = this.#limits.usualMs;
    this.#usualMs = Math.min(Math.max(USUAL_TIMES * tookMs, leastMs), mostMs);
    this.ms = this.#usualMs;
  }

  /** An attempt took too long. */
  exceeded() {
    this.ms = Math.min(2 * this.ms, this.#limits.mostMs);
  }

  /** The network is another: what failed before says nothing. */
  reset() {
    this.ms = this.#usualMs;
  }
}

/**
 * The pace of attempts of which nothing is known until they succeed. The first are short: once the way
 * is open, another attempt is sooner than what TCP sends again. Then they are fewer and longer: the way
 * may have become slow, and browsers hold back the attempts of a page of which many failed. One that is
 * given up while it is held back fails, too: the last must outlast that.
 * @param {number} failures in a row
 * @param {number} usualMs what an attempt may take where the way is as it was
 * @param {number} heldBackMs for how long the browser holds back an attempt, at most
 * @returns {{withinMs: number, waitMs: number}} what the next may take, and the longest wait before it
 */
export function pace(failures, usualMs, heldBackMs) {
  if (failures < 4) return { withinMs: usualMs, waitMs: SOON_MS };
  const strict = heldBackMs > 5_000;
  if (failures < 10 && !strict) return { withinMs: Math.max(usualMs, 2_000), waitMs: 1_000 };
  if (failures < 14 && !strict) return { withinMs: 4_000, waitMs: 2_000 };
  return { withinMs: heldBackMs + 3_000, waitMs: 5_000 };
}
