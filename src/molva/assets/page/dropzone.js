/** Where recordings come into the page: dropped anywhere in a view, chosen, or pasted. */

import { h } from "./dom.js";

/**
 * The card to drop files on, which has `children` in it. `take(files)` gets what came; `open()` tells whether the view
 * takes any now.
 */
export function dropZone({ take, open }, ...children) {
  const input = h("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true" });
  const choose = h("button", { class: "primary", text: "drop.choose", on: { click: () => input.click() } });
  const element = h("div", { class: "card drop" },
    h("p", { class: "drop-title", text: "drop.title" }),
    h("div", {}, choose, input),
    h("p", { class: "muted small", text: "drop.hint" }),
    ...children);
  const over = (on) => element.classList.toggle("over", on);
  const hasFiles = (event) => open() && event.dataTransfer?.types.includes("Files");
  let depth = 0; // each element that the pointer crosses is entered and left

  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    over(true);
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    over(depth > 0);
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over(false);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    if (open() && event.clipboardData?.files.length) take([...event.clipboardData.files]);
  });
  return { element, focus: () => choose.focus() };
}
