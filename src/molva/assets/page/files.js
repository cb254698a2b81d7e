/** The view of files: what is being sent, the jobs of the server, and the transcript that comes of one. */

import { json, reasonOf, request } from "./api.js";
import { announce, h, noticeLine, tell } from "./dom.js";
import { dropZone } from "./dropzone.js";
import { fileRow, nameOf, told, UNDER_WAY } from "./filerow.js";
import { forget, forgetAllBut, keepRecording, recording } from "./library.js";
import { t } from "./texts.js";
import { transcriptView } from "./transcript.js";
import { Uploads } from "./uploads.js";
import { wishes } from "./wishes.js";

const FEW = 50;
const MOST = 500; // at once
const LOOK_MS = 1000;
const IDLE_MS = 5000;
const AFTER_FAILURE_MS = 3000;

export function files(root) {
  let items = []; // as they are shown: what is being sent, then jobs, newest first
  let limit = FEW;
  let opened = null;
  let shown = false;
  let [looks, timer, tidied] = [0, 0, false];
  let trouble = null; // why the server could not be asked
  let notice = ""; // what came of the user's last wish, where it is not to be seen otherwise

  const uploads = new Uploads(onUpload);
  const options = wishes();
  const zone = dropZone({ take, open: () => shown && opened === null && !jobsAreOff() }, options.element);
  const warning = noticeLine();
  const rows = h("ul", { class: "files", label: "page.files" });
  const empty = h("p", { class: "muted empty", text: "files.empty" });
  const more = h("button", { text: "files.more", hidden: true, onclick: showMore });
  const body = h("div", {}, zone.element, rows, empty, h("div", { class: "row centre" }, more));
  const list = h("div", {}, h("h1", { text: "page.files" }), warning, body);
  const problem = noticeLine();
  const stage = h("div");
  const page = h("div", { hidden: true }, h("a", { href: "#files", text: "files.back" }), problem, stage);
  const transcript = transcriptView(stage);
  root.append(list, page);

  addEventListener("beforeunload", (event) => {
    if (uploads.busy) event.preventDefault();
  });

  const jobsAreOff = () => trouble?.status === 404;

  // What comes in

  function take(chosen) {
    say("");
    const fields = options.fields();
    const added = chosen.map((file) => ({ key: newKey(), file, name: file.name, size: file.size, fields }));
    for (const item of added) {
      if (item.size) uploads.add(item);
      else Object.assign(item, { state: "refused", reason: { code: "empty_body" } });
      item.row = fileRow(item, actions);
    }
    items.unshift(...added.toReversed());
    arrange();
    announce(t.plural("files.added", added.length));
  }

  function onUpload(item) {
    if (!item.row) return;
    if (item.state === "stopped") leave(item);
    else if (item.state !== "sent") item.row.update();
    else if (item.unwanted) drop(item);
    else {
      items = items.filter((each) => each === item || each.id !== item.id); // it may have been seen on the server
      keepRecording(item.id, item.file).catch(() => {}); // without room for it, the transcript asks for it
      change(item, { id: item.id, status: "queued", filename: item.name, progress: 0 });
      look();
    }
  }

  function showMore() {
    limit = MOST;
    look();
  }

  /** The list as the server has it; again after a while, as long as somebody looks or something is under way. */
  async function look() {
    clearTimeout(timer);
    const turn = ++looks;
    let wait = AFTER_FAILURE_MS;
    try {
      const { jobs, next_cursor: next } = await json(`/jobs?limit=${limit}`);
      if (turn !== looks) return; // something has been sent or removed meanwhile
      trouble = null;
      const known = new Map(items.filter(({ id }) => id).map((item) => [item.id, item]));
      items = [
        ...items.filter(({ id }) => !id),
        ...jobs.map((job) => change(known.get(job.id) ?? { id: job.id }, job)),
      ];
      more.hidden = next === null || limit === MOST;
      if (next === null && !tidied) tidy(jobs);
      wait = jobs.some(({ status }) => UNDER_WAY.includes(status)) ? LOOK_MS : IDLE_MS;
    } catch (error) {
      if (turn !== looks) return;
      trouble = error;
    }
    arrange();
    const busy = items.some(({ state }) => UNDER_WAY.includes(state));
    if ((shown || busy) && ![401, 404].includes(trouble?.status)) timer = setTimeout(look, wait);
  }

  /** Lets go of what the browser keeps of jobs that are no more. */
  function tidy(jobs) {
    tidied = true;
    forgetAllBut(jobs.map(({ id }) => id)).catch(() => {});
  }

  function change(item, job) {
    const before = item.state;
    Object.assign(item, { job: { ...item.job, ...job }, state: job.status });
    item.ending &&= UNDER_WAY.includes(item.state);
    if (item.row) item.row.update();
    else item.row = fileRow(item, actions);
    if (before && before !== item.state && !UNDER_WAY.includes(item.state)) announce(`${nameOf(item)}: ${told(item)}`);
    return item;
  }

  // What the user does

  const actions = {
    async cancel(item) {
      if (item.ending) return;
      item.ending = true;
      item.row.update();
      if (!item.id) {
        focusBeside(item);
        uploads.cancel(item);
        return;
      }
      try {
        change(item, await json(`/jobs/${item.id}`, { method: "DELETE" }));
      } catch (error) {
        item.ending = false;
        if (error.code !== "job_finished") say(reasonOf(error)); // the next look tells of that one
      }
    },
    async again(item) {
      const file = item.file ?? (await recording(item.id).catch(() => undefined));
      if (!file) {
        zone.focus();
        say(t("files.choose_again"));
        return;
      }
      await drop(item);
      take([new File([file], nameOf(item), { type: file.type })]);
    },
    remove: drop,
  };

  async function drop(item) {
    try {
      if (item.id) await request(`/jobs/${item.id}?purge=true`, { method: "DELETE" });
    } catch (error) {
      if (error.code !== "job_not_found") return say(reasonOf(error));
    }
    focusBeside(item);
    leave(item, "removed");
    forget(item.id).catch(() => {}); // a browser that keeps nothing has nothing to forget
    return look();
  }

  function leave(item, state = item.state) {
    items = items.filter((each) => each !== item);
    arrange();
    announce(`${nameOf(item)}: ${t(`file.${state}`)}`);
  }

  /** The keyboard goes on with what is next to an item that goes. */
  function focusBeside(item) {
    const { element } = item.row;
    if (!element.contains(document.activeElement)) return;
    const beside = element.nextElementSibling ?? element.previousElementSibling;
    (beside?.querySelector(".row > :not([hidden])") ?? zone).focus();
  }

  // How it is shown

  function arrange() {
    const wanted = items.map(({ row }) => row.element);
    for (const row of [...rows.children]) if (!wanted.includes(row)) row.remove();
    wanted.forEach((row, i) => {
      if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
    });
    rows.hidden = !items.length;
    empty.hidden = items.length > 0;
    body.hidden = jobsAreOff();
    zone.element.classList.toggle("tall", !items.length);
    tell(warning, jobsAreOff() ? t("files.off") : trouble ? reasonOf(trouble) : notice);
  }

  function say(text) {
    notice = text;
    arrange();
  }

  // The transcript

  async function openJob(id) {
    opened = id;
    list.hidden = true;
    page.hidden = false;
    tell(problem, "");
    try {
      const job = await json(`/jobs/${id}`);
      if (opened !== id) return;
      if (job.status === "done") transcript.open(job);
      else tell(problem, t("files.not_done"));
    } catch (error) {
      if (opened === id) tell(problem, reasonOf(error));
    }
  }

  function closeJob() {
    if (opened !== null) transcript.close();
    opened = null;
    page.hidden = true;
    list.hidden = false;
  }

  arrange();
  return {
    show(rest) {
      const returned = !shown;
      shown = true;
      if (rest === (opened ?? "") && !returned) return;
      closeJob();
      options.load();
      look();
      if (rest) openJob(rest);
    },
    hide() {
      closeJob();
      shown = false;
    },
    retell() {
      for (const { row } of items) row.update();
      options.retell();
      arrange();
      transcript.retell();
    },
  };
}

/** Of an upload. There is no randomUUID over plain HTTP. */
const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
