/** The page that stays open: every stream with its picture, its verdict, its faces; beside them the newest alerts. */

import { el, icon, say, show } from "./dom.js";
import { Screen } from "./video.js";
import { Timeline } from "./timeline.js";
import { alertItem } from "./alerts.js";
import { addStream, editStream, removeStream } from "./dialogs.js";
import { NO_FACE, ago, delay, scored, stateOf, verdictOf, whyOf } from "./words.js";

const SIDE_ALERTS = 12;
const SPANS = [1, 3, 5, 10];
const EXPLAINED = "unmask.explained";

export class LivePage {
  /** `only`: the name of the one stream to show large. */
  constructor(store, only = null) {
    this.store = store;
    this.only = only;
    this.tiles = new Map();
    this.grid = el("div", { class: only ? "grid single" : "grid" });
    this.empty = el("div", { class: "empty-box", hidden: true });
    this.list = el("ol", { class: "alert-list" });
    this.noAlerts = el("p", { class: "quiet" }, "None so far. They appear here as they come.");
    this.add = el("button", { class: "primary", type: "button", onclick: () => addStream() }, icon("plus"), "Add a stream");
    this.element = el(
      "div",
      { class: only ? "live only" : "live" },
      el("section", { "aria-label": "Streams" }, this.head(), only ? null : explanation(), this.empty, this.grid),
      only ? null : el("aside", { class: "side", "aria-label": "Newest alerts" }, el("h2", {}, "Newest alerts"), this.noAlerts, this.list),
    );
    this.update();
    this.updateAlerts();
  }

  get title() {
    return this.only || "Live";
  }

  head() {
    const back = this.only && el("a", { class: "button", href: "#/" }, icon("back"), "All streams");
    return el("div", { class: "bar" }, back, el("h1", {}, this.only || "Live"), this.spans(), this.only ? null : this.add);
  }

  /** How far back the timelines go: what dragging does, for the keyboard. */
  spans() {
    const options = SPANS.map((minutes) => el("option", { value: minutes * 60, selected: minutes * 60 === this.store.spanS }, `${minutes} min`));
    const select = el("select", { onchange: () => this.store.setSpan(Number(select.value)) }, options);
    return el("label", { class: "inline" }, "Scores of the last", select);
  }

  update() {
    show(this.add, this.store.mayChange);
    const streams = this.store.streams.filter((stream) => !this.only || stream.name === this.only);
    for (const [name, tile] of this.tiles) {
      if (streams.some((stream) => stream.name === name)) continue;
      tile.close();
      this.tiles.delete(name);
    }
    for (const stream of streams) {
      if (!this.tiles.has(stream.name)) {
        const tile = new Tile(this.store, stream.name, { isLarge: Boolean(this.only) });
        this.tiles.set(stream.name, tile);
        this.grid.append(tile.element);
      }
      this.tiles.get(stream.name).update();
    }
    this.grid.dataset.count = streams.length;
    this.tellEmpty(this.store.isLoaded && streams.length === 0);
  }

  tellEmpty(isEmpty) {
    show(this.empty, isEmpty);
    if (!isEmpty) return this.empty.replaceChildren();
    if (this.empty.childElementCount) return;
    const told = this.only
      ? [el("h2", {}, `No stream is named ${this.only}`), el("p", {}, el("a", { href: "#/" }, "See all streams"))]
      : [
          el("h2", {}, "No stream yet"),
          el("p", {}, "Add a camera, a video call on screen or a file, and every face in it is judged as it comes."),
          this.store.mayChange && el("button", { class: "primary", type: "button", onclick: () => addStream() }, icon("plus"), "Add a stream"),
        ];
    this.empty.replaceChildren(...told.filter(Boolean));
  }

  scene(scene) {
    this.tiles.get(scene.stream)?.update();
  }

  tick() {
    for (const tile of this.tiles.values()) tile.tick();
  }

  updateAlerts() {
    const newest = this.store.newestAlerts().slice(0, SIDE_ALERTS);
    show(this.noAlerts, newest.length === 0);
    this.list.replaceChildren(...newest.map(alertItem));
  }

