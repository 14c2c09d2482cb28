/** One alert and its evidence: what was seen, when, by what, and how to check that nothing was changed since. */

import { el, icon } from "./dom.js";
import { get, urlOf } from "./api.js";
import { Timeline } from "./timeline.js";
import { stateWord } from "./alerts.js";
import { KINDS, bytes, dayAndClock, percent, span } from "./words.js";

export class AlertPage {
  constructor(store, id) {
    this.store = store;
    this.id = id;
    this.title = "Alert";
    this.timelines = [];
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
    for (const timeline of this.timelines.splice(0)) timeline.close();
    const evidence = typeof alert.evidence === "object" ? alert.evidence : null;
    this.element.replaceChildren(backLink(), heading(alert), this.facts(alert), ...(evidence?.files?.length ? this.evidence(alert, evidence) : [noEvidence(alert)]));
    for (const timeline of this.timelines) timeline.draw();
  }

  facts(alert) {
    const ended = alert.state === "resolved" ? alert.changed_at : null;
    return table([
      ["Stream", alert.stream ? el("a", { href: `#/streams/${encodeURIComponent(alert.stream)}` }, alert.stream) : "the whole service"],
      ["Face", alert.track_id ?? null],
      ["Began", dayAndClock(alert.began_at)],
      ["Over", ended && `${dayAndClock(ended)}, after ${span(ended - alert.began_at)}`],
      ["Fake score", alert.fake_probability === null || alert.fake_probability === undefined ? null : percent(alert.fake_probability)],
      ["Rule", `${alert.rule} (${KINDS[alert.kind] || alert.kind})`],
      ["Judged by", [alert.model, alert.backend].filter(Boolean).join(" on ") || null],
    ]);
  }

  evidence(alert, evidence) {
    const files = evidence.files.map((file) => ({ ...file, kind: kindOf(file) }));
    const of = (kind) => files.filter((file) => file.kind === kind);
    const clips = of("clip").map((file) =>
      block("Clip", el("video", { class: "evidence", controls: true, preload: "metadata", playsinline: true, src: addressOf(file), "aria-label": "Video from before to after the alert" }), "From some seconds before to some seconds after."),
    );
    const moving = [...clips, this.scores(evidence)];
    const still = [
      pictures("Snapshot", of("snapshot"), "The picture when it fired, with what was drawn on it."),
      pictures("Where on the face", of("heatmap"), "Warm colours: where the model looked for its answer. A hint for people, not a measurement."),
      pictures("The face, as the model saw it", of("crop"), "Its last samples before the alert.", "crops"),
    ];
    return [
      el("div", { class: "columns" }, el("div", {}, moving), el("div", {}, still)),
      block("Files", filesTable(files), "Each file’s SHA-256 stands in the signed log."),
      verifyHint(alert, evidence),
    ];
  }

  /** `timeline`: [[seconds, score]…] or {points: …}; shown only where there is one. */
  scores(evidence) {
    const points = pointsOf(evidence.timeline);
    if (points.length < 2) return null;
    const timeline = new Timeline({ name: "the face of this alert", height: 180, thresholds: () => this.store.thresholds, isFixed: true });
    timeline.data = [points.map(([time]) => time), points.map(([, score]) => score)];
    this.timelines.push(timeline);
    return block("Scores", timeline.element, "Drag to zoom in.");
  }

  update() {}
  scene() {}
  tick() {}

  updateAlerts() {
    const known = this.store.alerts.get(this.id);
    if (known && this.state && known.state !== this.state) this.load();
  }

  close() {
    for (const timeline of this.timelines) timeline.close();
  }
}

function backLink() {
  return el("p", { class: "bar" }, el("a", { class: "button", href: "#/alerts" }, icon("back"), "All alerts"));
}

function heading(alert) {
  return el("div", { class: `alert-heading ${alert.severity}` }, el("h1", {}, alert.message), stateWord(alert));
}

function noEvidence(alert) {
  const isAboutVideo = alert.kind === "fake" || alert.kind === "probability";
  const told = isAboutVideo ? "No evidence was kept of this alert: nothing is recorded unless the configuration names an evidence folder." : "This kind of alert has no pictures.";
  return el("p", { class: "empty-box" }, told);
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

function verifyHint(alert, evidence) {
  const folder = typeof evidence.folder === "string" ? evidence.folder : "EVIDENCE-FOLDER";
  return block("Check it", el("pre", { class: "command" }, el("code", {}, `unmask verify ${folder}`)), "On the machine that keeps the evidence: says that the log, clips and pictures are as they were written, or exactly where they are not.");
}

/** A file of the API, never an address from elsewhere. */
function addressOf(file) {
  return file.url.startsWith("/api/") ? urlOf(file.url) : "";
}

const ENDINGS = { mp4: "clip", mkv: "clip", json: "manifest" };

function kindOf(file) {
  const known = ["clip", "snapshot", "heatmap", "crop"].find((kind) => String(file.kind || "").startsWith(kind));
  if (known) return known;
  const named = ["snapshot", "heatmap", "crop", "clip"].find((kind) => file.name.includes(kind));
  return named || ENDINGS[file.name.split(".").at(-1)] || "other";
}

function pointsOf(timeline) {
  const listed = Array.isArray(timeline) ? timeline : timeline?.points || timeline?.scores || [];
  return listed
    .map((point) => (Array.isArray(point) ? point : [point.at ?? point.t, point.fake_probability ?? point.p]))
    .filter(([time, score]) => Number.isFinite(time) && (score === null || Number.isFinite(score)))
    .sort((a, b) => a[0] - b[0]);
}
