// Runs the dashboard's page, and does and tells what it is asked to, a line of JSON each.

import { createInterface } from "node:readline";
import { browser } from "./dom.mjs";

const [base, cookie, html] = process.argv.slice(2);
const page = browser(base, cookie, html);
process.on("unhandledRejection", (error) => page.complaints.push(String(error?.stack ?? error)));
process.on("uncaughtException", (error) => page.complaints.push(String(error?.stack ?? error)));
await import("./dashboard.js");

const called = (label) => (element) =>
  element.name === "button" && (element.getAttribute("aria-label") ?? element.textContent) === label;

// While a question is asked, nothing else can be pressed.
function named(label) {
  const asked = [page.byId.get("ask-yes"), page.byId.get("ask-no")];
  return (page.byId.get("ask").open ? asked : [...page.all()]).find(called(label));
}

const orders = {
  show: () => ({
    connection: page.byId.get("connection").textContent,
    notice: page.byId.get("notice").textContent,
    totals: page.byId.get("totals").textContent,
    cards: page.byId.get("cards").children.map((card) => ({
      alias: card.getAttribute("data-alias"),
      state: card.getAttribute("data-state"),
      text: card.textContent,
    })),
    requests: page.byId.get("traces").children.map((row) => ({ hidden: row.hidden, text: row.textContent })),
    picture: page.byId.get("picture").children.map((each) => each.getAttribute("aria-label")).join(),
    clients: page.byId.get("clients").textContent,
    usage: page.byId.get("usage-tables").textContent,
    audit: page.byId.get("audit").textContent,
    made: [...page.byId.get("made").all()].map((each) => each.value).join(""),
    hidden: [...page.byId].filter(([, element]) => element.hidden).map(([id]) => id),
    asks: page.byId.get("ask").open,
    left: page.seen.left,
    complaints: page.complaints,
  }),
  click: async ({ label }) => {
    const element = named(label);
    if (!element) return { found: false };
    await Promise.race([element.fire("click"), new Promise((resolve) => setTimeout(resolve, 200))]);
    return { found: true };
  },
  submit: async ({ fields }) => {
    const form = page.byId.get("new-key");
    form.fields = fields;
    await form.fire("submit");
    return { found: true };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  console.log(JSON.stringify(await orders[order.do](order)));
}
process.exit(0);
