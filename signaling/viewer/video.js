// @ts-check
// The picture of a track: it plays before anybody shows it, so that where it takes another's place it
// does so at once.

/** @typedef {import("./track.js").Track} Track */

/**
 * Plays a track, and tells it of every frame that reaches the screen, where the browser tells us.
 * @param {Track} track
 * @param {() => void} onPicture the first frame is there
 */
export function play(track, onPicture) {
  const video = document.createElement("video");
  video.muted = video.autoplay = video.playsInline = true;
  video.disablePictureInPicture = true;
  video.srcObject = new MediaStream([track.media]);
  // Refused by a browser that saves power: it is tried again where it is shown.
  video.play().catch(() => undefined);
  if (!("requestVideoFrameCallback" in video)) return video;
  const presented = (/** @type {number} */ _, /** @type {any} */ frame) => {
    const first = track.lastFrameMs === -Infinity;
    track.presented(frame, performance.now());
    if (first) onPicture();
    video.requestVideoFrameCallback(presented);
  };
  video.requestVideoFrameCallback(presented);
  return video;
}

/** @param {HTMLVideoElement} video */
export function hasPicture(video) {
  return video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
}

/** @param {Element} picture */
export function forget(picture) {
  if (picture instanceof HTMLVideoElement) picture.srcObject = null;
  picture.remove();
}
