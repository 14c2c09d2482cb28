/** How the machine, the engines and the service are. */

import { el, icon } from "./dom.js";
import { get } from "./api.js";
import { bytes, delay, plural, span, stateOf } from "./words.js";

const EVERY_MS = 5000;
const HOT_CELSIUS = 105;
/** Where processors slow themselves down, about. */

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
      this.body.replaceChildren(conditions(health), machine(health.machine), engines(health.engines), service(health), streams(this.store));
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "empty-box" }, error.message));
    }
  }

  update() {
    this.load();
  }

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

function conditions(health) {
  const listed = (health.conditions).map((condition) =>
    el("li", { class: condition.ok ? "ok" : "bad" }, icon(condition.ok ? "check" : "cross"), el("span", {}, el("b", {}, named(condition.name)), ` ${condition.why}`)),
  );
  return card("Ready to be relied on?", listed.length ? el("ul", { class: "conditions" }, listed) : el("p", { class: "quiet" }, "Not known yet."));
}

const named = (name) => ({ engines: "Engines:", streams: "Streams:", canary: "Self-test:", log: "Log:" })[name] || `${name}:`;

function meter(label, share, told) {
  if (share === null || share === undefined) return null;
  const level = share > 0.92 ? "high" : share > 0.8 ? "mid" : "low";
  return el("div", { class: "meter-row" }, el("span", {}, label), el("meter", { min: 0, max: 1, high: 0.92, value: share, class: level, "aria-label": label }), el("span", { class: "numeric" }, told));
}

function machine(found) {
  const { memory_used_bytes: memory, memory_total_bytes: memoryTotal, disk_free_bytes: free, disk_total_bytes: diskTotal } = found;
  const rows = [
    meter(`Processor (${plural(found.cores, "core")})`, found.cpu_share, `${Math.round(found.cpu_share * 100)} %`),
    meter("Memory", memory / memoryTotal, `${bytes(memory)} of ${bytes(memoryTotal)}`),
    diskTotal && meter("Disk", 1 - free / diskTotal, `${bytes(free)} free`),
    ...Object.entries(found.celsius).map(([zone, celsius]) => meter(`Heat, ${zone}`, celsius / HOT_CELSIUS, `${Math.round(celsius)} °C`)),
  ];
  return card("Machine", rows.filter(Boolean));
}

const STAGES = { detect: "Finds faces", score: "Judges them" };

function engines(listed) {
  const rows = listed.map((engine) =>
    el(
      "div",
      { class: "engine" },
      el("b", {}, `${STAGES[engine.stage] || engine.stage}: ${engine.model}`),
      el("span", {}, `on ${engine.backend}, ${engine.precision}`),
      engine.fallen_back && el("span", { class: "pill firing" }, icon("alert"), "stands in for a runtime that failed"),
      engine.why && el("span", { class: "quiet" }, engine.why),
    ),
  );
  return card("Engines", rows.length ? rows : el("p", { class: "quiet" }, "None is known."));
}

function streams(store) {
  const names = ["State", "Frames", "Delay", "Decoder", "Last error"];
  const styles = [null, "numeric", "numeric", null, "long"];
  const rows = store.streams.map((stream) => {
    const cells = [stateOf(stream), stream.fps ? `${Math.round(stream.fps)} /s` : "–", delay(stream.latency_ms) || "–", stream.decoder || "not opened", stream.last_error || "–"];
    return el("tr", {}, el("th", { scope: "row" }, stream.name), cells.map((told, place) => el("td", { class: styles[place], "data-name": names[place] }, told)));
  });
  const head = ["Stream", ...names].map((name, place) => el("th", { class: styles[place - 1], scope: "col" }, name));
  return el("section", { class: "card full" }, el("h2", {}, "Streams"), rows.length ? el("div", { class: "scroll" }, el("table", { class: "streams" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))) : el("p", { class: "quiet" }, "No stream yet."));
}

function service(health) {
  const rows = [
    ["Version", health.version],
    ["Running for", span(health.uptime_s)],
    ["Watched by", plural(health.clients, "connection")],
  ];
  return card("Service", el("dl", { class: "facts-table" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))));
}
