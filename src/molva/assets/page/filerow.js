/** One recording in the list of files. */

import { h } from "./dom.js";
import { formatBytes, formatClock, formatSpeed, languageName } from "./figures.js";
import { formatNumber, t } from "./texts.js";

/** States in which something is under way. */
export const UNDER_WAY = ["waiting", "sending", "pausing", "queued", "running"];

const HOPELESS = ["empty_body", "unreadable"];

/** In the language of the page, what an error is about. */
export function reasonOf(error) {
  if (error.code && t.has(`error.${error.code}`)) return t(`error.${error.code}`);
  if (error.status && t.has(`error.status${error.status}`)) return t(`error.status${error.status}`);
  return error.status ? error.message : t("error.unreachable");
}

const percent = (n) => formatNumber(n / 100, { style: "percent", maximumFractionDigits: 0 });

/** What is known of a recording: size, length, language, model. */
function facts({ size, job }) {
  return [
    size && formatBytes(size),
    job?.duration_secs !== undefined && formatClock(job.duration_secs),
    job?.language && languageName(job.language),
    job?.task === "translate" && t("file.translated"),
    job?.model,
  ].filter(Boolean).join(" · ");
}

function sending({ sent, size, speed }) {
  const left = speed ? (size - sent) / speed : null;
  return [
    t(sent < size ? "file.sending" : "file.arriving", { percent: percent((100 * sent) / size) }),
    t("file.of", { sent: formatBytes(sent), size: formatBytes(size) }),
    speed && formatSpeed(speed),
    left > 1 && t("file.left", { time: formatClock(left) }),
  ].filter(Boolean).join(" · ");
}

/** What is going on with it, in words. */
function told(item) {
  const { state, job, reason } = item;
  if (state === "sending") return sending(item);
  if (state === "pausing") return `${reasonOf(reason)} ${t("file.again")}`;
  if (state === "refused") return reasonOf(reason);
  if (state === "queued" && job.ahead > 0) return t("file.ahead", { n: formatNumber(job.ahead) });
  if (state === "running" && job.progress > 0) return t("file.running", { percent: percent(job.progress) });
  if (state === "running") return t("file.looking");
  if (state === "failed") return `${job.error} ${t("file.next")}`;
  if (state === "done") {
    const seconds = (Date.parse(job.completed_at) - Date.parse(job.created_at)) / 1000;
    return t("file.done", { time: formatClock(Math.max(seconds, 1)) });
  }
  return t(`file.${state}`);
}

/** 0 to 100, or null where there is nothing to measure. */
function share({ state, sent, size, job }) {
  if (state === "sending") return (100 * sent) / size;
  if (state === "running" && job.progress > 0) return job.progress;
  return null;
}

/**
 * The element of an item, and `update()` which shows the item as it is now. `actions` are called with the item:
 * `cancel`, `remove`, `again`.
 */
export function fileRow(item, actions) {
  const name = h("span", { class: "file-name" });
  const detail = h("span", { class: "file-facts muted small number" });
  const status = h("p", { class: "file-status small number" });
  const bar = h("progress", { max: 100 });
  const open = h("a", { class: "button" });
  const button = (key, kind, act) => h("button", { class: kind, text: key, on: { click: act } });
  const cancel = button("file.cancel", "", () => actions.cancel(item));
  const again = button("file.retry", "", () => actions.again(item));
  const remove = button("file.remove", "quiet", () => (item.state === "done" ? ask(true) : actions.remove(item)));
  const yes = button("file.sure", "danger", () => actions.remove(item));
  const no = button("file.keep", "quiet", () => ask(false));
  const asked = h("span", { text: "file.question" });
  const question = h("div", { class: "row end", hidden: true, role: "group" }, asked, yes, no);
  const usual = h("div", { class: "row end" }, open, again, cancel, remove);
  const element = h("li", { class: "file" },
    h("div", { class: "grow" }, name, detail, status, bar), usual, question);

  function ask(asking) {
    question.hidden = !asking;
    usual.hidden = asking;
    (asking ? no : remove).focus();
  }

  function update() {
    const { state, id } = item;
    const title = item.job?.filename ?? item.name ?? t("file.unnamed");
    const focused = usual.contains(document.activeElement) ? document.activeElement : null;
    element.dataset.state = state;
    name.textContent = title;
    name.title = title;
    detail.textContent = facts(item);
    status.textContent = told(item);
    const done = share(item);
    bar.hidden = !["sending", "running"].includes(state);
    if (done === null) bar.removeAttribute("value");
    else bar.value = done;
    bar.setAttribute("aria-label", t("file.progress", { name: title }));
    open.hidden = state !== "done";
    open.textContent = t("file.open");
    if (id) open.href = `#files/${id}`;
    cancel.hidden = !UNDER_WAY.includes(state);
    cancel.setAttribute("aria-disabled", String(item.ending === true)); // disabled, it would lose the focus
    again.hidden = !["refused", "failed", "cancelled"].includes(state) || HOPELESS.includes(item.reason?.code);
    remove.hidden = UNDER_WAY.includes(state);
    for (const control of [open, cancel, remove, again]) {
      control.setAttribute("aria-label", `${control.textContent}: ${title}`);
    }
    question.setAttribute("aria-label", `${t("file.question")} ${title}`);
    if (focused?.hidden) usual.querySelector(":scope > :not([hidden])").focus();
  }

  update();
  return { element, update };
}
