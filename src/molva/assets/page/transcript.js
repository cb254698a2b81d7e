/** One transcript: what was said, beside what is heard; searched, edited, named, exported. */

import { json } from "./api.js";
import { announce, h } from "./dom.js";
import { edited, isEdited, noEdits, respoken, retold, separator, speakersOf, turns } from "./edits.js";
import { FORMATS, writeParagraphs } from "./export.js";
import { find, rangeIn } from "./find.js";
import { edits as keptEdits, keepEdits, keepRecording, recording } from "./library.js";
import { clock, player } from "./player.js";
import { recall, remember } from "./store.js";
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
  const gap = separator(transcript.language);
  let speakers = speakersOf(transcript);
  let undone = null;
  let following = true;
  let [saving, unsaved] = [0, false];

  const nameOf = (speaker) => edits.names[speaker] || t("transcript.speaker", { n: speaker + 1 });

  // What is heard, and where that is.

  const sound = player({
    duration,
    moved(time) {
      picture.at(time);
      const said = list.mark(time);
      if (said && sound.playing && following) keepInView(said);
    },
    chosen(file) {
      keepRecording(job.id, file).catch(() => announce(t("transcript.notKept")));
      sound.load(file);
      sound.play(sound.time);
    },
  });
  const picture = waveform({
    duration,
    seek: (time) => {
      follow(true);
      sound.seek(time);
    },
  });
  const list = turnList({
    gap,
    hear(time) {
      follow(true);
      sound.play(time);
    },
    told(turn, text) {
      const segment = transcript.segments[turn.segment];
      const original = job.segments[turn.segment];
      change(turn, retold(segment, turn, text, original, transcript.language));
    },
    paused: () => sound.pause(),
    spoken(turn, speaker) {
      change(turn, respoken(transcript.segments[turn.segment], turn, speaker, transcript.language));
    },
    shown: () => paintFound(),
    nameOf,
    speakers: () => speakers,
  });

  function keepInView(said) {
    const { top, bottom } = said.getBoundingClientRect();
    const [from, to] = [bar.getBoundingClientRect().bottom + 8, dock.getBoundingClientRect().top - 8];
    if (top < from || bottom > to) scrollBy({ top: top - from - (to - from) / 3, behavior: "instant" });
  }

  /** Whoever scrolls wants to look elsewhere. */
  function follow(on) {
    following = on;
    followButton.hidden = on || !sound.playing;
  }

  // What is changed.

  function change(turn, segment) {
    undone = null;
    edits = { ...edits, segments: { ...edits.segments, [turn.segment]: segment } };
    transcript = edited(job, edits);
    list.replace(turn.segment, turns(segment, turn.segment, transcript.language));
    refresh();
    save();
  }

  function rename(speaker, name) {
    undone = null;
    const { [speaker]: _, ...others } = edits.names;
    edits = { ...edits, names: name.trim() ? { ...others, [speaker]: name.trim() } : others };
    transcript = edited(job, edits);
    list.rename();
    draw();
    restoreButton.hidden = !isEdited(edits);
    save();
  }

  function restore() {
    [edits, undone] = undone ? [undone, null] : [noEdits(), edits];
    transcript = edited(job, edits);
    list.show(allTurns());
    refresh();
    save();
    announce(t(undone ? "transcript.restored" : "transcript.broughtBack"));
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
    keepEdits(job.id, edits).catch(() => {
      unkept.hidden = false;
    });
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
    restoreButton.hidden = !isEdited(edits) && !undone;
    restoreButton.dataset.t = undone ? "transcript.bringBack" : "transcript.restore";
    restoreButton.textContent = t(restoreButton.dataset.t);
    search(false);
    draw();
  }

  function draw() {
    const told = list.turns.filter((turn) => turn.speaker !== null);
    const speech = wave?.speech ?? list.turns.filter((turn) => turn.text).map(({ start, end }) => [start, end]);
    picture.show({
      peaks: wave?.peaks ?? [],
      step: wave?.step_secs ?? 1,
      speech,
      turns: told.map(({ start, end, speaker }) => ({ start, end, speaker, name: nameOf(speaker) })),
    });
  }

  function chip(speaker) {
    const input = h("input", {
      type: "text",
      "data-speaker": speaker,
      maxlength: 60,
      size: 14,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: undefined,
      on: { input: () => rename(speaker, input.value) },
    });
    tellChip(input);
    return h("li", { class: `speaker-${speaker % 8}` }, h("i", { class: "dot" }), input);
  }

  function tellChip(input) {
    const n = Number(input.dataset.speaker) + 1;
    input.setAttribute("aria-label", t("transcript.nameOf", { n }));
    input.setAttribute("placeholder", t("transcript.speaker", { n }));
  }

  // What is looked for.

  let [found, at] = [[], -1];

  function search(go = true) {
    found = find(
      list.turns.map((turn) => turn.text),
      query.value,
    );
    at = found.length ? Math.min(Math.max(at, 0), found.length - 1) : -1;
    if (go) at = found.length ? 0 : -1;
    tellFound();
    if (go && found.length) showFound();
    paintFound();
  }

  function tellFound() {
    count.textContent = !query.value.trim()
      ? ""
      : found.length
        ? t("transcript.found", { n: at + 1, all: found.length })
        : t("transcript.notFound");
    for (const button of [previousButton, nextButton]) button.disabled = !found.length;
  }

  function step(by) {
    if (!found.length) return;
    at = (at + by + found.length) % found.length;
    tellFound();
    showFound();
    paintFound();
  }

  function showFound() {
    follow(false);
    list.turns[found[at].index].item.scrollIntoView({ block: "center" });
  }

  /** Marks what is found near the window, without a change of the document. */
  function paintFound() {
    if (!CSS.highlights || (!found.length && !CSS.highlights.has("found"))) return;
    const [others, one] = [new Highlight(), new Highlight()];
    found.forEach((place, i) => {
      const turn = list.turns[place.index];
      if (!turn.body.isConnected || (i !== at && !list.near().has(turn))) return;
      (i === at ? one : others).add(rangeIn(turn.body, place.from, place.to));
    });
    CSS.highlights.set("found", others);
    CSS.highlights.set("found-now", one);
  }

  // What is taken away.

  function download(extension) {
    const { type, write } = FORMATS[extension];
    const url = URL.createObjectURL(new Blob([write(transcript)], { type: `${type};charset=utf-8` }));
    const name = (job.filename ?? "transcript").replace(/\.[^.]+$/u, "");
    h("a", { href: url, download: `${name}.${extension}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    menu.open = false;
  }

  async function copy() {
    const text = writeParagraphs(transcript, nameOf);
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyByHand(text); // over plain HTTP there is no clipboard API
    }
    announce(t("transcript.copied"));
    copyButton.dataset.t = "transcript.copied";
    copyButton.textContent = t("transcript.copied");
    setTimeout(() => {
      copyButton.dataset.t = "transcript.copy";
      copyButton.textContent = t("transcript.copy");
    }, 2000);
  }

  // How it is laid out.

  const query = h("input", {
    type: "search",
    label: "transcript.search",
    placeholder: "transcript.search",
    on: {
      input: () => search(),
      keydown(event) {
        if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
      },
    },
  });
  const count = h("span", { class: "muted small number", role: "status" });
  const previousButton = h(
    "button",
    { class: "quiet icon", label: "transcript.previous", on: { click: () => step(-1) } },
    "↑",
  );
  const nextButton = h("button", { class: "quiet icon", label: "transcript.next", on: { click: () => step(1) } }, "↓");
  const editButton = h("button", {
    class: "toggle",
    text: "transcript.edit",
    title: "transcript.editHow",
    "aria-pressed": "false",
    on: {
      click() {
        const on = editButton.getAttribute("aria-pressed") === "false";
        editButton.setAttribute("aria-pressed", on);
        list.letClicksEdit(on);
      },
    },
  });
  const copyButton = h("button", { text: "transcript.copy", on: { click: copy } });
  const menu = h(
    "details",
    { class: "menu" },
    h("summary", { text: "transcript.export" }),
    h(
      "div",
      { class: "choices" },
      Object.keys(FORMATS).map((extension) =>
        h("button", { class: "quiet", text: `transcript.as.${extension}`, on: { click: () => download(extension) } }),
      ),
    ),
  );
  const bar = h(
    "div",
    { class: "toolbar" },
    h("div", { class: "row search", role: "search" }, query, count, previousButton, nextButton),
    h("div", { class: "row" }, editButton, copyButton, menu),
  );
  const people = h("ul", { class: "row people", label: "transcript.speakers" });
  const unsure = h("input", { type: "checkbox", on: { change: markUnsure } });
  unsure.checked = recall("unsure", true);
  const restoreButton = h("button", {
    class: "quiet",
    hidden: true,
    text: "transcript.restore",
    on: { click: restore },
  });
  const unkept = h("p", { class: "wrong", role: "alert", hidden: true, text: "transcript.unkept" });
  const followButton = h("button", {
    class: "follow",
    hidden: true,
    text: "transcript.follow",
    on: { click: () => follow(true) },
  });
  const dock = h("div", { class: "dock" }, followButton, picture.element, sound.element);

  function markUnsure() {
    remember("unsure", unsure.checked);
    list.element.classList.toggle("unsure-marked", unsure.checked);
  }

  const empty = job.segments.length ? null : h("p", { class: "muted", text: "transcript.silent" });
  root.replaceChildren(
    h(
      "div",
      { class: "transcript" },
      h("a", { class: "small", href: "#files", text: "transcript.toFiles" }),
      h("h1", {}, job.filename ?? t("transcript.unnamed")),
      h("p", { class: "muted small" }, [clock(duration), job.language, job.model].filter(Boolean).join(" · ")),
      empty,
      h(
        "div",
        { class: "row about" },
        people,
        h("label", { class: "check" }, unsure, h("span", { class: "unsure", text: "transcript.unsure" })),
        restoreButton,
      ),
      unkept,
      bar,
      list.element,
      dock,
    ),
  );

  // What is pressed and scrolled anywhere on the page.

  const leaving = new AbortController();
  const everywhere = (target, event, handler) =>
    target.addEventListener(event, handler, { signal: leaving.signal, passive: event !== "keydown" });
  everywhere(document, "keydown", (event) => {
    const { target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && menu.open) {
      menu.open = false;
      menu.firstElementChild.focus();
    }
    if (target.closest("input, textarea, select, summary, [role=slider]")) return;
    if (["PageUp", "PageDown", "Home", "End"].includes(event.key)) follow(false);
    if (event.key === "ArrowLeft") sound.step(-5);
    else if (event.key === "ArrowRight") sound.step(5);
    else if (event.key === " " && !target.closest("button, a")) sound.toggle();
    else return;
    event.preventDefault();
  });
  everywhere(window, "wheel", () => follow(false));
  everywhere(window, "touchmove", (event) => event.target.closest(".dock") || follow(false));
  everywhere(document, "pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  everywhere(window, "pagehide", saveNow);
  everywhere(sound.audio, "play", () => follow(true));
  everywhere(sound.audio, "pause", () => follow(following));

  document.documentElement.classList.add("reading");
  markUnsure();
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
      CSS.highlights?.delete("found");
      CSS.highlights?.delete("found-now");
    },
    retell() {
      list.show(list.turns);
      people.querySelectorAll("input").forEach(tellChip);
      sound.retell();
      tellFound();
      draw();
    },
  };
}

function copyByHand(text) {
  const field = h("textarea", { class: "unseen" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
