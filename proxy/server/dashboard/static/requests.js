// The last requests, newest first; each opens into the attempts that were made for it.

import { get } from "./api.js";
import { tried } from "./ask.js";
import { arrange, by, el } from "./dom.js";
import { clock, count, milliseconds, moment } from "./format.js";
import { fly } from "./picture.js";

const SHOWN = 50;
const rows = new Map();
let seen = null;
let asking = false;
let again = false;

function step(attempt, total_ms) {
  const whole = Math.max(total_ms, 0.1);
  const span = el("span", { class: attempt.outcome === "success" ? "span good" : "span bad" });
  span.style.marginLeft = `${Math.min((attempt.start_ms / whole) * 100, 100).toFixed(2)}%`;
  span.style.width = `${Math.max(Math.min((attempt.took_ms / whole) * 100, 100), 0.5).toFixed(2)}%`;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, attempt.credential),
    el("td", {}, attempt.outcome),
    el("td", {}, attempt.status === 0 ? "none" : String(attempt.status)),
    el("td", { class: "number" }, milliseconds(attempt.start_ms)),
    el("td", { class: "number" }, milliseconds(attempt.took_ms)),
    el("td", { class: "track" }, span),
  );
}

function facts(trace) {
  const found = [
    ["Path", trace.path],
    ["Ended", moment(trace.ended_unix_ms)],
    ["Model asked for", trace.model_asked],
    ["Model sent", trace.model_sent],
    ["Streamed", trace.stream === null ? null : trace.stream ? "yes" : "no"],
    ["Why it ended", trace.stop_reason],
    ["Could not be carried", trace.dropped.join(", ")],
  ];
  return el(
    "dl",
    {},
    ...found.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

function details(trace, id) {
  const heads = ["Credential", "Outcome", "Status", "Began after", "Took", "When"];
  const waterfall = el(
    "table",
    { class: "waterfall" },
    el("caption", {}, `Upstream calls for ${trace.id}, ${milliseconds(trace.total_ms)} in all`),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...trace.attempts.map((attempt) => step(attempt, trace.total_ms))),
  );
  const inside = trace.attempts.length ? waterfall : el("p", {}, "No credential was asked.");
  return el("tr", { id, class: "details", hidden: true }, el("td", { colspan: 9 }, facts(trace), inside));
}

function make(trace) {
  const id = `about-${trace.id}`;
  const more = details(trace, id);
  const button = el("button", { type: "button", class: "link", "aria-expanded": "false", "aria-controls": id }, trace.id);
  button.addEventListener("click", () => {
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
  });
  const used = trace.input_tokens === null ? "–" : `${count(trace.input_tokens)} + ${count(trace.output_tokens)}`;
  const level = trace.status >= 500 ? "bad" : trace.status >= 400 ? "warn" : "good";
  const row = el(
    "tr",
    {},
    el("td", {}, clock(trace.ended_unix_ms)),
    el("td", {}, button),
    el("td", {}, trace.client),
    el("td", {}, trace.model_sent ?? trace.model_asked ?? "–"),
    el("td", {}, trace.answered_by ?? "nobody"),
    el("td", { class: `status ${level}` }, String(trace.status)),
    el("td", { class: "number" }, milliseconds(trace.first_event_ms)),
    el("td", { class: "number" }, milliseconds(trace.total_ms)),
    el("td", { class: "number" }, used),
  );
  return [row, more];
}

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  const status = by("status").value;
  const found = await tried(() => get(`admin/requests?limit=${SHOWN}${status ? `&status=${status}` : ""}`));
  asking = false;
  if (found !== null) show(found.requests);
  if (again) {
    again = false;
    await refresh();
  }
}

function show(traces) {
  const present = new Set(traces.map((trace) => trace.id));
  const first = rows.size === 0;
  for (const trace of traces) {
    if (rows.has(trace.id)) continue;
    rows.set(trace.id, make(trace));
    if (!first) fly(trace);
  }
  for (const id of [...rows.keys()]) if (!present.has(id)) rows.delete(id);
  arrange(
    by("traces"),
    traces.flatMap((trace) => rows.get(trace.id)),
  );
}

export function startRequests() {
  by("status").addEventListener("change", refresh);
}

// Asks for the list only when a request has ended since.
export function showRequests(snapshot) {
  if (snapshot.totals.requests === seen) return;
  seen = snapshot.totals.requests;
  refresh();
}
