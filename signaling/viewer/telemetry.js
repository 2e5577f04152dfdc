// @ts-check
// The panel with the figures of the robot's computer and its cameras, as the robot last told them,
// and how long ago that was.

import { find, icon, make, setText } from "./dom.js";
import { NONE, age, bitrate, gibibytes, uptime } from "./format.js";
import { FAULTS, iconOf } from "./picture.js";

/** @typedef {import("./protocol.js").Telemetry} Telemetry */
/** @typedef {import("./protocol.js").CameraFigures} CameraFigures */
/** @typedef {import("./protocol.js").HostFigures} HostFigures */

const STALE_AFTER_MS = 3_000;
const HOT_CELSIUS = 80;
const FULL_PERCENT = 90;
/** As in style.css: below, the panel is a drawer at the lower edge. */
const NARROW = "(max-width: 900px)";

export class TelemetryPanel {
  #section = find(document, "#telemetry", HTMLElement);
  #handle = find(document, "#panel-handle", HTMLElement);
  #button = find(document, "#panel-button", HTMLElement);
  #summary = find(document, "#summary", HTMLElement);
  #age = find(document, "#age", HTMLElement);
  #host = find(document, "#host", HTMLElement);
  #cameras = find(document, "#cameras", HTMLElement);
  /** @type {Telemetry | null} */
  #latest = null;
  #heardMs = -Infinity;

  constructor() {
    this.#handle.addEventListener("click", () => this.toggle());
    this.#open(!matchMedia(NARROW).matches);
  }

  toggle() {
    this.#open(this.#folded);
  }

  /**
   * @param {Telemetry} telemetry
   * @param {number | null} rttMs
   * @param {(camera: string) => string} labelOf
   */
  show(telemetry, rttMs, labelOf) {
    this.#latest = telemetry;
    this.#heardMs = performance.now();
    this.#section.dataset.seq = String(telemetry.seq);
    this.#host.replaceChildren(...hostRows(telemetry.host, rttMs));
    this.#cameras.replaceChildren(
      ...telemetry.cameras.map((camera) => cameraRow(camera, labelOf(camera.id))),
    );
  }

  /** Another robot was chosen: the figures are not its own. */
  clear() {
    this.#latest = null;
    this.#heardMs = -Infinity;
    this.#section.dataset.seq = "";
    this.#host.replaceChildren();
    this.#cameras.replaceChildren();
  }

  /**
   * @param {number} nowMs
   * @returns {Map<string, CameraFigures>} what the robot says of its cameras; nothing when stale
   */
  reports(nowMs) {
    const fresh = nowMs - this.#heardMs <= STALE_AFTER_MS;
    return new Map((fresh ? this.#latest?.cameras ?? [] : []).map((camera) => [camera.id, camera]));
  }

  refresh(/** @type {number} */ nowMs) {
    const stale = this.#latest !== null && nowMs - this.#heardMs > STALE_AFTER_MS;
    this.#section.dataset.stale = String(stale);
    this.#button.dataset.stale = String(stale);
    setText(this.#summary, this.#latest && this.#folded ? inShort(this.#latest.host) : "Telemetry");
    const heard = this.#latest ? `${age(nowMs - this.#heardMs)} ago` : "none yet";
    setText(this.#age, stale ? `⚠ STALE: ${heard}` : heard);
  }

  get #folded() {
    return this.#section.classList.contains("folded");
  }

  /** @param {boolean} open */
  #open(open) {
    this.#section.classList.toggle("folded", !open);
    for (const button of [this.#handle, this.#button]) {
      button.setAttribute("aria-expanded", String(open));
    }
    this.refresh(performance.now());
  }
}

/** @param {HostFigures} host */
function inShort({ cpuPercent, temperatureCelsius: heat }) {
  return `CPU ${Math.round(cpuPercent)} %${heat === null ? "" : ` · ${Math.round(heat)} °C`}`;
}

/**
 * @param {HostFigures} host
 * @param {number | null} rttMs
 */
function hostRows(host, rttMs) {
  const memoryPercent = (100 * host.memoryUsedBytes) / (host.memoryTotalBytes || 1);
  const used = `${gibibytes(host.memoryUsedBytes)} of ${gibibytes(host.memoryTotalBytes)} GiB`;
  const heat = host.temperatureCelsius;
  return [
    ...row("CPU", `${Math.round(host.cpuPercent)} %`, host.cpuPercent >= FULL_PERCENT),
    share(host.cpuPercent),
    ...row("Memory", used, memoryPercent >= FULL_PERCENT),
    share(memoryPercent),
    ...(heat === null ? [] : row("Temperature", `${Math.round(heat)} °C`, heat >= HOT_CELSIUS)),
    ...row("Load, 1 min", host.load1m.toFixed(2), false),
    ...row("Up for", uptime(host.uptimeS), false),
    ...row("Round trip", rttMs === null ? NONE : `${Math.round(rttMs)} ms`, false),
  ];
}

/**
 * @param {string} name
 * @param {string} figure
 * @param {boolean} alarming
 */
function row(name, figure, alarming) {
  const text = alarming ? `⚠ ${figure}` : figure;
  return [make("dt", "", name), make("dd", alarming ? "alarming" : "", text)];
}

/** @param {number} percent */
function share(percent) {
  const filled = make("div", "filled");
  filled.style.width = `${Math.min(percent, 100)}%`;
  return make("dd", "share", filled);
}

/**
 * @param {CameraFigures} camera
 * @param {string} label
 */
function cameraRow(camera, label) {
  const state = make("span", "state", icon(iconOf(camera.state)));
  state.append(camera.state);
  const figures = [`${camera.fps.toFixed(0)} fps`, bitrate(camera.bitrateKbps * 1000)];
  figures.push(`${camera.framesDropped} dropped`);
  if (camera.encoder) figures.push(camera.encoder);
  const item = make("li", "", make("strong", "", label), state);
  item.append(make("span", "figures", figures.join(" · ")));
  if (camera.fault) item.append(make("span", "fault", `⚠ ${FAULTS[camera.fault]}`));
  if (camera.reason) item.append(make("span", "reason", camera.reason));
  item.dataset.state = camera.state;
  return item;
}
