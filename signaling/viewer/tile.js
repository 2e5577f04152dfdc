// @ts-check
// One camera on the page: its picture, its state and its figures. What the state is, is decided in
// picture.js.

import { find, setIcon, setText } from "./dom.js";
import { NONE, age, bitrate } from "./format.js";
import { FAULTS, LATE_MS, iconOf, judge, signalOf } from "./picture.js";
import { forget, hasPicture } from "./video.js";

/** @typedef {import("./track.js").Track} Track */
/** @typedef {import("./protocol.js").CameraMeta} CameraMeta */
/**
 * What the robot says of the camera.
 * @typedef {object} Report
 * @property {import("./picture.js").Word | null} word null when there is none that is fresh
 * @property {import("./protocol.js").PictureFault} fault
 * @property {boolean} takesRequests
 */

export class Tile {
  #label;
  #key;
  #chip;
  #fault;
  #menu;
  #overlay;
  #picture;
  #enlarge;
  #footer;
  /** @type {CameraMeta} */
  #camera = { id: "", label: "", width: 0, height: 0 };
  /** @type {HTMLVideoElement | null} null before the first track, and once the last is over */
  #video = null;
  /** @type {Track | null} */
  #track = null;
  #lastFrameMs = -Infinity;
  /** Frames since the page was opened: those of earlier tracks, and of this one so far. */
  #framesBefore = 0;

