// Numbers and times as people read them. Nothing here touches the page.

const NONE = "–";

export function count(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 10_000) return String(value);
  if (value < 1_000_000) return `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)} k`;
  if (value < 1_000_000_000) return `${(value / 1_000_000).toFixed(1)} M`;
  return `${(value / 1_000_000_000).toFixed(1)} G`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 100_000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value / 1000)} s`;
}

export function dollars(micro) {
  if (micro === null || micro === undefined) return "unknown";
  const value = micro / 1_000_000;
  if (value === 0) return "$0";
  return value < 1 ? `$${value.toFixed(4)}` : `$${value.toFixed(2)}`;
}

export function share(value) {
  return value === null || Number.isNaN(value) ? NONE : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

// What is left until a moment, in two units at most.
export function remaining(until_ms, now_ms) {
  const seconds = Math.max(0, Math.ceil((until_ms - now_ms) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function moment(unix_ms) {
  const date = new Date(unix_ms);
  return Number.isNaN(date.getTime()) ? NONE : date.toLocaleString();
}

export function clock(unix_ms) {
  const date = new Date(unix_ms);
  return Number.isNaN(date.getTime()) ? NONE : date.toLocaleTimeString();
}

export function success(credential) {
  const ended = credential.succeeded + credential.failed;
  return ended === 0 ? null : credential.succeeded / ended;
}

export function cacheShare(tally) {
  const cached = tally.cache_read_tokens;
  const written = tally.cache_write_5m_tokens + tally.cache_write_1h_tokens;
  const all = cached + written + tally.input_tokens;
  return all === 0 ? null : cached / all;
}

export function tokens(tally) {
  return (
    tally.input_tokens +
    tally.output_tokens +
    tally.cache_read_tokens +
    tally.cache_write_5m_tokens +
    tally.cache_write_1h_tokens
  );
}

const LIMITS = new Map([
  ["requests", "Requests"],
  ["tokens", "Tokens"],
  ["input-tokens", "Input tokens"],
  ["output-tokens", "Output tokens"],
  ["unified-5h", "5 hours"],
  ["unified-7d", "7 days"],
  ["unified-7d_oi", "7 days, large models"],
  ["unified", "All together"],
]);

export const limitName = (name) => LIMITS.get(name) ?? name;

const REASONS = new Map([
  ["rate_limit", "rate limit"],
  ["billing", "billing"],
  ["faults", "faults"],
  ["auth", "refused key"],
  ["blocked", "challenge on its way out"],
  ["manual", "by hand"],
  ["permission", "permission"],
]);

export const reasonName = (reason) => REASONS.get(reason) ?? reason;

// The worst of a credential's states: of itself or of one limit class.
const RANK = ["ready", "trial", "cooling", "disabled"];

export function worst(credential) {
  let found = { ...credential.state, of: "" };
  for (const [name, state] of Object.entries(credential.classes)) {
    if (RANK.indexOf(state.state) > RANK.indexOf(found.state)) found = { ...state, of: name };
  }
  return found;
}
