/** One alert and its evidence: what was seen, when, by what, and how to check that nothing was changed since. */

import { el, icon } from "./dom.js";
import { get, urlOf } from "./api.js";
import { Timeline } from "./timeline.js";
import { stateWord } from "./alerts.js";
import { KINDS, bytes, moment, percent, plural, span } from "./words.js";

const AWAIT_MS = 2000;
const MOST_ATTEMPTS = 30;

export class AlertPage {
  constructor(store, id) {
    this.store = store;
    this.id = id;
    this.title = "Alert";
    this.attempts = 0;
    this.timeline = null;
    this.element = el("section", { class: "page", "aria-label": "Alert" }, el("p", { class: "empty" }, "Loading…"));
    this.load();
  }

  async load() {
    try {
      this.show(await get(`/alerts/${encodeURIComponent(this.id)}`));
    } catch (error) {
      const told = error.status === 404 ? "This alert is not known, or no longer kept." : error.message;
      this.element.replaceChildren(backLink(), el("p", { class: "empty-box" }, told));
    }
  }

  show(alert) {
    this.state = alert.state;
    this.timeline?.close();
    this.timeline = null;
    const evidence = alert.evidence?.files?.length ? alert.evidence : null;
    const isAwaited = !evidence && this.attempts++ < MOST_ATTEMPTS && Boolean(this.store.alerts.get(this.id)?.evidence);
    this.element.replaceChildren(backLink(), heading(alert), this.facts(alert), ...(evidence ? this.evidence(alert, evidence) : [noEvidence(alert, isAwaited)]));
    if (isAwaited) this.later = setTimeout(() => this.load(), AWAIT_MS);
  }

  facts(alert) {
    const ended = alert.state === "resolved" ? alert.changed_at : null;
    return table([
      ["Stream", alert.stream ? el("a", { href: `#/streams/${encodeURIComponent(alert.stream)}` }, alert.stream) : "the whole service"],
      ["Face", alert.track_id ?? null],
      ["Began", moment(alert.began_at)],
      ["Over", ended && `${moment(ended)}, after ${span(ended - alert.began_at)}`],
      ["Fake score", alert.fake_probability === null || alert.fake_probability === undefined ? null : percent(alert.fake_probability)],
      ["Rule", `${alert.rule} (${KINDS[alert.kind] || alert.kind})`],
      ["Judged by", [alert.model, alert.backend].filter(Boolean).join(" on ") || null],
    ]);
  }

  evidence(alert, evidence) {
    const files = evidence.files.map((file) => ({ ...file, kind: kindOf(file) }));
    const of = (kind) => files.filter((file) => file.kind === kind);
    const scores = el("div");
    for (const file of of("timeline")) this.fetchScores(file, alert, scores);
    const clips = of("clip").map((file) =>
      block("Clip", el("video", { class: "evidence", controls: true, preload: "metadata", playsinline: true, src: addressOf(file), "aria-label": "Video from before to after the alert" }), "From some seconds before to some seconds after."),
    );
    const moving = [...clips, scores];
    const still = [
      pictures("Snapshot", of("snapshot"), "The picture when it fired, with what was drawn on it."),
      pictures("Where on the face", of("heatmap"), "Left, warm: hiding this part lowered the score most. Right: the face itself. A hint for people, not a measurement."),
      pictures("The face, as the model saw it", of("face"), "Its samples in the window that fired, oldest first.", "crops"),
    ];
    return [
      el("div", { class: "columns" }, el("div", {}, moving), el("div", {}, still)),
      el("details", { class: "block" }, el("summary", {}, el("h2", {}, `${plural(files.length, "file")}, with SHA-256`)), el("p", { class: "quiet" }, "Each of these stands in the signed log, too."), filesTable(files)),
      notKept(evidence.manifest?.missing),
      verifyHint(evidence),
    ].filter(Boolean);
  }

