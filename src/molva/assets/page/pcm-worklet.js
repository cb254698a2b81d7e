/** Runs in the audio thread: hands over a tenth of a second at a time, all channels as one. */

class Collector extends AudioWorkletProcessor {
  #samples = new Float32Array(Math.round(sampleRate / 10));
  #filled = 0;

  process([channels]) {
    for (let i = 0; i < (channels[0]?.length ?? 0); i++) {
      this.#samples[this.#filled++] = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
      if (this.#filled === this.#samples.length) {
        this.port.postMessage(this.#samples);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("collector", Collector);
