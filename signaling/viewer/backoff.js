// @ts-check
// How long to wait before trying again: exponential, with jitter, without end. The same rule as
// the robot's, so that a fleet that lost its broker does not come back in one instant.

/** Doubles from `firstMs` up to `ceilingMs`. */
export class Backoff {
  /**
   * @param {number} firstMs
   * @param {number} ceilingMs
   */
  constructor(firstMs, ceilingMs) {
    this.firstMs = firstMs;
    this.ceilingMs = ceilingMs;
    this.stepMs = firstMs;
  }

  /**
   * The next wait: between half of the current step and all of it.
   * @param {number} random uniform in 0 … 1
   */
  next(random) {
    const stepMs = this.stepMs;
    this.stepMs = Math.min(stepMs * 2, this.ceilingMs);
    return stepMs * (0.5 + random / 2);
  }

  /** Starts over after a success. */
  reset() {
    this.stepMs = this.firstMs;
  }
}
