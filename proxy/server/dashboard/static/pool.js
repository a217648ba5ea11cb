// The credentials as cards. A card is made once and changed where it stands, so that focus stays where it is.

import { order } from "./api.js";
import { say, sure, tried } from "./ask.js";
import { arrange, attribute, bar, by, el, text } from "./dom.js";
import { count, limitName, reasonName, remaining, share, success, worst } from "./format.js";

const cards = new Map();
let ahead_ms = 0;

export const now = () => Date.now() + ahead_ms;

const ORDERS = [
  ["enable", "Enable"],
  ["disable", "Disable"],
  ["reset", "Reset"],
];

async function give(alias, action, label) {
  if (action === "disable") {
    const certain = await sure(
      `Disable ${alias}?`,
      "Nothing new goes to it from then on, also after a restart. What runs on it ends in peace.",
      "Disable",
    );
    if (!certain) return;
  }
  await tried(
    () => order("POST", `admin/pool/${encodeURIComponent(alias)}/${action}`),
    `${label} ${alias}: done.`,
  );
}

function fact(name) {
  const value = el("dd");
  return { value, pair: [el("dt", {}, name), value] };
}

function make(alias) {
  const name = el("h3", {}, alias);
  const state = el("p", { class: "state" });
  const facts = {
    kind: fact("Kind"),
    organization: fact("Organization"),
    flight: fact("In flight"),
    rate: fact("Success rate"),
    tier: fact("Tier, weight"),
  };
  const limits = el("ul", { class: "limits", "aria-label": `What is left of the limits of ${alias}` });
  const closed = el("p", { class: "hint" });
  const buttons = ORDERS.map(([action, label]) =>
    el(
      "button",
      { type: "button", "aria-label": `${label} ${alias}`, onclick: () => give(alias, action, label) },
      label,
    ),
  );
  const pairs = Object.values(facts).flatMap((each) => each.pair);
  const card = el(
    "li",
    { class: "panel card" },
    el("div", { class: "title" }, name, state),
    el("dl", {}, ...pairs),
    limits,
    closed,
    el("div", { class: "buttons" }, ...buttons),
  );
  return { card, state, facts, limits, closed, told: "", until: null, words: "" };
}

function words(state) {
  const reason = state.reason ? `: ${reasonName(state.reason)}` : "";
  return `${state.state}${reason}${state.of ? ` (${state.of})` : ""}`;
}

function showLimits(made, credential) {
  const told = JSON.stringify(credential.limits);
  if (told === made.told) return;
  made.told = told;
  const rows = credential.limits.map((limit) => {
    const name = limitName(limit.name);
    return el(
      "li",
      {},
      el("span", {}, name),
      bar(`${name} left`, limit.share_left),
      el("span", { class: "number" }, share(limit.share_left)),
    );
  });
  made.limits.replaceChildren(...rows);
  made.limits.hidden = rows.length === 0;
}

function show(made, credential) {
  const state = worst(credential);
  made.words = words(state);
  made.until = state.state === "ready" ? null : state.until_unix_ms;
  attribute(made.card, "data-state", state.state);
  attribute(made.card, "data-alias", credential.name);
  const places = credential.max_concurrency;
  text(made.facts.kind.value, credential.kind);
  text(made.facts.organization.value, credential.organization ?? "not known yet");
  text(made.facts.flight.value, places === null ? credential.in_flight : `${credential.in_flight} of ${places}`);
  const ended = count(credential.succeeded + credential.failed);
  text(made.facts.rate.value, `${share(success(credential))} of ${ended}`);
  text(made.facts.tier.value, `${credential.tier}, ${credential.weight}`);
  const models = Object.keys(credential.closed_models);
  text(made.closed, models.length ? `Closed for: ${models.join(", ")}` : "");
  showLimits(made, credential);
}

function tick() {
  for (const made of cards.values()) {
    const left = made.until === null ? "" : `, ${remaining(made.until, now())}`;
    text(made.state, made.words + left);
  }
}

export function showPool(snapshot) {
  ahead_ms = snapshot.now_unix_ms - Date.now();
  const present = new Set();
  for (const credential of snapshot.credentials) {
    present.add(credential.name);
    if (!cards.has(credential.name)) cards.set(credential.name, make(credential.name));
    show(cards.get(credential.name), credential);
  }
  for (const alias of [...cards.keys()]) if (!present.has(alias)) cards.delete(alias);
  arrange(
    by("cards"),
    snapshot.credentials.map((credential) => cards.get(credential.name).card),
  );
  tick();
}

export function startPool() {
  setInterval(tick, 1000);
  by("reload").addEventListener("click", async () => {
    const found = await tried(() => order("POST", "admin/pool/reload"));
    if (found === null) return;
    const told = ["added", "changed", "removed"].map((word) => `${word}: ${found[word].join(", ") || "none"}`);
    say(`Credentials read again; ${told.join("; ")}.`);
  });
}
