/** One recording in the list of files. */

import { reasonOf } from "./api.js";
import { h } from "./dom.js";
import { formatBytes, formatClock, formatPercent, languageName } from "./figures.js";
import { t } from "./texts.js";

/** States in which something is under way. */
export const UNDER_WAY = ["waiting", "sending", "pausing", "queued", "running"];

const HOPELESS = ["empty_body", "unreadable"];

export const nameOf = ({ job, name }) => job?.filename ?? name ?? t("page.unnamed");

const join = (...parts) => parts.filter(Boolean).join(" · ");

/** What is known of a recording: size, length, language, model. */
const facts = ({ size, job }) =>
  join(
    size && formatBytes(size),
    job?.duration_secs !== undefined && formatClock(job.duration_secs),
    job?.language && languageName(job.language),
    job?.task === "translate" && t("file.translated"),
    job?.model,
  );

const sending = ({ sent, size }) =>
  join(
    t(sent < size ? "file.sending" : "file.arriving", { percent: formatPercent(sent / size) }),
    t("page.of", { n: formatBytes(sent), all: formatBytes(size) }),
  );

/** What is going on with it, in words. */
export function told(item) {
  const { state, job, reason } = item;
  if (state === "sending") return sending(item);
  if (state === "pausing") return `${reasonOf(reason)} ${t("file.again")}`;
  if (state === "refused") return reasonOf(reason);
  if (state === "running" && job.progress > 0) return t("file.running", { percent: formatPercent(job.progress / 100) });
  if (state === "running") return t("file.looking");
  if (state === "failed") return job.error;
  if (state !== "done") return t(`file.${state}`);
  const seconds = (Date.parse(job.completed_at) - Date.parse(job.created_at)) / 1000;
  return t("file.done", { time: formatClock(Math.max(seconds, 1)) });
}

/** 0 to 100, or null where there is nothing to measure. */
function share({ state, sent, size, job }) {
  if (state === "sending") return (100 * sent) / size;
  return state === "running" && job.progress > 0 ? job.progress : null;
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
  const open = h("a", { class: "button", text: "file.open" });
  const button = (key, kind, click) => h("button", { class: kind, text: key, onclick: click });
  const cancel = button("file.cancel", "", () => actions.cancel(item));
  const again = button("file.retry", "", () => actions.again(item));
  const remove = button("file.remove", "quiet", () => {
    if (item.state !== "done" || confirm(t("file.question", { name: nameOf(item) }))) actions.remove(item);
  });
  const buttons = h("div", { class: "row end" }, open, again, cancel, remove);
  const element = h("li", { class: "file" }, h("div", { class: "grow" }, name, detail, status, bar), buttons);

  function update() {
    const { state, id } = item;
    const title = nameOf(item);
    const focused = buttons.contains(document.activeElement) ? document.activeElement : null;
    element.dataset.state = state;
    name.textContent = title;
    detail.textContent = facts(item);
    status.textContent = told(item);
    const done = share(item);
    bar.hidden = !["sending", "running"].includes(state);
    if (done === null) bar.removeAttribute("value");
    else bar.value = done;
    bar.ariaLabel = title;
    open.hidden = state !== "done";
    if (id) open.href = `#files/${id}`;
    cancel.hidden = !UNDER_WAY.includes(state);
    cancel.ariaDisabled = String(item.ending === true); // disabled, it would lose the focus
    again.hidden = !["refused", "failed", "cancelled"].includes(state) || HOPELESS.includes(item.reason?.code);
    remove.hidden = UNDER_WAY.includes(state);
    for (const control of [open, cancel, remove, again]) control.ariaLabel = `${control.textContent}: ${title}`;
    if (focused?.hidden) buttons.querySelector(":scope > :not([hidden])").focus();
  }

  update();
  return { element, update };
}
