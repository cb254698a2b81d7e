/** Small things that the browser keeps for this page. A browser that refuses storage forgets them on reload. */

const fallback = new Map();

/** What was kept under `name`, or `otherwise`. */
export function recall(name, otherwise = null) {
  try {
    const kept = localStorage.getItem(`molva.${name}`) ?? sessionStorage.getItem(`molva.${name}`);
    return kept === null ? (fallback.get(name) ?? otherwise) : JSON.parse(kept);
  } catch {
    return fallback.get(name) ?? otherwise;
  }
}

/** Keeps a value for good, or with `{ forSession: true }` as long as the tab; null forgets it. */
export function remember(name, value, { forSession = false } = {}) {
  fallback.set(name, value);
  try {
    localStorage.removeItem(`molva.${name}`);
    sessionStorage.removeItem(`molva.${name}`);
    if (value !== null) (forSession ? sessionStorage : localStorage).setItem(`molva.${name}`, JSON.stringify(value));
  } catch {
    // What is in `fallback` has to do.
  }
}
