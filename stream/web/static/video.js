/**
 * A stream's live picture: WebRTC where both ends can, else MJPEG, else single pictures.
 *
 * A browser keeps six connections to a host, and an MJPEG holds one for as long as it plays: two at most, so that the
 * events, the answers and a second tab find room. Whatever is out of sight, or in a hidden tab, is not fetched at all.
 */

import { el, show } from "./dom.js";
import { request, streamPath, urlOf } from "./api.js";

const MOST_MJPEG = 2;
const WEBRTC_WITHIN_MS = 6000;
const GATHER_WITHIN_MS = 1000;
const RETRY_MS = 3000;
const STILL_EVERY_MS = 600;
const CUT_EVERY_MS = 1000;

let mjpegs = 0;
let lastStill = Promise.resolve();
/** Single pictures are fetched one after another, on one connection. */

export class Screen {
  constructor(name) {
    this.name = name;
    this.video = el("video", { muted: true, autoplay: true, playsinline: true, "aria-label": `Live video of ${name}`, hidden: true });
    this.video.muted = true;
    this.image = el("img", { alt: `Live video of ${name}`, hidden: true, draggable: "false" });
    this.element = el("div", { class: "screen" }, this.video, this.image);
    this.isWanted = false;
    this.isSeen = false;
    this.hasWebrtc = false;
    this.run = 0;
    this.sight = new IntersectionObserver(([entry]) => this.see(entry.isIntersecting), { rootMargin: "100px" });
    this.sight.observe(this.element);
    this.onVisibility = () => this.settle();
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /** `isWanted`: whether the stream has a picture at all. */
  update({ isWanted, hasWebrtc }) {
    this.isWanted = isWanted;
    this.hasWebrtc = hasWebrtc;
    this.settle();
  }

  see(isSeen) {
    this.isSeen = isSeen;
    this.settle();
  }

  settle() {
    const isDue = this.isWanted && this.isSeen && !document.hidden;
    if (isDue && !this.stopPlaying) this.play();
    else if (!isDue) this.stop();
  }

  play() {
    const run = ++this.run;
    if (this.hasWebrtc && "RTCPeerConnection" in window && !this.webrtcFailed) this.playWebrtc(run);
    else if (mjpegs < MOST_MJPEG) this.playMjpeg(run);
    else this.playStills(run);
  }

  stop() {
    this.run++;
    this.stopPlaying?.();
    this.stopPlaying = null;
  }

  /** Begin anew after a while, unless something else began meanwhile. */
  again(run, afterMs = RETRY_MS) {
    if (run !== this.run) return;
    this.stop();
    const next = this.run;
    setTimeout(() => next === this.run && this.settle(), afterMs);
  }

  /** Paint what is in `box` (pixels of a frame of size `frame`) onto a canvas, now and then. */
  cut(canvas, box, frame) {
    const [shown, width] = this.video.hidden ? [this.image, this.image.naturalWidth] : [this.video, this.video.videoWidth];
    if (!width || !frame?.[0] || shown.hidden || performance.now() - (canvas.cutAt || 0) < CUT_EVERY_MS) return;
    canvas.cutAt = performance.now();
    const scale = width / frame[0];
    const [left, top, right, bottom] = box.map((side) => side * scale);
    const side = Math.max(right - left, bottom - top) * 1.25;
    const middle = [(left + right) / 2, (top + bottom) / 2];
    canvas.getContext("2d").drawImage(shown, middle[0] - side / 2, middle[1] - side / 2, side, side, 0, 0, canvas.width, canvas.height);
  }

  close() {
    this.stop();
    this.isWanted = false;
    this.sight.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
  }

  display(element, way) {
    show(this.video, element === this.video);
    show(this.image, element === this.image);
    this.element.dataset.way = way;
  }

  playMjpeg(run) {
    mjpegs++;
    const { image } = this;
    image.onload = () => this.display(image, "mjpeg");
    image.onerror = () => this.again(run);
    image.src = `${urlOf(`${streamPath(this.name)}/video.mjpeg`)}?at=${Date.now()}`;
    this.display(image, "mjpeg");
    this.stopPlaying = () => {
      mjpegs--;
      image.onload = image.onerror = null;
      image.removeAttribute("src");
    };
  }

  playStills(run) {
    this.stopPlaying = () => {
      this.image.onload = this.image.onerror = null;
    };
    const next = () => {
      if (run !== this.run) return;
      if (mjpegs < MOST_MJPEG) return this.again(run, 0);
      lastStill = lastStill.then(() => this.still(run)).then(() => setTimeout(next, STILL_EVERY_MS));
    };
    next();
  }

  /** One picture; never fails: the next one may come. */
  still(run) {
    return new Promise((done) => {
      if (run !== this.run) return done();
      this.image.onload = () => {
        this.display(this.image, "stills");
        done();
      };
      this.image.onerror = () => done();
      this.image.src = `${urlOf(`${streamPath(this.name)}/snapshot.jpg`)}?at=${Date.now()}`;
    });
  }

  async playWebrtc(run) {
    const peer = new RTCPeerConnection();
    const fail = () => {
      if (run !== this.run) return;
      this.webrtcFailed = true;
      this.again(run, 0);
    };
    const late = setTimeout(fail, WEBRTC_WITHIN_MS);
    this.stopPlaying = () => {
      clearTimeout(late);
      peer.close();
      this.video.srcObject = null;
    };
    peer.onconnectionstatechange = () => {
      if (["failed", "disconnected"].includes(peer.connectionState)) this.again(run);
    };
    peer.ontrack = ({ streams, track }) => {
      this.video.srcObject = streams[0] || new MediaStream([track]);
      this.video.onplaying = () => {
        clearTimeout(late);
        this.display(this.video, "webrtc");
      };
      this.video.play().catch(() => {});
    };
    try {
      const answer = await request("POST", `${streamPath(this.name)}/webrtc`, { sdp: await offerOf(peer) });
      if (run === this.run) await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch {
      fail();
    }
  }
}

/** What this browser can receive, with its candidates in it. */
async function offerOf(peer) {
  peer.addTransceiver("video", { direction: "recvonly" });
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise((done) => {
    setTimeout(done, GATHER_WITHIN_MS);
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
  });
  return peer.localDescription.sdp;
}
