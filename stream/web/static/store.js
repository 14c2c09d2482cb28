/** What the page knows: streams, the newest scene of each, the last minutes of each face, alerts. */

const KEEP_S = 600;
/** Of a face's scores, and how long a face that left is remembered. */
const FORGET_FACE_S = 20;
const MOST_GONE = 2;
const GAP_S = 3;
/** After this long without a score the line is broken. */
const MOST_ALERTS = 200;
const SPAN = "unmask.span";

/** One face over time: `times` and `scores` (null: a gap) are what a chart takes. */
class Track {
  constructor(id) {
    this.id = id;
    this.times = [];
    this.scores = [];
    this.face = null;
    this.seenAt = 0;
  }

  see(face, at) {
    this.face = face;
    this.seenAt = at;
    for (const [time, score] of face.history || []) this.add(time, score);
    if (face.fake_probability !== null) this.add(at, face.fake_probability);
  }

  add(time, score) {
    const last = this.times.at(-1);
    if (last !== undefined && time <= last) return;
    if (last !== undefined && time - last > GAP_S) this.push(time - 0.001, null);
    this.push(time, score);
    while (this.times[0] < time - KEEP_S) {
      this.times.shift();
      this.scores.shift();
    }
  }

  push(time, score) {
    this.times.push(time);
    this.scores.push(score);
  }
}

export class Store {
  constructor() {
    this.me = { user: null, role: null, login_required: false };
    this.streams = [];
    this.isLoaded = false;
    this.scenes = new Map();
    this.tracks = new Map();
    this.alerts = new Map();
    this.ready = null;
    this.isConnected = true;
    this.heardAt = null;
    this.aheadS = 0;
    /** How far the server's clock is ahead of this one: a phone's may be minutes off. */
    this.spanS = Number(localStorage.getItem(SPAN)) || 180;
    /** How much of the past the timelines show. */
    /** {real_at, fake_at}: where verdicts change; null: not known yet. */
    this.thresholds = null;
  }

  get mayChange() {
    return this.me.role === "operator" || this.me.role === "admin";
  }

  setStreams(streams) {
    this.streams = streams;
    this.isLoaded = true;
    const names = new Set(streams.map((stream) => stream.name));
    for (const name of [...this.scenes.keys(), ...this.tracks.keys()]) {
      if (!names.has(name)) {
        this.scenes.delete(name);
        this.tracks.delete(name);
      }
    }
  }

  stream(name) {
    return this.streams.find((stream) => stream.name === name);
  }

  /** Seconds since the epoch by the server's clock. */
  get now() {
    return Date.now() / 1000 + this.aheadS;
  }

  setSpan(seconds) {
    this.spanS = seconds;
    localStorage.setItem(SPAN, String(seconds));
  }

  /** `isFresh`: whether it was told of just now, and not of a stream that may have stood still for long. */
  see(scene, isFresh = true) {
    this.heardAt = Date.now() / 1000;
    if (isFresh) this.aheadS = scene.at - this.heardAt;
    this.scenes.set(scene.stream, scene);
    const tracks = this.tracks.get(scene.stream) || new Map();
    this.tracks.set(scene.stream, tracks);
    for (const face of scene.faces) {
      if (!tracks.has(face.track)) tracks.set(face.track, new Track(face.track));
      tracks.get(face.track).see(face, scene.at);
    }
    this.forgetFaces(tracks, scene.at);
    const stream = this.stream(scene.stream);
    if (stream) Object.assign(stream, { state: scene.state, fps: scene.fps, latency_ms: scene.latency_ms });
  }

  forgetFaces(tracks, now) {
    const gone = [...tracks.values()].filter((track) => track.seenAt < now).sort((a, b) => b.seenAt - a.seenAt);
    gone.forEach((track, place) => {
      if (place >= MOST_GONE || now - track.seenAt > FORGET_FACE_S) tracks.delete(track.id);
    });
  }

  /** Whether it was not known in this state. */
  learn(alert) {
    const before = this.alerts.get(alert.id);
    this.alerts.set(alert.id, alert);
    if (this.alerts.size > MOST_ALERTS) this.alerts.delete(this.newestAlerts().at(-1).id);
    return !before || before.state !== alert.state;
  }

  /** Whether any face of any stream is called fake right now, be an alert told of it or not. */
  get isFakeInView() {
    return this.streams.some(({ name, state }) => state === "playing" && this.scenes.get(name)?.faces.some((face) => face.verdict === "fake"));
  }

  newestAlerts() {
    return [...this.alerts.values()].sort((a, b) => b.began_at - a.began_at);
  }

  get firing() {
    return [...this.alerts.values()].filter((alert) => alert.state === "firing");
  }
}
