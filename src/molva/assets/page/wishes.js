/** What is wanted of recordings before they are sent: language, translation, speakers. */

import { json } from "./api.js";
import { checkbox, choice, h } from "./dom.js";
import { languageName } from "./figures.js";
import { recall, remember } from "./store.js";
import { t } from "./texts.js";

/** A part of the page with whatever this server leaves to choose: `{ element, fields(), load(), retell() }`. */
export function wishes() {
  const language = choice("files.language", keep);
  const task = checkbox("files.translate", keep);
  const diarization = checkbox("page.diarization", keep);
  const parts = [language, task, diarization].map(({ element }) => element);
  const element = h("details", { class: "wishes" },
    h("summary", { text: "files.options" }), h("div", { class: "row" }, parts));
  let offered = { languages: [] };

  /** What of the choice this server can do, as fields of POST /jobs. */
  function fields() {
    const wanted = recall("wishes", {});
    return {
      ...(offered.languages.includes(wanted.language) && { language: wanted.language }),
      ...(wanted.task && offered.translates && { task: "translate" }),
      ...(wanted.diarization && offered.diarization && { diarization: "true" }),
    };
  }

  function keep() {
    remember("wishes", {
      language: language.select.value,
      task: task.input.checked,
      diarization: diarization.input.checked,
    });
    retell();
  }

  function retell() {
    const wanted = fields();
    const names = offered.languages.map((code) => [code, languageName(code)]).sort(([, a], [, b]) => a.localeCompare(b));
    const options = [["", t("files.auto")], ...names].map(([value, name]) => h("option", { value }, name));
    language.select.replaceChildren(...options);
    language.select.value = wanted.language ?? "";
    task.input.checked = Boolean(wanted.task);
    diarization.input.checked = Boolean(wanted.diarization);
    const offers = [names.length > 1, offered.translates, offered.diarization];
    parts.forEach((part, i) => (part.hidden = !offers[i]));
    element.hidden = !offers.some(Boolean);
    element.open ||= Object.keys(wanted).length > 0; // what counts is seen
  }

  /** Asks what is here. A server that cannot tell leaves nothing to choose. */
  async function load() {
    const { data = [], diarization: speakers } = await json("/v1/models").catch(() => ({}));
    offered = {
      languages: [...new Set(data.flatMap(({ languages }) => languages ?? []))],
      translates: data.some(({ tasks }) => tasks?.includes("translate")),
      diarization: speakers,
    };
    retell();
  }

  retell();
  return { element, fields, load, retell };
}
