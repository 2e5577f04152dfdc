// @ts-check
// What an operator may do to one camera: a dialog for all tiles. The robot has the last word, and
// what it says is shown as it says it.

import { find, setText } from "./dom.js";

/** @typedef {import("./control.js").Wish} Wish */
/** @typedef {(wish: Wish) => Promise<Uint8Array[]>} Ask */

export class Menu {
  #dialog = find(document, "#camera-menu", HTMLDialogElement);
  #status = find(this.#dialog, "[role=status]", HTMLElement);
  #power = find(this.#dialog, ".power", HTMLButtonElement);
  #form = find(this.#dialog, ".settings", HTMLFormElement);
  #controls = find(this.#dialog, "fieldset", HTMLFieldSetElement);
  #ask;
  #denied;
  #camera = "";
  #isOff = false;
  /** Counts up, so that a late answer is not taken for that of another camera or request. */
  #asked = 0;

  /**
   * @param {Ask} ask
   * @param {() => string} denied why we may ask for nothing, as the robot said; empty when we may
   */
  constructor(ask, denied) {
    this.#ask = ask;
    this.#denied = denied;
    const button = (/** @type {string} */ name) => find(this.#dialog, name, HTMLButtonElement);
    button(".key-frame").addEventListener("click", () => void this.#wish("key_frame", {}, "Key frame asked for."));
    button(".snapshot").addEventListener("click", () => void this.#snapshot());
    this.#power.addEventListener("click", () => void this.#toggle());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [bitrateKbps, fps] = [this.#figure("bitrate"), this.#figure("fps")];
      if (bitrateKbps === undefined && fps === undefined) return this.#say("Give a bitrate or a rate.");
      void this.#wish("set_camera", { bitrateKbps, fps }, "Changed.");
    });
  }

  /**
   * @param {{id: string, label: string}} camera
   * @param {boolean} isOff whether it is switched off
   */
  open({ id, label }, isOff) {
    this.#camera = id;
    this.#asked++;
    this.#form.reset();
    this.#controls.disabled = this.#denied() !== "";
    this.#say(this.#denied());
    this.#show(isOff);
    setText(find(this.#dialog, "h2", HTMLElement), label);
    this.#dialog.showModal();
  }

  /** @param {boolean} isOff */
  #show(isOff) {
    this.#isOff = isOff;
    setText(this.#power, isOff ? "Switch on" : "Switch off");
  }

  async #toggle() {
    const enabled = this.#isOff;
    const done = await this.#wish("set_camera", { enabled }, enabled ? "Switched on." : "Switched off.");
    if (done) this.#show(!enabled);
  }

  async #snapshot() {
    const camera = this.#camera;
    const parts = await this.#wish("take_snapshot", {}, "Snapshot taken.");
    if (parts) download(new Blob(parts, { type: "image/jpeg" }), `${camera}-${fileTime(new Date())}.jpg`);
  }

  /**
   * @param {Wish["type"]} type
   * @param {Omit<Wish, "type" | "camera">} fields
   * @param {string} success
   * @returns {Promise<Uint8Array[] | null>} null when it failed, or is of no use any more
   */
  async #wish(type, fields, success) {
    const asked = ++this.#asked;
    this.#say("…");
    try {
      const parts = await this.#ask({ type, camera: this.#camera, ...fields });
      if (asked !== this.#asked) return null;
      this.#say(success);
      return parts;
    } catch (error) {
      this.#controls.disabled = this.#denied() !== "";
      if (asked === this.#asked) this.#say(error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#status, text);
  }

  /** @param {string} name */
  #figure(name) {
    const { value, valueAsNumber } = find(this.#form, `[name=${name}]`, HTMLInputElement);
    return value === "" ? undefined : valueAsNumber;
  }
}

/** @param {Date} date */
function fileTime(date) {
  return date.toISOString().replace(/[:.]/g, "-");
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Not at once: the browser may not have begun.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
