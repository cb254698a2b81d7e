/**
 * One recording becomes text over /v1/ws. Audio is kept until a final covers it: where a connection is lost, the next
 * one hears what was not finished, and nothing is lost or told twice.
 */

import { json, key } from "./api.js";

/** Before the first, second, … attempt to connect again. */
const WAITS_MS = [500, 1000, 2000, 4000, 8000, 10_000];
/** After a connection that lasted so long, the waits begin anew. */
const GOOD_MS = 10_000;
/** Without an answer, or a byte going out, for so long a connection is lost. */
const OPEN_MS = 10_000;
const STALL_MS = 20_000;
/** What is kept without a final: of an utterance (the server's are no longer), and of silence. */
const KEPT_S = 300;
const QUIET_S = 30;
/** So far behind its last word an utterance is over: less than the silence that ended it, more than times err. */
const AFTER_WORD_S = 0.3;
/** States after some of the server's errors; after anything else it is `lost`. */
const PLANNED = { timeout: "busy", max_session_duration_exceeded: "connecting", idle_timeout: "connecting" };

export class LiveSession {
  #rate;
  #diarization;
  #tell;
  #kept = []; // { start, samples, at }: position in the recording; when its last sample came, by performance.now()
  #recorded = 0; // samples
  #socket = null;
  #base = 0; // position in the recording where the connection's audio begins
  #ready = false;
  #readyAt = 0;
  #attempts = 0;
  #timer = 0;
  #error = "";
  #open = null; // the newest partial, until its final
  #queued = 0;
  #movedAt = 0;
  #online = () => this.#ready || this.#socket || this.#connect();

  /** `connecting`, `waiting` (for a place), `live`, `lost`, `busy` (no place was free) or `done`. */
  state = "connecting";
  /** Whether all has been said. */
  stopping = false;

