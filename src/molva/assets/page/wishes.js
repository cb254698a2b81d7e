/** What is wanted of recordings before they are sent: language, model, translation, speakers. */

import { json } from "./api.js";
import { h } from "./dom.js";
import { languageName } from "./figures.js";
import { recall, remember } from "./store.js";
import { t } from "./texts.js";

const KINDS = ["language", "model", "task", "diarization"];

/** A part of the page with whatever this server leaves to choose: `{ element, fields(), load(), retell() }`. */
export function wishes() {
  const language = h("select", { label: "wish.language", on: { change: keep } });
  const model = h("select", { label: "wish.model", on: { change: keep } });
  const translate = h("input", { type: "checkbox", on: { change: keep } });
  const speakers = h("input", { type: "checkbox", on: { change: keep } });
  const parts = {
    language: h("label", { class: "wish" }, h("span", { text: "wish.language" }), language),
    model: h("label", { class: "wish" }, h("span", { text: "wish.model" }), model),
    task: h("label", { class: "check" }, translate, h("span", { text: "wish.translate" })),
    diarization: h("label", { class: "check" }, speakers, h("span", { text: "wish.speakers" })),
  };
  const chosen = h("span", { class: "muted small" });
  const summary = h("summary", {}, h("span", { text: "wish.title" }), " ", chosen);
  const element = h("details", { class: "wishes", hidden: true }, summary, h("div", { class: "row" }, Object.values(parts)));
  let offered = null;

  /** The fields of POST /jobs. */
  function fields() {
    const wanted = recall("wishes", {});
    const models = able(offered?.models ?? [], wanted);
    return {
      ...(models.some(({ languages }) => languages.includes(wanted.language)) && { language: wanted.language }),
      ...(offered?.models.some(({ id }) => id === wanted.model) && { model: wanted.model }),
      ...(wanted.task && models.some(({ tasks }) => tasks.includes("translate")) && { task: "translate" }),
      ...(wanted.diarization && offered?.diarization && { diarization: "true" }),
    };
  }

  function keep() {
    remember("wishes", {
      language: language.value,
      model: model.value,
      task: translate.checked,
      diarization: speakers.checked,
    });
    retell();
  }

  function retell() {
    if (!offered) return;
    const wanted = fields();
    const models = able(offered.models, wanted);
    const codes = [...new Set(models.flatMap(({ languages }) => languages))].map((code) => [code, languageName(code)]);
    codes.sort(([, a], [, b]) => a.localeCompare(b));
    fill(language, [["", t("wish.auto")], ...codes], wanted.language);
    fill(model, [["", t("wish.best")], ...offered.models.map(({ id }) => [id, id])], wanted.model);
    translate.checked = wanted.task === "translate";
    speakers.checked = wanted.diarization === "true";
    parts.language.hidden = codes.length < 2;
    parts.model.hidden = offered.models.length < 2;
    parts.task.hidden = !models.some(({ tasks }) => tasks.includes("translate"));
    parts.diarization.hidden = !offered.diarization;
    element.hidden = KINDS.every((kind) => parts[kind].hidden);
    chosen.textContent = [
      wanted.language && languageName(wanted.language),
      wanted.model,
      wanted.task && t("wish.translate"),
      wanted.diarization && t("wish.speakers"),
    ].filter(Boolean).join(" · ");
  }

  /** Asks what is here. A server that cannot tell leaves nothing to choose. */
  async function load() {
    try {
      const { data, diarization } = await json("v1/models");
      offered = { models: data.filter(({ languages }) => languages?.length), diarization };
      retell();
    } catch {
      offered = null;
    }
  }

  return { element, fields, load, retell };
}

/** The models that may serve it. */
function able(models, wanted) {
  return models.some(({ id }) => id === wanted.model) ? models.filter(({ id }) => id === wanted.model) : models;
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([code, name]) => h("option", { value: code }, name)));
  select.value = value ?? "";
}
