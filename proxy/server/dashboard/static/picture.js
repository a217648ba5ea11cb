// The carousel: a seat for each credential round the hub, and every request on its way to the seats that it asks.

import { attribute, by, svg } from "./dom.js";
import { worst } from "./format.js";

const RADIUS = 130;
const LABELLED_MAX = 14;
const DOTS_MAX = 24;
const FLIGHT_MS = 900;
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

const seats = new Map();
let parts = null;

function place(position, all, radius = RADIUS) {
  const angle = (2 * Math.PI * position) / Math.max(all, 1) - Math.PI / 2;
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
}

export function startPicture() {
  const turning = svg("g", { class: "turning" });
  for (let spoke = 0; spoke < 12; spoke += 1) {
    const outer = place(spoke, 12, RADIUS - 24);
    turning.append(svg("line", { x1: 0, y1: 0, x2: outer.x, y2: outer.y, class: "spoke" }));
  }
  const number = svg("text", { class: "hub-number", y: 6 });
  const places = svg("g", { class: "seats" });
  const flights = svg("g", { class: "flights" });
  const root = svg(
    "svg",
    { viewBox: "-200 -180 400 360", role: "img", "aria-label": "The pool" },
    turning,
    svg("circle", { r: RADIUS, class: "ring" }),
    places,
    flights,
    svg("circle", { r: 30, class: "hub" }),
    number,
  );
  by("picture").append(root);
  parts = { root, number, seats: places, flights };
}

function rebuild(credentials) {
  seats.clear();
  parts.seats.replaceChildren();
  credentials.forEach((credential, position) => {
    const { x, y } = place(position, credentials.length);
    const circle = svg("circle", { r: credentials.length > 30 ? 6 : 13, cx: x, cy: y });
    const running = svg("g", { class: "running" });
    const group = svg("g", {}, circle, running);
    if (credentials.length <= LABELLED_MAX) {
      const label = svg("text", { x, y: y + (y < -1 ? -20 : 29), class: "label" });
      label.textContent = credential.name.length > 16 ? `${credential.name.slice(0, 15)}…` : credential.name;
      group.append(label);
    }
    parts.seats.append(group);
    seats.set(credential.name, { x, y, group, running, dots: -1 });
  });
}

function showRunning(seat, in_flight) {
  const dots = Math.min(in_flight, DOTS_MAX);
  if (dots === seat.dots) return;
  seat.dots = dots;
  const made = Array.from({ length: dots }, (_, position) => {
    const offset = place(position, dots, 18);
    return svg("circle", { r: 3, cx: seat.x + offset.x, cy: seat.y + offset.y });
  });
  seat.running.replaceChildren(...made);
}

export function showPicture(snapshot) {
  const names = snapshot.credentials.map((credential) => credential.name);
  if (names.join("\n") !== [...seats.keys()].join("\n")) rebuild(snapshot.credentials);
  const words = new Map();
  for (const credential of snapshot.credentials) {
    const seat = seats.get(credential.name);
    const state = worst(credential).state;
    attribute(seat.group, "data-state", state);
    words.set(state, (words.get(state) ?? 0) + 1);
    showRunning(seat, credential.in_flight);
  }
  parts.number.textContent = String(snapshot.in_flight);
  attribute(parts.root, "data-busy", snapshot.in_flight > 0);
  const told = [...words].map(([state, many]) => `${many} ${state}`).join(", ");
  const waiting = snapshot.waiting ? `, ${snapshot.waiting} waiting` : "";
  attribute(parts.root, "aria-label", `The pool: ${told || "empty"}; ${snapshot.in_flight} requests in flight${waiting}`);
}

// Lets a request that has ended fly from the hub to each credential that it asked.
export function fly(trace) {
  if (still.matches || document.hidden || parts.flights.childElementCount > 40) return;
  trace.attempts.forEach((attempt, position) => {
    const seat = seats.get(attempt.credential);
    if (!seat) return;
    const dot = svg("circle", { r: 5, class: attempt.outcome === "success" ? "flight good" : "flight bad" });
    parts.flights.append(dot);
    const path = [{ transform: "translate(0, 0)" }, { transform: `translate(${seat.x}px, ${seat.y}px)` }];
    const timing = { duration: FLIGHT_MS, delay: position * 250, easing: "ease-in-out", fill: "both" };
    dot.animate(path, timing).onfinish = () => dot.remove();
  });
}
