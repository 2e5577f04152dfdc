// @ts-check
// Figures as people read them. Pure.

export const NONE = "–";

/** @param {number | null | undefined} bps */
export function bitrate(bps) {
  if (bps === null || bps === undefined) return NONE;
  return bps >= 999_500 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1e3)} kb/s`;
}

/** @param {number} bytes */
export function gibibytes(bytes) {
  return (bytes / 2 ** 30).toFixed(1);
}

/**
 * An age to be read at a glance: tenths while they matter, then minutes, then hours.
 * @param {number} ms
 */
export function age(ms) {
  const s = Math.max(0, ms) / 1000;
  // Cut off, not rounded, as minutes and hours are: sixty seconds are a minute.
  if (s < 60) return `${(Math.floor(s * 10) / 10).toFixed(1)} s`;
  const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, Math.floor(s % 60)];
  return h === 0 ? `${m}:${pad(rest)} min` : `${h}:${pad(m)}:${pad(rest)} h`;
}

/** @param {number} s */
export function uptime(s) {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  return h > 0 ? `${h} h ${m} min` : `${m} min`;
}

/** @param {number} figure */
function pad(figure) {
  return String(figure).padStart(2, "0");
}
