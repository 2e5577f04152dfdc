// @ts-check
// How long an attempt may take, and how long to wait before the next one. Pure: times and random
// numbers come in as arguments.

import { Backoff } from "./backoff.js";

const SOON_MS = 300;
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
 * How long an attempt may take when answers come, but it does not succeed: at first a few times what
 * the last success took, then longer and longer.
 */
export class Patience {
  #leastMs;
  #mostMs;
  #usualMs;

  /**
   * @param {number} leastMs also after quick successes
   * @param {number} firstMs before any success
   * @param {number} mostMs
   */
  constructor(leastMs, firstMs, mostMs) {
    this.#leastMs = leastMs;
    this.#mostMs = mostMs;
    this.#usualMs = firstMs;
    this.ms = firstMs;
  }

  /**
   * An attempt succeeded.
   * @param {number} tookMs
   */
  succeeded(tookMs) {
    this.#usualMs = Math.min(Math.max(USUAL_TIMES * tookMs, this.#leastMs), this.#mostMs);
    this.ms = this.#usualMs;
  }

  /** An attempt took too long. */
  exceeded() {
    this.ms = Math.min(2 * this.ms, this.#mostMs);
  }

  /** The network is another: what failed before says nothing. */
  reset() {
    this.ms = this.#usualMs;
  }
}

/**
 * How much longer than usual each of a row of attempts may take of which nothing is known until they
 * succeed. Most are short: what was sent while the way was closed comes late, or never. Some are
 * longer, since the way may have become slow.
 */
const STRETCH = [1, 1, 2, 1, 1, 8];

/** @param {number} attempt how many failed before */
export function stretch(attempt) {
  return STRETCH[attempt % STRETCH.length];
}
