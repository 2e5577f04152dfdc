// Which track of an offer shows which camera.

import assert from "node:assert/strict";
import test from "node:test";

import { camerasByMid } from "../../viewer/sdp.js";

const section = (kind, ...lines) =>
  [`m=${kind} 9 UDP/TLS/RTP/SAVPF 96`, "c=IN IP4 0.0.0.0", ...lines].join("\r\n");
const offer = (...sections) => ["v=0", "s=-", "t=0 0", ...sections, ""].join("\r\n");
const cameras = (sdp) => Object.fromEntries(camerasByMid(sdp));

test("labels name the cameras, in any order and beside other sections", () => {
  const sdp = offer(
    section("video", "a=mid:video0", "a=label:front"),
    section("application", "a=mid:data", "a=label:telemetry"),
    section("video", "a=label:rear", "a=sendonly", "a=mid:2"),
    section("audio", "a=mid:3", "a=label:cabin"),
  );
  assert.deepEqual(cameras(sdp), { video0: "front", 2: "rear" });
});

test("without a label the mid stands for the camera", () => {
  assert.deepEqual(cameras(offer(section("video", "a=mid:video1"))), { video1: "video1" });
  assert.deepEqual(cameras(offer(section("video", "a=mid:0", "a=label:"))), { 0: "0" });
});

test("sections without a mid, and what stands before the first, say nothing", () => {
  assert.deepEqual(cameras(offer("a=mid:0", "a=label:front")), {});
  assert.deepEqual(cameras(offer(section("video", "a=label:front"))), {});
});

test("a label of the session is none of its sections", () => {
  assert.deepEqual(cameras(offer("a=label:all", section("video", "a=mid:0"))), { 0: "0" });
});

test("lines may end in a bare line feed", () => {
  assert.deepEqual(cameras("v=0\nm=video 9 X 96\na=mid:0\na=label:front\n"), { 0: "front" });
});

test("attributes are not taken from the middle of a line, nor by half of their name", () => {
  const sdp = offer(section("video", "a=mid:0", "i=a=label:no", "a=labelled:no", "a=x-label:no"));
  assert.deepEqual(cameras(sdp), { 0: "0" });
});

test("is bounded, and rubbish is no camera", () => {
  const many = Array.from({ length: 100 }, (_, i) => section("video", `a=mid:${i}`));
  assert.equal(camerasByMid(offer(...many)).size, 64);
  for (const rubbish of ["", "m=", "m=video", "\r\n\r\n", "m=video \r\na=mid:", "\u0000m=video"]) {
    assert.deepEqual(cameras(rubbish), {});
  }
});
