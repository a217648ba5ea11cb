// Elements without markup: whatever comes from outside is only ever put in as text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function text(element, value) {
  const wanted = String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function attribute(element, name, value) {
  const wanted = String(value);
  if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
}

// Keeps the children of `parent` as `wanted` says, in that order, and moves only what is out of place.
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, position) => {
    const there = parent.children[position];
    if (there !== child) parent.insertBefore(child, there ?? null);
  });
}

export const by = (id) => document.getElementById(id);

export function bar(label, share, shown = null) {
  const value = Math.max(0, Math.min(1, share));
  const inner = el("span", { class: "fill" });
  inner.style.width = `${(value * 100).toFixed(1)}%`;
  return el(
    "span",
    {
      class: value < 0.1 ? "bar short" : "bar",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.round(value * 100),
      "aria-valuetext": shown ?? `${Math.round(value * 100)} %`,
    },
    inner,
  );
}