  close() {
    for (const tile of this.tiles.values()) tile.close();
  }
}

function explanation() {
  const details = el(
    "details",
    { class: "explain" },
    el("summary", {}, icon("info"), "What the score means, and what it does not"),
    el(
      "div",
      { class: "explain-body" },
      el("p", {}, "Every face in view is followed and gets a ", el("b", {}, "fake score"), " from 0 to 100 %: how much its last seconds look, to the model, like a face that was swapped or made by a computer."),
      el(
        "ul",
        { class: "legend" },
        ...["real", "unsure", "fake", "warming up"].map((verdict) => {
          const { word, meaning, icon: sign } = verdictOf({ verdict });
          return el("li", {}, el("span", { class: `badge ${slug(verdict)}` }, icon(sign), word), meaning);
        }),
      ),
      el("p", {}, "It is ", el("b", {}, "not proof"), ". A genuine face in bad light may score high, and a good fake may score low. Treat “Fake” as a reason to check in another way, and “Real” as nothing more than “no sign was seen”."),
    ),
  );
  details.open = localStorage.getItem(EXPLAINED) === null && matchMedia("(min-width: 900px)").matches;
  details.addEventListener("toggle", () => localStorage.setItem(EXPLAINED, "yes"));
  return details;
}

const slug = (verdict) => verdict.replaceAll(" ", "-");

/** One stream. */
class Tile {
  constructor(store, name, { isLarge }) {
    this.store = store;
    this.name = name;
    this.isLarge = isLarge;
    this.faces = new Map();
    this.screen = new Screen(name);
    this.veil = el("div", { class: "veil", hidden: true });
    this.verdict = el("span", { class: "badge" });
    this.state = el("span", { class: "state" });
    this.facts = el("p", { class: "facts" });
    this.error = el("p", { class: "error", hidden: true });
    this.noFace = el("p", { class: "no-face" }, "No face in view.");
    this.cards = el("div", { class: "faces" }, this.noFace);
    this.element = el(
      "article",
      { class: "tile", "aria-label": `Stream ${name}` },
      el("div", { class: "tile-head" }, isLarge ? null : el("h2", {}, name), this.state, this.actions()),
      el(
        "div",
        { class: "tile-layout" },
        el("div", { class: "picture" }, this.screen.element, this.veil, this.verdict),
        el("div", { class: "tile-body" }, this.facts, this.error, this.cards),
      ),
    );
  }

  actions() {
    const change = this.store.mayChange && [
      el("button", { class: "bare", type: "button", title: "Change this stream", "aria-label": `Change ${this.name}`, onclick: () => editStream(this.store.stream(this.name)) }, icon("pencil")),
      el("button", { class: "bare", type: "button", title: "Remove this stream", "aria-label": `Remove ${this.name}`, onclick: () => removeStream(this.name) }, icon("bin")),
    ];
    const large = !this.isLarge && el("a", { class: "bare", href: `#/streams/${encodeURIComponent(this.name)}`, title: "Show large", "aria-label": `Show ${this.name} large` }, icon("expand"));
    return el("div", { class: "actions" }, large, change);
  }

  update() {
    const stream = this.store.stream(this.name);
    if (!stream) return;
    const scene = this.store.scenes.get(this.name);
    const isPlaying = stream.state === "playing";
    this.screen.update({ isWanted: isPlaying, hasWebrtc: Boolean(stream.video?.webrtc) });
    this.tellState(stream, isPlaying);
    this.tellVerdict(isPlaying ? scene : null);
    this.tellFacts(stream, scene, isPlaying);
    this.tellFaces(isPlaying ? scene : null);
  }

  tellState(stream, isPlaying) {
    this.state.className = `state ${stream.state}`;
    const told = stateOf(stream);
    say(this.state, told);
    show(this.veil, !isPlaying);
    say(this.veil, isPlaying ? "" : sentence(told));
    show(this.error, !isPlaying && Boolean(stream.last_error));
    say(this.error, isPlaying ? "" : stream.last_error || "");
  }

