// @ts-check
// What broker, robot and viewer say to each other: the types, and the check of every message that
// comes in. Whatever does not fit is dropped here, so that nobody behind this file has to doubt
// a field. No socket, no page.

/** @typedef {{id: string, label: string, width: number, height: number}} CameraMeta */
/** @typedef {{id: string, name: string, cameras: CameraMeta[]}} Producer A robot's connection. */
/** @typedef {{candidate: string, sdpMLineIndex: number}} Candidate */
/**
 * @typedef {{type: "welcome", peerId: string, iceServers: RTCIceServer[], holdMs: number}
 *   | {type: "iceServers", iceServers: RTCIceServer[], holdMs: number}
 *   | {type: "list", producers: Producer[]}
 *   | {type: "peerStatusChanged", producer: Producer, online: boolean}
 *   | {type: "sessionStarted", peerId: string, sessionId: string}
 *   | {type: "endSession", sessionId: string, reason: string}
 *   | {type: "offer", sessionId: string, sdp: string}
 *   | {type: "candidate", sessionId: string, ice: Candidate}
 *   | {type: "error", details: string, code: string, sessionId: string | null}} BrokerMessage
 */

/** @typedef {"starting" | "live" | "stalled" | "lost" | "failed" | "off"} CameraState */
/** @typedef {"" | "frozen" | "black" | "blinded"} PictureFault */
/**
 * @typedef {object} CameraFigures
 * @property {string} id
 * @property {CameraState} state
 * @property {string} reason empty when there is none
 * @property {number} sinceUs since when it is in this state, on the robot's clock; 0 when not known
 * @property {PictureFault} fault what seems wrong with its pictures; empty when nothing does
 * @property {string} encoder empty when it is not known
 * @property {number} fps
 * @property {number} bitrateKbps
 * @property {number} framesDropped
 */
/**
 * @typedef {object} HostFigures
 * @property {number} cpuPercent
 * @property {number} memoryUsedBytes
 * @property {number} memoryTotalBytes
 * @property {number | null} temperatureCelsius
 * @property {number} load1m
 * @property {number} uptimeS
 */
/** @typedef {{rtp: number, captureUs: number}} RtpAnchor */
/** @typedef {{type: "telemetry", seq: number, host: HostFigures, cameras: CameraFigures[]}} Telemetry */
/** @typedef {{type: "clock", tracks: {mid: string, anchor: RtpAnchor}[]}} Clock */
/** @typedef {{type: "pong", pingSentUs: number, receivedUs: number, sentUs: number}} Pong */
/** @typedef {Telemetry | Clock | Pong} RobotMessage */
/**
 * @typedef {{type: "signal_lost", camera: string, state: CameraState, reason: string, sinceUs: number}} SignalLost
 * @typedef {SignalLost
 *   | {type: "signal_restored", camera: string, lostUs: number}
 *   | {type: "result", request: number, error: {code: string, details: string} | null}
 *   | {type: "snapshot", request: number, part: number, parts: number, jpeg: string}} ControlMessage
 */

/** The labels of the data channels. */
export const CHANNEL = "telemetry";
export const CONTROL_CHANNEL = "control";
export const MAX_CAMERAS = 64;

const MAX_NAME_LEN = 64;
const MAX_ID_LEN = 256;
const MAX_TEXT_LEN = 500;
/** 24 KiB of a snapshot in base64. */
const MAX_PART_LEN = 32 * 1024;
/** What a broker says at most: no list is longer. */
const MAX_BROKER_TEXT_LEN = 8 << 20;
/** As many as a broker has connections, unless it is told otherwise. */
const MAX_PRODUCERS = 20_000;
const MAX_ROBOT_TEXT_LEN = 64 * 1024;

/**
 * @param {unknown} data the data of a WebSocket message
 * @returns {BrokerMessage | null} null for what is of no use to a viewer
 */
