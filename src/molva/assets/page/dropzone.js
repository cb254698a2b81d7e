/** Where recordings come into the page: dropped anywhere in a view, or chosen. */

import { h } from "./dom.js";

/**
 * The card to drop files on, which has `children` in it. `take(files)` gets what came; `open()` tells whether the view
 * takes any now.
 */
export function dropZone({ take, open }, ...children) {
  const input = h("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true" });
  const choose = h("button", { class: "primary", text: "files.choose", onclick: () => input.click() });
  const element = h("div", { class: "card drop" },
    h("p", { class: "drop-title", text: "files.drop" }),
    choose,
    input,
    h("p", { class: "muted small", text: "files.hint" }),
    ...children);
  const over = (on) => element.classList.toggle("over", on);
  const hasFiles = (event) => open() && event.dataTransfer?.types.includes("Files");

  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false); // it has left the window
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    over(true);
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(false);
    take([...event.dataTransfer.files]);
  });
  return { element, focus: () => choose.focus() };
}
