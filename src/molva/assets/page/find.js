/** Search in texts, whether they are on the screen or not. */

/** Same length as the text, so that places stay; blind to case, and to the dots of ё. */
function fold(text) {
  const lower = text.toLowerCase();
  const same =
    lower.length === text.length
      ? lower
      : [...text].map((c) => (c.toLowerCase().length === c.length ? c.toLowerCase() : c)).join("");
  return same.replaceAll("ё", "е");
}

/** Where `query` is in `texts`: `{index, from, to}`, in order; nothing for an empty query. */
export function find(texts, query) {
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

/** The range of characters `from` to `to` of an element's text, however it is cut into nodes. */
export function rangeIn(element, from, to) {
  const range = new Range();
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let passed = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const end = passed + node.length;
    if (from >= passed && from < end) range.setStart(node, from - passed);
    if (to > passed && to <= end) {
      range.setEnd(node, to - passed);
      return range;
    }
    passed = end;
  }
  return range;
}
