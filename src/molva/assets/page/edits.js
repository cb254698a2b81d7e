/** What was changed in a transcript: names of speakers, and whole segments by their index. Everything here is pure. */

import { align } from "./align.js";

const UNSPACED = new Set(["zh", "ja", "th", "lo", "my", "yue"]);

/** What stands between two words of a language. */
export const separator = (language) => (UNSPACED.has(language) ? "" : " ");

/** Single spaces for all white space: what Python's `str.split` takes for it. */
export const oneLine = (text) =>
  text.split(/[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u).filter(Boolean).join(" ");

/** What words say together. */
export const textOf = (words, language) => words.map(({ text }) => text).join(separator(language));

export const noEdits = () => ({ names: {}, segments: {} });

export const isEdited = (edits) => Object.keys(edits.names).length + Object.keys(edits.segments).length > 0;

/** The transcript of a job with its edits: `{language, duration, channels, names, segments}`, times in seconds. */
export function edited(job, edits) {
  return {
    language: job.task === "translate" ? "en" : (job.language ?? "und"),
    duration: job.duration_secs ?? job.segments.at(-1)?.end ?? 0,
    channels: job.channels,
    names: edits.names,
    segments: job.segments.map((segment, i) => edits.segments[i] ?? segment),
  };
}

/** A segment cut where the speaker changes: `{segment, from, to, start, end, speaker, words, text}`. */
export function turns(segment, index, language) {
  const { words, start, end, text } = segment;
  if (!words.length) return [{ segment: index, from: 0, to: 0, start, end, speaker: null, words, text: oneLine(text) }];
  const cuts = [...words.keys()].filter((i) => i === 0 || words[i].speaker !== words[i - 1].speaker);
  return cuts.map((from, n) => {
    const to = cuts[n + 1] ?? words.length;
    const own = words.slice(from, to);
    const [first, last] = [own[0], own.at(-1)];
    const times = { start: first.start, end: last.end };
    return { segment: index, from, to, ...times, speaker: first.speaker ?? null, words: own, text: textOf(own, language) };
  });
}

/** The segment with another text in one of its turns. Words that have all been removed come back from `original`. */
export function retold(segment, turn, text, original, language) {
  const emptied = !segment.words.length;
  const { words } = emptied ? original : segment;
  if (!words.length) return { ...segment, text }; // of an engine that knows no words
  const [from, to] = emptied ? [0, words.length] : [turn.from, turn.to];
  const aligned = align(words.slice(from, to), text, separator(language) === " ");
  return withWords(segment, words.toSpliced(from, to - from, ...aligned), language);
}

/** The segment with one of its turns said by another speaker. */
export function respoken(segment, turn, speaker, language) {
  const words = segment.words.map((word, i) => (i >= turn.from && i < turn.to ? { ...word, speaker } : word));
  return withWords(segment, words, language);
}

function withWords(segment, words, language) {
  return { ...segment, words, text: textOf(words, language) };
}

/** All speakers of a transcript, ascending. */
export function speakersOf(transcript) {
  const all = transcript.segments.flatMap(({ words }) => words.map(({ speaker }) => speaker));
  return [...new Set(all.filter(Number.isInteger))].sort((a, b) => a - b);
}
