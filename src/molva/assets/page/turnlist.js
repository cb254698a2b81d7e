/**
 * The turns of a transcript, one under the other. All of them are in the document, so that the browser's own search and
 * screen readers find them; those away from the window are plain text that it does not lay out, and only those near it
 * have an element for each word.
 */

import { oneLine } from "./edits.js";
import { h } from "./dom.js";
import { clock } from "./player.js";
import { t } from "./texts.js";
import { firstIndex } from "./waveform.js";

const UNSURE = 0.6;
const NEAR = "500px 0px";
/** A word stays marked for so long after its end, unless the next one begins. */
const LINGER_S = 0.3;

/**
 * `hear(time)` is called for a word or a turn that was clicked, `paused()` for a double click; `told(turn, text)` and
 * `spoken(turn, speaker)` when one is changed; `shown()` when other turns have come near. `nameOf(speaker)` and
 * `speakers()` are asked for names.
 */
export function turnList({ gap, hear, paused, told, spoken, shown, nameOf, speakers }) {
  const element = h("ol", {
    class: "turns",
    label: "transcript.text",
    on: { click, dblclick, keydown, change, focusin },
  });
  const turnOf = new WeakMap();
  const near = new Set();
  let turns = [];
  let words = [];
  let current = null;
  let active = null;
  let editing = null;
  let clickEdits = false;

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const turn = turnOf.get(target);
        if (isIntersecting) enter(turn);
        else if (near.has(turn) && !inUse(target)) leave(turn);
      }
      shown();
    },
    { rootMargin: NEAR },
  );

  /** What has the focus or is being selected stays as it is. */
  const inUse = (item) =>
    item.contains(document.activeElement) ||
    (getSelection().type === "Range" && getSelection().containsNode(item, true));

  function makeItem(turn) {
    turn.who =
      turn.speaker === null ? null : h("span", { class: `who speaker-${turn.speaker % 8}` }, nameOf(turn.speaker));
    turn.time = h(
      "button",
      { class: "time number", tabindex: -1, "aria-label": t("transcript.hearFrom", { time: clock(turn.start) }) },
      clock(turn.start),
    );
    turn.body = h("p", { class: "said", tabindex: -1 }, turn.text);
    turn.body.dataset.nothing = t("transcript.nothing");
    turn.item = h("li", { class: "turn" }, h("div", { class: "head" }, turn.who, turn.time), turn.body);
    turnOf.set(turn.item, turn);
    observer.observe(turn.item);
    return turn.item;
  }

  function enter(turn) {
    near.add(turn);
    if (turn.words.length) {
      turn.spans = turn.words.map(makeWord);
      turn.body.replaceChildren(...turn.spans.flatMap((span, i) => (i && gap ? [gap, span] : [span])));
    }
    if (turn.who) {
      const known = speakers();
      const options = [...known, (known.at(-1) ?? -1) + 1].map((speaker) =>
        h(
          "option",
          { value: speaker, selected: speaker === turn.speaker },
          known.includes(speaker) ? nameOf(speaker) : t("transcript.newSpeaker"),
        ),
      );
      const select = h(
        "select",
        {
          class: turn.who.className,
          "aria-label": t("transcript.speakerOf", { time: clock(turn.start) }),
          tabindex: turn === active ? 0 : -1,
        },
        options,
      );
      turn.who.replaceWith(select);
      turn.who = select;
    }
    if (current?.turn === turn) paint(current, true);
  }

  function makeWord({ text, probability }) {
    const span = h("span", { class: "w" }, text);
    if (probability < UNSURE) {
      span.classList.add("unsure");
      span.title = t("transcript.sure", { percent: Math.round(probability * 100) });
    }
    return span;
  }

  function leave(turn) {
    near.delete(turn);
    turn.spans = null;
    turn.body.textContent = turn.text;
    if (turn.who) {
      const name = h("span", { class: turn.who.className }, nameOf(turn.speaker));
      turn.who.replaceWith(name);
      turn.who = name;
    }
  }

  /** Where each word begins, of all turns. */
  function index() {
    words = turns.flatMap((turn) =>
      turn.words.length
        ? turn.words.map((word, i) => ({ start: word.start, end: word.end, turn, i }))
        : [{ start: turn.start, end: turn.end, turn, i: -1 }],
    );
  }

  function show(all) {
    for (const turn of turns) observer.unobserve(turn.item);
    near.clear();
    [turns, current, active, editing] = [all, null, null, null];
    element.replaceChildren(...turns.map(makeItem));
    index();
    if (turns.length) activate(turns[0]);
  }

  /** The turns of one segment become others. */
  function replace(segment, others) {
    const first = turns.findIndex((turn) => turn.segment === segment);
    const old = turns.filter((turn) => turn.segment === segment);
    for (const turn of old) {
      observer.unobserve(turn.item);
      near.delete(turn);
    }
    old[0].item.before(...others.map(makeItem));
    old.forEach((turn) => turn.item.remove());
    turns.splice(first, old.length, ...others);
    if (old.includes(current?.turn)) current = null;
    if (old.includes(active)) activate(others[0]);
    index();
  }

  /** Only one turn can be reached by Tab; the arrows go from one to the next. */
  function activate(turn) {
    const reachable = (one, tabindex) =>
      [one.body, one.time, one.who].forEach(
        (part) => part?.tagName !== "SPAN" && part?.setAttribute("tabindex", tabindex),
      );
    if (active) reachable(active, -1);
    active = turn;
    reachable(active, 0);
  }

  /** The word at a time; returns its element, or null where none is being said. */
  function mark(time) {
    const at = firstIndex(words, (word) => word.start > time) - 1;
    const word = at >= 0 && time <= Math.max(words[at].end, words[at].start) + LINGER_S ? words[at] : null;
    if (word !== current) {
      if (current) paint(current, false);
      current = word;
      if (current) paint(current, true);
    }
    return current && (current.turn.spans?.[current.i] ?? current.turn.item);
  }

  function paint({ turn, i }, on) {
    turn.item.classList.toggle("current", on);
    turn.spans?.[i]?.classList.toggle("playing", on);
  }

  function timeAt(turn, span) {
    return turn.words[turn.spans?.indexOf(span) ?? -1]?.start ?? turn.start;
  }

  function click(event) {
    const turn = turnOf.get(event.target.closest("li"));
    if (!turn || turn === editing || event.target.closest("select")) return;
    if (event.target === turn.time) return hear(turn.start);
    if (!turn.body.contains(event.target) || getSelection().type === "Range") return;
    if (clickEdits) return edit(turn, event.target);
    if (event.target !== turn.body || !turn.words.length) hear(timeAt(turn, event.target));
  }

  function dblclick(event) {
    const turn = turnOf.get(event.target.closest("li"));
    if (!turn || turn === editing || !turn.body.contains(event.target)) return;
    paused(); // the first of the two clicks has begun to play
    edit(turn, event.target);
  }

  function keydown(event) {
    const turn = turnOf.get(event.target.closest("li"));
    if (event.target !== turn?.body && event.target !== turn?.time) return;
    if (event.key === "F2" || (event.key === "Enter" && event.target === turn.body)) edit(turn);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = turns[turns.indexOf(turn) + (event.key === "ArrowDown" ? 1 : -1)];
      next?.[event.target === turn.time ? "time" : "body"].focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function change(event) {
    const turn = turnOf.get(event.target.closest("li"));
    if (event.target !== turn?.who) return;
    spoken(turn, Number(event.target.value));
    turns
      .find((other) => other.segment === turn.segment && other.from <= turn.from && turn.from <= other.to)
      ?.body.focus();
  }

  function focusin(event) {
    const turn = turnOf.get(event.target.closest("li"));
    if (turn && turn !== active) activate(turn);
  }

  /** The turn's text in a field; Enter and going elsewhere keep it, Escape does not. */
  function edit(turn, span) {
    getSelection().removeAllRanges();
    editing = turn;
    const field = h("textarea", {
      class: "said",
      rows: 1,
      "aria-label": t("transcript.textOf", { time: clock(turn.start) }),
    });
    field.value = turn.text;
    const fit = () => {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight + 2}px`;
    };
    const finish = (keep, back) => {
      if (editing !== turn) return;
      editing = null;
      field.replaceWith(turn.body);
      const text = oneLine(field.value);
      let shownAs = turn;
      if (keep && text !== oneLine(turn.text)) {
        const at = turns.indexOf(turn);
        told(turn, text);
        shownAs = turns[Math.min(at, turns.length - 1)];
      }
      if (back) shownAs.body.focus();
    };
    field.addEventListener("input", fit);
    field.addEventListener("blur", () => finish(true, false));
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      finish(event.key === "Enter", true);
    });
    turn.body.replaceWith(field);
    fit();
    field.focus();
    const word = turn.spans?.indexOf(span) ?? -1;
    const place =
      word < 0
        ? turn.text.length
        : turn.words.slice(0, word).reduce((sum, { text }) => sum + text.length + gap.length, 0);
    field.setSelectionRange(place, place);
  }

  /** Names have changed, or the language of the page. */
  function rename() {
    for (const turn of turns) {
      if (near.has(turn)) enter(turn);
      else if (turn.who) turn.who.textContent = nameOf(turn.speaker);
    }
  }

  return {
    element,
    show,
    replace,
    mark,
    rename,
    get turns() {
      return turns;
    },
    near: () => near,
    letClicksEdit(on) {
      clickEdits = on;
      element.classList.toggle("editable", on);
    },
    close: () => observer.disconnect(),
  };
}
