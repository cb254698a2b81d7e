/** Requests to the server that this page came from, with the key where it asks for one. */

import { recall, remember } from "./store.js";
import { t } from "./texts.js";

/** Told with an event `locked` when the server wants a key, or another one. */
export const access = new EventTarget();

export const key = {
  get value() {
    return recall("key", "");
  },
  keep(value, { forSession }) {
    remember("key", value || null, { forSession });
  },
};

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, code, message, retryAfterMs) {
    super(message || t("error.unknown", { status }));
    Object.assign(this, { status, code, retryAfterMs });
  }
}

/** What an error is about, in the words of the page where it has some. */
export function reasonOf(error) {
  const key = `error.${error.code}`;
  return t.has(key) ? t(key) : error instanceof Refused ? error.message : t("error.unreachable");
}

export function headers(more = {}) {
  return key.value ? { ...more, Authorization: `Bearer ${key.value}` } : more;
}

/** `fetch` that throws Refused for every answer but 2xx, and TypeError where no server answers. */
export async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (!response.ok) throw refusal(response.status, await response.text());
  return response;
}

/** The JSON of an answer. */
export async function json(path, options = {}) {
  return (await request(path, options)).json();
}

/** The error behind an answer's status and body, whichever door gave it. */
export function refusal(status, body) {
  if (status === 401) access.dispatchEvent(new Event("locked"));
  let told = {};
  try {
    told = JSON.parse(body);
  } catch {
    // A proxy may answer with a page of its own.
  }
  const inner = typeof told.error === "object" && told.error !== null ? told.error : told;
  const message = inner.message ?? (typeof told.error === "string" ? told.error : "");
  return new Refused(status, inner.code ?? "", message, told.retry_after_ms);
}
