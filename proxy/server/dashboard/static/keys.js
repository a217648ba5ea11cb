// Client keys: made here and shown this once, listed, revoked; and the book of orders.

import { get, order } from "./api.js";
import { sure, tried } from "./ask.js";
import { by, el } from "./dom.js";
import { moment } from "./format.js";

const ORDERS_SHOWN = 20;
const NUMBERS = ["requests_per_minute", "tokens_per_minute", "concurrency", "budget_usd"];

function limits(key) {
  const told = [
    key.models.length ? `models ${key.models.join(", ")}` : null,
    key.credentials.length ? `credentials ${key.credentials.join(", ")}` : null,
    key.requests_per_minute ? `${key.requests_per_minute} requests a minute` : null,
    key.tokens_per_minute ? `${key.tokens_per_minute} tokens a minute` : null,
    key.concurrency ? `${key.concurrency} at the same time` : null,
    key.budget_usd ? `$${key.budget_usd} for each ${key.period}` : null,
    key.expires_at ? `until ${moment(Date.parse(key.expires_at))}` : null,
  ];
  return told.filter(Boolean).join("; ") || "none";
}

async function revoke(name) {
  const certain = await sure(`Revoke ${name}?`, "The key opens nothing any more, and its name cannot be used again.", "Revoke");
  if (!certain) return;
  await tried(() => order("DELETE", `admin/keys/${encodeURIComponent(name)}`), `${name} was revoked.`);
  await refreshKeys();
}

function row(key) {
  const button = el(
    "button",
    { type: "button", class: "danger", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key.name) },
    "Revoke",
  );
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, key.name),
    el("td", {}, key.state),
    el("td", {}, moment(Date.parse(key.created_at))),
    el("td", {}, limits(key)),
    el("td", {}, key.revoked_at === null ? button : "–"),
  );
}

export async function refreshKeys() {
  const found = await tried(() => get("admin/keys"));
  if (found === null) return;
  const rows = found.keys.map(row);
  by("clients").replaceChildren(...(rows.length ? rows : [el("tr", {}, el("td", { colspan: 5 }, "None was made yet."))]));
}

export async function refreshOrders() {
  const found = await tried(() => get(`admin/audit?limit=${ORDERS_SHOWN}`));
  if (found === null) return;
  const rows = found.orders.map((entry) =>
    el(
      "tr",
      {},
      el("td", {}, moment(entry.at_unix_ms)),
      el("td", {}, entry.action),
      el("td", {}, entry.target || "–"),
      el("td", {}, entry.actor),
      el("td", {}, entry.remote || "–"),
    ),
  );
  by("audit").replaceChildren(...(rows.length ? rows : [el("tr", {}, el("td", { colspan: 5 }, "None was given yet."))]));
}

function wanted(form) {
  const fields = new FormData(form);
  const found = { name: fields.get("name"), period: fields.get("period") };
  const models = fields.get("models").split(",").map((each) => each.trim()).filter(Boolean);
  if (models.length) found.models = models;
  for (const name of NUMBERS) if (fields.get(name)) found[name] = Number(fields.get(name));
  return found;
}

function showMade(made) {
  const shown = el("input", { readonly: true, id: "made-key", value: made.key, class: "secret" });
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    shown.select();
    await tried(() => navigator.clipboard.writeText(made.key), "Copied.");
  });
  const done = el("button", { type: "button", onclick: () => by("made").replaceChildren() }, "I have it");
  by("made").replaceChildren(
    el("label", { for: "made-key" }, `The key of ${made.name}, shown this once`),
    el("div", { class: "buttons" }, shown, copy, done),
  );
}

export function startKeys() {
  const form = by("new-key");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const made = await tried(() => order("POST", "admin/keys", wanted(form)), "");
    if (made === null) return;
    form.reset();
    showMade(made);
    await refreshKeys();
  });
  refreshKeys();
}
