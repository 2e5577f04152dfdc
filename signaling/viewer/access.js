// @ts-check
// The token that opens the broker. It comes behind the `#` of a link, which no server sees; leaves the
// address bar at once, so that it is in no screenshot and no bookmark; and is kept for this tab alone.

const KEY = "rovercast.token";
/** What may stand in a WebSocket's subprotocol and in a token alike; brokers take no longer ones. */
const TOKEN = /^[A-Za-z0-9._-]{1,4096}$/;

/**
 * @typedef {object} Page
 * @property {{hash: string}} location
 * @property {{replaceState: (data: null, unused: string, url: string) => void}} history
 * @property {() => Storage} storage fails where the browser keeps nothing
 */

export class Access {
  #page;
  /** The token; empty when there is none. */
  token = "";

  /** @param {Page} page */
  constructor(page) {
    this.#page = page;
    try {
      this.token = page.storage().getItem(KEY) ?? "";
    } catch {
      // Nothing is kept in this browser.
    }
    this.take();
  }

  /**
   * Takes the token out of the page's address.
   * @returns {boolean} whether there was one that is another than before
   */
  take() {
    const { location, history, storage } = this.#page;
    const fields = new URLSearchParams(location.hash.replace(/^#/, ""));
    const token = fields.get("token");
    if (token === null) return false;
    fields.delete("token");
    history.replaceState(null, "", `#${fields}`);
    if (token === this.token) return false;
    this.token = token;
    try {
      storage().setItem(KEY, token);
    } catch {
      // Then it is lost when the page is loaded again.
    }
    return true;
  }
}

/**
 * What to offer as subprotocols: browsers let a page set no header of a WebSocket. The broker chooses
 * the first, so that the token does not come back.
 * @param {string} token
 * @returns {string[]} none without a token, or for one that cannot be one
 */
export function subprotocols(token) {
  return TOKEN.test(token) ? ["rovercast", `rovercast.bearer.${token}`] : [];
}

/**
 * Why a handshake failed: browsers do not say, but the same refusal answers another request.
 * @param {string} token
 * @param {typeof fetch} ask
 * @returns {Promise<string>} in words; empty when the broker refuses nothing, or is not there
 */
export async function whyRefused(token, ask) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), ANSWER_WITHIN_MS);
  try {
    /** @type {Record<string, string>} */
    const headers = TOKEN.test(token) ? { Authorization: `Bearer ${token}` } : {};
    const { signal } = patience;
    const answer = await ask("api/robots", { headers, cache: "no-store", credentials: "omit", signal });
    return answer.ok ? "" : refusalOf(answer.status, await codeIn(answer), token !== "");
  } catch {
    return "";
  } finally {
    clearTimeout(timer);
  }
}

const ANSWER_WITHIN_MS = 5_000;

/** @param {Response} answer */
async function codeIn(answer) {
  try {
    const { code } = await answer.json();
    return typeof code === "string" ? code : "";
  } catch {
    return "";
  }
}

/**
 * @param {number} status of HTTP
 * @param {string} code of the broker; empty when it gave none
 * @param {boolean} hasToken
 * @returns {string} empty when it is no refusal that this page knows
 */
export function refusalOf(status, code, hasToken) {
  if (Object.hasOwn(WORDS, code)) return code === "unauthorized" && !hasToken ? NO_TOKEN : WORDS[code];
  if (status === 401) return hasToken ? WORDS.unauthorized : NO_TOKEN;
  if (status === 403) return WORDS.forbidden;
  if (status === 429) return WORDS["rate-limited"];
  return "";
}

/**
 * What an error on an open connection means for the connection itself.
 * @param {string} code
 * @returns {string | null} null when it goes on; else why it ends, empty when that is soon over
 */
export function endOf(code) {
  if (code === "token-expired" || code === "unauthorized") return WORDS[code];
  return code === "shutting-down" ? "" : null;
}

const NO_TOKEN = "This broker lets nobody in without a token: open the link that you were given.";

/** @type {Record<string, string>} */
const WORDS = {
  "unauthorized": "The broker does not accept this link: ask for a new one.",
  "token-expired": "This link has expired: ask for a new one.",
  "forbidden": "This link does not let you see robots: ask for another one.",
  "rate-limited": "The broker refuses so many connections from here. Trying again.",
  "too-many-connections": "The broker has as many connections as it takes. Trying again.",
};
