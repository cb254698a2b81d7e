/** A recording to look at: all of it, and a minute around the position; loudness, speech, and who speaks. */

import { h } from "./dom.js";
import { clock } from "./player.js";
import { t } from "./texts.js";

const ZOOM_S = 60;
const LANES = { overview: { speech: 3, speakers: 5 }, zoom: { speech: 4, speakers: 16 } };
const KEYS = {
  ArrowLeft: -5,
  ArrowDown: -5,
  ArrowRight: 5,
  ArrowUp: 5,
  PageDown: -30,
  PageUp: 30,
  Home: -Infinity,
  End: Infinity,
};

/** First index of `items` for which `after(item)`, which is false and then true, is true. */
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
 * A slider drawn on canvases. `seek(time)` is called where somebody points or presses an arrow. `show(data)` takes
 * `peaks` (0 to 255, each `step` seconds; may be empty), `speech` (`[start, end]`) and `turns` (`{start, end, speaker,
 * name}`), in order of time; `at(time)` moves the playhead.
 */
export function waveform({ duration, seek }) {
  const short = duration <= ZOOM_S;
  const parts = (short ? ["zoom"] : ["overview", "zoom"]).map(makePart);
  const element = h(
    "div",
    {
      class: "wave",
      role: "slider",
      tabindex: 0,
      label: "transcript.position",
      "aria-valuemin": 0,
      "aria-valuemax": Math.round(duration),
    },
    parts.map((part) => part.box),
  );
  const zoom = parts.at(-1);
  const frame = short ? null : h("i", { class: "window" });
  if (frame) parts[0].box.append(frame);
  let data = { peaks: [], step: 1, speech: [], turns: [], loudest: 1 };
  let [time, dragged] = [0, null];

  function makePart(name) {
    const [canvas, head] = [h("canvas"), h("i", { class: "head" })];
    const box = h("div", { class: `part ${name}` }, canvas, head);
    const part = { name, canvas, head, box, from: 0, to: name === "zoom" ? Math.min(duration, ZOOM_S) : duration };
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      box.setPointerCapture(event.pointerId);
      dragged = part;
      point(part, event);
    });
    box.addEventListener("pointermove", (event) => dragged === part && point(part, event));
    for (const end of ["pointerup", "pointercancel"])
      box.addEventListener(end, () => {
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
    if (!(event.key in KEYS) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    seek(Math.min(Math.max(time + KEYS[event.key], 0), duration));
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
    const text = t("transcript.positionIs", { now: clock(time), all: clock(duration) });
    if (element.getAttribute("aria-valuetext") !== text) {
      element.setAttribute("aria-valuetext", text);
      element.setAttribute("aria-valuenow", Math.round(time));
    }
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
    const perPixel = (to - from) / width / data.step;
    for (let column = 0; column < width && data.peaks.length; column++) {
      const first = Math.floor(from / data.step + column * perPixel);
      const last = Math.max(first + 1, Math.floor(from / data.step + (column + 1) * perPixel));
      let peak = 0;
      for (let i = first; i < last && i < data.peaks.length; i++) peak = Math.max(peak, data.peaks[i]);
      const half = Math.max(0.5, (peak / data.loudest) * (middle - 1));
      context.fillRect(column, middle - half, 0.8, 2 * half);
    }

    const bars = (items, top, thick, paint) => {
      const visible = firstIndex(items, (item) => item.end > from);
      for (let i = visible; i < items.length && items[i].start < to; i++) {
        const left = Math.max(x(items[i].start), 0);
        paint(items[i], left, top, Math.max(x(items[i].end) - left, 1), thick);
      }
    };
    context.fillStyle = colour("accent");
    bars(data.speech, height - lanes + 2, speech, (_, ...box) => context.fillRect(...box));
    if (!data.turns.length) return;
    const fills = Array.from({ length: 8 }, (_, i) => colour(`speaker-${i}`));
    const ink = colour("surface");
    context.font = "600 11px system-ui, sans-serif";
    context.textBaseline = "middle";
    bars(data.turns, height - speakers, speakers, (turn, left, top, long, thick) => {
      context.fillStyle = fills[turn.speaker % 8];
      context.fillRect(left, top, long, thick);
      if (name === "zoom" && context.measureText(turn.name).width + 10 < long) {
        context.fillStyle = ink;
        context.fillText(turn.name, left + 5, top + thick / 2 + 0.5);
      }
    });
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
  const theme = new MutationObserver(redraw);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);

  function close() {
    sizes.disconnect();
    theme.disconnect();
    dark.removeEventListener("change", redraw);
  }

  return { element, show, at, close };
}
