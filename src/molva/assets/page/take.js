/** How a transcript is taken away: copied, or saved as a file. */

import { announce, h, write } from "./dom.js";
import { FORMATS } from "./export.js";
import { t } from "./texts.js";

const COPIED_MS = 2000;

/** A button that copies what `text()` gives. */
export function copyButton(text) {
  const button = h("button", { text: "page.copy", onclick: click });

  async function click() {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      copyByHand(text()); // over plain HTTP there is no clipboard API
    }
    announce(t("page.copied"));
    write(button, "text", "page.copied");
    setTimeout(() => write(button, "text", "page.copy"), COPIED_MS);
  }

  return button;
}

function copyByHand(text) {
  const field = h("textarea", { class: "unseen" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** A menu that saves the transcript that `transcript()` gives, in any format; `name()` is the file's, without its end. */
export function exportMenu(transcript, name) {
  const save = (extension) => {
    const { type, write: written } = FORMATS[extension];
    const href = URL.createObjectURL(new Blob([written(transcript())], { type: `${type};charset=utf-8` }));
    h("a", { href, download: `${name()}.${extension}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
    menu.open = false;
  };
  const menu = h("details", { class: "menu" },
    h("summary", { text: "page.export" }),
    h("div", {}, Object.keys(FORMATS).map((extension) =>
      h("button", { class: "quiet", text: `page.${extension}`, onclick: () => save(extension) }))));
  return menu;
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (event.key === "Escape") menu.firstElementChild.focus();
    else if (event.key || menu.contains(event.target)) continue;
    menu.open = false;
  }
}

addEventListener("pointerdown", closeMenus);
addEventListener("keydown", closeMenus);
