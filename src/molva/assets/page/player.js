/** What is heard: an audio element over a recording that the browser has, and the controls for it. */

import { h, write } from "./dom.js";
import { formatClock } from "./figures.js";

const STEP_S = 5;

/**
 * Controls and their state. `moved(time)` is called whenever the position changes, each frame while it plays;
 * `chosen(file)` when somebody picks the recording. Without a recording the position can still be moved.
 */
export function player({ duration, moved, chosen }) {
  const audio = h("audio", { preload: "metadata" });
  let [url, position, frame, told] = [null, 0, 0, false];

  const toggleButton = h("button", { class: "primary icon play", label: "transcript.play", onclick: toggle });
  const now = h("span", { class: "number" }, formatClock(0));
  const file = h("input", { type: "file", hidden: true, accept: "audio/*,video/*", onchange: pick });
  const reason = h("span", { class: "muted small", role: "status" });
  const choose = h("button", { class: "primary", text: "transcript.choose", onclick: () => file.click() });
  const missing = h("span", { class: "row" }, choose, reason);
  const jump = (label, by, sign) => h("button", { class: "quiet", label, onclick: () => step(by) }, sign);
  const controls = h("span", { class: "row", hidden: true },
    jump("transcript.back", -1, `−${STEP_S}`), toggleButton, jump("transcript.forward", 1, `+${STEP_S}`));
  const element = h("div", { class: "row" },
    controls, missing, file, h("span", { class: "muted number grow" }, now, ` / ${formatClock(duration)}`));

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
    now.textContent = formatClock(position);
    if (toggleButton.classList.toggle("playing", !audio.paused) !== told) {
      told = !told;
      write(toggleButton, "label", told ? "transcript.pause" : "transcript.play");
    }
    moved(position);
  }

  function pick() {
    if (file.files.length) chosen(file.files[0]);
  }

  function tellMissing(key) {
    write(reason, "text", key);
    [missing.hidden, controls.hidden] = [false, true];
  }

  function seek(time) {
    position = Math.min(Math.max(time, 0), duration);
    if (url) audio.currentTime = position;
    show();
  }

  function step(steps) {
    seek(position + steps * STEP_S);
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

  return {
    element,
    audio,
    load,
    unload,
    play,
    seek,
    step,
    toggle,
    pause: () => audio.pause(),
    get time() {
      return position;
    },
    get playing() {
      return !audio.paused;
    },
  };
}
