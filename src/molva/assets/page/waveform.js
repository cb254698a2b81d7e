/** A recording to look at: all of it, and a minute around the position; loudness, speech, and who speaks. */

import { h, SPEAKERS } from "./dom.js";
import { formatClock } from "./figures.js";
import { t } from "./texts.js";

const ZOOM_S = 60;
const LANES = { overview: { speech: 3, speakers: 5 }, zoom: { speech: 4, speakers: 16 } };
const KEYS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 };
const ENDS = { Home: -Infinity, End: Infinity };

/** First index of `items` for which `after(item)` is true, as it is for all behind it. */
export function firstIndex(items, after) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (after(items[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * A slider on canvases: `seek(time)` is called where somebody points or presses an arrow, `at(time)` moves the playhead.
 * `show(data)` takes `peaks` (0 to 255, each `step` seconds), `speech` (`[start, end]`) and `turns` in order of time.
 */
export function waveform({ duration, seek }) {
  const short = duration <= ZOOM_S;
  const parts = (short ? ["zoom"] : ["overview", "zoom"]).map(makePart);
  const slider = { role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": Math.round(duration) };
  const element = h("div", { class: "wave", label: "transcript.position", ...slider }, parts.map(({ box }) => box));
  const zoom = parts.at(-1);
  const frame = short ? null : h("i", { class: "window" });
  if (frame) parts[0].box.append(frame);
  let data = { peaks: [], step: 1, speech: [], turns: [], loudest: 1 };
  let [time, dragged] = [0, null];

  function makePart(name) {
    const [canvas, head] = [h("canvas"), h("i", { class: "now" })];
    const box = h("div", { class: `part ${name}` }, canvas, head);
    const part = { name, canvas, head, box, from: 0, to: name === "zoom" ? Math.min(duration, ZOOM_S) : duration };
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      box.setPointerCapture(event.pointerId);
      dragged = part;
      point(part, event);
    });
    box.addEventListener("pointermove", (event) => dragged === part && point(part, event));
    box.addEventListener("lostpointercapture", () => {
      dragged = null;
      at(time);
    });
    return part;
  }

  function point(part, event) {
    const { left, width } = part.canvas.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - left) / width, 0), 1);
    seek(part.from + share * (part.to - part.from));
  }

  element.addEventListener("keydown", (event) => {
    const by = KEYS[event.key] ?? ENDS[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    seek(Math.min(Math.max(time + by, 0), duration));
  });

  function at(moved) {
    time = moved;
    const length = zoom.to - zoom.from;
    // A page at a time, and not under somebody's finger.
    if (dragged !== zoom && (time < zoom.from || time > zoom.to - (zoom.to < duration ? length * 0.05 : 0))) {
      zoom.from = Math.max(0, Math.min(time - length * 0.1, duration - length));
      zoom.to = zoom.from + length;
      draw(zoom);
    }
    for (const { head, canvas, from, to } of parts) {
      head.style.transform = `translateX(${((time - from) / (to - from || 1)) * canvas.clientWidth}px)`;
    }
    if (frame) {
      frame.style.left = `${(zoom.from / duration) * 100}%`;
      frame.style.width = `${(length / duration) * 100}%`;
    }
    const text = t("page.of", { n: formatClock(time), all: formatClock(duration) });
    if (element.ariaValueText === text) return;
    element.ariaValueText = text;
    element.ariaValueNow = String(Math.round(time));
  }

  /** What a custom property stands for now: `light-dark()` is resolved only in a real property. */
  function colour(name) {
    element.style.setProperty("outline-color", `var(--${name})`);
    const found = getComputedStyle(element).outlineColor;
    element.style.removeProperty("outline-color");
    return found;
  }

  function draw({ name, canvas, from, to }) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    const scale = devicePixelRatio;
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const x = (at) => ((at - from) / (to - from || 1)) * width;
    const { speech, speakers } = LANES[name];
    const lanes = speech + 2 + (data.turns.length ? speakers + 2 : 0);

    context.fillStyle = colour("control");
    const middle = (height - lanes) / 2;
    const peakAt = (column) => Math.floor((from + (column * (to - from)) / width) / data.step);
    for (let column = 0; column < width && data.peaks.length; column++) {
      const first = peakAt(column);
      const peak = Math.max(0, ...data.peaks.slice(first, Math.max(first + 1, peakAt(column + 1))));
      const half = Math.max(0.5, (peak / data.loudest) * (middle - 1));
      context.fillRect(column, middle - half, 0.8, 2 * half);
    }

    const fills = Array.from({ length: SPEAKERS }, (_, i) => colour(`speaker-${i}`));
    const [accent, ink] = [colour("accent"), colour("surface")];
    context.font = "600 11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const bars = (items, top, thick) => {
      for (let i = firstIndex(items, ({ end }) => end > from); i < items.length && items[i].start < to; i++) {
        const { start, end, speaker, name: who = "" } = items[i];
        const left = Math.max(x(start), 0);
        const long = Math.max(x(end) - left, 1);
        context.fillStyle = fills[speaker % SPEAKERS] ?? accent;
        context.fillRect(left, top, long, thick);
        if (name === "overview" || context.measureText(who).width + 10 > long) continue;
        context.fillStyle = ink;
        context.fillText(who, left + 5, top + thick / 2 + 0.5);
      }
    };
    bars(data.speech, height - lanes + 2, speech);
    bars(data.turns, height - speakers, speakers);
  }

  function redraw() {
    parts.forEach(draw);
    at(time);
  }

  function show(shown) {
    data = {
      ...shown,
      speech: shown.speech.map(([start, end]) => ({ start, end })),
      loudest: shown.peaks.reduce((most, peak) => Math.max(most, peak), 1),
    };
    element.classList.toggle("flat", !data.peaks.length);
    redraw();
  }

  const sizes = new ResizeObserver(redraw);
  sizes.observe(element);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);

  function close() {
    sizes.disconnect();
    dark.removeEventListener("change", redraw);
  }

  return { element, show, at, close };
}
