/** A face's scores over the last minutes. Dragging sideways zooms in; a double click or "All" goes back. */

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { el, say, show } from "./dom.js";
import { percent } from "./words.js";

const REDRAW_MS = 500;
const EDGE_PX = 30;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Where verdicts change, dashed, with their words. */
function drawThresholds(chart, thresholds) {
  if (!thresholds) return;
  const { ctx, bbox } = chart;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.setLineDash([4 * scale, 4 * scale]);
  ctx.lineWidth = scale;
  for (const [value, name] of [[thresholds.fake_at, "--fake"], [thresholds.real_at, "--real"]]) {
    const y = Math.round(chart.valToPos(value, "y", true)) + 0.5;
    ctx.strokeStyle = colour(name);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

/** A moment to look at, as an upright line. */
function drawMark(chart, at) {
  if (at === null) return;
  const { ctx, bbox } = chart;
  const x = Math.round(chart.valToPos(at, "x", true)) + 0.5;
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.save();
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.strokeStyle = colour("--accent");
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

export class Timeline {
  /** `name`: whose it is, for screen readers; `isFixed`: all of the data, not the last minutes; `mark`: a moment in it. */
  constructor({ name, height = 92, thresholds = () => null, isFixed = false, mark = null }) {
    this.mark = mark;
    this.name = name;
    this.height = height;
    this.thresholds = thresholds;
    this.isFixed = isFixed;
    this.isZoomed = false;
    this.drawnAt = -Infinity;
    this.data = [[], []];
    this.plot = el("div", { class: "plot", role: "img" });
    this.reset = el("button", { class: "small zoom-out", type: "button", hidden: true, onclick: () => this.zoomOut() }, "Show all");
    this.element = el("div", { class: "timeline" }, this.plot, this.reset);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.plot);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.rebuild();
    this.scheme.addEventListener("change", this.recolour);
  }

  /** `now`: the right end, seconds since the epoch; `spanS` before it the left. At most twice a second is drawn. */
  show(times, scores, now, spanS) {
    this.data = [times, scores];
    this.now = now;
    this.spanS = spanS;
    if (performance.now() - this.drawnAt < REDRAW_MS) return;
    this.draw();
  }

  draw() {
    this.drawnAt = performance.now();
    if (!this.chart) this.build();
    if (!this.chart) return;
    this.chart.setData(this.data, false);
    if (!this.isZoomed) this.chart.setScale("x", this.range());
    this.describe();
  }

  range() {
    const [times] = this.data;
    if (this.isFixed) return { min: times[0] ?? 0, max: times.at(-1) ?? 1 };
    return { min: this.now - this.spanS, max: this.now };
  }

  zoomOut() {
    this.isZoomed = false;
    show(this.reset, false);
    this.draw();
  }

  resize() {
    const width = Math.floor(this.plot.clientWidth);
    if (this.chart && width > 0) this.chart.setSize({ width, height: this.height });
    else if (width > 0) this.draw();
  }

  rebuild() {
    this.chart?.destroy();
    this.chart = null;
    this.draw();
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
    this.chart?.destroy();
    this.chart = null;
  }

  describe() {
    const scores = this.data[1].filter((score) => score !== null);
    const told = scores.length
      ? `now ${percent(scores.at(-1))}, highest ${percent(Math.max(...scores))}, lowest ${percent(Math.min(...scores))}`
      : "no score yet";
    this.plot.setAttribute("aria-label", `Fake score of ${this.name} over the last minutes: ${told}`);
  }

  build() {
    const width = Math.floor(this.plot.clientWidth);
    if (!width) return;
    const ink = colour("--quiet");
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: ink, font: "11px system-ui, sans-serif", grid, ticks: { show: false } };
    this.chart = new uPlot(
      {
        width,
        height: this.height,
        padding: [6, 6, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: true, y: false, setScale: true }, points: { size: 6 } },
        scales: { x: { time: true, auto: false }, y: { auto: false, range: [0, 1] } },
        axes: [
          { ...axis, size: 20, gap: 2, space: 70, values: (chart, ticks) => ticks.map((at) => (hasRoom(chart, at) ? shortClock(at) : "")) },
          { ...axis, size: 42, gap: 4, splits: () => [0, 0.5, 1], values: (_, ticks) => ticks.map((tick) => `${Math.round(tick * 100)} %`) },
        ],
        series: [{}, { stroke: colour("--ink"), width: 1.75, points: { show: false }, spanGaps: false }],
        hooks: {
          drawAxes: [(chart) => drawThresholds(chart, this.thresholds()), (chart) => drawMark(chart, this.mark)],
          setSelect: [(chart) => this.zoomIn(chart)],
          setCursor: [(chart) => this.tell(chart)],
        },
      },
      this.data,
      this.plot,
    );
    this.chart.over.addEventListener("dblclick", () => this.zoomOut());
    this.tip = el("span", { class: "tip", hidden: true });
    this.chart.over.append(this.tip);
    this.chart.setScale("x", this.range());
  }

  zoomIn(chart) {
    if (chart.select.width < 8) return;
    this.isZoomed = true;
    show(this.reset, true);
  }

  /** The score under the pointer. */
  tell(chart) {
    const place = chart.cursor.idx;
    const score = place === null || place === undefined ? null : this.data[1][place];
    const isTold = chart.cursor.left >= 0 && score !== null && score !== undefined;
    show(this.tip, isTold);
    if (!isTold) return;
    say(this.tip, `${percent(score)} at ${fullClock(this.data[0][place])}`);
    this.tip.classList.toggle("left", chart.cursor.left > chart.over.clientWidth / 2);
  }
}

/** Words at the very ends would be cut off, or run into the percentages. */
function hasRoom(chart, at) {
  const x = chart.valToPos(at, "x");
  return x > EDGE_PX && x < chart.over.clientWidth - EDGE_PX;
}

function fullClock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function shortClock(at) {
  const date = new Date(at * 1000);
  const seconds = date.getSeconds() ? { second: "2-digit" } : {};
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...seconds });
}
