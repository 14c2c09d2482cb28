/** The list of alerts, newest first, with what narrows it down. */

import { el, icon, show } from "./dom.js";
import { get } from "./api.js";
import { KINDS, ago, dayAndClock, scored } from "./words.js";

const PAGE = 50;
const SIGNS = { critical: "alert", warning: "alert", info: "bell" };

/** One line of a list; leads to the alert's own page. */
export function alertItem(alert) {
  const score = scored(alert.fake_probability);
  const where = [alert.stream || "the whole service", alert.track_id !== null && alert.track_id !== undefined && `face ${alert.track_id}`];
  return el(
    "li",
    { class: `alert ${alert.severity} ${alert.state}` },
    el(
      "a",
      { href: `#/alerts/${encodeURIComponent(alert.id)}` },
      el("span", { class: "sign" }, icon(SIGNS[alert.severity] || "bell")),
      el(
        "span",
        { class: "alert-text" },
        el("b", {}, alert.message),
        el("span", { class: "alert-facts" }, stateWord(alert), when(alert.began_at), el("span", {}, where.filter(Boolean).join(", ")), score && el("span", {}, score)),
      ),
    ),
  );
}

function when(at) {
  return el("time", { datetime: new Date(at * 1000).toISOString(), title: ago(at) }, dayAndClock(at));
}

export function stateWord(alert) {
  const word = alert.state === "firing" ? "going on" : "over";
  return el("span", { class: `pill ${alert.state}` }, word);
}

export class AlertsPage {
  constructor(store) {
    this.store = store;
    this.title = "Alerts";
    this.older = [];
    this.list = el("ol", { class: "alert-list wide", "aria-live": "polite" });
    this.empty = el("p", { class: "empty-box", hidden: true });
    this.more = el("button", { type: "button", hidden: true, onclick: () => this.fetchOlder() }, "Show older");
    this.state = this.select("State", [["", "all"], ["firing", "going on"], ["resolved", "over"]]);
    this.kind = this.select("What", [["", "everything"], ...Object.entries(KINDS).filter(([kind]) => kind !== "test")]);
    this.stream = this.select("Stream", [["", "all streams"]]);
    this.element = el(
      "section",
      { class: "page", "aria-label": "Alerts" },
      el("div", { class: "bar" }, el("h1", {}, "Alerts")),
      el("div", { class: "filters" }, this.stream.parentElement, this.kind.parentElement, this.state.parentElement),
      this.empty,
      this.list,
      this.more,
    );
    this.update();
    this.updateAlerts();
  }

  select(label, options) {
    const select = el("select", { onchange: () => this.filter() }, options.map(([value, word]) => el("option", { value }, word)));
    el("label", { class: "filter" }, el("span", {}, label), select);
    return select;
  }

  update() {
    const names = ["", ...this.store.streams.map((stream) => stream.name)];
    const now = [...this.stream.options].map((option) => option.value);
    if (names.join("/") === now.join("/")) return;
    const chosen = this.stream.value;
    this.stream.replaceChildren(...names.map((name) => el("option", { value: name }, name || "all streams")));
    this.stream.value = names.includes(chosen) ? chosen : "";
  }

  filter() {
    this.older = [];
    this.updateAlerts();
  }

  shown() {
    const all = new Map([...this.older, ...this.store.newestAlerts()].map((alert) => [alert.id, alert]));
    return [...all.values()]
      .filter((alert) => (!this.state.value || alert.state === this.state.value) && (!this.kind.value || alert.kind === this.kind.value) && (!this.stream.value || alert.stream === this.stream.value))
      .sort((a, b) => b.began_at - a.began_at);
  }

  updateAlerts() {
    const shown = this.shown();
    this.list.replaceChildren(...shown.map(alertItem));
    const isFiltered = this.state.value || this.kind.value || this.stream.value;
    this.empty.textContent = isFiltered ? "No alert like this." : "No alert so far. When a rule of the configuration fires, it is listed here with its evidence.";
    show(this.empty, shown.length === 0);
    show(this.more, shown.length >= PAGE && !this.isAtEnd);
  }

  async fetchOlder() {
    const last = this.shown().at(-1);
    const query = new URLSearchParams({ limit: PAGE, before: last.began_at });
    if (this.stream.value) query.set("stream", this.stream.value);
    if (this.state.value) query.set("state", this.state.value);
    try {
      const older = await get(`/alerts?${query}`);
      this.isAtEnd = older.length < PAGE;
      this.older = [...this.older, ...older];
    } catch (error) {
      this.empty.textContent = error.message;
    }
    this.updateAlerts();
  }

  scene() {}
  tick() {}
  close() {}
}
