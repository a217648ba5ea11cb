// As much of a browser as the dashboard's scripts use: a tree of elements, and no way to make elements out of text.

import { readFileSync } from "node:fs";

const complaints = [];

class Element {
  constructor(name) {
    this.name = name;
    this.attributes = new Map();
    this.nodes = [];
    this.parent = null;
    this.listeners = new Map();
    this.style = {};
    this.hidden = false;
    this.value = "";
    this.open = false;
    this.clientWidth = 600;
  }

  set innerHTML(_) {
    complaints.push(`markup was made of text in ${this.name}`);
  }

  get children() {
    return this.nodes.filter((node) => node instanceof Element);
  }

  get childElementCount() {
    return this.children.length;
  }

  get textContent() {
    return this.nodes.map((node) => (node instanceof Element ? node.textContent : node)).join("");
  }

  set textContent(value) {
    this.replaceChildren(...(value === "" ? [] : [String(value)]));
  }

  get dataset() {
    const named = [...this.attributes].filter(([name]) => name.startsWith("data-"));
    return Object.fromEntries(named.map(([name, value]) => [name.slice(5), value]));
  }

  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof Element) {
        node.remove();
        node.parent = this;
        this.nodes.push(node);
      } else this.nodes.push(String(node));
    }
  }

  replaceChildren(...nodes) {
    for (const child of this.children) child.parent = null;
    this.nodes = [];
    this.append(...nodes);
  }

  insertBefore(node, before) {
    node.remove();
    node.parent = this;
    this.nodes.splice(before === null ? this.nodes.length : this.nodes.indexOf(before), 0, node);
  }

  remove() {
    if (this.parent === null) return;
    this.parent.nodes.splice(this.parent.nodes.indexOf(this), 1);
    this.parent = null;
  }

  setAttribute(name, value) {
    if (/^on|^style$|^srcdoc$/i.test(name)) complaints.push(`${name} was set on ${this.name}`);
    if (/^href$/i.test(name) && !/^admin\/usage\?/.test(value)) complaints.push(`a link leads to ${value}`);
    this.attributes.set(name, String(value));
    if (name === "hidden") this.hidden = true;
    if (name === "value") this.value = String(value);
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  addEventListener(kind, listener) {
    this.listeners.set(kind, [...(this.listeners.get(kind) ?? []), listener]);
  }

  async fire(kind) {
    const event = { preventDefault() {}, target: this };
    await this[`on${kind}`]?.(event);
    for (const listener of this.listeners.get(kind) ?? []) await listener(event);
  }

  showModal() {
    this.open = true;
  }

  close() {
    this.open = false;
  }

  animate() {
    return {};
  }

  focus() {}
  select() {}

  reset() {
    this.fields = {};
  }

  *all() {
    for (const child of this.children) {
      yield child;
      yield* child.all();
    }
  }
}

// The elements of a page that its scripts find by their id.
function found(html) {
  const byId = new Map();
  const features = [];
  for (const [, name, rest, text] of html.matchAll(/<([a-z0-9]+)((?:\s+[a-z-]+(?:="[^"]*")?)*)\s*>([^<]*)/g)) {
    const element = new Element(name);
    element.textContent = text.trim();
    for (const [, key, value] of rest.matchAll(/([a-z-]+)(?:="([^"]*)")?/g)) {
      if (key.startsWith("data-") || key === "id") element.setAttribute(key, value ?? "");
      if (key === "id") byId.set(value, element);
    }
    if (element.dataset.feature) features.push(element);
  }
  byId.get("period").value = "1";
  return { byId, features };
}

class Plot {
  constructor(options, data, box) {
    this.box = box;
    this.setData(data);
  }

  setData(data) {
    if (new Set(data.map((line) => line.length)).size !== 1) complaints.push("the lines of a chart differ in length");
    this.data = data;
  }

  destroy() {}
}

export function browser(base, cookie, file) {
  const { byId, features } = found(readFileSync(file, "utf8"));
  const seen = { left: null };
  const plainFetch = globalThis.fetch;
  const root = new Element("html");
  const document = {
    hidden: false,
    documentElement: root,
    createElement: (name) => new Element(name),
    createElementNS: (_, name) => new Element(name),
    getElementById: (id) => byId.get(id) ?? [...all()].find((element) => element.getAttribute("id") === id) ?? null,
    querySelectorAll: () => features,
  };
  function* all() {
    for (const element of byId.values()) {
      yield element;
      yield* element.all();
    }
  }
  const headers = { cookie, origin: base };
  const fetch = (path, options = {}) =>
    plainFetch(new URL(path, `${base}/`), { ...options, headers: { ...options.headers, ...headers } });

  class EventSource {
    static CLOSED = 2;

    constructor(path) {
      this.readyState = 0;
      this.listeners = new Map();
      this.run(path).catch(() => this.end());
    }

    addEventListener(kind, listener) {
      this.listeners.set(kind, listener);
    }

    end() {
      this.readyState = EventSource.CLOSED;
      this.listeners.get("error")?.({});
    }

    async run(path) {
      const answer = await fetch(path);
      const decoder = new TextDecoder();
      let held = "";
      for await (const chunk of answer.body) {
        held += decoder.decode(chunk, { stream: true });
        const frames = held.split("\n\n");
        held = frames.pop();
        for (const frame of frames) {
          const [kind, data] = frame.split("\n");
          this.listeners.get(kind.slice("event: ".length))?.({ data: data.slice("data: ".length) });
        }
      }
      this.end();
    }
  }

  const location = { assign: (where) => (seen.left = where) };
  const media = () => ({ matches: false, addEventListener() {} });
  Object.assign(globalThis, {
    document,
    fetch,
    EventSource,
    getComputedStyle: () => ({ getPropertyValue: () => "#000000" }),
    FormData: class {
      constructor(form) {
        this.get = (name) => form.fields?.[name] ?? (name === "period" ? "month" : "");
      }
    },
    window: { matchMedia: media, addEventListener() {}, setTimeout, clearTimeout, location, uPlot: Plot, isSecureContext: true },
  });
  return { byId, all, seen, complaints };
}
