/** What is heard: an audio element over a recording that the browser has, and the controls for it. */

import { h } from "./dom.js";
import { formatNumber, t } from "./texts.js";

const STEP_S = 5;
const SPEEDS = [0.75, 1, 1.25, 1.5, 2];

/** `m:ss`, with hours where there are any. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * Controls and their state. `moved(time)` is called whenever the position changes, each frame while it plays;
 * `chosen(file)` when somebody picks the recording. Without a recording the position can still be moved.
 */
export function player({ duration, moved, chosen }) {
  const audio = h("audio", { preload: "metadata" });
  let [url, position, frame] = [null, 0, 0];

  const toggleButton = h("button", { class: "primary icon play", label: "transcript.play", on: { click: toggle } });
  const now = h("span", { class: "number" }, clock(0));
  const speed = h(
    "select",
    { label: "transcript.speed", on: { change: () => (audio.playbackRate = Number(speed.value)) } },
    SPEEDS.map((value) => h("option", { value, selected: value === 1 })),
  );
  const file = h("input", { type: "file", hidden: true, accept: "audio/*,video/*", on: { change: pick } });
  const missing = h(
    "span",
    { class: "row missing" },
    h("button", { class: "primary", text: "transcript.choose", on: { click: () => file.click() } }),
    h("span", { class: "muted small", role: "status" }),
  );
  const controls = h(
    "span",
    { class: "row", hidden: true },
    h("button", { class: "quiet", label: "transcript.back", on: { click: () => step(-STEP_S) } }, `−${STEP_S}`),
    toggleButton,
    h("button", { class: "quiet", label: "transcript.forward", on: { click: () => step(STEP_S) } }, `+${STEP_S}`),
  );
  const element = h(
    "div",
    { class: "row player", role: "group", label: "transcript.player" },
    controls,
    missing,
    file,
    h("span", { class: "muted number grow" }, now, ` / ${clock(duration)}`),
    speed,
  );

  audio.addEventListener("play", run);
  audio.addEventListener("pause", show);
  audio.addEventListener("seeked", show);
  audio.addEventListener("error", () => url && tellMissing("transcript.unplayable"));

  /** Frames only while it plays. */
  function run() {
    cancelAnimationFrame(frame);
    show();
    if (!audio.paused) frame = requestAnimationFrame(run);
  }

  function show() {
    if (url) position = audio.currentTime;
    now.textContent = clock(position);
    const key = audio.paused ? "transcript.play" : "transcript.pause";
    if (toggleButton.dataset.tLabel !== key) {
      toggleButton.dataset.tLabel = key;
      toggleButton.setAttribute("aria-label", t(key));
      toggleButton.classList.toggle("playing", !audio.paused);
    }
    moved(position);
  }

  function pick() {
    if (file.files.length) chosen(file.files[0]);
  }

  function tellMissing(key) {
    const note = missing.lastElementChild;
    note.dataset.t = key;
    note.textContent = t(key);
    [missing.hidden, controls.hidden] = [false, true];
  }

  function seek(time) {
    position = Math.min(Math.max(time, 0), duration);
    if (url) audio.currentTime = position;
    show();
  }

  function step(seconds) {
    seek(position + seconds);
  }

  function toggle() {
    if (!audio.paused) audio.pause();
    else if (url) play(position >= duration ? 0 : position);
  }

  function play(time) {
    seek(time);
    // Rejected where the browser cannot, which `error` tells, and where a pause was quicker.
    if (url) audio.play().catch(() => {});
  }

  function load(blob) {
    unload();
    if (!blob) return tellMissing("transcript.missing");
    url = URL.createObjectURL(blob);
    audio.src = url;
    audio.currentTime = position;
    audio.playbackRate = Number(speed.value);
    [missing.hidden, controls.hidden] = [true, false];
  }

  /** Silence, and nothing kept in memory. */
  function unload() {
    cancelAnimationFrame(frame);
    audio.pause();
    if (url) URL.revokeObjectURL(url);
    url = null;
    audio.removeAttribute("src");
  }

  function retell() {
    for (const option of speed.options) option.textContent = `${formatNumber(Number(option.value))}×`;
  }

  retell();
  return {
    element,
    audio,
    load,
    unload,
    play,
    seek,
    step,
    toggle,
    retell,
    pause: () => audio.pause(),
    get time() {
      return position;
    },
    get playing() {
      return !audio.paused;
    },
  };
}
