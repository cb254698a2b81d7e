/** What the browser records: a microphone, or the sound of a tab or of the system. */

import { peak, rateFor, Resampler, toPcm16 } from "./pcm.js";

const coded = (code) => Object.assign(new Error(code), { code });

const CODES = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing" };

/** Whether the browser lets this page record at all: it does on https and on this machine only. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Whether it may offer what a tab or the system plays. */
export const canShare = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/**
 * Begins to record `source`, `microphone` or `screen`. `onAudio` gets PCM16 of 0.1 s and its loudest sample; `onEnd` is
 * called when the device or the browser ends it. The `code` of what it throws is `denied`, `missing`, `silent` (shared
 * without sound) or `failed`.
 */
export async function record({ source, onAudio, onEnd }) {
  // Made before anybody is asked: Safari starts one only right after the click.
  const context = new AudioContext();
  let stream = null;
  try {
    stream = await (source === "screen" ? sharedSound() : microphone());
    await context.audioWorklet.addModule("/page/pcm-worklet.js");
    await context.resume();
    return recorder(context, stream, onAudio, onEnd);
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    context.close();
    throw coded(CODES[error.name] ?? (error instanceof DOMException ? "failed" : error.code));
  }
}

/** Loudness is evened, and no more: what takes rooms and noise away takes speech too, and models know both. */
const microphone = () =>
  navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true },
  });

async function sharedSound() {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true, systemAudio: "include" });
  if (stream.getAudioTracks().length > 0) return stream;
  stream.getTracks().forEach((track) => track.stop());
  throw coded("silent");
}

function recorder(context, stream, onAudio, onEnd) {
  const rate = rateFor(context.sampleRate);
  const resampler = new Resampler(context.sampleRate, rate);
  const collector = new AudioWorkletNode(context, "collector", { numberOfOutputs: 0 });
  collector.port.onmessage = ({ data }) => onAudio(toPcm16(resampler.feed(data)), peak(data));
  context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(collector);
  for (const track of stream.getTracks()) track.onended = onEnd;
  return {
    /** Of what `onAudio` gets, in hertz. */
    rate,
    stop() {
      collector.port.onmessage = null;
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}
