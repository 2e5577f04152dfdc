// @ts-check
// The list of robots on the page, to choose from.

import { find, icon, make, setIcon, setText } from "./dom.js";

/** @typedef {import("./roster.js").Robot} Robot */

export class RobotList {
  #element = find(document, "#robots", HTMLElement);
  #onChoose;
  /** @type {Map<string, HTMLElement>} by name */
  #items = new Map();

  /** @param {(name: string) => void} onChoose */
  constructor(onChoose) {
    this.#onChoose = onChoose;
  }

  /**
   * @param {Robot[]} robots
   * @param {string} chosen
   * @param {boolean} known whether on-line can be told at all: not without a broker
   */
  show(robots, chosen, known) {
    const before = this.#items;
    this.#items = new Map(robots.map(({ name }) => [name, before.get(name) ?? this.#make(name)]));
    for (const [name, item] of before) if (!this.#items.has(name)) item.remove();
    robots.forEach(({ name, peerId }, index) => {
      const item = this.#items.get(name);
      if (!item) return;
      const online = known && peerId !== null;
      item.dataset.online = String(online);
      setIcon(item, online ? "online" : "offline");
      setText(find(item, ".presence", HTMLElement), !known ? "?" : online ? "on-line" : "off-line");
      find(item, "button", HTMLElement).setAttribute("aria-pressed", String(name === chosen));
      const next = this.#element.children[index] ?? null;
      if (next !== item) this.#element.insertBefore(item, next);
    });
  }

  /** @param {string} name */
  #make(name) {
    const button = make("button", "", icon("offline"), make("span", "name", name));
    button.append(make("span", "presence"));
    button.type = "button";
    button.title = name;
    button.addEventListener("click", () => this.#onChoose(name));
    const item = make("li", "", button);
    item.dataset.robot = name;
    return item;
  }
}
