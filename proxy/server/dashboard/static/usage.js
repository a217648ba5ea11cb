// Tokens, cost and the share of the prompt cache, by model and by client key.

import { get } from "./api.js";
import { tried } from "./ask.js";
import { chart, update } from "./charts.js";
import { bar, by, el } from "./dom.js";
import { cacheShare, count, dollars, share, tokens } from "./format.js";

const HOUR_MS = 3_600_000;
const EVERY_MS = 30_000;
const TABLES = [
  ["model", "Model"],
  ["client", "Client key"],
  ["credential", "Credential"],
];
let lines = null;

function row(name, tally, most) {
  const cached = cacheShare(tally);
  const all = tokens(tally);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name === "" ? "none" : name),
    el("td", { class: "number" }, count(tally.requests)),
    el("td", { class: "number" }, count(tally.errors)),
    el("td", { class: "number" }, count(all)),
    el("td", {}, bar(`Tokens of ${name}, of the most`, most ? all / most : 0, count(all))),
    el("td", { class: "number" }, share(cached)),
    el("td", { class: "number" }, dollars(tally.cost_micro_usd)),
  );
}

function table(dimension, title, found) {
  const most = Math.max(0, ...found.rows.map(tokens));
  const ordered = [...found.rows].sort((a, b) => tokens(b) - tokens(a));
  const heads = [title, "Requests", "Errors", "Tokens", "Beside the most", "From the cache", "Cost"];
  const query = new URLSearchParams({ by: dimension, from: found.from, to: found.to, format: "csv" });
  return el(
    "div",
    { class: "scroll", role: "region", "aria-label": `Usage by ${title.toLowerCase()}`, tabindex: 0 },
    el(
      "table",
      {},
      el("caption", {}, `By ${title.toLowerCase()} `, el("a", { href: `admin/usage?${query}`, download: true }, `By ${title.toLowerCase()} as CSV`)),
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...ordered.map((tally) => row(tally[dimension], tally, most))),
    ),
  );
}

function overTime(found) {
  const rows = [...found.rows].sort((a, b) => (a.hour < b.hour ? -1 : 1));
  const times = rows.map((tally) => Date.parse(tally.hour) / 1000);
  update(lines.tokens, [
    times,
    rows.map(tokens),
    rows.map((tally) => tally.cache_read_tokens),
  ]);
  update(lines.cost, [times, rows.map((tally) => tally.cost_micro_usd)]);
}

async function refresh() {
  if (document.hidden) return;
  const from = new Date(Date.now() - Number(by("period").value) * 24 * HOUR_MS).toISOString();
  const query = (dimension) => `admin/usage?by=${dimension}&from=${encodeURIComponent(from)}`;
  const found = await tried(() => Promise.all(["hour", ...TABLES.map(([name]) => name)].map((name) => get(query(name)))));
  if (found === null) return;
  overTime(found[0]);
  by("usage-tables").replaceChildren(...TABLES.map(([name, title], position) => table(name, title, found[position + 1])));
}

export function startUsage() {
  const parent = by("usage-charts");
  lines = {
    tokens: chart(parent, "Tokens an hour", count, 100, [
      { name: "all", colour: "--accent", filled: true, dots: true },
      { name: "from the cache", colour: "--good", dash: [6, 4], dots: true },
    ]),
    cost: chart(parent, "Cost an hour", dollars, 1000, [{ name: "known cost", colour: "--warn", filled: true, dots: true }]),
  };
  by("period").addEventListener("change", refresh);
  setInterval(refresh, EVERY_MS);
  refresh();
}
