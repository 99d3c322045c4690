/* A learning-rate test: the loss and the smoothed loss over the rate, on a logarithmic axis, a dashed line at the rate
   that is suggested. While the run is open the values are fetched again. */
import uPlot from "../vendor/uplot/uPlot.esm.js";

const EVERY_MS = 3000;
const HEIGHT = 300;
const ROOM = 1.5; // above the smoothed loss; single losses may lie higher, outside

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function number(value) {
  return value == null ? "–" : value.toPrecision(4).replace(/\.?0+$/, "");
}

function power(value) {
  return value == null ? "" : value.toExponential(0).replace("e+", "e");
}

/** Least and greatest value that the chart shows: all of the smoothed loss, single losses a little beyond it. */
export function reach(loss, smoothed) {
  const known = smoothed.filter((value) => value != null);
  const all = loss.filter((value) => value != null);
  const low = Math.min(...known, ...all);
  const high = known.length ? Math.min(Math.max(...all), Math.max(...known) * ROOM) : Math.max(...all);
  return [Math.min(low, 0.95 * low), high > low ? high : low + 1];
}

class Rates {
  constructor(root) {
    this.root = root;
    this.stage = root.querySelector("[data-rates-stage]");
    this.holder = root.querySelector("[data-rates-plot]");
    new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["class"] });
    let width = 0;
    new ResizeObserver(() => {
      if (this.holder.clientWidth === width) return;
      width = this.holder.clientWidth;
      this.draw();
    }).observe(this.holder);
    this.fetch();
  }

  async fetch() {
    let open = true;
    try {
      const response = await fetch(this.root.dataset.rates, { headers: { Accept: "application/json" } });
      if (response.status >= 500) throw new Error("The server is away.");
      if (!response.ok) return; // signed out, or the run is gone
      this.found = await response.json();
      open = this.found.open;
      this.show();
    } catch {
      /* No connection or no server: the next turn tries again; what is drawn stays. */
    }
    if (open) setTimeout(() => this.fetch(), EVERY_MS);
  }

  show() {
    const any = this.found.rates.length > 1;
    this.root.querySelector("[data-rates-empty]").hidden = any;
    this.stage.hidden = !any;
    this.draw();
  }

  draw() {
    if (!this.found || this.stage.hidden) return;
    this.plot?.destroy();
    const line = colour("--h-line");
    const text = colour("--h-quiet");
    const [first, second] = [colour("--h-curve-a"), colour("--h-curve-b")];
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    const value = (_plot, shown) => number(shown);
    this.plot = new uPlot(
      {
        width: Math.max(240, this.holder.clientWidth), height: HEIGHT,
        scales: { x: { time: false, distr: 3 }, y: { range: () => reach(this.found.loss, this.found.smoothed) } },
        axes: [
          { ...axis, size: 34, space: 56, values: (_plot, ticks) => ticks.map((tick) => (Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6) ? power(tick) : "")) },
          { ...axis, size: 56, values: (_plot, ticks) => ticks.map(number) },
        ],
        series: [
          { label: "rate", value: (_plot, shown) => (shown == null ? "–" : shown.toExponential(2)) },
          { label: "loss", stroke: second, width: 1, points: { show: false }, value },
          { label: "smoothed", stroke: first, width: 2.25, points: { show: false }, value },
        ],
        cursor: { points: { size: 7 } },
        legend: { live: true },
        hooks: { draw: [(plot) => this.mark(plot, text)] },
      },
      [this.found.rates, this.found.loss, this.found.smoothed],
      this.holder,
    );
    this.plot.over.addEventListener("mouseleave", () => this.rest());
    this.rest();
  }

  /** Without a cursor the legend reads the suggestion, or the last rate. */
  rest() {
    const at = this.found.rates.indexOf(this.found.suggestion);
    requestAnimationFrame(() => this.plot.setLegend({ idx: at >= 0 ? at : this.found.rates.length - 1 }));
  }

  mark(plot, ink) {
    if (!this.found.suggestion) return;
    const x = Math.round(plot.valToPos(this.found.suggestion, "x", true));
    const { top, height } = plot.bbox;
    plot.ctx.save();
    plot.ctx.strokeStyle = ink;
    plot.ctx.lineWidth = devicePixelRatio;
    plot.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(x, top);
    plot.ctx.lineTo(x, top + height);
    plot.ctx.stroke();
    plot.ctx.restore();
  }
}

document.querySelectorAll("[data-rates]").forEach((root) => new Rates(root));
