/** Elements without a framework, and what is said to screen readers. */

import { t } from "./texts.js";

/**
 * A new element. `props`: `class`, `text` (a key of texts.js, kept in the language of the page), `label`, `title` and
 * `placeholder` (the same for these attributes), `on` (events and their handlers); others are attributes, left out
 * where false, null or undefined. Children are elements or strings; null is skipped.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "text") translated(element, "t", value);
    else if (name in TRANSLATED) translated(element, TRANSLATED[name], value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const TRANSLATED = { label: "tLabel", title: "tTitle", placeholder: "tPlaceholder" };
const ATTRIBUTES = { tLabel: "aria-label", tTitle: "title", tPlaceholder: "placeholder" };

function translated(element, field, key) {
  element.dataset[field] = key;
  if (field === "t") element.textContent = t(key);
  else element.setAttribute(ATTRIBUTES[field], t(key));
}

/** Puts all texts that carry a key into the language of the page. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const [field, attribute] of Object.entries(ATTRIBUTES)) {
    const name = field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const element of root.querySelectorAll(`[data-${name}]`)) {
      element.setAttribute(attribute, t(element.dataset[field]));
    }
  }
}

/** Says something to screen readers, which nobody sees. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** A strip over the page until it is told otherwise; an empty text takes it away. */
export function banner(text) {
  const strip = document.getElementById("banner");
  strip.textContent = text;
  strip.hidden = !text;
}
