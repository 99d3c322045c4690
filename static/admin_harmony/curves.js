/* The curves of a run: one panel a metric, training and validation in it, a dashed line where one must stay above it;
   hover reads values, a switch makes the scale logarithmic, a slider smooths. While the run is open the values are
   fetched again. */
import uPlot from "../vendor/uplot/uPlot.esm.js";

const EVERY_MS = 3000;
const HEIGHT = 220;
const PARTS = { train: "training", validation: "validation", annotation_pool: "annotation pool", test: "test" };

/** Exponential moving average over known values, with the bias of its start taken out. */
export function smooth(values, beta) {
  if (!beta) return values;
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (value == null) return null;
    mean = beta * mean + (1 - beta) * value;
    weight = beta * weight + (1 - beta);
    return mean / weight;
  });
}

/** [[steps], [values of series 1], …] over the union of all steps, null where a series has none. */
export function align(series) {
  const steps = [...new Set(series.flatMap((one) => one.points.map(([step]) => step)))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  const columns = series.map((one) => {
    const column = new Array(steps.length).fill(null);
    for (const [step, value] of one.points) column[place.get(step)] = value;
    return column;
  });
  return [steps, ...columns];
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function number(value) {
  if (value == null) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(2);
  return value.toPrecision(4).replace(/\.?0+$/, "");
}

function before(column, at) {
  for (let index = at ?? -1; index >= 0; index -= 1) if (column[index] != null) return column[index];
  return null;
}

class Panel {
  constructor(root, metric, settings) {
    this.metric = metric;
    this.settings = settings;
    this.box = document.createElement("figure");
    this.box.className = "h-curve";
    const title = document.createElement("figcaption");
    title.textContent = metric.title;
    this.holder = document.createElement("div");
    this.box.append(title, this.holder);
    root.append(this.box);
  }

  data() {
    const [steps, ...columns] = align(this.metric.series);
    const shown = columns.map((column) => smooth(column, this.settings.smoothing));
    if (this.metric.guide) shown.push(steps.map(() => this.metric.guide.value));
    return [steps, ...shown.map((column) => (this.settings.log ? column.map((v) => (v > 0 ? v : null)) : column))];
  }

  draw() {
    this.plot?.destroy();
    const line = colour("--h-line");
    const text = colour("--h-quiet");
    const inks = [colour("--h-curve-a"), colour("--h-curve-b")];
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    const series = this.metric.series.map((one) => {
      const ink = one.part === "train" ? inks[0] : inks[1];
      return {
        label: PARTS[one.part] ?? one.part, stroke: ink, width: 1.75, spanGaps: true,
        points: { show: one.points.length <= 60, size: 5, fill: ink, stroke: ink },
        // Where this part has no value at the step (validation comes once an epoch), the one before it counts.
        value: (plot, value, index, at) => number(value ?? before(plot.data[index], at)),
      };
    });
    if (this.metric.guide) {
      series.push({
        label: this.metric.guide.label, stroke: text, width: 1, dash: [6, 4], points: { show: false },
        value: () => number(this.metric.guide.value),
      });
    }
    this.plot = new uPlot(
      {
        width: Math.max(240, this.holder.clientWidth), height: HEIGHT,
        scales: { x: { time: false }, y: { distr: this.settings.log ? 3 : 1 } },
        axes: [
          { ...axis, size: 34, values: (_plot, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")) },
          { ...axis, size: 56, values: (_plot, ticks) => ticks.map((tick) => (tick == null ? "" : number(tick))) },
        ],
        series: [{ label: "step" }, ...series],
        cursor: { points: { size: 7 } },
        legend: { live: true },
      },
      this.data(),
      this.holder,
    );
    this.plot.over.addEventListener("mouseleave", () => this.newest());
    this.newest();
  }

  /** Without a cursor the legend reads the newest values. */
  newest() {
    requestAnimationFrame(() => this.plot.setLegend({ idx: this.plot.data[0].length - 1 }));
  }

  update(metric) {
    const same = metric.series.length === this.metric.series.length;
    this.metric = metric;
    if (!same || !this.plot) {
      this.draw();
      return;
    }
    this.plot.setData(this.data());
    if (this.plot.cursor.idx == null) this.newest();
  }
}

class Curves {
  constructor(root) {
    this.root = root;
    this.panels = new Map();
    this.settings = { log: false, smoothing: 0 };
    this.stage = root.querySelector("[data-curves-stage]");
    this.rest = root.querySelector("[data-curves-rest]");
    const log = root.querySelector("[data-curves-log]");
    const smoothing = root.querySelector("[data-curves-smoothing]");
    log.addEventListener("change", () => this.set({ log: log.checked }));
    smoothing.addEventListener("input", () => this.set({ smoothing: Number(smoothing.value) }));
    new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["class"] });
    for (const stage of [this.stage, this.rest]) this.follow(stage);
    this.fetch();
  }

  /** Drawn again when the room changes; a folded part has none until it is opened. */
  follow(stage) {
    let width = stage.clientWidth;
    new ResizeObserver(() => {
      if (stage.clientWidth === width) return;
      width = stage.clientWidth;
      this.draw();
    }).observe(stage);
  }

  set(change) {
    Object.assign(this.settings, change);
    this.draw();
  }

  draw() {
    for (const panel of this.panels.values()) panel.draw();
  }

  async fetch() {
    let open = true;
    try {
      const response = await fetch(this.root.dataset.curves, { headers: { Accept: "application/json" } });
      if (response.status >= 500) throw new Error("The server is away.");
      if (!response.ok) return; // signed out, or the run is gone
      const answer = await response.json();
      open = answer.open;
      this.show(answer.metrics);
    } catch {
      /* No connection or no server: the next turn tries again; what is drawn stays. */
    }
    if (open) setTimeout(() => this.fetch(), EVERY_MS);
  }

  show(metrics) {
    this.root.querySelector("[data-curves-empty]").hidden = metrics.length > 0;
    this.root.querySelector("[data-curves-tools]").hidden = metrics.length === 0;
    this.root.querySelector("[data-curves-more]").hidden = metrics.every((metric) => metric.main);
    const made = [];
    for (const metric of metrics) {
      const panel = this.panels.get(metric.name);
      if (panel) {
        panel.update(metric);
      } else {
        const fresh = new Panel(metric.main ? this.stage : this.rest, metric, this.settings);
        this.panels.set(metric.name, fresh);
        made.push(fresh);
      }
    }
    for (const panel of made) panel.draw(); // once all stand in the page, so that each knows its width
  }
}

document.querySelectorAll("[data-curves]").forEach((root) => new Curves(root));
