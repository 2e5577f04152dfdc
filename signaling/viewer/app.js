// @ts-check
// The viewer: puts link, robots, sessions and page together. Several times a second everything is
// looked at anew, so that no state depends on an event that may never come.

import { Access } from "./access.js";
import { find, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { listen } from "./keys.js";
import { Link } from "./link.js";
import { Menu } from "./menu.js";
import { MAX_CAMERAS } from "./protocol.js";
import { RobotList } from "./robots.js";
import { Roster } from "./roster.js";
import { Sessions } from "./sessions.js";
import { readSettings, withRobot } from "./settings.js";
import { tell } from "./situation.js";
import { ASK_MS, isAlive, silenceMs } from "./supervisor.js";
import { TelemetryPanel } from "./telemetry.js";

/** @typedef {import("./protocol.js").BrokerMessage} BrokerMessage */

/** Looking takes the browser some milliseconds: */
const LOOK_EVERY_MS = 250;
/** while something may have to be done at once, */
const LOOK_CLOSELY_EVERY_MS = 100;
/** which is seen at a glance. */
const GLANCE_EVERY_MS = 50;
const FLOWING_MS = 1_000;
const PROBLEM_SHOWN_MS = 15_000;

const root = document.documentElement;
const banner = find(document, "#banner", HTMLElement);
const problem = find(document, "#problem", HTMLElement);

const access = new Access({ location, history, storage: () => sessionStorage });
let settings = readSettings(location.hash);
let everUp = false;
let problemUntilMs = 0;
let outage = false;
let lookedMs = -Infinity;

const roster = new Roster(() => settings.robot);
const grid = new Grid(openMenu);
const panel = new TelemetryPanel();
const list = new RobotList(choose);
const menu = new Menu(ask, () => sessions.current?.control.denied ?? "");

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const link = new Link(`${scheme}//${location.host}/ws`, () => access.token, {
  onChange(up) {
    root.dataset.link = up ? "up" : "down";
    everUp ||= up;
    if (up) sessions.networkChanged();
    else sessions.linkLost();
    refresh();
  },
  onMessage: heard,
});
const sessions = new Sessions(link, () => settings, {
  onPictures: (session) => {
    showCameras();
    grid.show(session);
  },
  onEnding: () => grid.keepPictures(),
  onTelemetry: (telemetry, rttMs) => panel.show(telemetry, rttMs, labelOf),
  onProblem: complain,
});

/** @param {BrokerMessage} message */
function heard(message) {
  switch (message.type) {
    case "list":
      roster.replace(message.producers);
      return rosterChanged();
    case "peerStatusChanged":
      if (message.online) roster.joined(message.producer);
      else roster.left(message.producer.id);
      return rosterChanged();
    default:
      sessions.heard(message);
  }
}

function rosterChanged() {
  const online = roster.robots().filter((robot) => robot.peerId !== null);
  if (settings.robot === "" && online.length === 1) choose(online[0].name);
  showCameras();
  refresh();
  sessions.step(chosen().peerId);
}

/** @param {string} name */
function choose(name) {
  if (name === settings.robot) return;
  history.replaceState(null, "", withRobot(location.hash, name));
  settingsChanged();
}

function settingsChanged() {
  settings = readSettings(location.hash);
  sessions.clear();
  panel.clear();
  grid.setCameras([]);
  grid.reduce();
  showCameras();
  refresh();
  sessions.step(chosen().peerId);
}

function chosen() {
  return roster.robot(settings.robot);
}

/** @param {string} camera */
function labelOf(camera) {
  return chosen().cameras.find(({ id }) => id === camera)?.label ?? camera;
}

/** The robot's cameras as it says, and those that only the session knows. */
function showCameras() {
  const wanted = settings.cameras;
  const said = chosen().cameras.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
  const known = new Map(said.map((camera) => [camera.id, camera]));
  for (const id of sessions.current?.tracks.keys() ?? []) {
    if (!known.has(id)) known.set(id, { id, label: id, width: 0, height: 0 });
  }
  grid.setCameras([...known.values()].slice(0, MAX_CAMERAS));
}

/** @param {string} text */
function complain(text) {
  setText(find(problem, "span", HTMLElement), text);
  problem.hidden = false;
  problemUntilMs = performance.now() + PROBLEM_SHOWN_MS;
}

/** Shows how things are. */
function refresh() {
  const nowMs = performance.now();
  const robots = roster.robots();
  const robot = chosen();
  const { current } = sessions;
  const story = tell({
    linkUp: link.up,
    everUp,
    refusal: link.refusal,
    robot: settings.robot,
    robotOnline: robot.peerId !== null,
    robotsOnline: robots.filter(({ peerId }) => peerId !== null).length,
    connected: current !== null && isAlive(current, robot.peerId, nowMs),
    mediaFlows: current !== null && nowMs - current.lastFrameMs < FLOWING_MS,
  });
  banner.hidden = story.level === "none";
  banner.dataset.level = story.level;
  setText(find(banner, "span", HTMLElement), story.banner);
  problem.hidden ||= nowMs > problemUntilMs;
  const listed = settings.robot === "" || robots.some(({ name }) => name === settings.robot);
  list.show(listed ? robots : [...robots, robot], settings.robot, link.up);
  panel.refresh(nowMs);
  grid.refresh(nowMs, reportOf, story.hint);
}

/** @type {import("./menu.js").Ask} */
function ask(wish) {
  const { current } = sessions;
  return current ? current.control.ask(wish) : Promise.reject(new Error("There is no session with the robot."));
}

/** @param {import("./protocol.js").CameraMeta} camera */
function openMenu(camera) {
  menu.open(camera, reportOf(camera.id).word?.state === "off");
}

/**
 * What the robot says of a camera: that the signal is lost counts until it says otherwise, its
 * figures while they are fresh.
 * @param {string} camera
 * @returns {import("./tile.js").Report}
 */
function reportOf(camera) {
  const nowMs = performance.now();
  const { current } = sessions;
  const figures = panel.reports(nowMs).get(camera) ?? null;
  const said = current?.control.signals.get(camera) ?? figures;
  const word = said && {
    state: said.state,
    reason: said.reason,
    forMs: current?.elapsedMs(said.sinceUs, nowMs) ?? null,
  };
  return { word, fault: figures?.fault ?? "", takesRequests: current?.takesRequests ?? false };
}

/** Whether something may have to be done at once. */
function isTense(/** @type {number} */ nowMs) {
  const { current, pending } = sessions;
  return outage || pending !== null || !link.up || (current !== null && silenceMs(current, nowMs) > ASK_MS);
}

async function look() {
  await sessions.poll();
  const nowMs = performance.now();
  const before = outage;
  outage = sessions.isOutage(nowMs);
  if (before && !outage && !link.up) link.wake();
  link.tick(nowMs, outage);
  sessions.step(chosen().peerId);
  refresh();
}

/** One look after the other: what is decided on facts that are out of date is wrong. */
async function keepLooking() {
  try {
    const nowMs = performance.now();
    if (nowMs - lookedMs >= (isTense(nowMs) ? LOOK_CLOSELY_EVERY_MS : LOOK_EVERY_MS)) {
      lookedMs = nowMs;
      await look();
    }
  } finally {
    setTimeout(keepLooking, GLANCE_EVERY_MS);
  }
}

function networkChanged() {
  sessions.networkChanged();
  link.wake();
}

listen({
  toggleCamera: (index) => grid.toggleAt(index),
  allCameras: () => grid.reduce(),
  togglePanel: () => panel.toggle(),
});
find(problem, "button", HTMLElement).addEventListener("click", () => {
  problemUntilMs = 0;
  refresh();
});
window.addEventListener("hashchange", () => {
  if (access.take()) link.renew();
  settingsChanged();
});
window.addEventListener("online", networkChanged);
/** @type {{connection?: EventTarget}} */ (navigator).connection?.addEventListener("change", networkChanged);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") link.wake();
});
// The robot need not wait for our silence to stop sending.
window.addEventListener("pagehide", () => sessions.clear());
void keepLooking();
