/** The page: its parts, which one is shown, language and key. */

import { access, key } from "./api.js";
import { translate } from "./dom.js";
import { files } from "./files.js";
import { live } from "./live.js";
import { serverView } from "./server.js";
import { currentLanguage, LANGUAGES, setLanguage, t } from "./texts.js";

/** Each has `show(rest)`, `hide()`, and `retell()` for what carries no key of texts.js. */
const views = {
  live: live(document.getElementById("view-live")),
  files: files(document.getElementById("view-files")),
  server: serverView(document.getElementById("view-server")),
};

let shown = null;

/** `#files/ID` is the view `files` with the rest `ID`. */
function route() {
  const [name, ...rest] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (name === "content") return; // the link for those who skip the bar
  const wanted = name in views ? name : "live";
  if (shown !== wanted) {
    if (shown !== null) views[shown].hide();
    for (const each of Object.keys(views)) document.getElementById(`view-${each}`).hidden = each !== wanted;
    for (const link of document.querySelectorAll("[data-view]")) {
      if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    shown = wanted;
  }
  views[wanted].show(rest.join("/"));
  document.title = `${t(`page.${wanted}`)} · molva`;
}

function applyLanguage() {
  document.documentElement.lang = currentLanguage();
  const other = LANGUAGES.find((each) => each !== currentLanguage());
  const button = document.getElementById("language");
  button.textContent = { en: "English", ru: "Русский" }[other];
  button.lang = other;
  translate();
  for (const view of Object.values(views)) view.retell();
}

function askForKey() {
  const dialog = document.getElementById("key-dialog");
  document.getElementById("key").hidden = false;
  document.getElementById("key-wrong").hidden = !key.value;
  if (!dialog.open) dialog.showModal();
}

document.getElementById("language").addEventListener("click", () => {
  setLanguage(LANGUAGES.find((each) => each !== currentLanguage()));
  applyLanguage();
  route();
});
document.getElementById("key").addEventListener("click", askForKey);
document.getElementById("key-dialog").addEventListener("submit", () => {
  key.keep(document.getElementById("key-field").value, { forSession: !document.getElementById("key-keep").checked });
  location.reload();
});
document.getElementById("key-forget").addEventListener("click", () => {
  key.keep("", { forSession: true });
  location.reload();
});
document.getElementById("key").hidden = !key.value;
access.addEventListener("locked", askForKey);
addEventListener("hashchange", route);
applyLanguage();
route();