  /**
   * `rate` of the audio in hertz. `tell` has `state()`, `model(name)`, `partial(segment)`, `final(segment)`,
   * `gap(start, end)` for audio that is gone, `trouble()` when the server failed, and `refused(error)` when it will not
   * have this page. Segments have `text`, `stable`, `words` and `latencyMs`, from the moment the last word was recorded;
   * no final will come for an `unfinished` one. All times are seconds of the recording.
   */
  constructor({ rate, diarization, tell }) {
    this.#rate = rate;
    this.#diarization = diarization;
    this.#tell = tell;
    addEventListener("online", this.#online);
    queueMicrotask(() => this.#connect()); // whoever makes a session has it before it is told anything
  }

  /** Seconds of audio so far. */
  get seconds() {
    return this.#recorded / this.#rate;
  }

  /** The next samples of the recording, PCM16. */
  push(samples) {
    const chunk = { start: this.#recorded, samples, at: performance.now() };
    this.#kept.push(chunk);
    this.#recorded += samples.length;
    if (this.#ready) {
      this.#watch();
      this.#send(samples);
    }
    this.#trim();
  }

  /** The recording has ended. The session is done when its last final is there. */
  stop() {
    if (this.stopping || this.state === "done") return;
    this.stopping = true;
    if (this.#kept.length === 0) this.#finish();
    else if (this.#ready) this.#socket.send('{"type":"stop"}');
    else if (!this.#socket) this.#connect();
    this.#tell.state();
  }

  /** Does not wait for what is still to come. */
  abandon() {
    this.#keepPartial();
    this.#finish();
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.#tell.state();
  }

  #connect() {
    clearTimeout(this.#timer);
    const url = new URL("/v1/ws", location.origin);
    url.protocol = url.protocol.replace("http", "ws");
    try {
      this.#socket = new WebSocket(url, key.value ? ["molva", `openai-insecure-api-key.${key.value}`] : []);
    } catch (error) {
      this.#refuse(error); // a key with characters that no subprotocol may have
      return;
    }
    this.#error = "";
    this.#timer = setTimeout(() => this.#lose(), OPEN_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#timer);
      if (this.state === "connecting") this.#setState("waiting");
    };
    this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.#socket.onclose = () => this.#lose();
  }

  /** The connection is no more: try again, unless the server will not have us. */
  async #lose() {
    const wasReady = this.#ready;
    this.#drop();
    if (wasReady && performance.now() - this.#readyAt > GOOD_MS) this.#attempts = 0;
    this.#setState(PLANNED[this.#error] ?? "lost");
    const wait = WAITS_MS[Math.min(this.#attempts++, WAITS_MS.length - 1)];
    this.#timer = setTimeout(() => this.#connect(), wait);
    if (wasReady || this.#error) return;
    try {
      await json("/v1/models", { signal: AbortSignal.timeout(OPEN_MS) }); // a failed handshake does not say why it did
    } catch (error) {
      if ([401, 403].includes(error.status) && this.state !== "done" && !this.#ready) this.#refuse(error);
    }
  }

  #refuse(error) {
    this.#keepPartial();
    this.#finish();
    this.#tell.refused(error);
  }

  #finish() {
    this.#drop();
    removeEventListener("online", this.#online);
    this.#kept = [];
    this.#setState("done");
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#ready = false;
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #hear(message) {
    if (message.type === "ready") this.#begin(message.model);
    else if (message.type === "partial") this.#show(message);
    else if (message.type === "final") this.#settle(message);
    else if (message.type === "error") {
      this.#error = message.code;
      if (message.code === "inference_panic") this.#keepPartial(); // its utterance will have no final
      if (message.code.startsWith("inference_")) this.#tell.trouble();
    }
  }

  #begin(model) {
    this.#ready = true;
    this.#readyAt = this.#movedAt = performance.now();
    this.#queued = 0;
    this.#tell.model(model);
    this.#setState("live");
    this.#socket.send(JSON.stringify({ type: "configure", sample_rate: this.#rate, diarization: this.#diarization }));
    this.#base = this.#kept[0]?.start ?? this.#recorded;
    for (const { samples } of this.#kept) this.#send(samples);
    if (this.stopping) this.#socket.send('{"type":"stop"}');
  }

  #send(samples) {
    this.#socket.send(samples);
    this.#queued = this.#socket.bufferedAmount;
  }

  /** That the network is gone shows in what is not taken off our hands. */
  #watch() {
    const waiting = this.#socket.bufferedAmount;
    if (waiting === 0 || waiting < this.#queued) this.#movedAt = performance.now();
    else if (performance.now() - this.#movedAt > STALL_MS) this.#lose();
  }

  #show(message) {
    this.#open = this.#segment(message);
    this.#tell.partial(this.#open);
  }

  #settle(message) {
    if (message.endpoint_reason === "stop" && !this.stopping) {
      // The server ends the session in the middle of an utterance, which the next one will hear whole.
      if (message.text) this.#show(message);
      return;
    }
    const segment = this.#segment(message);
    const last = segment.words.at(-1);
    this.#open = null;
    this.#tell.final(segment);
    if (last) this.#forget(last.end + (message.speech_final ? AFTER_WORD_S : 0));
    if (message.endpoint_reason === "stop") this.#finish();
  }

  /** A message with the times of the recording. */
  #segment({ text, words, stable = 0 }) {
    const shift = this.#base / this.#rate;
    const moved = words.map((word) => ({ ...word, start: word.start + shift, end: word.end + shift }));
    return { text, words: moved, stable, latencyMs: moved.length ? this.#since(moved.at(-1).end) : null };
  }

  /** Milliseconds since this moment of the recording was recorded; null where that is not known. */
  #since(seconds) {
    const position = Math.ceil(seconds * this.#rate);
    const chunk = this.#kept.find(({ start, samples }) => position <= start + samples.length);
    if (!chunk || position < chunk.start) return null;
    const behind = (chunk.start + chunk.samples.length - position) / this.#rate;
    return performance.now() - chunk.at + behind * 1000;
  }

  /** Audio up to this second is done with. */
  #forget(seconds) {
    const position = Math.min(Math.round(seconds * this.#rate), this.#recorded);
    this.#kept = this.#kept.filter(({ start, samples }) => start + samples.length > position);
    const first = this.#kept[0];
    if (!first || first.start >= position) return;
    this.#kept[0] = { ...first, start: position, samples: first.samples.subarray(position - first.start) };
  }

  #trim() {
    const limit = (this.#ready && !this.#open ? QUIET_S : KEPT_S) * this.#rate;
    while (this.#recorded - (this.#kept[0]?.start ?? this.#recorded) > limit) {
      if (!this.#ready && this.#open) {
        this.#keepPartial();
        continue;
      }
      const { start, samples } = this.#kept.shift();
      if (!this.#ready) this.#tell.gap(start / this.#rate, (start + samples.length) / this.#rate);
    }
  }

  /** What is heard of an utterance whose final will not come is better than nothing. */
  #keepPartial() {
    const heard = this.#open;
    this.#open = null;
    if (!heard?.words.length) return;
    this.#tell.final({ ...heard, latencyMs: null, unfinished: true });
    this.#forget(heard.words.at(-1).end);
  }
}
