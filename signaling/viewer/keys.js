// @ts-check
// The keyboard, the buttons of the bar, and the help.

import { find } from "./dom.js";

/**
 * @typedef {object} Actions
 * @property {(index: number) => void} toggleCamera
 * @property {() => void} allCameras
 * @property {() => void} togglePanel
 */

/** @param {Actions} actions */
export function listen(actions) {
  const help = find(document, "#help", HTMLDialogElement);
  const openHelp = () => help.showModal();
  find(document, "#help-button", HTMLElement).addEventListener("click", openHelp);
  find(document, "#screen-button", HTMLElement).addEventListener("click", toggleFullScreen);
  find(document, "#panel-button", HTMLElement).addEventListener("click", actions.togglePanel);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (help.open && event.key === "?") help.close();
    // A dialog has the keyboard to itself.
    else if (document.querySelector("dialog[open]")) return;
    else if (/^[1-9]$/.test(event.key)) actions.toggleCamera(Number(event.key) - 1);
    else if (event.key === "0" || event.key === "Escape") actions.allCameras();
    else if (event.key === "t" || event.key === "T") actions.togglePanel();
    else if (event.key === "f" || event.key === "F") toggleFullScreen();
    else if (event.key === "?") openHelp();
  });
}

function toggleFullScreen() {
  const root = document.documentElement;
  // Phones that have no full screen for pages lack the method.
  if (document.fullscreenElement) void document.exitFullscreen();
  else root.requestFullscreen?.().catch(() => undefined);
}
