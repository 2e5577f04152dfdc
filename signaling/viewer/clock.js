// @ts-check
// One clock for both ends: the offset between the robot's clock and ours, and capture times from
// RTP timestamps. Microseconds since the epoch stay below 2^53 until the year 2255.

/** @typedef {{offsetUs: number, rttUs: number}} Offset Robot's clock minus ours. */

const VIDEO_CLOCK_HZ = 90_000;
/** The best of the last exchanges decides: queueing is ignored, drift is still followed. */
const WINDOW = 16;

/** Our clock: a moment of `performance.now()`, in microseconds since the epoch. */
export function toUs(/** @type {number} */ performanceMs) {
  return Math.round((performance.timeOrigin + performanceMs) * 1000);
}

/** Estimates the offset from ping and pong times, after NTP (RFC 5905, section 8). */
export class OffsetEstimator {
  constructor() {
    /** @type {Offset[]} */
    this.exchanges = [];
  }

  /**
   * Takes one exchange: pinged at `sentUs`, answered between `remoteReceivedUs` and `remoteSentUs`
   * on the robot's clock, the answer here at `receivedUs`. Times that contradict each other are
   * ignored.
   * @param {number} sentUs
   * @param {number} remoteReceivedUs
   * @param {number} remoteSentUs
   * @param {number} receivedUs
   */
  exchange(sentUs, remoteReceivedUs, remoteSentUs, receivedUs) {
    const remoteHeldUs = remoteSentUs - remoteReceivedUs;
    const rttUs = receivedUs - sentUs - remoteHeldUs;
    if (remoteHeldUs < 0 || rttUs < 0) return;
    const offsetUs = (remoteReceivedUs - sentUs + (remoteSentUs - receivedUs)) / 2;
    this.exchanges = [...this.exchanges.slice(1 - WINDOW), { offsetUs, rttUs }];
  }

  /** @returns {Offset | null} the exchange with the shortest round trip */
  best() {
    return this.exchanges.reduce(
      (best, exchange) => (best && best.rttUs <= exchange.rttUs ? best : exchange),
      /** @type {Offset | null} */ (null),
    );
  }
}

/**
 * When the frame with this RTP timestamp was captured, on the robot's clock. Right within six hours
 * of the anchor, where the 32-bit timestamp would wrap around.
 * @param {import("./protocol.js").RtpAnchor} anchor
 * @param {number} rtp
 */
export function captureUs(anchor, rtp) {
  const ticks = (rtp - anchor.rtp) | 0;
  return anchor.captureUs + (ticks * 1_000_000) / VIDEO_CLOCK_HZ;
}
