/** Keeps an eye on jobs until they have ended. */

import { events, json } from "./api.js";

const POLL_MS = 2000;
const LONGEST_PAUSE_MS = 10_000;
const HOPELESS = new Set([401, 404]); // no key, no jobs here: `add` tries again
const STREAMS = 2; // a browser has six connections to a server, and uploads need theirs

/** Jobs that have not ended, in the order in which they are run. */
export function inTurn(jobs) {
  const rank = { high: 0, normal: 1, low: 2 };
  const oldestFirst = [...jobs].reverse();
  return oldestFirst.sort(
    (a, b) => (b.status === "running") - (a.status === "running") || rank[a.priority] - rank[b.priority],
  );
}

/** A job as GET /jobs tells it. */
export function summaryOf({ segments, ...summary }) {
  return summary;
}

/** Watches any number of jobs: all of them by one list, those that run by their streams. */
export class Watch {
  #ids = new Set();
  #streams = new Map();
  #tell;
  #reach;
  #running = false;
  #wake = () => {};

  /**
   * `tell(id, job)` with what is new of a job: all of its summary or part of it, `ahead` where it waits (how many are
   * before it), null where it is gone. `reach(error)` when the server does not answer or refuses; null when it is back.
   */
  constructor(tell, reach) {
    this.#tell = tell;
    this.#reach = reach;
  }

  add(id) {
    this.#ids.add(id);
    if (this.#running) this.#wake();
    else this.#run();
  }

  drop(id) {
    this.#ids.delete(id);
    this.#streams.get(id)?.abort();
  }

  async #run() {
    this.#running = true;
    for (let failures = 0; this.#ids.size; ) {
      const woken = new Promise((resolve) => (this.#wake = resolve));
      try {
        await this.#look();
        failures = 0;
        this.#reach(null);
      } catch (error) {
        failures += 1;
        this.#reach(error);
        if (HOPELESS.has(error.status)) break;
      }
      const wait = failures ? Math.min(1000 * 2 ** failures, LONGEST_PAUSE_MS) : POLL_MS;
      await Promise.race([woken, new Promise((resolve) => setTimeout(resolve, wait))]);
    }
    this.#running = false;
  }

  async #look() {
    const before = [...this.#ids]; // one that is added meanwhile may be missing from the list
    const active = inTurn((await json("jobs?status=queued,running&limit=500")).jobs);
    const known = new Set(active.map(({ id }) => id));
    active.forEach((job, ahead) => {
      if (!this.#ids.has(job.id)) return;
      this.#tell(job.id, job.status === "queued" ? { ...job, ahead } : job);
      if (job.status === "running" && !this.#streams.has(job.id) && this.#streams.size < STREAMS) this.#follow(job.id);
    });
    for (const id of before.filter((each) => this.#ids.has(each) && !known.has(each))) await this.#lookAt(id);
  }

  async #lookAt(id) {
    try {
      this.#end(id, summaryOf(await json(`jobs/${id}`)));
    } catch (error) {
      if (error.code !== "job_not_found") throw error;
      this.#end(id, null);
    }
  }

  #end(id, job) {
    if (!this.#ids.has(id)) return;
    if (!job || !["queued", "running"].includes(job.status)) this.drop(id);
    this.#tell(id, job);
  }

  async #follow(id) {
    const stop = new AbortController();
    this.#streams.set(id, stop);
    try {
      for await (const { event, data } of events(`jobs/${id}/stream`, { signal: stop.signal })) {
        if (event === "progress" && this.#ids.has(id)) this.#tell(id, { status: data.status, progress: data.percent });
        if (event === "done") this.#end(id, summaryOf(data.job));
        if (event === "error") this.#wake();
      }
    } catch {
      // The next look at the list tells what has become of it, and then it is followed again.
    }
    this.#streams.delete(id);
  }
}