  /** The chart of what the alert was about, once its file is here; it is listed anyway. */
  async fetchScores(file, alert, place) {
    const response = await fetch(addressOf(file), { credentials: "same-origin" }).catch(() => null);
    const timeline = response?.ok ? await response.json().catch(() => null) : null;
    const [times, scores] = seriesOf(timeline, alert.track_id);
    if (times.length < 2 || !place.isConnected) return;
    this.timeline = new Timeline({ name: "the face of this alert", height: 180, thresholds: () => this.store.thresholds, isFixed: true, mark: alert.began_at });
    place.append(block("Scores", this.timeline.element, "Before and after; the upright line is the moment it fired. Drag sideways to zoom in."));
    this.timeline.show(times, scores, times.at(-1), 0);
  }

  update() {}
  scene() {}
  tick() {}

  updateAlerts() {
    const known = this.store.alerts.get(this.id);
    if (known && this.state && known.state !== this.state) this.load();
  }

  close() {
    clearTimeout(this.later);
    this.timeline?.close();
  }
}

function backLink() {
  return el("p", { class: "bar" }, el("a", { class: "button", href: "#/alerts" }, icon("back"), "All alerts"));
}

function heading(alert) {
  return el("div", { class: `alert-heading ${alert.severity}` }, el("h1", {}, alert.message), stateWord(alert));
}

function noEvidence(alert, isAwaited) {
  if (isAwaited) return el("p", { class: "empty-box", role: "status" }, "Its evidence is being written: it comes with the last seconds of the clip.");
  const isAboutVideo = alert.kind === "fake" || alert.kind === "probability";
  const told = isAboutVideo ? "No evidence is here: nothing is recorded unless the configuration names an evidence folder, and what is old is deleted." : "This kind of alert has no pictures.";
  return el("p", { class: "empty-box" }, told);
}

function notKept(missing) {
  if (!missing?.length) return null;
  return block("Not kept", el("ul", {}, missing.map(({ what, why }) => el("li", {}, el("b", {}, `${what}: `), why))));
}

function table(rows) {
  const told = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts-table" }, told.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value instanceof Node ? value : String(value)))));
}

function block(title, content, hint) {
  return el("section", { class: "block" }, el("h2", {}, title), hint && el("p", { class: "quiet" }, hint), content);
}

function pictures(title, files, hint, style = "stills") {
  if (!files.length) return null;
  const shown = files.map((file) => el("a", { href: addressOf(file), target: "_blank", rel: "noopener" }, el("img", { src: addressOf(file), alt: `${title}: ${file.name}`, loading: "lazy" })));
  return block(title, el("div", { class: style }, shown), hint);
}

function filesTable(files) {
  const rows = files.map((file) =>
    el("tr", {}, el("td", {}, el("a", { href: addressOf(file), download: file.name }, file.name)), el("td", { class: "numeric" }, bytes(file.bytes)), el("td", {}, el("code", { class: "hash", title: file.sha256 }, file.sha256 || "–"))),
  );
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "File"), el("th", { class: "numeric" }, "Size"), el("th", {}, "SHA-256"))), el("tbody", {}, rows)));
}

function verifyHint(evidence) {
  const folder = evidence.manifest?.folder;
  const hint = `On the machine that keeps the evidence, with the folder that evidence.folder names${folder ? ` (this alert lies in it as ${folder})` : ""}: says that log, clips and pictures are as they were written, or exactly where they are not.`;
  return block("Check it", el("pre", { class: "command" }, el("code", {}, "unmask verify EVIDENCE-FOLDER")), hint);
}

/** A file of the API, never an address from elsewhere. */
function addressOf(file) {
  return file.url.startsWith("/api/") ? urlOf(file.url) : "";
}

const KINDS_OF_FILES = ["clip", "snapshot", "heatmap", "face", "timeline"];

function kindOf(file) {
  return KINDS_OF_FILES.includes(file.kind) ? file.kind : "other";
}

/** [times, scores] of one face from a timeline file: what a chart takes, gaps where it was not in view. */
function seriesOf(timeline, track) {
  const points = (timeline?.moments || []).map(({ at, faces }) => [at, faces.find((face) => face.track === track)?.fake_probability ?? null]);
  return [points.map(([at]) => at), points.map(([, score]) => score)];
}
