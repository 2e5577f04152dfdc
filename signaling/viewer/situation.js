// @ts-check
// What to tell the operator about the way to the robot. Pure.

/**
 * @typedef {object} Way
 * @property {boolean} linkUp
 * @property {boolean} everUp
 * @property {string} refusal why the broker does not let us in, in words; empty when it does
 * @property {string} robot the chosen robot's name, empty when none is chosen
 * @property {boolean} robotOnline
 * @property {number} robotsOnline
 * @property {boolean} connected a session is up
 * @property {boolean} mediaFlows
 */
/**
 * @typedef {{level: "bad" | "info" | "none", banner: string, hint: string}} Story
 *   the hint is for a camera without a picture
 */

/**
 * @param {Way} way
 * @returns {Story}
 */
export function tell({ linkUp, everUp, refusal, robot, robotOnline, robotsOnline, connected, mediaFlows }) {
  if (!linkUp) {
    if (refusal !== "") {
      const rest = mediaFlows ? " Pictures go on." : "";
      return { level: "bad", banner: `${refusal}${rest}`, hint: "the broker refuses" };
    }
    const rest = mediaFlows ? "Pictures go on." : "Trying again.";
    return everUp
      ? { level: "bad", banner: `No link to the broker. ${rest}`, hint: "no link to the broker" }
      : { level: "info", banner: "Looking for the broker.", hint: "no link to the broker" };
  }
  if (robot === "") {
    const banner = robotsOnline > 0 ? "Choose a robot." : "No robot is on-line. Waiting for one.";
    return { level: "info", banner, hint: "" };
  }
  if (!robotOnline && mediaFlows) {
    return { level: "info", banner: `${robot} has left the broker. Pictures go on.`, hint: "" };
  }
  if (!robotOnline) {
    return { level: "bad", banner: `${robot} is off-line. Waiting for it.`, hint: "robot is off-line" };
  }
  if (!connected) return { level: "info", banner: `Connecting to ${robot}.`, hint: "connecting" };
  return { level: "none", banner: "", hint: "" };
}
