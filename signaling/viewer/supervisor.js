// @ts-check
// When a session is kept, replaced or given up. Pure: looks at the facts, names one step; the time
// comes in as an argument. Running media never depends on the broker, and a new session shows a
// picture before the old one is dropped.

/**
 * What is known of a session.
 * @typedef {object} SessionFacts
 * @property {string} peerId the robot's connection that it was started with
 * @property {boolean} over ended by the robot, or its media connection failed for good
 * @property {boolean} hungUp the robot closed the data channel
 * @property {number} startedMs
 * @property {number | null} offeredMs when the robot's offer came
 * @property {number | null} connectedMs when its media connection was up first
 * @property {number} lastFrameMs -Infinity before the first
 * @property {number} lastMessageMs on the data channel; -Infinity before the first
 * @property {number} askedMs when the robot was asked for a sign of life first since the last one
 * @property {string[]} pictured the cameras of which a picture was decoded
 */
/**
 * @typedef {object} Situation
 * @property {number} nowMs
 * @property {boolean} linkUp whether the broker can be talked to
 * @property {string | null} robotPeerId the chosen robot's connection, null when it is off-line
 * @property {number} retryAtMs no new attempt before
 * @property {number} connectWithinMs how long an attempt may take from the offer to the connection
 * @property {SessionFacts | null} current whose pictures are shown
 * @property {SessionFacts | null} pending being negotiated to take its place
 */
/**
 * `giveUpPending`: the robot answered, but there seems to be no path to it; `abandonPending`: it is of
 * no use for any other reason.
 * @typedef {"keep" | "start" | "abandonPending" | "giveUpPending" | "promotePending" | "dropCurrent"} Step
 */

/** After so long without a sign of life the robot is asked for one, */
export const ASK_MS = 100;
/** and after so long something may be wrong with the network. */
export const DOUBT_MS = 300;
const SILENT_MS = 400;
const ANSWER_WITHIN_MS = 200;
/** The same when the robot has made another connection to the broker: its network changed, too. */
const RESTARTED_SILENT_MS = 300;
const RESTARTED_ANSWER_WITHIN_MS = 150;
/** Silence of a session whose robot cannot be asked: of other producers, some show still pictures. */
const UNASKED_SILENT_MS = 5_000;
/** The same of one that may have restarted. */
const UNASKED_DOUBTFUL_MS = 1_000;
const HUNG_UP_MS = 500;
/** The robot's own patience. It has got the request once its connection to the broker works. */
const OFFER_WITHIN_MS = 10_000;
/** A session whose cameras are all silent has no picture to wait for. */
const PICTURE_WITHIN_MS = 2_000;
/** A session that lasted this long was a success: the next failure is a new one. */
const SETTLED_MS = 2_000;

/**
 * @param {Situation} situation
 * @returns {Step}
 */
export function nextStep({ nowMs, linkUp, robotPeerId, retryAtMs, connectWithinMs, current, pending }) {
  if (current?.over) return "dropCurrent";
  const kept = current !== null && isAlive(current, robotPeerId, nowMs);
  if (!pending) {
    const possible = linkUp && robotPeerId !== null && nowMs >= retryAtMs;
    return possible && !kept ? "start" : "keep";
  }
  if (pending.over || kept) return "abandonPending";
  if (pending.connectedMs !== null) {
    if (takesOver(pending, current)) return "promotePending";
    if (nowMs - pending.connectedMs <= PICTURE_WITHIN_MS) return "keep";
    const heard = pending.lastMessageMs !== -Infinity && isAlive(pending, robotPeerId, nowMs);
    return heard ? "promotePending" : "giveUpPending";
  }
  if (!linkUp || robotPeerId !== pending.peerId) return "abandonPending";
  if (pending.offeredMs !== null) {
    return nowMs - pending.offeredMs > connectWithinMs ? "giveUpPending" : "keep";
  }
  return nowMs - pending.startedMs > OFFER_WITHIN_MS ? "abandonPending" : "keep";
}

/**
 * Pictures or messages alone are life, and a passing `disconnected` means nothing. Once neither comes
 * the robot is asked: only one that does not answer is left.
 * @param {SessionFacts} session
 * @param {string | null} robotPeerId
 * @param {number} nowMs
 */
export function isAlive(session, robotPeerId, nowMs) {
  const { peerId, hungUp, lastFrameMs, lastMessageMs, askedMs } = session;
  if (hungUp) return nowMs - lastFrameMs <= HUNG_UP_MS;
  const silentMs = silenceMs(session, nowMs);
  const restarted = robotPeerId !== null && robotPeerId !== peerId;
  if (lastMessageMs === -Infinity) {
    return silentMs <= (restarted ? UNASKED_DOUBTFUL_MS : UNASKED_SILENT_MS);
  }
  const [allowedMs, withinMs] = restarted
    ? [RESTARTED_SILENT_MS, RESTARTED_ANSWER_WITHIN_MS]
    : [SILENT_MS, ANSWER_WITHIN_MS];
  const unanswered = askedMs > nowMs - silentMs && nowMs - askedMs > withinMs;
  return silentMs <= allowedMs || (!unanswered && silentMs <= UNASKED_SILENT_MS);
}

/**
 * How long there has been no sign of life.
 * @param {SessionFacts} session
 * @param {number} nowMs
 */
export function silenceMs({ lastFrameMs, lastMessageMs, connectedMs }, nowMs) {
  return nowMs - Math.max(lastFrameMs, lastMessageMs, connectedMs ?? -Infinity);
}

/**
 * @param {SessionFacts} session
 * @param {number} nowMs
 */
export function isSettled({ connectedMs }, nowMs) {
  return connectedMs !== null && nowMs - connectedMs > SETTLED_MS;
}

/**
 * Whether a connected session can be shown without a loss to the eye.
 * @param {SessionFacts} pending
 * @param {SessionFacts | null} current
 */
function takesOver(pending, current) {
  const shown = current?.pictured ?? [];
  return shown.length === 0 || shown.some((camera) => pending.pictured.includes(camera));
}
