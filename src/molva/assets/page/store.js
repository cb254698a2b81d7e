/** Small things that the browser keeps for this page. A browser that refuses storage forgets them on reload. */

const fallback = new Map();

/** What was kept under `name`, or `otherwise`. */
export function recall(name, otherwise = null) {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(`molva.${name}`) ?? sessionStorage.getItem(`molva.${name}`));
  } catch {
    // `fallback` has to do.
  }
  return kept ?? fallback.get(name) ?? otherwise;
}

/** Keeps a value for good, or with `{ forSession: true }` as long as the tab; null forgets it. */
export function remember(name, value, { forSession = false } = {}) {
  fallback.set(name, value);
  try {
    localStorage.removeItem(`molva.${name}`);
    sessionStorage.removeItem(`molva.${name}`);
    if (value !== null) (forSession ? sessionStorage : localStorage).setItem(`molva.${name}`, JSON.stringify(value));
  } catch {
    // As above.
  }
}
