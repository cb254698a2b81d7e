/** What was said: finals as lines, the utterance that goes on below them, and what can be done with it all. */

import { announce, h } from "./dom.js";
import { asSrt, asText, clock } from "./live-text.js";
import { recall, remember } from "./store.js";
import { t } from "./texts.js";

const KEPT = "live.lines";
/** Who is so near to the end of the list sees each new line; who has scrolled back is left alone. Pixels. */
const NEAR_END = 80;

const speakerName = (speaker) => t("live.speaker", { n: speaker + 1 });

/** `onClear` is called when the user takes everything away. Lines last as long as the tab, reloads included. */
export function liveTranscript({ onClear }) {
  let lines = recall(KEPT, []);
  let cleared = [];
  let partial = null;

  const list = h("ol", { class: "live-lines" });
  const stable = h("span");
  const unstable = h("span", { class: "unstable" });
  const current = h("p", { class: "live-partial", hidden: true }, stable, unstable);
  const empty = h("p", { class: "muted live-empty", text: "live.empty" });
  const scroller = h("div", { class: "live-scroller", role: "region", tabindex: "0", label: "live.transcript" }, empty, list, current);

  const copy = h("button", { text: "live.copy", on: { click: onCopy } });
  const txt = h("button", { label: "live.save.txt", on: { click: () => save("txt", asText(spoken(), speakerName)) } }, ".txt");
  const srt = h("button", { label: "live.save.srt", on: { click: () => save("srt", asSrt(spoken(), speakerName)) } }, ".srt");
  const clear = h("button", { text: "live.clear", on: { click: onClearClick } });
  const element = h(
    "div",
    { class: "card live-transcript" },
    h("div", { class: "row" }, h("h2", { class: "grow", text: "live.transcript" }), copy, txt, srt, clear),
    scroller,
  );

  const spoken = () => lines.filter((line) => line.turns);

  async function onCopy() {
    await navigator.clipboard.writeText(asText(spoken(), speakerName));
    announce(t("live.copied"));
    copy.textContent = t("live.copied");
    setTimeout(() => (copy.textContent = t("live.copy")), 2000);
  }

  function save(kind, text) {
    const now = new Date();
    const day = new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 16).replace(/[T:]/g, "-");
    const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    h("a", { href, download: `molva-${day}.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }

  function onClearClick() {
    [lines, cleared] = [cleared, lines];
    if (lines.length === 0) onClear();
    remember(KEPT, lines, { forSession: true });
    render();
    announce(t(lines.length === 0 ? "live.cleared" : "live.restored"));
  }

  /** A change of speaker is told where it happens: `before` is who spoke last. */
  function lineElement(line, before) {
    const time = h("time", { class: "muted number small" }, clock(line.start));
    if (!line.turns) {
      return h("li", { class: "muted small" }, time, h("p", {}, t("live.gap", { until: clock(line.end) })));
    }
    const paragraphs = line.turns.map(({ speaker, text }) => {
      const changed = speaker !== null && speaker !== before;
      before = speaker;
      const name = changed && h("strong", { class: `live-speaker speaker-${speaker % 8}` }, speakerName(speaker), " ");
      return h("p", {}, name, text);
    });
    if (line.unfinished) paragraphs.push(h("p", { class: "muted small" }, t("live.unfinished")));
    return h("li", {}, time, h("div", {}, paragraphs));
  }

  const lastSpeaker = (until) => lines.slice(0, until).findLast((line) => line.turns)?.turns.at(-1).speaker ?? null;

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
    copy.disabled = txt.disabled = srt.disabled = spoken().length === 0;
    const back = lines.length === 0 && cleared.length > 0;
    clear.disabled = lines.length === 0 && !back;
    clear.dataset.t = back ? "live.restore" : "live.clear";
    clear.textContent = t(clear.dataset.t);
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
    /** A line of live-text.js; the partial that it was is gone. */
    add(line) {
      keepingEndInSight(() => {
        partial = null;
        keep(line);
      });
      announce(line.turns.map((turn) => turn.text).join(" "));
    },
    /** What is heard so far, or null. */
    showPartial(segment) {
      keepingEndInSight(() => (partial = segment));
    },
    /** Speech that is gone, from and to a second; the next piece makes the line longer. */
    addGap(start, end) {
      keepingEndInSight(() => {
        const last = lines.at(-1);
        if (last && !last.turns) {
          lines.pop();
          list.lastElementChild.remove();
        }
        keep({ start: last && !last.turns ? last.start : start, end });
      });
    },
    retell: render,
  };
}
