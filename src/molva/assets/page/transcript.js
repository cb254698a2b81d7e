/** One transcript: what was said, beside what is heard; searched, edited, named, exported. */

import { json } from "./api.js";
import { coloured, h, noticeLine, tell } from "./dom.js";
import { edited, isEdited, noEdits, respoken, retold, separator, speakersOf, turns } from "./edits.js";
import { writeParagraphs } from "./export.js";
import { formatClock } from "./figures.js";
import { searchBar } from "./find.js";
import { edits as keptEdits, keepEdits, keepRecording, recording } from "./library.js";
import { player } from "./player.js";
import { copyButton, exportMenu } from "./take.js";
import { t } from "./texts.js";
import { turnList } from "./turnlist.js";
import { waveform } from "./waveform.js";

const SAVE_AFTER_MS = 200;

/** `open(job)` shows the document of a job that is done; `close()` lets go of it, `retell()` follows the language. */
export function transcriptView(root) {
  let shown = null;
  let opening = 0;

  async function open(job) {
    close();
    const turn = ++opening;
    const [edits, blob, wave] = await Promise.all([
      keptEdits(job.id).catch(() => undefined), // a browser that keeps nothing has nothing
      recording(job.id).catch(() => undefined),
      json(`/jobs/${job.id}/waveform`).catch(() => null), // lanes come from the words then
    ]);
    if (turn === opening) shown = view(root, job, edits ?? noEdits(), blob, wave);
  }

  function close() {
    opening++;
    shown?.close();
    shown = null;
    root.replaceChildren();
  }

  return { open, close, retell: () => shown?.retell() };
}

