/** Search in a transcript, whether its turns are on the screen or not. */

import { h } from "./dom.js";
import { formatNumber, t } from "./texts.js";
import { highlight, rangeIn } from "./turnlist.js";

/** Same length as the text, so that places stay; blind to case, and to the dots of ё. */
function fold(text) {
  const lower = text.toLowerCase();
  return (lower.length === text.length ? lower : text).replaceAll("ё", "е");
}

/** Where `query` is in `texts`: `{index, from, to}`, in order; nothing for an empty query. */
function find(texts, query) {
  const wanted = fold(query.trim());
  if (!wanted) return [];
  return texts.flatMap((text, index) => {
    const folded = fold(text);
    const places = [];
    for (let from = folded.indexOf(wanted); from >= 0; from = folded.indexOf(wanted, from + wanted.length)) {
      places.push({ index, from, to: from + wanted.length });
    }
    return places;
  });
}

/**
 * The field over a list of turnlist.js, with what it finds; `found()` when another one is brought into view. `refresh()`
 * when texts have changed, `paint()` when other turns are near the window.
 */
export function searchBar(list, found) {
  let [places, at] = [[], -1];

  const step = (by) => () => go((at + by + places.length) % places.length);
  const query = h("input", {
    type: "search",
    label: "transcript.search",
    placeholder: "transcript.search",
    oninput() {
      at = 0;
      refresh();
      if (places.length) go(0);
    },
    onkeydown({ key, shiftKey }) {
      if (key === "Enter" && places.length) step(shiftKey ? -1 : 1)();
    },
  });
  const count = h("span", { class: "muted small number", role: "status" });
  const arrow = (key, by, sign) => h("button", { class: "quiet icon", label: key, onclick: step(by) }, sign);
  const arrows = [arrow("transcript.previous", -1, "↑"), arrow("transcript.next", 1, "↓")];
  const element = h("div", { class: "row search", role: "search" }, query, count, arrows);

  function refresh() {
    places = find(list.turns.map((turn) => turn.text), query.value);
    at = Math.min(Math.max(at, 0), places.length - 1);
    for (const button of arrows) button.disabled = !places.length;
    tellCount();
    paint();
  }

  function go(place) {
    at = place;
    found();
    tellCount();
    list.turns[places[at].index].item.scrollIntoView({ block: "center" });
    paint();
  }

  function tellCount() {
    if (!query.value.trim()) count.textContent = "";
    else if (!places.length) count.textContent = t("transcript.notFound");
    else count.textContent = t("page.of", { n: formatNumber(at + 1), all: formatNumber(places.length) });
  }

  function paint() {
    const ranges = (wanted) =>
      places.filter(wanted).map(({ index, from, to }) => rangeIn(list.turns[index], from, to));
    highlight("found-now", ranges((_, i) => i === at));
    highlight("found", ranges(({ index }, i) => i !== at && list.near.has(list.turns[index])));
  }

  return { element, refresh, paint };
}