export function parseBrokerMessage(data) {
  const message = parseObject(data, MAX_BROKER_TEXT_LEN);
  const sessionId = id(message.sessionId);
  const peerId = id(message.peerId);
  switch (message.type) {
    case "welcome":
      return peerId ? { type: "welcome", peerId, ...servers(message) } : null;
    case "iceServers":
      return { type: "iceServers", ...servers(message) };
    case "list":
      return {
        type: "list",
        producers: list(message.producers, MAX_PRODUCERS)
          .map((peer) => producer(id(peer.id), peer.meta))
          .filter((peer) => peer.id !== ""),
      };
    case "peerStatusChanged": {
      if (!peerId) return null;
      const online = Array.isArray(message.roles) && message.roles.includes("producer");
      return { type: "peerStatusChanged", producer: producer(peerId, message.meta), online };
    }
    case "sessionStarted":
      return peerId && sessionId ? { type: "sessionStarted", peerId, sessionId } : null;
    case "endSession":
      return sessionId ? { type: "endSession", sessionId, reason: text(message.reason) } : null;
    case "peer":
      return sessionId ? relayed(sessionId, message) : null;
    case "error": {
      const details = text(message.details) || "no details given";
      return { type: "error", details, code: text(message.code), sessionId: sessionId || null };
    }
    default:
      return null;
  }
}

/**
 * Robots send their JSON as bytes; texts are understood, too.
 * @param {unknown} data the data of a data channel message
 * @returns {RobotMessage | null} null for what is of no use to a viewer
 */
export function parseRobotMessage(data) {
  const message = parseBytes(data);
  switch (message.type) {
    case "telemetry":
      if (!Number.isSafeInteger(message.seq)) return null;
      return {
        type: "telemetry",
        seq: message.seq,
        host: hostFigures(object(message.host)),
        cameras: list(message.cameras, MAX_CAMERAS).map(cameraFigures).filter((c) => c.id !== ""),
      };
    case "clock": {
      const tracks = list(message.tracks, MAX_CAMERAS)
        .filter((t) => id(t.mid) && isUint32(t.rtp) && Number.isSafeInteger(t.captureUs))
        .map((t) => ({ mid: id(t.mid), anchor: { rtp: t.rtp, captureUs: t.captureUs } }));
      return { type: "clock", tracks };
    }
    case "pong": {
      const { pingSentUs, receivedUs, sentUs } = message;
      if (![pingSentUs, receivedUs, sentUs].every(Number.isSafeInteger)) return null;
      return { type: "pong", pingSentUs, receivedUs, sentUs };
    }
    default:
      return null;
  }
}

/**
 * The same, of the control channel.
 * @param {unknown} data the data of a data channel message
 * @returns {ControlMessage | null} null for what is of no use to a viewer
 */
export function parseControlMessage(data) {
  const message = parseBytes(data);
  const { request, part, parts, jpeg } = message;
  const camera = text(message.camera, MAX_NAME_LEN);
  switch (message.type) {
    case "signal_lost": {
      if (camera === "") return null;
      // Whatever else it may be, live it is not.
      const state = cameraState(message.state, "lost");
      return { type: "signal_lost", camera, state, reason: text(message.reason), sinceUs: time(message.sinceUs) };
    }
    case "signal_restored":
      return camera === "" ? null : { type: "signal_restored", camera, lostUs: time(message.lostUs) };
    case "result": {
      if (!isUint32(request)) return null;
      const { code, details } = object(message.error);
      const error = message.error ? { code: text(code), details: text(details) } : null;
      return { type: "result", request, error };
    }
    case "snapshot":
      if (![request, part, parts].every(isUint32) || typeof jpeg !== "string") return null;
      return jpeg.length <= MAX_PART_LEN ? { type: "snapshot", request, part, parts, jpeg } : null;
    default:
      return null;
  }
}

/**
 * A robot says its name and its cameras; other producers say what they like, or nothing.
 * @param {string} peerId
 * @param {unknown} meta
 * @returns {Producer}
 */
function producer(peerId, meta) {
  const { name, cameras } = object(meta);
  return {
    id: peerId,
    name: text(name, MAX_NAME_LEN) || peerId,
    cameras: list(cameras, MAX_CAMERAS)
      .map((camera) => ({
        id: text(camera.id, MAX_NAME_LEN),
        label: text(camera.label, MAX_NAME_LEN) || text(camera.id, MAX_NAME_LEN),
        width: figure(camera.width),
        height: figure(camera.height),
      }))
      .filter((camera) => camera.id !== ""),
  };
}

/**
 * @param {string} sessionId
 * @param {Record<string, any>} message
 * @returns {BrokerMessage | null}
 */
