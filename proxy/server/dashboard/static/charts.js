// Lines over time, drawn by uPlot on a canvas; beside each the same in words for those who do not see it.

import { attribute, by, el, text } from "./dom.js";
import { count, milliseconds } from "./format.js";

const HEIGHT = 190;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(chart, width) {
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--muted"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, chart.least)] } },
    axes: [{ ...axis }, { ...axis, size: 64, values: (_, ticks) => ticks.map(chart.unit) }],
    series: [
      {},
      ...chart.lines.map((line) => ({
        label: line.name,
        stroke: colour(line.colour),
        width: 2,
        dash: line.dash,
        fill: line.filled ? `${colour(line.colour)}33` : undefined,
        spanGaps: false,
        points: { show: line.dots === true },
      })),
    ],
  };
}

function redraw(chart) {
  chart.plot?.destroy();
  chart.box.replaceChildren();
  const width = Math.max(chart.box.clientWidth, 200);
  chart.plot = new window.uPlot(options(chart, width), chart.data, chart.box);
}

export function chart(parent, title, unit, least, lines) {
  const box = el("div", { class: "plot", role: "img", "aria-label": title });
  const caption = el("figcaption");
  const key = lines.map((line) => {
    const mark = el("span", { class: line.dash ? "mark dashed" : "mark", "aria-hidden": "true" });
    mark.style.borderColor = `var(${line.colour})`;
    const value = el("span", { class: "number" });
    line.value = value;
    return el("span", { class: "key" }, mark, `${line.name} `, value);
  });
  caption.append(el("h3", {}, title), el("p", { class: "keys" }, ...key));
  parent.append(el("figure", { class: "panel" }, caption, box));
  const made = { title, unit, least, lines, box, plot: null, data: [[], ...lines.map(() => [])] };
  drawn.push(made);
  return made;
}

export function update(made, data) {
  made.data = data;
  const told = made.lines.map((line, position) => {
    const values = data[position + 1].filter((value) => value !== null);
    const last = values.length ? made.unit(values[values.length - 1]) : "none";
    text(line.value, last);
    return `${line.name} ${last}`;
  });
  attribute(made.box, "aria-label", `${made.title}, last: ${told.join(", ")}`);
  if (made.plot) made.plot.setData(data);
  else redraw(made);
}

let points = new Map();
let kept = 360;
let hour = null;

export function startCharts(parts) {
  kept = parts;
  const parent = by("hour");
  hour = {
    requests: chart(parent, "Requests in ten seconds", count, 5, [
      { name: "requests", colour: "--accent", filled: true },
      { name: "errors", colour: "--bad", dash: [6, 4] },
    ]),
    took: chart(parent, "Whole answers", milliseconds, 10, [
      { name: "half of them within", colour: "--accent", dots: true },
      { name: "95 % within", colour: "--warn", dash: [8, 4], dots: true },
      { name: "99 % within", colour: "--bad", dash: [2, 4], dots: true },
    ]),
    first: chart(parent, "Until the first event", milliseconds, 10, [
      { name: "half of them within", colour: "--accent", dots: true },
      { name: "95 % within", colour: "--warn", dash: [8, 4], dots: true },
    ]),
  };
  const again = () => drawn.filter((made) => made.plot).forEach(redraw);
  dark.addEventListener("change", again);
  let asked = 0;
  window.addEventListener("resize", () => {
    window.clearTimeout(asked);
    asked = window.setTimeout(again, 150);
  });
}

export function showPoints(more) {
  const before = JSON.stringify(more.map((point) => points.get(point.at_unix_ms) ?? null));
  for (const point of more) points.set(point.at_unix_ms, point);
  if (before === JSON.stringify(more)) return;
  const all = [...points.values()].sort((a, b) => a.at_unix_ms - b.at_unix_ms).slice(-kept);
  points = new Map(all.map((point) => [point.at_unix_ms, point]));
  const line = (name) => all.map((point) => point[name]);
  const times = all.map((point) => point.at_unix_ms / 1000);
  update(hour.requests, [times, line("requests"), line("errors")]);
  update(hour.took, [times, line("took_p50_ms"), line("took_p95_ms"), line("took_p99_ms")]);
  update(hour.first, [times, line("first_p50_ms"), line("first_p95_ms")]);
}
