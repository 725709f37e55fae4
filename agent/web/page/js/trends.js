/** Trends of the watched bed over hours: heart rate, V beats a minute, quality of the signal. */

import uPlot from "../uplot/uPlot.esm.js";
import { make, setText } from "./dom.js";
import { fetchOfBed } from "./requests.js";
import { traceColours } from "./theme.js";
import { clockText } from "./words.js";

export const HOURS = [1, 4, 12, 24];
const RELOAD_MS = 60000;
const HEIGHT = 92;
const SERIES = [
  { key: "rate", label: "Heart rate /min", colour: "N", least: [40, 120] },
  { key: "v", label: "V beats a minute", colour: "V", least: [0, 5] },
  { key: "quality", label: "Signal quality %", colour: "dim", least: [0, 100], scale: 100 },
];

export class Trends {
  constructor() {
    this.hours = 1;
    this.buttons = HOURS.map((hours) => make("button", { type: "button", text: `${hours} h`, "aria-pressed": String(hours === this.hours), onclick: () => this.#choose(hours) }));
    this.note = make("p", { class: "trend-note" });
    this.charts = make("div", { class: "trend-charts" });
    const head = make("div", { class: "panel-head" }, make("h2", { text: "Trends" }), make("div", { class: "choices", role: "group", "aria-label": "Hours of the trends" }, ...this.buttons));
    this.element = make("section", { class: "panel trends" }, head, this.charts, this.note);
    this.plots = [];
    this.bed = null;
    setInterval(() => this.bed && !document.hidden && this.load(), RELOAD_MS);
    new ResizeObserver(() => this.#resize()).observe(this.charts);
  }

  /** Show the trends of another bed, by its id; null: of none. */
  watch(id) {
    if (id === this.bed) return;
    this.bed = id;
    this.#clear();
    if (id !== null) this.load();
  }

  /** Read and draw the trends. */
  async load() {
    const asked = `${this.bed} ${this.hours}`;
    try {
      const said = await fetchOfBed(this.bed, `trend?hours=${this.hours}`);
      if (asked !== `${this.bed} ${this.hours}`) return;
      this.said = said;
      this.draw();
    } catch (error) {
      this.#clear();
      setText(this.note, `no trend: ${error.message}`);
    }
  }

  /** Draw what was read, as in other colours. */
  draw() {
    this.#clear();
    const times = this.said?.t_s ?? this.said?.t ?? [];
    setText(this.note, times.length ? "" : "no trend yet: it grows by a point a minute");
    if (!times.length) return;
    const colours = traceColours();
    this.plots = SERIES.filter(({ key }) => this.said[key]?.length).map((series) => this.#plot(series, times, colours));
  }

  #plot({ key, label, colour, least, scale = 1 }, times, colours) {
    const values = this.said[key].map((value) => (value === null ? null : value * scale));
    const axis = { stroke: colours.dim, grid: { stroke: colours.rule, width: 1 }, ticks: { show: false }, font: `11px ${colours.font}` };
    const options = {
      width: Math.max(80, this.charts.clientWidth),
      height: HEIGHT,
      cursor: { sync: { key: "trend" }, y: false, drag: { setScale: false } },
      legend: { show: false },
      padding: [6, 16, 0, 0],
      scales: { y: { range: (_plot, low, high) => [Math.min(least[0], low ?? least[0]), Math.max(least[1], high ?? least[1])] } },
      axes: [{ ...axis, size: 20, space: 70, values: (_plot, ticks) => ticks.map(shortTime) }, { ...axis, size: 34, space: 22 }],
      series: [{}, { label, stroke: colours[colour], width: 1.5, spanGaps: false, points: { show: times.length < 3 } }],
    };
    const room = make("div", { class: "trend-chart", role: "img", "aria-label": `${label}: ${rangeWords(values)}` });
    this.charts.append(make("div", { class: "trend-label", text: label }), room);
    return new uPlot(options, [times, values], room);
  }

  #choose(hours) {
    this.hours = hours;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(HOURS[i] === hours)));
    this.load();
  }

  #clear() {
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
    this.charts.replaceChildren();
  }

  #resize() {
    for (const plot of this.plots) plot.setSize({ width: Math.max(80, this.charts.clientWidth), height: HEIGHT });
  }
}

function shortTime(unixS) {
  return clockText(unixS).slice(0, 5);
}

function rangeWords(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? `${Math.round(Math.min(...known))} to ${Math.round(Math.max(...known))}` : "no values";
}
