// @ts-check
// What the address of the page says behind its `#`: `robot=NAME` chooses the robot, `cameras=A,B`
// asks for some of its cameras only, `buffer=MS` holds pictures back for a bad network, `ice=relay` takes
// no path but by a TURN server. A `token=` is taken away before; see access.js.

/** @typedef {{robot: string, cameras: string[], bufferMs: number, icePolicy: RTCIceTransportPolicy}} Settings */

const MAX_BUFFER_MS = 4_000;

/**
 * @param {string} hash
 * @returns {Settings}
 */
export function readSettings(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const bufferMs = Number(fields.get("buffer"));
  return {
    robot: fields.get("robot") ?? "",
    cameras: (fields.get("cameras") ?? "").split(",").filter((id) => id !== ""),
    icePolicy: fields.get("ice") === "relay" ? "relay" : "all",
    bufferMs: bufferMs > 0 ? Math.min(bufferMs, MAX_BUFFER_MS) : 0,
  };
}

/**
 * The same address with another robot: its cameras are others, too.
 * @param {string} hash
 * @param {string} robot
 */
export function withRobot(hash, robot) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  if (fields.get("robot") !== null) fields.delete("cameras");
  fields.set("robot", robot);
  return `#${fields}`;
}
