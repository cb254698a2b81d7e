/** The jobs that were sent from this browser: their summaries as they were known last, newest first. */

import { recall, remember } from "./store.js";

const MOST = 500;

/** Entries are `{ id, size, job }`: size in bytes, job as GET /jobs tells it. */
export const sentFromHere = () => recall("files", []);

/** Keeps an entry; a new one comes first. */
export function shelve(entry) {
  const entries = sentFromHere();
  const place = entries.findIndex(({ id }) => id === entry.id);
  if (place < 0) entries.unshift(entry);
  else entries[place] = entry;
  remember("files", entries.slice(0, MOST));
}

export function unshelve(id) {
  remember("files", sentFromHere().filter((entry) => entry.id !== id));
}
