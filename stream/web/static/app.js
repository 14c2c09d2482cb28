/** The page: what is shown where, and what happens when the server tells something. */

import { el, icon, say, show } from "./dom.js";
import { Events, get, request } from "./api.js";
import { Store } from "./store.js";
import { LivePage } from "./live.js";
import { AlertsPage } from "./alerts.js";
import { AlertPage } from "./alert_page.js";
import { HealthPage } from "./health.js";
import { loginForm, whenChanged } from "./dialogs.js";
import { clock, plural, scored } from "./words.js";

const TICK_MS = 1000;
const HEALTH_EVERY_MS = 10000;
const TOAST_MS = { critical: 60000, warning: 20000, info: 10000 };
const MOST_TOASTS = 3;

const byId = (id) => document.getElementById(id);
const store = new Store();
let page = null;
let events = null;

// Which page

/** Hash routes: [pattern, the page's name in the navigation, how it is made]. */
const ROUTES = [
  [/^#?\/?$/, "live", () => new LivePage(store)],
  [/^#\/streams\/([^/]+)$/, "live", (name) => new LivePage(store, name)],
  [/^#\/alerts$/, "alerts", () => new AlertsPage(store)],
  [/^#\/alerts\/([^/]+)$/, "alerts", (id) => new AlertPage(store, id)],
  [/^#\/health$/, "health", () => new HealthPage(store)],
];

function route() {
  const found = ROUTES.map(([pattern, name, make]) => ({ match: pattern.exec(location.hash), name, make })).find(({ match }) => match);
  if (!found) return void (location.hash = "#/");
  page?.close();
  page = found.make(...found.match.slice(1).map(decoded));
  byId("main").replaceChildren(page.element);
  for (const link of document.querySelectorAll(".toast a")) if (link.hash === location.hash) link.parentElement.remove();
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.dataset.page === found.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  tellOverall();
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The head of the page

function tellOverall() {
  const firing = store.firing.length;
  const signs = store.isConnected ? [alertSign(firing), playingSign(), readySign()].filter(Boolean) : UNKNOWN;
  const told = JSON.stringify(signs);
  if (tellOverall.told !== told) {
    tellOverall.told = told;
    byId("overall").replaceChildren(...signs.map(drawn));
  }
  const count = byId("alert-count");
  show(count, firing > 0);
  say(count, firing ? String(firing) : "");
  const title = `${firing ? `(${firing}) ` : ""}${page?.title ?? "Unmask"} · Unmask`;
  if (document.title !== title) document.title = title;
}

/** Signs are [mood, icon, words]. What was so before the connection was lost is no longer known. */
const UNKNOWN = ["Alerts", "Streams", "Readiness"].map((what) => ["unknown", "question", `${what}: unknown`]);

function drawn([mood, name, words]) {
  return el("li", { class: `sign ${mood}` }, icon(name), el("span", {}, words));
}

function alertSign(firing) {
  if (firing) return ["bad", "alert", plural(firing, "alert going on", "alerts going on")];
  return store.isFakeInView ? ["bad", "cross", "Fake seen"] : ["good", "check", "No alert"];
}

function playingSign() {
  const playing = store.streams.filter((stream) => stream.state === "playing").length;
  const total = store.streams.length;
  return total > 0 && [playing === total ? "good" : "bad", "play", `${playing} of ${total} playing`];
}

function readySign() {
  if (store.ready === null) return null;
  if (store.ready.ready) return ["good", "check", "Ready"];
  const why = store.ready.conditions.filter((condition) => !condition.ok).map((condition) => condition.why);
  return ["bad", "cross", `Not ready${why.length ? `: ${why[0]}` : ""}`];
}

/** From the health, not from readyz: that one answers with an error while it is not ready. */
async function fetchHealth() {
  const health = await get("/health").catch(() => null);
  store.ready = health;
  store.thresholds = health?.thresholds ?? store.thresholds;
  tellOverall();
}

function tellWho() {
  const { user, role, login_required: isLoginRequired } = store.me;
  const out = el("button", { class: "small", type: "button", onclick: () => request("POST", "/logout").catch(() => {}).finally(() => location.reload()) }, "Sign out");
  byId("who").replaceChildren(...(user && isLoginRequired ? [el("span", { class: "quiet" }, `${user} (${role})`), out] : []));
}

// What the server tells

function hearScene(scene) {
  const before = store.stream(scene.stream);
  if (!before) return;
  const wasState = before.state;
  store.see(scene);
  page?.scene(scene);
  tellOverall();
  if (wasState !== scene.state) fetchStreams();
}

function hearAlert(alert) {
  if (store.learn(alert) && alert.state === "firing") toast(alert);
  page?.updateAlerts();
  tellOverall();
}

async function fetchStreams() {
  store.setStreams(await get("/streams"));
  page?.update();
  tellOverall();
}

/** All that may have been missed. `isReturning`: whether the page was connected before, and may have missed alerts. */
async function catchUp(isReturning) {
  const [streams, scenes, alerts] = await Promise.all([get("/streams"), get("/verdicts"), get("/alerts?limit=100")]);
  store.setStreams(streams);
  scenes.forEach((scene) => store.see(scene, false));
  for (const alert of alerts) {
    if (store.learn(alert) && isReturning && alert.state === "firing") toast(alert);
  }
  page?.update();
  page?.updateAlerts();
  tellOverall();
}

function lose() {
  if (!store.isConnected) return;
  store.isConnected = false;
  document.body.classList.add("is-lost");
  const since = store.heardAt ? ` What you see is from ${clock(store.heardAt)}.` : "";
  say(byId("lost"), `Connection to the server lost.${since} Trying again…`);
  show(byId("lost"), true);
  tellOverall();
}

async function connect() {
  try {
    await catchUp(store.heardAt !== null);
  } catch (error) {
    if (error.status === 401) return void location.reload();
    return lose();
  }
  store.isConnected = true;
  document.body.classList.remove("is-lost");
  show(byId("lost"), false);
  tellOverall();
}

function toast(alert) {
  const close = el("button", { class: "bare", type: "button", "aria-label": "Dismiss", onclick: () => item.remove() }, icon("cross"));
  const score = scored(alert.fake_probability) && `, ${scored(alert.fake_probability)}`;
  const link = el("a", { href: `#/alerts/${encodeURIComponent(alert.id)}`, onclick: () => item.remove() }, el("b", {}, alert.message), el("span", {}, `${alert.stream || "the whole service"}, ${clock(alert.began_at)}${score}`));
  const item = el("div", { class: `toast ${alert.severity}` }, icon("alert"), link, close);
  const toasts = byId("toasts");
  toasts.prepend(item);
  while (toasts.childElementCount > MOST_TOASTS) toasts.lastElementChild.remove();
  setTimeout(() => item.remove(), TOAST_MS[alert.severity] || TOAST_MS.info);
}

// The beginning

function begin() {
  show(document.querySelector(".nav"), true);
  tellWho();
  whenChanged(fetchStreams);
  window.addEventListener("hashchange", () => {
    route();
    byId("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  route();
  events = new Events({ scene: hearScene, alert: hearAlert, streams: () => fetchStreams().catch(() => {}), open: connect, lost: checkLogin });
  window.addEventListener("pagehide", () => events.close());
  fetchHealth();
  setInterval(fetchHealth, HEALTH_EVERY_MS);
  setInterval(() => page?.tick(), TICK_MS);
}

/** Events end when the connection does, and when a session is over: only a new page helps then. */
async function checkLogin() {
  lose();
  const me = await get("/me").catch(() => null);
  if (me && me.login_required && !me.role) location.reload();
}

async function start() {
  try {
    store.me = await get("/me");
  } catch (error) {
    say(byId("loading"), `${error.message}. Trying again…`);
    setTimeout(start, 3000);
    return;
  }
  if (store.me.login_required && !store.me.role) byId("main").replaceChildren(loginForm(() => location.reload()));
  else begin();
}

start();
