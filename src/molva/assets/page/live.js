/** The view for live speech: a button, how it goes, and what was said. */

import { json, reasonOf, Refused } from "./api.js";
import { announce, checkbox, choice, h, noticeLine, tell, write } from "./dom.js";
import { formatClock } from "./figures.js";
import { LiveSession } from "./live-session.js";
import { lineOf, liveTranscript } from "./live-transcript.js";
import { meterLevel } from "./pcm.js";
import { canRecord, canShare, record } from "./recorder.js";
import { recall, remember } from "./store.js";
import { formatNumber, t } from "./texts.js";

/** Latencies that the median is of. */
const LATENCIES = 15;

/** The view in `root`. */
export function live(root) {
  let recording = null; // what record() gave
  let session = null;
  let asking = false;
  let offset = 0; // seconds of earlier recordings, which the clock goes on from
  let notice = null; // a function that says it in the language of the page
  let model = "";
  let facts = null; // of GET /v1/models
  let said = ""; // the state that was announced last
  let wakeLock = null;
  let latencies = { partial: [], final: [] };

  const button = h("button", { class: "live-button", onclick: onButton });
  const status = h("p", { class: "live-status" });
  const hint = h("p", { class: "muted live-hint", role: "status" });
  const bar = h("span");
  const meter = h("div", { class: "live-meter", role: "meter", label: "live.level", "aria-valuemax": 100 }, bar);
  const list = h("dl", { class: "live-facts" });
  const fact = (text) => {
    const value = h("dd", { class: "number" });
    list.append(h("div", {}, h("dt", { text }), value));
    return value;
  };
  const elapsedFact = fact("live.elapsed");
  const latencyFacts = { partial: fact("live.partial"), final: fact("live.final") };
  const modelFact = fact("page.model");
  const alarm = noticeLine();

  const source = choice("live.source", render);
  source.select.append(...["microphone", "screen"].map((value) => h("option", { value, text: `live.${value}` })));
  const diarization = checkbox("page.diarization", () => remember("diarization", diarization.input.checked));
  diarization.input.checked = recall("diarization", false);
  const options = h("div", { class: "row live-options" }, source.element, diarization.element);

  const transcript = liveTranscript({
    onClear() {
      if (!session) offset = 0;
      render();
    },
  });

  root.append(
    h("h1", { text: "page.live" }),
    alarm,
    h("div", { class: "card live-console" }, button, h("div", { class: "grow" }, status, meter, hint, list), options),
    transcript.element);

  function onButton() {
    if (session?.stopping) session.abandon();
    else if (session) stop();
    else if (!asking) start();
  }

  async function start() {
    notice = null;
    asking = true;
    render();
    try {
      await loadFacts();
      recording = await record({
        source: source.select.value,
        onAudio: hear,
        onEnd: () => {
          notice = () => t("live.error.unplugged");
          stop();
        },
      });
    } catch (error) {
      notice = () => explained(error);
    }
    asking = false;
    if (recording) {
      offset = Math.max(offset, transcript.end);
      latencies = { partial: [], final: [] };
      session = new LiveSession({ rate: recording.rate, diarization: hasSpeakers() && diarization.input.checked, tell: tells });
      stayAwake();
    }
    render();
  }

  function stop() {
    recording?.stop();
    recording = null;
    wakeLock?.release();
    wakeLock = null;
    session?.stop();
    render();
  }

  function hear(samples, loudness) {
    session.push(samples);
    renderSound(meterLevel(loudness));
  }

  const tells = {
    state() {
      if (session?.state === "done") {
        offset += session.seconds;
        session = null;
        stop();
        transcript.showPartial(null);
        announce(t("live.ended"));
      } else if (session) {
        const now = session.state;
        if (isCut()) announce(`${t(`live.${now}`)}. ${t(`live.hint.${now}`)}`);
        else if (now === "live" && said !== "live") announce(t(said === "lost" ? "live.back" : "live.live"));
        said = now;
      }
      render();
    },
    model(name) {
      model = name;
      render();
    },
    partial(segment) {
      note("partial", segment.latencyMs);
      transcript.showPartial(segment);
    },
    final(segment) {
      note("final", segment.latencyMs);
      if (segment.text) transcript.add(lineOf(segment, offset));
      else transcript.showPartial(null);
    },
    gap: (start, end) => transcript.addGap(start + offset, end + offset),
    trouble() {
      notice = () => t("live.error.inference");
      render();
    },
    refused(error) {
      notice = () => (error instanceof Refused ? reasonOf(error) : t("live.error.key"));
      render();
    },
  };

  function note(kind, latencyMs) {
    if (latencyMs === null) return;
    latencies[kind] = [...latencies[kind], latencyMs].slice(-LATENCIES);
    renderFacts();
  }

  function render() {
    const active = Boolean(session);
    for (const slot of ["label", "title"]) {
      write(button, slot, session?.stopping ? "live.abandon" : active ? "live.stop" : "live.start");
    }
    button.classList.toggle("on", Boolean(recording));
    button.classList.toggle("ending", Boolean(session?.stopping));
    button.disabled = !canRecord();
    document.querySelector('[data-view="live"]').classList.toggle("recording", Boolean(recording));
    root.classList.toggle("live-cut", isCut());
    status.textContent = t(`live.${statusNow()}`);
    for (const control of [source.select, diarization.input]) control.disabled = active || asking;
    source.element.hidden = !canShare();
    diarization.element.hidden = !hasSpeakers();
    options.hidden = [...options.children].every((each) => each.hidden);
    tell(alarm, canRecord() ? (notice?.() ?? "") : t("live.error.insecure"));
    renderSound(0);
    renderFacts();
  }

  const isCut = () => session?.state === "lost" || session?.state === "busy";

  function statusNow() {
    if (asking) return "asking";
    if (!session) return canRecord() ? "idle" : "off";
    return session.stopping && !isCut() ? "finishing" : session.state;
  }

  function hintNow() {
    if (!isCut()) return "";
    return session.stopping ? "unsent" : session.state;
  }

  /** What changes ten times a second. */
  function renderSound(level) {
    bar.style.transform = `scaleX(${level})`;
    meter.ariaValueNow = String(Math.round(level * 100));
    button.style.setProperty("--level", level);
    const key = hintNow();
    const text = key && t(`live.hint.${key}`);
    if (hint.textContent !== text) hint.textContent = text;
    elapsedFact.textContent = formatClock(offset + (session?.seconds ?? 0));
  }

  function renderFacts() {
    for (const [kind, values] of Object.entries(latencies)) {
      const median = values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
      latencyFacts[kind].textContent =
        median === undefined ? "–" : formatNumber(Math.round(median), { style: "unit", unit: "millisecond" });
    }
    modelFact.textContent = model || "–";
  }

  const hasSpeakers = () => facts?.diarization === true;

  /** Throws what GET /v1/models is refused with; where no server answers, the session goes on trying. */
  async function loadFacts() {
    try {
      facts ??= await json("/v1/models");
    } catch (error) {
      if ([401, 403].includes(error.status)) throw error;
    }
    model ||= facts?.id ?? "";
  }

  async function stayAwake() {
    // A browser that saves power may refuse.
    wakeLock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    if (!recording) wakeLock?.release();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && recording) stayAwake(); // a hidden page loses it
  });
  addEventListener("beforeunload", (event) => session && event.preventDefault());
  render();

  return {
    async show() {
      await loadFacts().catch(() => {}); // the page asks for the key
      render();
    },
    hide() {}, // a recording goes on while the user looks at something else
    retell() {
      render();
      transcript.retell();
    },
  };
}

const explained = (error) => (error instanceof Refused ? reasonOf(error) : t(`live.error.${error.code ?? "failed"}`));