  /**
   * @param {HTMLTemplateElement} shape
   * @param {() => void} onEnlarge
   * @param {(camera: CameraMeta) => void} onMenu
   */
  constructor(shape, onEnlarge, onMenu) {
    const part = (/** @type {string} */ selector) => find(this.element, selector, HTMLElement);
    this.element = find(
      /** @type {DocumentFragment} */ (shape.content.cloneNode(true)), ".tile", HTMLElement);
    this.#label = part(".label");
    this.#key = part(".key");
    this.#chip = part(".chip");
    this.#fault = part(".fault");
    this.#menu = part(".menu");
    this.#overlay = part(".overlay");
    this.#picture = part(".picture");
    this.#enlarge = part(".enlarge");
    this.#footer = part("footer");
    this.#menu.addEventListener("click", () => onMenu(this.#camera));
    this.#enlarge.addEventListener("click", () => {
      this.#play();
      onEnlarge();
    });
  }

  /**
   * @param {CameraMeta} camera
   * @param {number} index
   */
  describe(camera, index) {
    this.#camera = camera;
    this.element.dataset.camera = camera.id;
    setText(this.#label, camera.label);
    this.#menu.ariaLabel = `${camera.label}: menu`;
    setText(this.#key, index < 9 ? String(index + 1) : "");
  }

  /** @param {import("./layout.js").Box} box */
  place({ x, y, width, height }) {
    this.element.style.transform = `translate(${x}px, ${y}px)`;
    this.element.style.width = `${width}px`;
    this.element.style.height = `${height}px`;
  }

  /** @param {"equal" | "enlarged" | "aside"} role */
  set role(role) {
    this.element.classList.toggle("enlarged", role === "enlarged");
    this.element.classList.toggle("aside", role === "aside");
    this.#enlarge.setAttribute("aria-pressed", String(role === "enlarged"));
  }

  /**
   * Shows another track. The last picture of the one before stays until the first of the new one.
   * @param {Track} track
   */
  show(track) {
    const { video } = track;
    if (track === this.#track || !video) return;
    this.#framesBefore += this.#track?.frames ?? 0;
    this.#track = track;
    // Of several that never came to a picture only the latest is of use.
    if (this.#video) this.keepPicture();
    this.#picture.prepend(video);
    this.#video = video;
    if (hasPicture(video)) this.#clear(video);
    else video.addEventListener("loadeddata", () => this.#clear(video));
    this.#play();
  }

  /**
   * The track is about to end, and browsers show nothing of a track that ended: its last picture
   * is painted over.
   */
  keepPicture() {
    const video = this.#video;
    if (!video) return;
    this.#video = null;
    if (!hasPicture(video)) return forget(video);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    this.#picture.prepend(canvas);
    this.#clear(canvas);
  }

  /**
   * @param {number} nowMs
   * @param {Report} report
   * @param {string} hint
   */
  refresh(nowMs, { word, fault, takesRequests }, hint) {
    const track = this.#track;
    this.#lastFrameMs = Math.max(this.#lastFrameMs, track?.lastFrameMs ?? -Infinity);
    const paused = this.#video !== null && this.#video.paused && !this.#video.ended;
    if (paused && track && nowMs - track.lastFrameMs < 1_000) this.#play();
    const verdict = judge({ nowMs, lastFrameMs: this.#lastFrameMs, report: word, paused, hint });
    const latencyMs = track?.latency.median(nowMs) ?? null;
    const late = verdict.state === "live" && latencyMs !== null && latencyMs > LATE_MS;

    this.element.dataset.state = verdict.state;
    this.element.dataset.signal = signalOf(verdict.state);
    this.element.dataset.late = String(late);
    this.element.dataset.frames = String(this.#framesBefore + (track?.frames ?? 0));
    setIcon(this.#chip, late ? "warning" : iconOf(verdict.state));
    setText(find(this.#chip, "span", HTMLElement), late ? "LATE" : verdict.state.toUpperCase());
    this.#menu.hidden = !takesRequests;
    this.#fault.hidden = verdict.state !== "live" || fault === "";
    setText(find(this.#fault, "span", HTMLElement), FAULTS[fault]);
    this.#cover(verdict);
    this.#figures(track, latencyMs, late);
    const action = this.element.classList.contains("enlarged") ? "Show all cameras" : "Enlarge";
    this.#enlarge.ariaLabel = `${this.#camera.label}, ${verdict.state}. ${action}.`;
  }

  /** Gone from the page. */
  remove() {
    this.#clear(null);
    this.element.remove();
  }

  /** @param {import("./picture.js").Verdict} verdict */
  #cover({ state, title, detail, ageMs }) {
    this.#overlay.hidden = state === "live";
    setIcon(this.#overlay, iconOf(state));
    setText(find(this.#overlay, ".title", HTMLElement), title);
    const told = state !== "live" && state !== "waiting" && ageMs !== null;
    setText(find(this.#overlay, ".age", HTMLElement), told ? age(ageMs) : "");
    setText(find(this.#overlay, ".detail", HTMLElement), detail);
  }

  /**
   * @param {Track | null} track
   * @param {number | null} latencyMs
   * @param {boolean} late
   */
  #figures(track, latencyMs, late) {
    const figure = (/** @type {string} */ name, /** @type {string} */ text) =>
      setText(find(this.#footer, `.${name}`, HTMLElement), text);
    const { width, height } = this.#camera;
    const [w, h] = [this.#video?.videoWidth || width, this.#video?.videoHeight || height];
    const rates = track?.meter.rates() ?? null;
    figure("resolution", w && h ? `${w}×${h}` : NONE);
    figure("fps", rates ? `${Math.round(rates.fps)} fps` : `${NONE} fps`);
    figure("bitrate", bitrate(rates?.bps));
    figure("latency", latencyMs === null ? `${NONE} ms` : `${late ? "⚠ " : ""}${Math.max(0, Math.round(latencyMs))} ms`);
    figure("lost", `${track?.packetsLost ?? 0} lost`);
  }

  /** Takes all pictures away but this one. */
  #clear(/** @type {Element | null} */ kept) {
    for (const picture of [...this.#picture.querySelectorAll("video, canvas")]) {
      if (picture !== kept) forget(picture);
    }
  }

  #play() {
    // Refused by a browser that saves power: then the state says so, and a tap plays it.
    this.#video?.play().catch(() => undefined);
  }
}
