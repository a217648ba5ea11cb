// The page: what it may show, the stream of what changes, and who shows which part of it.

import { configuration, get, order } from "./api.js";
import { say, tried } from "./ask.js";
import { showPoints, startCharts } from "./charts.js";
import { attribute, by, el, text } from "./dom.js";
import { count, dollars } from "./format.js";
import { refreshOrders, startKeys } from "./keys.js";
import { showPicture, startPicture } from "./picture.js";
import { showPool, startPool } from "./pool.js";
import { showRequests, startRequests } from "./requests.js";
import { startUsage } from "./usage.js";

const ORDERS_EVERY_MS = 15_000;
const totals = new Map();

function total(name) {
  if (!totals.has(name)) {
    const value = el("strong");
    by("totals").append(el("p", { class: "panel total" }, value, el("span", {}, name)));
    totals.set(name, value);
  }
  return totals.get(name);
}

function showTotals(snapshot) {
  text(total("requests"), count(snapshot.totals.requests));
  text(total("errors"), count(snapshot.totals.errors));
  text(total("tokens"), count(snapshot.totals.tokens));
  text(total("cost"), dollars(snapshot.totals.cost_micro_usd));
  text(total("in flight"), count(snapshot.in_flight));
  text(total("waiting"), count(snapshot.waiting));
  if (snapshot.owed_deletions) text(total("conversations to delete"), count(snapshot.owed_deletions));
}

// the sums are those of all processes; everything else is told by the one that took this connection
function showWorker(workers) {
  by("worker").hidden = !workers;
  if (!workers) return;
  text(by("worker"), `Worker ${workers.number} of ${workers.count}: requests, errors, tokens and cost are those of all, ` +
    "calls under way, charts and last requests its own.");
}

function connection(state, words) {
  attribute(by("connection"), "data-state", state);
  text(by("connection"), words);
}

function show(snapshot) {
  const words = snapshot.draining ? "Stopping" : snapshot.panic ? "Live, too many credentials failed at once" : "Live";
  showWorker(snapshot.workers);
  connection(snapshot.draining || snapshot.panic ? "warn" : "good", words);
  showTotals(snapshot);
  showPool(snapshot);
  showPicture(snapshot);
  showPoints(snapshot.points);
  showRequests(snapshot);
}

function listen() {
  const events = new EventSource("dashboard/events");
  events.addEventListener("snapshot", (event) => show(JSON.parse(event.data)));
  events.addEventListener("error", async () => {
    connection("bad", "Not connected, trying again");
    if (events.readyState !== EventSource.CLOSED) return;
    // a refusal is final for the browser; asking plainly leads to the login where that is over
    await tried(configuration);
    setTimeout(listen, 3000);
  });
}

async function start() {
  const found = await configuration();
  text(by("version"), found.demo ? `${found.version}, demo` : found.version);
  for (const part of document.querySelectorAll("[data-feature]")) {
    part.hidden = found.features[part.dataset.feature] !== true;
  }
  startPicture();
  startPool();
  startCharts(found.parts);
  startRequests();
  showPoints((await get("dashboard/history")).points);
  if (found.features.usage) startUsage();
  if (found.features.keys) startKeys();
  if (found.features.audit) {
    refreshOrders();
    setInterval(() => document.hidden || refreshOrders(), ORDERS_EVERY_MS);
  }
  by("logout").addEventListener("click", async () => {
    if ((await tried(() => order("POST", "dashboard/logout"))) !== null) window.location.assign("dashboard/login");
  });
  listen();
}

start().catch((error) => say(error.message));
