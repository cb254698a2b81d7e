/**
 * The turns of a transcript, one under the other. Each is plain text whatever its length, so that hours of it scroll
 * smoothly; words are marked over the text by highlights, and found by the place of a click.
 */

import { coloured, h } from "./dom.js";
import { oneLine } from "./edits.js";
import { formatClock } from "./figures.js";
import { t } from "./texts.js";
import { firstIndex } from "./waveform.js";

const UNSURE = 0.6;
/** A word stays marked for so long after its end, unless the next one begins. */
const LINGER_S = 0.3;

/** The range of characters `from` to `to` of a turn that is shown. */
export function rangeIn({ body }, from, to) {
  const text = body.firstChild;
  return new StaticRange({ startContainer: text, startOffset: from, endContainer: text, endOffset: to });
}

/** Marks ranges by a name that the style sheet knows. */
export function highlight(name, ranges) {
  CSS.highlights?.set(name, new Highlight(...ranges));
}

/**
 * `hear(time)` is called for a word or a turn that was clicked, `paused()` for a double click; `told(turn, text)` and
 * `spoken(turn, speaker)` when one is changed; `shown()` when others come `near` the window.
 */
export function turnList({ gap, hear, paused, told, spoken, shown, nameOf, speakers }) {
  const element = h("ol", { class: "turns", label: "transcript.text" });
  for (const handler of [click, dblclick, keydown, change, focusin, pointerover]) {
    element.addEventListener(handler.name, handler);
  }
  const near = new Set(); // turns about the window
  let turns = [];
  let words = []; // of all turns, in order of time
  let current = null; // the word that is heard
  let active = null; // the turn that Tab leads to
  let pointed = null; // the turn under the pointer
  let editing = null;
  let clickEdits = false;

  const at = (turn) => ({ time: formatClock(turn.start) });
  const turnAt = (target) => target.closest("li")?.turn;

  function makeItem(turn) {
    const time = formatClock(turn.start);
    turn.who = turn.speaker === null ? null : makeWho("span", turn);
    turn.time = h("button",
      { class: "time number", tabindex: -1, "aria-label": t("transcript.hearFrom", { time }) }, time);
    turn.body = h("p", { class: "said", tabindex: -1, "data-nothing": t("transcript.nothing") }, turn.text);
    turn.item = h("li", { class: "turn" }, h("div", { class: "head" }, turn.who, turn.time), turn.body);
    turn.item.turn = turn;
    observer.observe(turn.item);
    return turn.item;
  }

  const makeWho = (tag, { speaker }) => coloured(h(tag, { class: "who" }, nameOf(speaker)), speaker);

  /** The name of who speaks; to choose from where somebody may do so: a choice for each turn would be slow. */
  function nameTurn(turn) {
    if (!turn?.who || turn.who === document.activeElement) return;
    const tag = turn === active || turn === pointed ? "select" : "span";
    const who = makeWho(tag, turn);
    if (tag === "select") {
      who.replaceChildren();
      const known = speakers();
      who.append(...known.map((speaker) => new Option(nameOf(speaker), speaker)));
      who.append(new Option(t("transcript.newSpeaker"), (known.at(-1) ?? -1) + 1));
      who.value = turn.speaker;
      who.ariaLabel = t("transcript.speakerOf", at(turn));
      who.tabIndex = turn === active ? 0 : -1;
    }
    turn.who.replaceWith(who);
    turn.who = who;
  }

  /** Where each word is, in time and in its turn's text. */
  function index() {
    words = turns.flatMap((turn) => {
      let to = -gap.length;
      const own = turn.words.map(({ text, start, end, probability }) => {
        const from = to + gap.length;
        to = from + text.length;
        return { turn, start, end, from, to, unsure: probability < UNSURE };
      });
      return own.length ? own : [{ turn, start: turn.start, end: turn.end, from: 0, to: turn.text.length }];
    });
    markUnsure();
  }

  /** Near the window: a browser looks at all ranges for each frame. */
  function markUnsure() {
    highlight("unsure", words.filter(({ turn, unsure }) => unsure && near.has(turn)).map(rangeOf));
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) near[isIntersecting ? "add" : "delete"](target.turn);
    markUnsure();
    shown();
  }, { rootMargin: "600px 0px" });

  const rangeOf = ({ turn, from, to }) => rangeIn(turn, from, to);

  function show(all) {
    [turns, current, active, pointed, editing] = [all, null, null, null, null];
    near.clear();
    element.replaceChildren(...turns.map(makeItem));
    index();
    if (turns.length) activate(turns[0]);
  }

  /** The turns of one segment become others. */
  function replace(segment, others) {
    const first = turns.findIndex((turn) => turn.segment === segment);
    const old = turns.filter((turn) => turn.segment === segment);
    old[0].item.before(...others.map(makeItem));
    for (const turn of old) {
      near.delete(turn);
      turn.item.remove();
    }
    turns.splice(first, old.length, ...others);
    if (old.includes(current?.turn)) current = null;
    if (old.includes(pointed)) pointed = null;
    if (old.includes(active)) activate(others[0]);
    index();
  }

  /** Only one turn can be reached by Tab; the arrows go from one to the next. */
  function activate(turn) {
    const before = active;
    active = turn;
    for (const each of [before, turn]) {
      if (!each) continue;
      each.body.tabIndex = each.time.tabIndex = each === turn ? 0 : -1;
      nameTurn(each);
    }
  }

  /** Marks the word at a time; returns its place on the screen, or null where none is being said. */
  function mark(time) {
    const said = words[firstIndex(words, (word) => word.start > time) - 1];
    const word = said && time <= Math.max(said.end, said.start) + LINGER_S ? said : null;
    if (word !== current) {
      current?.turn.item.classList.remove("current");
      word?.turn.item.classList.add("current");
      current = word;
      highlight("playing", word ? [rangeOf(word)] : []);
    }
    return current?.turn.body.isConnected ? placeOf(current) : null;
  }

  function placeOf({ turn, from, to }) {
    const range = new Range();
    range.setStart(turn.body.firstChild, from);
    range.setEnd(turn.body.firstChild, to);
    return range.getBoundingClientRect();
  }

  /** The word of a turn at a point of the window. */
  function wordAt(turn, { clientX, clientY }) {
    const caret = document.caretPositionFromPoint?.(clientX, clientY) ?? document.caretRangeFromPoint(clientX, clientY);
    const place = caret?.offset ?? caret?.startOffset;
    return words.find((word) => word.turn === turn && place <= word.to);
  }

  function click(event) {
    const { target } = event;
    const turn = turnAt(target);
    if (!turn || turn === editing) return;
    if (target === turn.time) hear(turn.start);
    else if (target !== turn.body || getSelection().type === "Range") return;
    else if (clickEdits) edit(turn, event);
    else hear(wordAt(turn, event)?.start ?? turn.start);
  }

  function dblclick(event) {
    const turn = turnAt(event.target);
    if (!turn || turn === editing || event.target !== turn.body) return;
    paused(); // the first of the two clicks has begun to play
    edit(turn, event);
  }

  function keydown(event) {
    const turn = turnAt(event.target);
    const part = ["body", "time"].find((name) => event.target === turn?.[name]);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!part) return;
    if (event.key === "F2" || (event.key === "Enter" && part === "body")) edit(turn);
    else if (by) turns[turns.indexOf(turn) + by]?.[part].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function change({ target }) {
    const turn = turnAt(target);
    if (target !== turn?.who) return;
    spoken(turn, Number(target.value));
    const { segment, from } = turn;
    turns.find((other) => other.segment === segment && other.from <= from && from <= other.to)?.body.focus();
  }

  function focusin({ target }) {
    const turn = turnAt(target);
    if (turn && turn !== active) activate(turn);
  }

  function pointerover({ target }) {
    const turn = turnAt(target);
    if (!turn || turn === pointed) return;
    const before = pointed;
    pointed = turn;
    nameTurn(before);
    if (turn !== active) nameTurn(turn);
  }

  /** The turn's text in a field; Enter and going elsewhere keep it, Escape does not. */
  function edit(turn, event) {
    const word = event && wordAt(turn, event);
    getSelection().removeAllRanges();
    editing = turn;
    const field = h("textarea", { class: "said", rows: 1, "aria-label": t("transcript.textOf", at(turn)) });
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
      const place = turns.indexOf(turn);
      if (keep && text !== oneLine(turn.text)) told(turn, text);
      if (back) turns[Math.min(place, turns.length - 1)].body.focus();
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
    const place = word?.from ?? turn.text.length;
    field.setSelectionRange(place, place);
  }

  /** Names have changed. */
  function rename() {
    for (const turn of turns) {
      if (turn === active || turn === pointed) nameTurn(turn);
      else if (turn.who) turn.who.textContent = nameOf(turn.speaker);
    }
  }

  return {
    element,
    show,
    replace,
    mark,
    rename,
    near,
    get turns() {
      return turns;
    },
    letClicksEdit(on) {
      clickEdits = on;
      element.classList.toggle("editable", on);
    },
    close() {
      observer.disconnect();
      CSS.highlights?.clear();
    },
  };
}
