// @ts-check
// One camera's stream within one session: its counters and the age of its frames. Not its picture
// on the page (tile.js).

import { captureUs, toUs } from "./clock.js";
import { Latency, Meter } from "./picture.js";

/**
 * What `requestVideoFrameCallback` tells of a frame, as far as the browser knows it.
 * @typedef {{expectedDisplayTime?: number, presentationTime?: number, rtpTimestamp?: number}} Presented
 */

export class Track {
  /**
   * @param {string} camera
   * @param {string} mid
   * @param {MediaStreamTrack} media
   */
  constructor(camera, mid, media) {
    this.camera = camera;
    this.mid = mid;
    this.media = media;
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    this.lastFrameMs = -Infinity;
    this.countedMs = -Infinity;
    this.frames = 0;
    this.packetsLost = 0;
    this.meter = new Meter();
    this.latency = new Latency();
    /** @type {import("./protocol.js").RtpAnchor | null} */
    this.anchor = null;
    /** @type {import("./clock.js").Offset | null} the robot's clock minus ours */
    this.offset = null;
  }

  /**
   * Takes an `inbound-rtp` report.
   * @param {any} report
   * @param {number} nowMs
   */
  counted(report, nowMs) {
    const frames = counter(report.framesDecoded);
    // One that reached the screen since the last count is known better.
    if (frames > this.frames && this.lastFrameMs <= this.countedMs) this.lastFrameMs = nowMs;
    this.countedMs = nowMs;
    this.frames = frames;
    this.packetsLost = counter(report.packetsLost);
    this.meter.sample(nowMs, frames, counter(report.bytesReceived));
  }

  /**
   * Takes a frame that reached the screen.
   * @param {Presented} frame
   * @param {number} nowMs
   */
  presented(frame, nowMs) {
    this.lastFrameMs = nowMs;
    const shownMs = frame.expectedDisplayTime ?? frame.presentationTime;
    if (!this.anchor || !this.offset) return;
    if (shownMs === undefined || frame.rtpTimestamp === undefined) return;
    const capturedUs = captureUs(this.anchor, frame.rtpTimestamp) - this.offset.offsetUs;
    this.latency.sample(nowMs, (toUs(shownMs) - capturedUs) / 1000);
  }
}

/**
 * Counters of a session begin at zero, but lost packets are less than none when some came twice.
 * @param {unknown} value
 */
function counter(value) {
  return typeof value === "number" && value > 0 ? value : 0;
}
