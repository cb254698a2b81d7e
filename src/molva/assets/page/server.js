/** The view of the server: what it is doing, over the last minutes, and its models. */

import { json, key, request } from "./api.js";
import { chart } from "./chart.js";
import { announce, h } from "./dom.js";
import { formatNumber, t } from "./texts.js";

const PERIOD_MS = 2000;
const KEPT = 120;

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/**
 * What is charted: `now(status, before, elapsed)` is a number or null where it is not known, `told(n)` how it is
 * written, `top(status)` the least value at the chart's upper edge, `note(status)` a line below.
 */
const TILES = {
  sessions: {
    now: ({ sessions }) => sessions && sessions.taken,
    told: (n) => formatNumber(n),
    top: ({ sessions }) => sessions?.total ?? 1,
    note: ({ sessions }) => sessions && places(sessions),
  },
  requests: {
    now: ({ requests }) => requests && requests.taken,
    told: (n) => formatNumber(n),
    top: ({ requests }) => requests?.total ?? 1,
    note: ({ requests }) => requests && places(requests),
  },
  jobs: {
    now: ({ jobs }) => jobs && jobs.queued + jobs.running,
    told: (n) => formatNumber(n),
    top: () => 4,
    note: ({ jobs }) => (jobs ? t("server.jobs.note", numbers(jobs)) : t("server.jobs.off")),
  },
  queue: {
    now: ({ queue }) => queue.live_final + queue.live_partial + queue.request + queue.job,
    told: (n) => formatNumber(n),
    top: () => 4,
    note: () => t("server.queue.note"),
  },
  speed: {
    now: ({ models }) => models.find((model) => model.main)?.real_time_factor || null,
    told: (n) => t("server.speed.told", { n: formatNumber(1 / n, { maximumSignificantDigits: 3 }) }),
    top: () => 0.02,
    note: ({ models }) => {
      const speed = models.find((model) => model.main)?.real_time_factor;
      return speed && t("server.speed.note", { n: formatNumber(speed, { maximumSignificantDigits: 2 }) });
    },
  },
  cpu: {
    now: ({ cpu_s }, before, elapsed) => (before && elapsed > 0 ? Math.max(0, (cpu_s - before.cpu_s) / elapsed) : null),
    told: (n) => formatNumber(n, { maximumFractionDigits: 1 }),
    top: ({ cores }) => cores,
    note: ({ cores }) => t("server.cpu.note", { n: formatNumber(cores) }),
  },
  memory: {
    now: ({ memory_bytes }) => memory_bytes,
    told: (n) => {
      const unit = n >= GIB ? "gigabyte" : "megabyte";
      const size = n >= GIB ? n / GIB : n / MIB;
      return formatNumber(size, { style: "unit", unit, maximumFractionDigits: n >= GIB ? 1 : 0 });
    },
    top: ({ memory_bytes }) => 1.25 * memory_bytes,
    note: () => "",
  },
};

const numbers = (counts) => Object.fromEntries(Object.entries(counts).map(([name, n]) => [name, formatNumber(n)]));

const places = ({ total, waiting }) =>
  t.plural("server.places", total) + (waiting ? `, ${t.plural("server.waiting", waiting)}` : "");

/** Hours and minutes of so many seconds, in the words of the page. */
function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const parts = { days: Math.floor(minutes / 1440), hours: Math.floor(minutes / 60) % 24, minutes: minutes % 60 };
  const told = Object.entries(parts).filter(([, n]) => n > 0).slice(0, 2);
  return told.length ? told.map(([unit, n]) => t.plural(`server.${unit}`, n)).join(" ") : t("server.moment");
}

function tile(name) {
  const drawn = chart(KEPT);
  const value = h("p", { class: "value number" }, "–");
  const note = h("p", { class: "note small muted" });
  const values = [];
  const element = h("div", { class: "card tile" }, h("h2", { text: `server.${name}` }), value, drawn.element, note);
  const update = (status, before, elapsed) => {
    const rule = TILES[name];
    const now = rule.now(status, before, elapsed);
    value.textContent = now === null || now === undefined ? "–" : rule.told(now);
    note.textContent = rule.note(status) || "";
    if (now === null || now === undefined) return;
    values.push(now);
    if (values.length > KEPT) values.shift();
    drawn.draw(values, Math.max(rule.top(status), ...values) || 1);
  };
  return { element, update };
}

