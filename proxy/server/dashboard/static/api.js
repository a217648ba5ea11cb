// Calls of the server: the cookie goes along by itself, the token of orders is put on here.

let token = null;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "The server cannot be reached.");
  }
  if (answer.status === 401) {
    window.location.assign("dashboard/login");
    throw new Refused(401, "The login is over.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, body?.error?.message ?? `Status ${answer.status}.`);
  return body;
}

export const get = (path) => call(path);

export async function order(method, path, body = null) {
  const headers = { "x-csrf-token": token ?? "" };
  if (body !== null) headers["content-type"] = "application/json";
  return call(path, { method, headers, body: body === null ? undefined : JSON.stringify(body) });
}

export async function configuration() {
  const found = await get("dashboard/config");
  token = found.token;
  return found;
}
