/** Elements without a framework, and what is said to screen readers. */

import { t } from "./texts.js";

const SLOTS = { text: "", label: "aria-label", title: "title", placeholder: "placeholder" };

/**
 * A new element. `props`: `text`, `label`, `title` and `placeholder` are keys of texts.js, `onclick` and the like
 * handlers, others attributes, left out where false, null or undefined. So are children.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (isNothing(value)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in SLOTS) write(element, name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => !isNothing(child)));
  return element;
}

const isNothing = (value) => value === false || value === null || value === undefined;

/** Puts the text of a key into a `slot` of an element: `text`, `label`, `title` or `placeholder`. */
export function write(element, slot, key) {
  element.setAttribute(`data-t-${slot}`, key);
  if (slot === "text") element.textContent = t(key);
  else element.setAttribute(SLOTS[slot], t(key));
}

/** Puts all texts that carry a key into the language of the page. */
export function translate() {
  for (const slot of Object.keys(SLOTS)) {
    const name = `data-t-${slot}`;
    for (const element of document.querySelectorAll(`[${name}]`)) write(element, slot, element.getAttribute(name));
  }
}

/** What went wrong, as `tell` has it. */
export const noticeLine = () => h("p", { class: "notice", role: "alert", hidden: true });

/** An element that is there as long as it has something to say. */
export function tell(element, text) {
  element.hidden = !text;
  if (element.textContent !== text) element.textContent = text; // else it would be read out again
}

/** Says something to screen readers, which nobody sees. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Colours for speakers, in the style sheet. */
export const SPEAKERS = 6;

/** An element in the colour of a speaker. */
export function coloured(element, speaker) {
  element.style.color = `var(--speaker-${speaker % SPEAKERS})`;
  return element;
}

/** A switch with its words. */
export function checkbox(key, onchange) {
  const input = h("input", { type: "checkbox", onchange });
  return { input, element: h("label", { class: "check" }, input, h("span", { text: key })) };
}

/** Something to choose, with its name above. */
export function choice(key, onchange) {
  const select = h("select", { onchange });
  return { select, element: h("label", { class: "choice small muted" }, h("span", { text: key }), select) };
}
