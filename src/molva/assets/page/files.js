/** The view of files: what was sent, how it gets on, and the transcript that comes of it. */

import { json, request } from "./api.js";
import { announce, h } from "./dom.js";
import { dropZone } from "./dropzone.js";
import { fileRow, reasonOf, UNDER_WAY } from "./filerow.js";
import { forget, keepRecording, recording } from "./library.js";
import { sentFromHere, shelve, unshelve } from "./shelf.js";
import { recall, remember } from "./store.js";
import { t } from "./texts.js";
import { transcriptView } from "./transcript.js";
import { Uploads } from "./uploads.js";
import { Watch } from "./watch.js";
import { wishes } from "./wishes.js";

const PAGE = 50;
const AGAIN_MS = 5000;

export function files(root) {
  const items = new Map(); // by key; that of a job is its id, once it is shown from the list of the server
  const byId = new Map();
  let everybody = false; // all jobs of the server are shown, not only this browser's
  let cursor = null;
  let opened = null;
  let shown = false;
  let trouble = null;
  let notice = "";
  let jobsAreOff = false;

  const uploads = new Uploads(onUpload);
  const watch = new Watch(onJob, onReach);
  const choice = wishes();
  const zone = dropZone({ take, open: () => shown && opened === null && !jobsAreOff }, choice.element);
  const warning = h("p", { class: "card notice", role: "status", hidden: true });
  const mine = h("button", { text: "files.mine", "aria-pressed": "true", on: { click: () => filter(false) } });
  const all = h("button", { text: "files.all", "aria-pressed": "false", on: { click: () => filter(true) } });
  const rows = h("ul", { class: "files", label: "files.list" });
  const empty = h("p", { class: "muted empty", hidden: true });
  const more = h("button", { text: "files.more", hidden: true, on: { click: nextPage } });
  const filters = h("div", { class: "segments", role: "group", label: "files.which" }, mine, all);
  const body = h("div", {}, zone.element, filters, rows, empty, h("div", { class: "row centre" }, more));
  const list = h("div", {}, h("h1", { text: "files" }), warning, body);
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  const stage = h("div");
  const page = h("div", { hidden: true },
    h("p", {}, h("a", { href: "#files", text: "files.back" })), problem, stage);
  const transcript = transcriptView(stage);
  root.append(list, page);

  addEventListener("beforeunload", (event) => {
    if (uploads.busy) event.preventDefault();
  });

  // What comes in

  function take(chosen) {
    tell("");
    const fields = choice.fields();
    const added = chosen.map((file) => (
      { key: newKey(), state: "waiting", mine: true, file, name: file.name, size: file.size, fields }
    ));
    for (const item of added.toReversed()) place(item, { first: true });
    for (const item of added) {
      if (item.size) uploads.add(item);
      else change(item, { state: "refused", reason: { code: "empty_body" } });
    }
    if (everybody) filter(false);
    announce(t.plural("files.added", added.length));
  }

  function onUpload(item) {
    if (item.state === "stopped") {
      unplace(item);
      return announce(t("files.told.stopped", { name: item.name }));
    }
    if (item.state !== "sent") return change(item);
    byId.set(item.id, item);
    if (item.unwanted) return drop(item);
    const job = { id: item.id, filename: item.name, status: "queued", progress: 0 };
    shelve({ id: item.id, size: item.size, job });
    store(item.id, item.file);
    change(item, { state: "queued", job, file: null });
    return watch.add(item.id);
  }

  function onJob(id, job) {
    const item = byId.get(id);
    if (!item) return;
    if (job === null) {
      unplace(item);
      return;
    }
    const before = item.state;
    const known = { ...item.job, ...job };
    change(item, { job: known, state: known.status, ending: item.ending && UNDER_WAY.includes(known.status) });
    if (item.mine && before !== known.status) shelve({ id, size: item.size, job: known });
    if (before !== known.status && t.has(`files.told.${known.status}`)) {
      announce(t(`files.told.${known.status}`, { name: known.filename ?? "" }));
    }
  }

  function onReach(error) {
    trouble = error;
    if (error?.status === 404) jobsAreOff = true;
    tellTrouble();
  }

  // What the user does

  const actions = {
    cancel(item) {
      if (item.ending) return undefined;
      if (item.id) return end(item);
      focusBeside(item);
      change(item, { ending: true });
      return uploads.cancel(item);
    },
    async again(item) {
      const file = item.file ?? (await recording(item.id).catch(() => undefined));
      if (!file) {
        zone.focus();
        return tell(t("files.choose_again"));
      }
      const name = item.job?.filename ?? item.name;
      await actions.remove(item);
      return take([new File([file], name, { type: file.type })]);
    },
    remove: drop,
  };

  async function end(item) {
    change(item, { ending: true });
    try {
      onJob(item.id, await json(`jobs/${item.id}`, { method: "DELETE" }));
      watch.drop(item.id);
    } catch (error) {
      change(item, { ending: false });
      if (error.code !== "job_finished") tell(reasonOf(error)); // the watch tells of that one
    }
  }

  async function drop(item) {
    try {
      if (item.id) await request(`jobs/${item.id}?purge=true`, { method: "DELETE" });
    } catch (error) {
      if (error.code !== "job_not_found") return tell(reasonOf(error));
    }
    focusBeside(item);
    unplace(item);
    return announce(t("files.told.removed", { name: item.job?.filename ?? item.name }));
  }

  /** The keyboard goes on with what is next to an item that goes. */
  function focusBeside(item) {
    if (!item.row.element.contains(document.activeElement)) return;
    const visible = [...rows.children].filter((row) => !row.hidden);
    const place = visible.indexOf(item.row.element);
    const beside = visible[place + 1] ?? visible[place - 1];
    (beside?.querySelector(".row:not([hidden]) > :not([hidden])") ?? zone).focus();
  }

  // The list

  function place(item, { first = false } = {}) {
    item.row = fileRow(item, actions);
    items.set(item.key, item);
    if (item.id) byId.set(item.id, item);
    rows[first ? "prepend" : "append"](item.row.element);
    if (item.id && UNDER_WAY.includes(item.state)) watch.add(item.id);
  }

  function unplace(item) {
    item.row.element.remove();
    items.delete(item.key);
    if (item.id) {
      byId.delete(item.id);
      watch.drop(item.id);
      unshelve(item.id);
      forget(item.id).catch(() => {}); // a browser that keeps nothing has nothing to forget
    }
    arrange();
  }

  function change(item, news = {}) {
    Object.assign(item, news);
    item.row.update();
    arrange();
  }

  function arrange() {
    let visible = 0;
    for (const item of items.values()) {
      item.row.element.hidden = !everybody && !item.mine;
      visible += !item.row.element.hidden;
    }
    filters.hidden = jobsAreOff;
    rows.hidden = visible === 0;
    empty.hidden = visible > 0;
    empty.textContent = t(everybody ? "files.nobody" : "files.empty");
    more.hidden = !everybody || cursor === null;
    zone.element.classList.toggle("tall", visible === 0);
  }

  async function filter(wanted) {
    everybody = wanted;
    mine.setAttribute("aria-pressed", String(!wanted));
    all.setAttribute("aria-pressed", String(wanted));
    cursor = null;
    arrange();
    if (wanted) await nextPage();
  }

  /** Jobs of the server behind those that are shown, newest first. */
  async function nextPage() {
    try {
      const query = new URLSearchParams({ limit: PAGE, ...(cursor && { cursor }) });
      const answer = await json(`jobs?${query}`);
      cursor = answer.next_cursor;
      for (const job of answer.jobs) {
        const known = byId.get(job.id);
        if (known) onJob(job.id, job);
        else place({ key: job.id, id: job.id, mine: false, job, state: job.status });
      }
      sort();
      arrange();
      onReach(null);
    } catch (error) {
      onReach(error);
    }
  }

  function sort() {
    const age = (item) => Date.parse(item.job?.created_at ?? "") || Infinity;
    const sorted = [...items.values()].sort((a, b) => age(b) - age(a));
    if (sorted.some((item, index) => rows.children[index] !== item.row.element)) {
      rows.replaceChildren(...sorted.map(({ row }) => row.element));
    }
  }

  /** Whether there are jobs here, and what has become of those that the browser remembers. */
  async function refresh() {
    try {
      const { jobs, next_cursor: following } = await json("jobs?limit=500");
      const there = new Map(jobs.map((job) => [job.id, job]));
      for (const item of [...byId.values()]) {
        if (there.has(item.id)) onJob(item.id, there.get(item.id));
        if (UNDER_WAY.includes(item.state)) watch.add(item.id);
        else if (!there.has(item.id) && following === null) unplace(item);
        else if (!there.has(item.id)) watch.add(item.id); // it is gone, or older than this list goes
      }
      jobsAreOff = false;
      onReach(null);
    } catch (error) {
      onReach(error);
      if (!jobsAreOff && error.status !== 401) setTimeout(() => shown && refresh(), AGAIN_MS);
    }
  }

  /** What has come of the user's last wish, where it is not to be seen otherwise; an empty text takes it away. */
  function tell(text) {
    notice = text;
    tellTrouble();
  }

  function tellTrouble() {
    const words = jobsAreOff ? t("files.off") : trouble ? reasonOf(trouble) : notice;
    warning.hidden = !words;
    if (warning.textContent !== words) warning.textContent = words; // else it would be read out again
    body.hidden = jobsAreOff;
    arrange();
  }

  // The transcript

  async function openJob(id) {
    opened = id;
    list.hidden = true;
    page.hidden = false;
    problem.hidden = true;
    try {
      const job = await json(`jobs/${id}`);
      if (opened !== id) return;
      if (job.status === "done") transcript.open(job);
      else tellProblem(t("files.not_done"));
    } catch (error) {
      if (opened === id) tellProblem(reasonOf(error));
    }
  }

  function tellProblem(text) {
    problem.textContent = text;
    problem.hidden = false;
  }

  function closeJob() {
    if (opened !== null) transcript.close();
    opened = null;
    page.hidden = true;
    list.hidden = false;
  }

  for (const entry of sentFromHere()) {
    place({ key: entry.id, id: entry.id, mine: true, size: entry.size, job: entry.job, state: entry.job.status });
  }
  arrange();

  return {
    show(rest) {
      const returned = !shown;
      shown = true;
      if (rest === (opened ?? "") && !returned) return;
      closeJob();
      if (rest) {
        openJob(rest);
        return;
      }
      choice.load();
      refresh();
    },
    hide() {
      closeJob();
      shown = false;
    },
    retell() {
      for (const item of items.values()) item.row.update();
      choice.retell();
      tellTrouble();
      transcript.retell();
    },
  };
}

/** Of an upload; randomUUID is only there where the page came by HTTPS or from this machine. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps a recording to hear it with its transcript, where the browser has room; else the transcript asks for it. */
async function store(id, file) {
  if (!recall("persisted", false)) {
    remember("persisted", true);
    navigator.storage?.persist?.();
  }
  await keepRecording(id, file).catch(() => {});
}