export function serverView(root) {
  const tiles = Object.keys(TILES).map((name) => tile(name));
  const rows = h("tbody");
  const about = h("p", { class: "muted small" });
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  root.append(
    h("h1", { text: "server" }),
    problem,
    h("div", { class: "tiles" }, tiles.map(({ element }) => element)),
    h(
      "div",
      { class: "card" },
      h("h2", { text: "server.models" }),
      h(
        "div",
        { class: "wide" },
        h(
          "table",
          { class: "models" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { text: "server.model", scope: "col" }),
              h("th", { text: "server.state", scope: "col" }),
              h("th", { text: "server.precision", scope: "col" }),
              h("th", { text: "server.users", scope: "col" }),
              h("th", { scope: "col" }, h("span", { class: "unseen", text: "server.action" })),
            ),
          ),
          rows,
        ),
      ),
    ),
    about,
    h(
      "p",
      { class: "row small", hidden: Boolean(key.value) }, // a link sends no key
      h("a", { href: "/docs", text: "server.docs" }),
      h("a", { href: "/openapi.json", text: "server.openapi" }),
    ),
  );

  let shown = false;
  let timer = null;
  let before = null;
  let at = 0;

  function fill(status, elapsed) {
    for (const { update } of tiles) update(status, before, elapsed);
    showModels(status.models);
    about.textContent = t(status.stopping ? "server.about.stopping" : "server.about", {
      version: status.version,
      device: status.device.toUpperCase(),
      uptime: duration(status.uptime_s),
    });
  }

  async function poll() {
    clearTimeout(timer);
    try {
      const status = await json("/v1/status");
      const now = performance.now();
      fill(status, (now - at) / 1000);
      [before, at] = [status, now];
      problem.hidden = true;
    } catch (error) {
      problem.textContent = error instanceof TypeError ? t("error.unreachable") : error.message;
      problem.hidden = false;
      before = null;
    }
    // A page that nobody looks at asks for nothing.
    if (shown && !document.hidden) timer = setTimeout(poll, PERIOD_MS);
  }

  /** Rows are kept from poll to poll: who has the focus on a button keeps it. */
  function showModels(models) {
    const known = new Map([...rows.children].map((row) => [row.dataset.model, row]));
    for (const row of rows.children) if (!models.some(({ id }) => id === row.dataset.model)) row.remove();
    for (const model of models) {
      const row = known.get(model.id) ?? newRow(model);
      const [state, precision, users] = row.querySelectorAll("[data-cell]");
      state.textContent = t(`server.state.${model.state}`);
      state.className = `state ${model.state}`;
      precision.textContent = model.precision ?? "–";
      users.textContent = formatNumber(model.users);
      const button = row.querySelector("button");
      const loads = model.state === "unloaded";
      button.textContent = t(loads ? "server.load" : "server.unload");
      button.setAttribute("aria-label", `${button.textContent}: ${model.id}`);
      button.onclick = () => change(model, loads ? "load" : "unload", button);
    }
  }

  function newRow(model) {
    const row = h(
      "tr",
      { "data-model": model.id },
      h("td", {}, model.id, model.main ? h("span", { class: "badge", text: "server.main" }) : null),
      h("td", {}, h("span", { "data-cell": "state" })),
      h("td", { "data-cell": "precision" }),
      h("td", { "data-cell": "users", class: "number" }),
      h("td", { class: "end" }, h("button", {})),
    );
    rows.append(row);
    return row;
  }

  async function change(model, action, button) {
    button.disabled = true;
    try {
      await request(`/model/${action}?model=${encodeURIComponent(model.id)}`, { method: "POST" });
      announce(t(`server.${action}.told`, { model: model.id }));
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
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
