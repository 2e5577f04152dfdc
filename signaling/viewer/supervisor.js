// @ts-check
// When a session is kept, replaced or given up. Pure: looks at the facts, names one step; the time
// comes in as an argument. Running media never depends on the broker, and a new session is made
// before the old one is dropped.

/**
 * What is known of a session.
 * @typedef {object} SessionFacts
 * @property {string} peerId the robot's connection that it was started with
 * @property {boolean} over ended by the robot, or its media connection failed for good
 * @property {boolean} hungUp the robot closed the data channel
 * @property {number} startedMs
 * @property {number | null} connectedMs when its media connection was up first
 * @property {number} lastFrameMs -Infinity before the first
 * @property {number} lastMessageMs on the data channel; -Infinity before the first
 */
/**
 * @typedef {object} Situation
 * @property {number} nowMs
 * @property {boolean} linkUp whether the broker can be talked to
 * @property {string | null} robotPeerId the chosen robot's connection, null when it is off-line
 * @property {number} retryAtMs no new attempt before
 * @property {SessionFacts | null} current whose pictures are shown
 * @property {SessionFacts | null} pending being negotiated to take its place
 */
/** @typedef {"keep" | "start" | "abandonPending" | "promotePending" | "dropCurrent"} Step */

const CONNECT_WITHIN_MS = 10_000;
const SILENT_MS = 5_000;
const NO_FRAME_MS = 1_000;
/** A session that lasted this long was a success: the next failure is a new one. */
const SETTLED_MS = 5_000;

/**
 * @param {Situation} situation
 * @returns {Step}
 */
export function nextStep({ nowMs, linkUp, robotPeerId, retryAtMs, current, pending }) {
  if (current?.over) return "dropCurrent";
  const kept = current !== null && isAlive(current, robotPeerId, nowMs);
  if (pending) {
    if (pending.over) return "abandonPending";
    if (pending.connectedMs !== null) return "promotePending";
    const late = nowMs - pending.startedMs > CONNECT_WITHIN_MS;
    const orphaned = !linkUp || robotPeerId !== pending.peerId;
    return late || orphaned || kept ? "abandonPending" : "keep";
  }
  const possible = linkUp && robotPeerId !== null && nowMs >= retryAtMs;
  return possible && !kept ? "start" : "keep";
}

/**
 * A robot that came back under a new peer id may have restarted, and one that closed the data
 * channel is most likely gone: then one second without pictures is enough to leave the session.
 * Otherwise only silence of everything is; a passing `disconnected` means nothing.
 * @param {SessionFacts} session
 * @param {string | null} robotPeerId
 * @param {number} nowMs
 */
export function isAlive(session, robotPeerId, nowMs) {
  const { peerId, hungUp, lastFrameMs, lastMessageMs, connectedMs } = session;
  const doubtful = hungUp || (robotPeerId !== null && robotPeerId !== peerId);
  if (doubtful) return nowMs - lastFrameMs <= NO_FRAME_MS;
  return nowMs - Math.max(lastFrameMs, lastMessageMs, connectedMs ?? -Infinity) <= SILENT_MS;
}

/**
 * @param {SessionFacts} session
 * @param {number} nowMs
 */
export function isSettled({ connectedMs }, nowMs) {
  return connectedMs !== null && nowMs - connectedMs > SETTLED_MS;
}
