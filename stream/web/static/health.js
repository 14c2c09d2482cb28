/** How the machine, the engines and the service are. */

import { el, icon } from "./dom.js";
import { get } from "./api.js";
import { STATES, bytes, delay, span } from "./words.js";

const EVERY_MS = 5000;

export class HealthPage {
  constructor(store) {
    this.store = store;
    this.title = "Health";
    this.body = el("div", { class: "cards" }, el("p", { class: "empty" }, "Loading…"));
    this.element = el("section", { class: "page", "aria-label": "Health" }, el("div", { class: "bar" }, el("h1", {}, "Health")), this.body);
    this.load();
    this.timer = setInterval(() => this.load(), EVERY_MS);
  }

  async load() {
    try {
      const health = await get("/health");
      this.body.replaceChildren(conditions(health), machine(health.machine || {}), engines(health.engines || []), streams(this.store), service(health));
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "empty-box" }, error.message));
    }
  }

  update() {}
  scene() {}
  tick() {}
  updateAlerts() {}

  close() {
    clearInterval(this.timer);
  }
}

function card(title, ...content) {
  return el("section", { class: "card" }, el("h2", {}, title), content);
}

/** Accepts the server's two ways to say that a condition holds. */
const holds = (condition) => condition.ok ?? condition.is_met;

function conditions(health) {
  const listed = (health.conditions || []).map((condition) =>
    el("li", { class: holds(condition) ? "ok" : "bad" }, icon(holds(condition) ? "check" : "cross"), el("span", {}, el("b", {}, named(condition.name)), ` ${condition.why}`)),
  );
  return card("Ready to be relied on?", listed.length ? el("ul", { class: "conditions" }, listed) : el("p", { class: "quiet" }, "Not known yet."));
}

const named = (name) => ({ engines: "Engines:", streams: "Streams:", canary: "Self-test:" })[name] || `${name}:`;

function meter(label, share, told) {
  if (share === null || share === undefined) return null;
  const level = share > 0.92 ? "high" : share > 0.8 ? "mid" : "low";
  return el("div", { class: "meter-row" }, el("span", {}, label), el("meter", { min: 0, max: 1, high: 0.92, value: share, class: level, "aria-label": label }), el("span", { class: "numeric" }, told));
}

function used(label, free, total, usedBytes) {
  const taken = usedBytes ?? (total && free !== undefined && free !== null ? total - free : null);
  return taken === null || taken === undefined || !total ? null : meter(label, taken / total, `${bytes(taken)} of ${bytes(total)}`);
}

function machine(found) {
  const cpu = found.cpu_share ?? found.cpu;
  const memory = found.memory || {};
  const disk = found.disk || {};
  const rows = [
    meter("Processor", cpu, cpu === null || cpu === undefined ? "" : `${Math.round(cpu * 100)} %`),
    used("Memory", memory.free_bytes ?? found.memory_free_bytes, memory.total_bytes ?? found.memory_total_bytes, memory.used_bytes ?? found.memory_used_bytes),
    used("Disk", disk.free_bytes ?? found.disk_free_bytes, disk.total_bytes ?? found.disk_total_bytes, null),
    ...temperatures(found.temperatures || found.celsius || {}),
  ].filter(Boolean);
  return card("Machine", rows.length ? rows : el("p", { class: "quiet" }, "This machine tells nothing of itself."));
}

function temperatures(found) {
  return Object.entries(found).map(([zone, celsius]) => el("div", { class: "meter-row" }, el("span", {}, `Temperature, ${zone}`), el("span"), el("span", { class: "numeric" }, `${Math.round(celsius)} °C`)));
}

function engines(listed) {
  const rows = listed.map((engine) =>
    el(
      "div",
      { class: "engine" },
      el("b", {}, engine.model || engine.name),
      el("span", {}, [`on ${engine.backend}`, engine.precision].filter(Boolean).join(", ")),
      engine.fallen_back && el("span", { class: "pill firing" }, icon("alert"), "stands in for a runtime that failed"),
      engine.why && el("span", { class: "quiet" }, engine.why),
    ),
  );
  return card("Engines", rows.length ? rows : el("p", { class: "quiet" }, "None is known."));
}

function streams(store) {
  const rows = store.streams.map((stream) =>
    el("tr", {}, el("th", { scope: "row" }, stream.name), el("td", {}, STATES[stream.state] || stream.state), el("td", { class: "numeric" }, stream.fps ? `${Math.round(stream.fps)} /s` : "–"), el("td", { class: "numeric" }, delay(stream.latency_ms) || "–"), el("td", {}, stream.decoder || "–"), el("td", {}, stream.last_error || "")),
  );
  const head = ["Stream", "State", "Frames", "Delay", "Decoder", "Last error"].map((name, place) => el("th", { class: place === 2 || place === 3 ? "numeric" : null, scope: "col" }, name));
  return el("section", { class: "card full" }, el("h2", {}, "Streams"), rows.length ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))) : el("p", { class: "quiet" }, "No stream yet."));
}

function service(health) {
  const uptime = health.uptime_s ?? health.uptime;
  const rows = [["Version", health.version], ["Running for", uptime === undefined || uptime === null ? null : span(uptime)]].filter(([, value]) => value);
  return card("Service", el("dl", { class: "facts-table" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))));
}