function view(root, job, edits, blob, wave) {
  const duration = Math.max(job.duration_secs ?? 0, job.segments.at(-1)?.end ?? 0);
  let transcript = edited(job, edits);
  let speakers = speakersOf(transcript);
  let following = true;
  let [saving, unsaved] = [0, false];

  const nameOf = (speaker) => edits.names[speaker] || t("page.speaker", { n: speaker + 1 });

  // What is heard, and where that is.

  const sound = player({
    duration,
    moved(time) {
      picture.at(time);
      const said = list.mark(time);
      if (said && sound.playing && following) keepInView(said);
    },
    chosen(file) {
      keepRecording(job.id, file).catch(() => {}); // where there is no room, it is asked for again
      sound.load(file);
      sound.play(sound.time);
    },
  });
  const picture = waveform({
    duration,
    seek(time) {
      follow(true);
      sound.seek(time);
    },
  });
  const list = turnList({
    gap: separator(transcript.language),
    hear(time) {
      follow(true);
      sound.play(time);
    },
    told: (turn, text) =>
      change(turn, retold(segmentOf(turn), turn, text, job.segments[turn.segment], transcript.language)),
    paused: () => sound.pause(),
    spoken: (turn, speaker) => change(turn, respoken(segmentOf(turn), turn, speaker, transcript.language)),
    shown: () => search.paint(),
    nameOf,
    speakers: () => speakers,
  });
  const search = searchBar(list, () => follow(false));

  const segmentOf = (turn) => transcript.segments[turn.segment];

  function keepInView({ top, bottom }) {
    const [from, to] = [bar.getBoundingClientRect().bottom + 8, dock.getBoundingClientRect().top - 8];
    if (top < from || bottom > to) scrollBy({ top: top - from - (to - from) / 3, behavior: "instant" });
  }

  /** Whoever scrolls wants to look elsewhere. */
  function follow(on) {
    following = on;
  }

  // What is changed.

  function change(turn, segment) {
    edits = { ...edits, segments: { ...edits.segments, [turn.segment]: segment } };
    transcript = edited(job, edits);
    list.replace(turn.segment, turns(segment, turn.segment, transcript.language));
    refresh();
    save();
  }

  function rename(speaker, name) {
    const { [speaker]: _, ...others } = edits.names;
    edits = { ...edits, names: name.trim() ? { ...others, [speaker]: name.trim() } : others };
    transcript = edited(job, edits);
    list.rename();
    refresh();
    save();
  }

  function restore() {
    if (!confirm(t("transcript.question"))) return;
    edits = noEdits();
    transcript = edited(job, edits);
    list.show(allTurns());
    refresh();
    save();
  }

  /** A moment later: names come letter by letter. */
  function save() {
    unsaved = true;
    clearTimeout(saving);
    saving = setTimeout(saveNow, SAVE_AFTER_MS);
  }

  function saveNow() {
    clearTimeout(saving);
    if (!unsaved) return;
    unsaved = false;
    keepEdits(job.id, edits).catch(() => tell(unkept, t("transcript.unkept")));
  }

  function allTurns() {
    return transcript.segments
      .flatMap((segment, i) => turns(segment, i, transcript.language))
      .filter((turn) => turn.text || edits.segments[turn.segment]);
  }

  /** All that depends on the text and on who speaks. */
  function refresh() {
    const now = speakersOf(transcript);
    if (now.join() !== speakers.join() || !people.childElementCount) {
      speakers = now;
      people.replaceChildren(...speakers.map(chip));
      list.rename();
    }
    for (const input of people.querySelectorAll("input")) {
      if (input !== document.activeElement) input.value = edits.names[input.dataset.speaker] ?? "";
    }
    restoreButton.hidden = !isEdited(edits);
    search.refresh();
    draw();
  }

  function draw() {
    const told = list.turns.filter((turn) => turn.speaker !== null);
    picture.show({
      peaks: wave?.peaks ?? [],
      step: wave?.step_secs ?? 1,
      speech: wave?.speech ?? list.turns.filter((turn) => turn.text).map(({ start, end }) => [start, end]),
      turns: told.map(({ start, end, speaker }) => ({ start, end, speaker, name: nameOf(speaker) })),
    });
  }

  function chip(speaker) {
    const input = h("input", {
      type: "text",
      "data-speaker": speaker,
      maxlength: 60,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => rename(speaker, input.value),
    });
    tellChip(input);
    return h("li", {}, coloured(h("span", { "aria-hidden": "true" }, "●"), speaker), input);
  }

  function tellChip(input) {
    const n = Number(input.dataset.speaker) + 1;
    input.ariaLabel = t("transcript.nameOf", { n });
    input.placeholder = t("page.speaker", { n });
  }

  // How it is laid out.

  const editButton = h("button", {
    class: "toggle",
    text: "transcript.edit",
    "aria-pressed": "false",
    onclick() {
      const on = editButton.ariaPressed === "false";
      editButton.ariaPressed = String(on);
      list.letClicksEdit(on);
    },
  });
  const menu = exportMenu(() => transcript, () => (job.filename ?? "transcript").replace(/\.[^.]+$/u, ""));
  const copy = copyButton(() => writeParagraphs(transcript, nameOf));
  const bar = h("div", { class: "toolbar" }, search.element, h("div", { class: "row" }, editButton, copy, menu));
  const people = h("ul", { class: "row people", label: "transcript.speakers" });
  const restoreButton = h("button", { class: "quiet", text: "transcript.restore", onclick: restore });
  const unkept = noticeLine();
  const dock = h("div", { class: "dock" }, picture.element, sound.element);
  root.replaceChildren(
    h("h1", {}, job.filename ?? t("page.unnamed")),
    h("p", { class: "muted small" }, [formatClock(duration), job.language, job.model].filter(Boolean).join(" · ")),
    job.segments.length ? "" : h("p", { class: "muted", text: "transcript.silent" }),
    h("div", { class: "row about" }, people, restoreButton),
    unkept,
    bar,
    list.element,
    dock);

  // What is pressed and scrolled anywhere on the page.

  const leaving = new AbortController();
  const everywhere = (target, event, handler) =>
    target.addEventListener(event, handler, { signal: leaving.signal, passive: event !== "keydown" });
  everywhere(document, "keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (target.closest("input, textarea, select, summary, [role=slider]")) return;
    if (["PageUp", "PageDown", "Home", "End"].includes(key)) follow(false);
    if (key === "ArrowLeft") sound.step(-1);
    else if (key === "ArrowRight") sound.step(1);
    else if (key === " " && !target.closest("button, a")) sound.toggle();
    else return;
    event.preventDefault();
  });
  everywhere(window, "wheel", () => follow(false));
  everywhere(window, "touchmove", (event) => event.target.closest(".dock") || follow(false));
  everywhere(window, "pagehide", saveNow);
  everywhere(sound.audio, "play", () => follow(true));

  document.documentElement.classList.add("reading");
  list.show(allTurns());
  refresh();
  sound.load(blob);
  picture.at(0);

  return {
    close() {
      document.documentElement.classList.remove("reading");
      saveNow();
      leaving.abort();
      sound.unload();
      picture.close();
      list.close();
    },
    retell() {
      list.show(list.turns);
      people.querySelectorAll("input").forEach(tellChip);
      search.refresh();
      draw();
    },
  };
}
