// The token of a link: where it goes, where it stays, and what a refusal is called.

import assert from "node:assert/strict";
import test from "node:test";

import { Access, endOf, refusalOf, subprotocols, whyRefused } from "../../viewer/access.js";
import { readSettings } from "../../viewer/settings.js";

/** A page with this address; `kept` is what its tab keeps, null where it keeps nothing. */
function page(hash, kept = new Map()) {
  const location = { hash };
  const storage = () => {
    if (!kept) throw new Error("no storage");
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  };
  const history = {
    replaceState(_, __, url) {
      location.hash = url;
    },
  };
  return { location, storage, history };
}

test("a token leaves the address, and everything else stays", () => {
  const there = page("#robot=rover&token=a.b.c&cameras=x,y&ice=relay");
  assert.equal(new Access(there).token, "a.b.c");
  assert.ok(!there.location.hash.includes("a.b.c") && !there.location.hash.includes("token"));
  assert.deepEqual(readSettings(there.location.hash),
    { robot: "rover", cameras: ["x", "y"], bufferMs: 0, icePolicy: "relay" });
});

test("a token is kept for the tab, until another comes", () => {
  const kept = new Map();
  assert.equal(new Access(page("#robot=r", kept)).token, "");
  assert.equal(new Access(page("#token=first", kept)).token, "first");
  const again = page("#robot=r", kept);
  const access = new Access(again);
  assert.equal(access.token, "first", "the page was loaded again");
  assert.equal(again.location.hash, "#robot=r");
  assert.equal(access.take(), false);
  again.location.hash = "#token=first";
  assert.equal(access.take(), false, "the same one");
  again.location.hash = "#token=second&robot=r";
  assert.equal(access.take(), true);
  assert.deepEqual([access.token, new Access(page("", kept)).token], ["second", "second"]);
});

test("a browser that keeps nothing has the token until the page is left", () => {
  const there = page("#token=t", null);
  const access = new Access(there);
  assert.deepEqual([access.token, there.location.hash, access.take()], ["t", "#", false]);
});

test("only what can be a token is offered", () => {
  assert.deepEqual(subprotocols("a.b-c_9"), ["rovercast", "rovercast.bearer.a.b-c_9"]);
  assert.equal(subprotocols("x".repeat(4_096)).length, 2);
  for (const wrong of ["", "a b", "a,b", "a\r\nb", "é", "a/b", "x".repeat(4_097)]) {
    assert.deepEqual(subprotocols(wrong), [], wrong);
  }
});

test("refusals are told in words, and nothing else is called one", async () => {
  const asked = [];
  const why = (token, status, body) =>
    whyRefused(token, async (url, { headers }) => {
      asked.push([url, headers]);
      return new Response(body, { status });
    });
  assert.match(await why("t", 401, '{"code":"token-expired","details":"d"}'), /expired: ask for a new one/);
  assert.deepEqual(asked.at(-1), ["api/robots", { Authorization: "Bearer t" }]);
  assert.match(await why("t", 401, "<html>"), /does not accept this link/);
  assert.match(await why("", 401, '{"code":"unauthorized"}'), /open the link/);
  assert.deepEqual(asked.at(-1), ["api/robots", {}]);
  assert.match(await why("t", 403, ""), /another/);
  assert.match(await why("t", 503, '{"code":"too-many-connections"}'), /Trying again/);
  assert.match(refusalOf(429, "", true), /so many/);
  for (const [status, body] of [[200, "[]"], [404, ""], [500, '{"code":"toString"}'], [502, '{"code":7}']]) {
    assert.equal(await why("t", status, body), "", `${status}`);
  }
  const away = () => Promise.reject(new TypeError("network"));
  assert.equal(await whyRefused("t", away), "", "nobody is there");
});

test("errors that end a connection are told from those that do not", () => {
  assert.match(endOf("token-expired"), /expired/);
  assert.equal(endOf("shutting-down"), "", "it is soon over, and told like any lost link");
  assert.deepEqual([endOf("unknown-peer"), endOf("forbidden"), endOf("")], [null, null, null]);
});
