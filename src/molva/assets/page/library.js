/** What the browser keeps of each job: the recording, to hear it, and what was changed in its transcript. IndexedDB. */

const STORES = ["recordings", "edits"];

let opening = null;

function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("molva", 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function run(name, mode, work) {
  const store = (await database()).transaction(name, mode).objectStore(name);
  return new Promise((resolve, reject) => {
    const request = work(store);
    store.transaction.oncomplete = () => resolve(request.result);
    store.transaction.onabort = () => reject(store.transaction.error ?? request.error);
  });
}

/** Rejects where the browser has no room, or keeps nothing (private windows of some). */
export const keepRecording = (id, blob) => run("recordings", "readwrite", (store) => store.put(blob, id));

/** The recording of a job, or undefined. */
export const recording = (id) => run("recordings", "readonly", (store) => store.get(id));

export const keepEdits = (id, edits) => run("edits", "readwrite", (store) => store.put(edits, id));

/** What `keepEdits` was given last, or undefined. */
export const edits = (id) => run("edits", "readonly", (store) => store.get(id));

/** Everything that is kept of a job. */
export async function forget(id) {
  for (const name of STORES) await run(name, "readwrite", (store) => store.delete(id));
}

/** Everything that is kept of other jobs than these. */
export async function forgetAllBut(ids) {
  const kept = await Promise.all(STORES.map((name) => run(name, "readonly", (store) => store.getAllKeys())));
  for (const id of kept.flat()) if (!ids.includes(id)) await forget(id);
}
