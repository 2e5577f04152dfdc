// @ts-check
// Which track of an offer shows which camera. Not an SDP parser: it reads two attributes.

import { MAX_CAMERAS } from "./protocol.js";

/**
 * Robots label every video section with the camera's id; without a label (other producers) the
 * section's mid stands for the camera.
 * @param {string} sdp an offer
 * @returns {Map<string, string>} camera id by mid
 */
export function camerasByMid(sdp) {
  /** @type {Map<string, string>} */
  const cameras = new Map();
  for (const section of sdp.split(/^m=/m).slice(1)) {
    const mid = attribute(section, "mid");
    if (!section.startsWith("video ") || mid === "" || cameras.size === MAX_CAMERAS) continue;
    cameras.set(mid, attribute(section, "label") || mid);
  }
  return cameras;
}

/**
 * @param {string} section
 * @param {string} name
 */
function attribute(section, name) {
  const line = section.split(/\r?\n/).find((line) => line.startsWith(`a=${name}:`));
  return line ? line.slice(name.length + 3).trim() : "";
}
