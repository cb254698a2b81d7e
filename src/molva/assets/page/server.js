/** The view of the server: what it is doing, over the last minutes, and its models. */

import { json, reasonOf, request } from "./api.js";
import { chart } from "./chart.js";
import { h, noticeLine, tell } from "./dom.js";
import { formatBytes, formatDuration } from "./figures.js";
import { formatNumber, t } from "./texts.js";

const PERIOD_MS = 2000;
const KEPT = 120;

const speedOf = ({ models }) => models.find(({ main }) => main)?.real_time_factor || null;

/** Places of live sessions or of requests. */
const places = (kind) => ({
  now: (status) => status[kind]?.taken,
  top: (status) => status[kind]?.total ?? 1,
  note: ({ [kind]: all }) =>
    all && t.plural("server.places", all.total) + (all.waiting ? `, ${t.plural("server.waiting", all.waiting)}` : ""),
});

/** `now(status, before, elapsed)` is charted, up to `top(status)` at least; `told(n)` and `note(status)` say it. */
const TILES = {
  sessions: places("sessions"),
  requests: places("requests"),
  jobs: {
    now: ({ jobs }) => jobs && jobs.queued + jobs.running,
    top: () => 4,
    note: ({ jobs }) => t(jobs ? "server.jobs.note" : "server.jobs.off", jobs ?? {}),
  },
  queue: {
    now: ({ queue }) => queue.live_final + queue.live_partial + queue.request + queue.job,
    top: () => 4,
    note: () => t("server.queue.note"),
  },
  speed: {
    now: speedOf,
    told: (n) => `${formatNumber(1 / n, { maximumSignificantDigits: 3 })}×`,
    top: () => 0.02,
    note(status) {
      const n = speedOf(status);
      return n && t("server.speed.note", { n: formatNumber(n, { maximumSignificantDigits: 2 }) });
    },
  },
  cpu: {
    now: ({ cpu_s }, before, elapsed) => (before && elapsed > 0 ? Math.max(0, (cpu_s - before.cpu_s) / elapsed) : null),
    top: ({ cores }) => cores,
    note: ({ cores }) => t("server.cpu.note", { n: formatNumber(cores) }),
  },
  memory: {
    now: ({ memory_bytes }) => memory_bytes,
    told: formatBytes,
    top: ({ memory_bytes }) => 1.25 * memory_bytes,
  },
};

const inShort = (n) => formatNumber(n, { maximumFractionDigits: 1 });

function tile(name) {
  const { now, told = inShort, top, note } = TILES[name];
  const drawn = chart(KEPT);
  const value = h("p", { class: "value number" }, "–");
  const below = h("p", { class: "note small muted" });
  const values = [];
  const element = h("div", { class: "card tile" }, h("h2", { text: `server.${name}` }), value, drawn.element, below);
  const update = (status, before, elapsed) => {
    const n = now(status, before, elapsed) ?? null;
    value.textContent = n === null ? "–" : told(n);
    below.textContent = note?.(status) || "";
    if (n === null) return;
    values.push(n);
    if (values.length > KEPT) values.shift();
    drawn.draw(values, Math.max(top(status), ...values) || 1);
  };
  return { element, update };
}

export function serverView(root) {
  const tiles = Object.keys(TILES).map((name) => tile(name));
  const rows = h("tbody");
  const about = h("p", { class: "muted small" });
  const problem = noticeLine();
  root.append(
    h("h1", { text: "page.server" }),
    problem,
    h("div", { class: "tiles" }, tiles.map(({ element }) => element)),
    h("div", { class: "card" },
      h("h2", { text: "server.models" }),
      h("table", { class: "models" },
        h("thead", {}, h("tr", {},
          h("th", { text: "page.model", scope: "col" }),
          h("th", { text: "server.state", scope: "col" }),
          h("td"))),
        rows)),
    about);

  let shown = false;
  let timer = null;
  let before = null;
  let at = 0;

  function fill(status, elapsed) {
    for (const { update } of tiles) update(status, before, elapsed);
    showModels(status.models);
    about.textContent = t("server.about", {
      version: status.version,
      device: status.device.toUpperCase(),
      uptime: formatDuration(status.uptime_s),
    });
  }

  async function poll() {
    clearTimeout(timer);
    try {
      const status = await json("/v1/status");
      const now = performance.now();
      fill(status, (now - at) / 1000);
      if (!before) tell(problem, "");
      [before, at] = [status, now];
    } catch (error) {
      tell(problem, reasonOf(error));
      before = null;
    }
    // A page that nobody looks at asks for nothing.
    if (shown && !document.hidden) timer = setTimeout(poll, PERIOD_MS);
  }

  /** Rows are kept from poll to poll: who has the focus on a button keeps it. */
  function showModels(models) {
    const known = new Map([...rows.children].map((row) => [row.dataset.model, row]));
    for (const [id, row] of known) if (!models.some((model) => id === model.id)) row.remove();
    for (const model of models) {
      const row = known.get(model.id) ?? newRow(model);
      const state = row.querySelector(".state");
      const told = t(`server.state.${model.state}`);
      if (state.textContent !== told) state.textContent = told; // only what changes is announced
      state.className = `state ${model.state}`;
      const button = row.querySelector("button");
      const action = model.state === "unloaded" ? "load" : "unload";
      button.textContent = t(`server.${action}`);
      button.ariaLabel = `${button.textContent}: ${model.id}`;
      button.onclick = () => change(model, action, button);
    }
  }

  function newRow({ id, main }) {
    const row = h("tr", { "data-model": id },
      h("td", {}, id, main && h("span", { class: "badge", text: "server.main" })),
      h("td", {}, h("span", { class: "state", role: "status" })),
      h("td", { class: "end" }, h("button")));
    rows.append(row);
    return row;
  }

  async function change(model, action, button) {
    button.disabled = true;
    tell(problem, "");
    try {
      await request(`/model/${action}?model=${encodeURIComponent(model.id)}`, { method: "POST" });
    } catch (error) {
      tell(problem, reasonOf(error));
    }
    button.disabled = false;
    button.focus();
    await poll();
  }

  document.addEventListener("visibilitychange", () => {
    if (shown && !document.hidden) poll();
  });

  return {
    show() {
      if (shown) return;
      shown = true;
      poll();
    },
    hide() {
      shown = false;
      clearTimeout(timer);
    },
    retell() {
      if (before) fill(before, 0);
    },
  };
}
