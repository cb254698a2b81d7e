/** Samples as the server takes them: 16 bits, at a rate that it knows. */

/** Rates that the server takes, in hertz. */
export const RATES = [8000, 16000, 24000, 44100, 48000];

/** The rate to send what was recorded at `rate`: that one, or else the next lower one that the server takes. */
export function rateFor(rate) {
  return RATES.findLast((each) => each <= rate) ?? RATES[0];
}

/** Takes a stream from one rate to a lower one. Each sample is the mean of those it stands for. */
export class Resampler {
  #ratio;
  #sum = 0;
  #weight = 0;

  constructor(from, to) {
    this.#ratio = from / to;
  }

  /** The next samples of the stream, at the new rate. */
  feed(samples) {
    if (this.#ratio === 1) return samples;
    const output = [];
    for (const sample of samples) {
      let left = 1;
      while (this.#weight + left >= this.#ratio) {
        const used = this.#ratio - this.#weight;
        output.push((this.#sum + sample * used) / this.#ratio);
        left -= used;
        this.#sum = this.#weight = 0;
      }
      this.#sum += sample * left;
      this.#weight += left;
    }
    return Float32Array.from(output);
  }
}

export function toPcm16(samples) {
  return Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
}

/** The loudest sample, from 0 to 1. */
export function peak(samples) {
  return samples.reduce((loudest, sample) => Math.max(loudest, Math.abs(sample)), 0);
}

/** How far a level meter goes, from 0 to 1: 60 dB below full scale is nothing. */
export function meterLevel(loudness) {
  return loudness > 0 ? Math.max(0, Math.min(1, 1 + Math.log10(loudness) / 3)) : 0;
}