  tellVerdict(scene) {
    const worst = worstOf(scene?.faces || []);
    const look = worst ? verdictOf(worst) : NO_FACE;
    const key = worst ? slug(worst.verdict) : "none";
    const score = worst ? scored(worst.fake_probability) : "";
    const told = `${key} ${score}`;
    if (this.told !== told) {
      this.told = told;
      this.element.dataset.verdict = key;
      this.verdict.className = `badge large ${key}`;
      this.verdict.replaceChildren(icon(look.icon), el("span", {}, look.word), score && el("span", { class: "number" }, `· ${score}`));
    }
    show(this.verdict, Boolean(scene));
  }

  tellFacts(stream, scene, isPlaying) {
    const facts = [];
    if (isPlaying && stream.fps) facts.push(`${Math.round(stream.fps)} frames/s`);
    if (isPlaying && delay(stream.latency_ms)) facts.push(`scores ${delay(stream.latency_ms)} behind`);
    if (scene?.thinned_to > 1) facts.push("machine is busy: looks less often");
    facts.push(stream.source);
    say(this.facts, facts.join(" · "));
    this.facts.title = [stream.decoder && `decoder ${stream.decoder}`, stream.encoder && `encoder ${stream.encoder}`, stream.url].filter(Boolean).join(" · ");
  }

  tellFaces(scene) {
    const tracks = this.store.tracks.get(this.name) || new Map();
    for (const [id, card] of this.faces) {
      if (tracks.has(id)) continue;
      card.close();
      this.faces.delete(id);
    }
    for (const track of tracks.values()) {
      if (!this.faces.has(track.id)) {
        const card = new FaceCard(this.store, track, this.screen, this.isLarge);
        this.faces.set(track.id, card);
        this.cards.append(card.element);
      }
      this.faces.get(track.id).update(scene);
    }
    show(this.noFace, Boolean(scene) && scene.faces.length === 0 && this.faces.size === 0);
  }

  /** Time goes on where nothing comes. */
  tick() {
    for (const card of this.faces.values()) card.tick();
  }

  close() {
    this.screen.close();
    for (const card of this.faces.values()) card.close();
    this.element.remove();
  }
}

function worstOf(faces) {
  const rank = (face) => verdictOf(face).rank + (face.fake_probability || 0);
  return faces.reduce((worst, face) => (!worst || rank(face) > rank(worst) ? face : worst), null);
}

/** One face: its verdict in words, its score and how that went. */
class FaceCard {
  constructor(store, track, screen, isLarge) {
    this.store = store;
    this.track = track;
    this.screen = screen;
    this.portrait = el("canvas", { class: "portrait", width: 76, height: 76, "aria-hidden": "true" });
    this.badge = el("span", { class: "badge" });
    this.score = el("span", { class: "score" });
    this.why = el("p", { class: "why" });
    this.timeline = new Timeline({ name: `face ${track.id}`, thresholds: () => store.thresholds, height: isLarge ? 200 : 92 });
    this.element = el(
      "section",
      { class: "face", "aria-label": `Face ${track.id}` },
      el("div", { class: "face-head" }, this.portrait, el("h3", {}, `Face ${track.id}`), this.badge, this.score),
      this.why,
      this.timeline.element,
    );
  }

  update(scene) {
    const { face } = this.track;
    const isGone = !scene || this.track.seenAt < scene.at;
    const look = verdictOf(face);
    const told = `${face.verdict} ${isGone}`;
    if (this.told !== told) {
      this.told = told;
      this.element.classList.toggle("gone", isGone);
      this.badge.className = `badge ${slug(face.verdict)}`;
      this.badge.replaceChildren(icon(look.icon), look.word);
    }
    say(this.score, scored(face.fake_probability));
    say(this.why, isGone ? `Left the picture ${ago(this.track.seenAt, this.store.now)}.` : whyOf(face, this.store.thresholds) || `${sentence(look.meaning)}.`);
    if (!isGone) this.screen.cut(this.portrait, face.box, scene.frame);
    this.tick();
  }

  tick() {
    this.timeline.show(this.track.times, this.track.scores, this.store.now, this.store.spanS);
  }

  close() {
    this.timeline.close();
    this.element.remove();
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
