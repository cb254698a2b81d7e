/** The view for live speech: a button, how it goes, and what was said. */

import { json, Refused } from "./api.js";
import { announce, h } from "./dom.js";
import { LiveSession } from "./live-session.js";
import { clock, lineOf } from "./live-text.js";
import { liveTranscript } from "./live-transcript.js";
import { meterLevel } from "./pcm.js";
import { canRecord, canShare, microphones, record } from "./recorder.js";
import { recall, remember } from "./store.js";
import { formatNumber, t } from "./texts.js";

/** Softer is no sound of a room, but of a muted microphone. */
const MUTED = 0.0005;
/** Seconds of it after which the user is asked. */
const MUTED_S = 3;
/** Latencies that the median is of. */
const LATENCIES = 15;

/** What is said of the states of a session. */
const STATUS = {
  connecting: "live.connecting",
  waiting: "live.waiting",
  live: "live.on",
  lost: "live.lost",
  busy: "live.busy",
};

/** The view in `root`. */
export function live(root) {
  let recording = null; // what record() gave
  let session = null;
  let asking = false;
  let offset = 0; // seconds of earlier recordings, which the clock goes on from
  let lastSound = 0; // second of this recording
  let notice = null; // a function that says it in the language of the page
  let model = "";
  let facts = null; // of GET /v1/models
  let said = ""; // the state that was announced last
  let wakeLock = null;
  const latencies = { partial: [], final: [] };

  const button = h("button", { class: "live-button", label: "live.start", on: { click: onButton } });
  const status = h("p", { class: "live-status" });
  const hint = h("p", { class: "muted live-hint", role: "status" });
  const bar = h("span");
  const meter = h("div", { class: "live-meter", role: "meter", label: "live.level", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" }, bar);
  const fact = (key, title) => {
    const value = h("dd", { class: "number" });
    list.append(h("div", {}, h("dt", { text: key, title }), value));
    return value;
  };
  const list = h("dl", { class: "live-facts" });
  const [elapsedFact, partialFact, finalFact, modelFact] = [
    fact("live.elapsed"),
    fact("live.delay.partial", "live.delay.help"),
    fact("live.delay.final", "live.delay.help"),
    fact("live.model"),
  ];
  const alarm = h("p", { class: "live-notice", role: "alert", hidden: true });

  const source = h(
    "select",
    { id: "live-source", on: { change: render } },
    h("option", { value: "microphone", text: "live.source.microphone" }),
    h("option", { value: "screen", text: "live.source.screen" }),
  );
  const device = h("select", { id: "live-device", on: { change: () => remember("microphone", device.value) } });
  const diarization = h("input", { type: "checkbox", on: { change: () => remember("diarization", diarization.checked) } });
  diarization.checked = recall("diarization", false);
  const field = (key, control) => h("div", { class: "live-field" }, h("label", { class: "small muted", for: control.id, text: key }), control);
  const sourceField = field("live.source", source);
  const deviceField = field("live.device", device);
  const diarizationField = h("label", { class: "check" }, diarization, h("span", { text: "live.diarization" }));
  const options = h("div", { class: "row live-options" }, sourceField, deviceField, diarizationField);

  const transcript = liveTranscript({
    onClear() {
      if (!session) offset = 0;
      render();
    },
  });

  root.append(
    h("h1", { text: "live" }),
    alarm,
    h("div", { class: "card live-console" }, button, h("div", { class: "grow" }, status, meter, hint, list), options),
    transcript.element,
  );

  function onButton() {
    if (session?.stopping) session.abandon();
    else if (session) stop();
    else if (!asking) start();
  }

  async function start() {
    notice = null;
    asking = true;
    render();
    let early = []; // audio from before the session knows its rate
    try {
      await loadFacts();
      recording = await record({
        source: source.value,
        deviceId: device.value,
        onAudio: (samples, loudness) => (session ? hear(samples, loudness) : early.push([samples, loudness])),
        onEnd: () => {
          notice = () => t("live.error.unplugged");
          stop();
        },
      });
    } catch (error) {
      notice = error.code && !(error instanceof Refused) ? () => t(`live.error.${error.code}`) : () => explained(error);
    }
    asking = false;
    if (recording) {
      offset = Math.max(offset, transcript.end);
      latencies.partial = [];
      latencies.final = [];
      lastSound = 0;
      session = new LiveSession({ rate: recording.rate, diarization: diarization.checked && hasSpeakers(), tell });
      early.forEach(([samples, loudness]) => hear(samples, loudness));
      early = [];
      stayAwake();
      listDevices();
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
    if (loudness > MUTED) lastSound = session.seconds;
    renderSound(meterLevel(loudness));
  }

  const tell = {
    state() {
      if (session?.state === "done") {
        offset += session.seconds;
        session = null;
        stop();
        transcript.showPartial(null);
        announce(t("live.ended"));
      } else if (session) {
        const now = session.state;
        if (now === "lost" || now === "busy") announce(`${t(STATUS[now])}. ${t(`live.hint.${now}`)}`);
        else if (now === "live" && said !== "live") announce(t(said === "lost" ? "live.back" : "live.on"));
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
      notice = () => (error instanceof Refused ? error.message : t("live.error.key"));
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
    const label = session?.stopping ? "live.abandon" : active ? "live.stop" : "live.start";
    button.dataset.tLabel = button.dataset.tTitle = label;
    button.ariaLabel = button.title = t(label);
    button.classList.toggle("on", Boolean(recording));
    button.classList.toggle("ending", Boolean(session?.stopping));
    button.disabled = !canRecord();
    document.querySelector('[data-view="live"]').classList.toggle("recording", Boolean(recording));
    root.classList.toggle("live-cut", isCut());
    status.textContent = t(statusKey());
    source.disabled = device.disabled = diarization.disabled = active || asking;
    sourceField.hidden = !canShare();
    deviceField.hidden = source.value !== "microphone" || device.options.length < 2;
    diarizationField.hidden = !hasSpeakers();
    options.hidden = [sourceField, deviceField, diarizationField].every((each) => each.hidden);
    const told = canRecord() ? notice : () => t("live.error.insecure");
    alarm.hidden = !told;
    alarm.textContent = told?.() ?? "";
    renderSound(0);
    renderFacts();
  }

  const isCut = () => session?.state === "lost" || session?.state === "busy";

  function statusKey() {
    if (asking) return "live.asking";
    if (!session) return canRecord() ? "live.idle" : "live.off";
    return session.stopping && !isCut() ? "live.finishing" : STATUS[session.state];
  }

  function hintKey() {
    if (!session) return asking || !canRecord() ? "" : "live.hint.idle";
    if (session.stopping) return isCut() ? "live.hint.unsent" : "live.hint.finishing";
    if (isCut()) return `live.hint.${session.state}`;
    if (session.seconds - lastSound < MUTED_S) return "";
    return source.value === "screen" ? "live.hint.silent.screen" : "live.hint.silent";
  }

  /** What changes ten times a second. */
  function renderSound(level) {
    bar.style.transform = `scaleX(${level})`;
    meter.ariaValueNow = String(Math.round(level * 100));
    button.style.setProperty("--level", level);
    const key = hintKey();
    const text = key ? t(key) : "";
    if (hint.textContent !== text) hint.textContent = text;
    elapsedFact.textContent = clock(offset + (session?.seconds ?? 0));
  }

  function renderFacts() {
    const ms = (values) => (values.length ? t("live.ms", { n: formatNumber(Math.round(median(values))) }) : "–");
    partialFact.textContent = ms(latencies.partial);
    finalFact.textContent = ms(latencies.final);
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

  async function listDevices() {
    if (!canRecord()) return;
    const chosen = recording?.deviceId || device.value || recall("microphone", "");
    const found = await microphones();
    device.replaceChildren(...found.map((each, i) => h("option", { value: each.deviceId }, each.label || `${i + 1}`)));
    if (found.some((each) => each.deviceId === chosen)) device.value = chosen;
    render();
  }

  async function stayAwake() {
    try {
      wakeLock = (await navigator.wakeLock?.request("screen")) ?? null;
    } catch {
      // A browser that saves power may refuse.
    }
    if (!recording) wakeLock?.release();
  }

  navigator.mediaDevices?.addEventListener("devicechange", listDevices);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && recording) stayAwake(); // a hidden page loses it
  });
  addEventListener("beforeunload", (event) => session && event.preventDefault());
  listDevices();
  render();

  return {
    async show() {
      try {
        await loadFacts();
      } catch {
        return; // the page asks for the key
      }
      render();
    },
    hide() {}, // a recording goes on while the user looks at something else
    retell() {
      render();
      transcript.retell();
    },
  };
}

function explained(error) {
  return error instanceof Refused ? error.message : t("live.error.failed");
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
