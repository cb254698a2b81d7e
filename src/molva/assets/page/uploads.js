/** Recordings on their way to the server: in order, two at a time, again and again until they are there. */

import { headers, refusal, Refused } from "./api.js";

const AT_ONCE = 2;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_WAIT_MS = 5 * 60_000; // whoever is asked to come back later than that is told so instead
const PASSING = new Set([429, 502, 503, 504]);

/** Sends a recording once. Resolves with the id of its job; rejects with Refused, or TypeError where it breaks off. */
export function send(file, fields, idempotencyKey, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest(); // fetch does not tell how much has been sent
    xhr.open("POST", "/jobs");
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": idempotencyKey }))) {
      xhr.setRequestHeader(name, value);
    }
    xhr.upload.onprogress = ({ loaded }) => onProgress(Math.min(loaded, file.size));
    xhr.onload = () => {
      if (xhr.status === 202) return resolve(JSON.parse(xhr.responseText).job_id);
      const refused = refusal(xhr.status, xhr.responseText);
      const seconds = Number(xhr.getResponseHeader("Retry-After"));
      refused.retryAfterMs ??= seconds ? seconds * 1000 : undefined;
      return reject(refused);
    };
    xhr.onerror = () => reject(new TypeError("the connection broke"));
    xhr.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => xhr.abort());
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("audio", file, file.name);
    xhr.send(form);
  });
}

/**
 * An upload is `{ key, file, fields }` and gets `state`: `waiting`, `sending`, `pausing` (it will be sent again),
 * `refused`, `stopped` or `sent`; `sent` bytes, and `reason`, an error.
 */
export class Uploads {
  #waiting = [];
  #going = new Map();
  #tell;

  /** `tell(upload)` after every change; an upload that has been sent has its `id`. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** How many would be lost with the page. */
  get busy() {
    return this.#waiting.length + this.#going.size;
  }

  add(upload) {
    this.#waiting.push(upload);
    this.#change(upload, { state: "waiting", sent: 0 });
    this.#next();
  }

  /** Stops it. What has been sent to the last byte may be a job already: its id is waited for, and told as ever. */
  cancel(upload) {
    upload.unwanted = true;
    const place = this.#waiting.indexOf(upload);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      this.#change(upload, { state: "stopped" });
    } else if (upload.state !== "sending" || upload.sent < upload.file.size) this.#going.get(upload)?.abort();
  }

  #change(upload, news) {
    Object.assign(upload, news);
    this.#tell(upload);
  }

  #next() {
    while (this.#going.size < AT_ONCE && this.#waiting.length) this.#carry(this.#waiting.shift());
  }

  async #carry(upload) {
    const stop = new AbortController();
    this.#going.set(upload, stop);
    for (let attempt = 0; !stop.signal.aborted; attempt += 1) {
      try {
        await this.#attempt(upload, stop.signal);
        break;
      } catch (error) {
        if (upload.unwanted) break;
        const wait = await pauseAfter(error, attempt, upload.file);
        this.#change(upload, { state: wait === null ? "refused" : "pausing", reason: error });
        if (wait === null) break;
        await pause(wait, stop.signal);
      }
    }
    this.#going.delete(upload);
    if (upload.unwanted && upload.state !== "sent") this.#change(upload, { state: "stopped" });
    this.#next();
  }

  async #attempt(upload, signal) {
    this.#change(upload, { state: "sending", sent: 0, reason: null });
    upload.id = await send(upload.file, upload.fields, upload.key, {
      signal,
      onProgress: (sent) => this.#change(upload, { sent }),
    });
    this.#change(upload, { state: "sent" });
  }
}

/** Milliseconds until an upload is sent again; null where that would not help. */
async function pauseAfter(error, attempt, file) {
  const usual = Math.min(1000 * 2 ** attempt, LONGEST_PAUSE_MS);
  if (error instanceof Refused) {
    const asked = error.retryAfterMs ?? usual;
    return PASSING.has(error.status) && asked <= LONGEST_WAIT_MS ? asked : null;
  }
  try {
    await file.slice(0, 1).arrayBuffer();
    return usual;
  } catch {
    error.code = "unreadable"; // a folder, or a file that has changed or gone since
    return null;
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve);
  });
}
