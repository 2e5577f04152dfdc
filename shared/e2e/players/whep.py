"""A WHEP player of foreign make (aiortc, Debian's python3-aiortc), for the tests.

    whep.py URL [--codec H264|VP8] [--audio] [--videos COUNT] [--hold]

Posts an offer to URL and prints what comes of it, a line for each event. It plays until every video has
moved, sends its candidate once more by PATCH, and ends the session by DELETE; or, with --hold, goes on
playing.
"""

import argparse
import asyncio
import sys
import urllib.error
import urllib.parse
import urllib.request

from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

FRAMES = 20
# So many take long enough that the player has reported what it receives.
HOLD_FRAMES = 120


def say(*words):
    print(*words, flush=True)


def ask(method, url, body=None, **headers):
    """One request: its status, headers and body, whatever they are."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


async def play(track, played, wanted):
    """Counts a video's pictures."""
    frames = 0
    while True:
        try:
            picture = await track.recv()
        except MediaStreamError:
            return
        frames += 1
        if frames == wanted:
            say(f"playing {picture.width}x{picture.height}")
            played.release()
        elif frames % wanted == 0:
            say("still playing")


def fragment(offer):
    """The offer's candidates, as they would be trickled."""
    wanted = ("a=ice-ufrag:", "a=ice-pwd:", "a=mid:", "a=candidate:", "m=")
    lines, seen = [], 0
    for line in offer.splitlines():
        seen += line.startswith("m=")
        if seen and line.startswith(wanted):
            lines.append(line)
    return "\r\n".join(lines + ["a=end-of-candidates", ""])


async def main(options):
    connection = RTCPeerConnection()
    played = asyncio.Semaphore(0)
    tasks = []
    wanted = HOLD_FRAMES if options.hold else FRAMES

    @connection.on("track")
    def on_track(track):
        if track.kind == "video":
            tasks.append(asyncio.ensure_future(play(track, played, wanted)))

    if options.audio:
        connection.addTransceiver("audio", direction="recvonly")
    for _ in range(options.videos):
        transceiver = connection.addTransceiver("video", direction="recvonly")
        codecs = RTCRtpReceiver.getCapabilities("video").codecs
        names = ("video/rtx", f"video/{options.codec}")
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType in names])
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    status, headers, body = ask("POST", options.url, offer, Content_Type="application/sdp")
    if status != 201:
        say("refused", status, body)
        return
    session = urllib.parse.urljoin(options.url, headers["Location"])
    say("session", session)
    for line in body.splitlines():
        say("answer", line)
    await connection.setRemoteDescription(RTCSessionDescription(body, "answer"))
    for _ in range(options.playing):
        await played.acquire()
    say("all play")
    if options.hold:
        await asyncio.Event().wait()
    kind = "application/trickle-ice-sdpfrag"
    tag = headers["ETag"]
    say("patched", ask("PATCH", session, fragment(offer), Content_Type=kind, If_Match=tag)[0])
    say("deleted", ask("DELETE", session)[0])
    say("deleted again", ask("DELETE", session)[0])
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--codec", default="H264")
    parser.add_argument("--audio", action="store_true")
    parser.add_argument("--videos", type=int, default=1)
    parser.add_argument("--playing", type=int, default=1)
    parser.add_argument("--hold", action="store_true")
    sys.exit(asyncio.run(main(parser.parse_args())))