function relayed(sessionId, message) {
  const sdp = object(message.sdp);
  if (sdp.type === "offer" && typeof sdp.sdp === "string") {
    return { type: "offer", sessionId, sdp: sdp.sdp };
  }
  const { candidate, sdpMLineIndex } = object(message.ice);
  // An empty candidate says that there are no more; Safari throws on it.
  if (text(candidate) === "" || !isUint32(sdpMLineIndex)) return null;
  return { type: "candidate", sessionId, ice: { candidate, sdpMLineIndex } };
}

/**
 * STUN and TURN servers, and for how long their credentials hold.
 * @param {Record<string, any>} message
 */
function servers(message) {
  const { iceServersTtlS } = message;
  const told = Number.isFinite(iceServersTtlS) && iceServersTtlS >= 0;
  return { iceServers: iceServers(message.iceServers), holdMs: told ? iceServersTtlS * 1000 : Infinity };
}

/**
 * @param {unknown} value
 * @returns {RTCIceServer[]}
 */
function iceServers(value) {
  return list(value, 8).map((server) => {
    const urls = (Array.isArray(server.urls) ? server.urls : [server.urls]).map((url) => text(url));
    const { username, credential } = server;
    const named = typeof username === "string" && typeof credential === "string";
    return named ? { urls, username, credential } : { urls };
  });
}

/**
 * @param {Record<string, any>} host
 * @returns {HostFigures}
 */
function hostFigures(host) {
  const { temperatureCelsius } = host;
  return {
    cpuPercent: figure(host.cpuPercent),
    memoryUsedBytes: figure(host.memoryUsedBytes),
    memoryTotalBytes: figure(host.memoryTotalBytes),
    temperatureCelsius: Number.isFinite(temperatureCelsius) ? temperatureCelsius : null,
    load1m: figure(host.load1m),
    uptimeS: figure(host.uptimeS),
  };
}

/**
 * @param {Record<string, any>} camera
 * @returns {CameraFigures}
 */
function cameraFigures(camera) {
  return {
    id: text(camera.id, MAX_NAME_LEN),
    state: camera.state === "live" ? "live" : cameraState(camera.state, "starting"),
    reason: text(camera.reason),
    sinceUs: time(camera.sinceUs),
    fault: pictureFault(camera.fault),
    encoder: text(camera.encoder, MAX_NAME_LEN),
    fps: figure(camera.fps),
    bitrateKbps: figure(camera.bitrateKbps),
    framesDropped: figure(camera.framesDropped),
  };
}

/**
 * The states in which a camera gives no pictures.
 * @param {unknown} state
 * @param {CameraState} other what a state of a later version counts as
 * @returns {CameraState}
 */
function cameraState(state, other) {
  const known = state === "starting" || state === "stalled" || state === "lost" || state === "failed" || state === "off";
  return known ? state : other;
}

/**
 * @param {unknown} fault
 * @returns {PictureFault}
 */
function pictureFault(fault) {
  return fault === "frozen" || fault === "black" || fault === "blinded" ? fault : "";
}

/** @param {unknown} value */
function time(value) {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : 0;
}

/**
 * @param {unknown} data the data of a data channel message
 * @returns {Record<string, any>}
 */
function parseBytes(data) {
  const bytes = data instanceof ArrayBuffer && data.byteLength <= MAX_ROBOT_TEXT_LEN;
  return parseObject(bytes ? new TextDecoder().decode(data) : data, MAX_ROBOT_TEXT_LEN);
}

/**
 * @param {unknown} data
 * @param {number} maxLength
 * @returns {Record<string, any>}
 */
function parseObject(data, maxLength) {
  if (typeof data !== "string" || data.length > maxLength) return {};
  try {
    return object(JSON.parse(data));
  } catch {
    return {};
  }
}

/**
 * @param {unknown} value
 * @returns {Record<string, any>}
 */
function object(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/**
 * @param {unknown} value
 * @param {number} maxLength
 */
function list(value, maxLength) {
  return Array.isArray(value) ? value.slice(0, maxLength).map(object) : [];
}

/**
 * @param {unknown} value
 * @param {number} maxLength
 */
function text(value, maxLength = MAX_TEXT_LEN) {
  return typeof value === "string" ? value.slice(0, maxLength) : "";
}

/**
 * Ids are compared and sent back, so that a shortened one would be another one.
 * @param {unknown} value
 */
function id(value) {
  return typeof value === "string" && value.length <= MAX_ID_LEN ? value : "";
}

/** @param {unknown} value */
function figure(value) {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}

/** @param {unknown} value */
function isUint32(value) {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}
