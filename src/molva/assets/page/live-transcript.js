/** What was said: finals as lines, the utterance that goes on below them, and what can be done with it all. */

import { announce, coloured, h, write } from "./dom.js";
import { speakersOf, turns } from "./edits.js";
import { formatClock } from "./figures.js";
import { recall, remember } from "./store.js";
import { copyButton, exportMenu } from "./take.js";
import { writeParagraphs } from "./export.js";
import { t } from "./texts.js";

const KEPT = "live.lines";
/** Who is so near to the end of the list sees each new line; who has scrolled back is left alone. Pixels. */
const NEAR_END = 80;

const nameOf = (speaker) => t("page.speaker", { n: speaker + 1 });

/**
 * The line of a segment of LiveSession whose recording began at `offset` seconds: a segment as a job has them. One
 * without `words` stands for speech that is gone.
 */
export function lineOf({ text, words, unfinished }, offset) {
  const moved = words.map(({ word, start, end, confidence, speaker }) => (
    { text: word, start: start + offset, end: end + offset, probability: confidence, speaker }
  ));
  return { text, words: moved, start: moved[0]?.start ?? offset, end: moved.at(-1)?.end ?? offset, unfinished };
}

/** What edits.js makes of them. */
export function transcriptOf(lines) {
  const segments = lines.filter((line) => line.words);
  const names = Object.fromEntries(speakersOf({ segments }).map((speaker) => [speaker, nameOf(speaker)]));
  return { segments, names, language: "und", duration: segments.at(-1)?.end ?? 0 };
}

/** `onClear` is called when the user takes everything away. Lines last as long as the tab, reloads included. */
export function liveTranscript({ onClear }) {
  let lines = recall(KEPT, []);
  let cleared = [];
  let partial = null;

  const list = h("ol", { class: "live-lines" });
  const stable = h("span");
  const unstable = h("span", { class: "unstable" });
  const current = h("p", { class: "live-partial", hidden: true }, stable, unstable);
  const empty = h("p", { class: "muted empty", text: "live.empty" });
  const scroller = h("div", { class: "live-scroller", role: "region", tabindex: "0", label: "live.transcript" },
    empty, list, current);
  const copy = copyButton(() => writeParagraphs(transcriptOf(lines), nameOf));
  const fileName = () => `molva-${new Date().toLocaleString("sv").slice(0, 16).replace(/\D/g, "-")}`;
  const menu = exportMenu(() => transcriptOf(lines), fileName);
  const clear = h("button", { class: "quiet", onclick: onClearClick });
  const element = h("div", { class: "card live-transcript" },
    h("div", { class: "row" }, h("h2", { class: "grow", text: "live.transcript" }), clear, copy, menu),
    scroller);

  function onClearClick() {
    [lines, cleared] = [cleared, lines];
    if (lines.length === 0) onClear();
    remember(KEPT, lines, { forSession: true });
    render();
  }

  /** A change of speaker is told where it happens: `before` is who spoke last. */
  function lineElement(line, before) {
    const time = h("time", { class: "muted number small" }, formatClock(line.start));
    if (!line.words) {
      return h("li", { class: "muted small" }, time, h("p", {}, t("live.gap", { until: formatClock(line.end) })));
    }
    const paragraphs = turnsOf(line).map(({ speaker, text }) => {
      const changed = speaker !== null && speaker !== before;
      before = speaker;
      return h("p", {}, changed && coloured(h("strong", {}, nameOf(speaker), " "), speaker), text);
    });
    if (line.unfinished) paragraphs.push(h("p", { class: "muted small" }, t("live.unfinished")));
    return h("li", {}, time, h("div", {}, paragraphs));
  }

  const turnsOf = (line) => (speakersOf({ segments: [line] }).length ? turns(line) : [{ speaker: null, text: line.text }]);

  const lastSpeaker = (until) => lines.slice(0, until).findLast((line) => line.words?.length)?.words.at(-1).speaker;

  function render() {
    list.replaceChildren(...lines.map((line, i) => lineElement(line, lastSpeaker(i))));
    renderFrame();
    scroller.scrollTop = scroller.scrollHeight;
  }

  function renderFrame() {
    const text = [...(partial?.text ?? "")]; // `stable` counts characters, not UTF-16 units
    stable.textContent = text.slice(0, partial?.stable ?? 0).join("");
    unstable.textContent = text.slice(partial?.stable ?? 0).join("");
    unstable.hidden = unstable.textContent === "";
    current.hidden = text.length === 0;
    empty.hidden = lines.length > 0 || text.length > 0;
    copy.hidden = menu.hidden = !lines.some((line) => line.words);
    clear.hidden = !lines.length && !cleared.length;
    write(clear, "text", lines.length ? "live.clear" : "live.restore");
  }

  function keepingEndInSight(change) {
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
    change();
    renderFrame();
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }

  function keep(line) {
    cleared = [];
    lines.push(line);
    remember(KEPT, lines, { forSession: true });
    list.append(lineElement(line, lastSpeaker(-1)));
  }

  render();
  return {
    element,
    /** Seconds that the lines reach to. */
    get end() {
      return lines.at(-1)?.end ?? 0;
    },
    /** The partial that it was is gone. */
    add(line) {
      keepingEndInSight(() => {
        partial = null;
        keep(line);
      });
      announce(line.text);
    },
    /** What is heard so far, or null. */
    showPartial(segment) {
      keepingEndInSight(() => (partial = segment));
    },
    /** Speech that is gone, from and to a second; the next piece makes the line longer. */
    addGap(start, end) {
      keepingEndInSight(() => {
        const last = lines.at(-1);
        const longer = last && !last.words;
        if (longer) {
          lines.pop();
          list.lastElementChild.remove();
        }
        keep({ start: longer ? last.start : start, end });
      });
    },
    retell: render,
  };
}
