/** A transcript as a file: what `GET /jobs/{id}/result` writes, byte for byte, with edits and names. */

import { oneLine, separator, speakersOf, textOf, turns } from "./edits.js";

const MAX_CHARS = 80;
const MAX_WORDS = 14;
const MAX_PAUSE_S = 2;
const MIN_DISPLAY_MS = 300;

/** What a transcript of edits.js can be written as, by extension: `type` and `write(transcript)`. */
export const FORMATS = {
  txt: { type: "text/plain", write: writeText },
  srt: { type: "application/x-subrip", write: writeSrt },
  vtt: { type: "text/vtt", write: writeVtt },
  md: { type: "text/markdown", write: writeMarkdown },
  json: { type: "application/json", write: writeJson },
};

const plainText = ({ segments, language }) => segments.map(({ text }) => text).filter(Boolean).join(separator(language));

/** A line for each turn, where speakers are known. */
function writeText(transcript) {
  const { language, segments } = transcript;
  if (!speakersOf(transcript).length) return plainText(transcript);
  const told = segments.flatMap((segment, i) => turns(segment, i, language)).filter(({ text }) => text);
  return runs(told, changesSpeaker).map((turn) => lineOf(turn, transcript)).join("\n");
}

function writeSrt(transcript) {
  return cues(transcript).map((cue, i) => `${i + 1}\n${span(cue, ",")}\n${cue.text}\n`).join("\n");
}

function writeVtt(transcript) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const blocks = cues(transcript).map((cue) => `${span(cue, ".")}\n${escaped(cue.text)}\n`);
  return `WEBVTT\n\n${blocks.join("\n")}`;
}

function writeMarkdown(transcript) {
  const { duration, language, segments } = transcript;
  const seconds = Number.isInteger(duration) ? duration.toFixed(1) : String(duration);
  const code = language === "no" ? '"no"' : language; // else it is false in YAML
  const front = `---\nduration: ${seconds}\nlanguage: ${code}\nspeakers: ${speakersOf(transcript).length}\n---`;
  const blocks = segments.flatMap((segment) => paragraphs(segment, transcript)).filter(Boolean);
  return [front, "# Transcript", ...blocks].join("\n\n") + "\n";
}

/** The server's fields, but for its coverage. */
function writeJson(transcript) {
  const { duration, language, names, segments } = transcript;
  const words = segments.flatMap((segment) =>
    segment.words.map(({ text: word, start, end, probability: confidence, speaker }) => (
      { word, start, end, confidence, ...(isSpeaker(speaker) && { speaker }) }
    )));
  if (transcript.channels === "split") words.sort((a, b) => a.start - b.start);
  const speakers = Object.keys(names).length ? { speakers: names } : {};
  return JSON.stringify({ text: plainText(transcript), words, duration, language, ...speakers });
}

/** The text to paste elsewhere: a paragraph for each turn, with who speaks, `nameOf(speaker)`, where that is known. */
export function writeParagraphs({ segments, language }, nameOf) {
  return segments
    .flatMap((segment, i) => turns(segment, i, language))
    .filter((turn) => turn.text)
    .map((turn) => (turn.speaker === null ? turn.text : `${nameOf(turn.speaker)}: ${turn.text}`))
    .join("\n\n");
}

const isSpeaker = (speaker) => speaker !== undefined && speaker !== null;

const nameOf = ({ names }, speaker) => oneLine(names[speaker] ?? "") || `SPEAKER_${speaker}`;

const changesSpeaker = (group, word) => (word.speaker ?? null) !== (group.at(-1).speaker ?? null);

/** The words in groups; a new one begins where `cuts(group, word)`. */
function runs(words, cuts) {
  const groups = [];
  for (const word of words) {
    if (!groups.length || cuts(groups.at(-1), word)) groups.push([word]);
    else groups.at(-1).push(word);
  }
  return groups;
}

function paragraphs(segment, transcript) {
  if (segment.words.every((word) => !isSpeaker(word.speaker))) return [oneLine(segment.text)];
  return runs(segment.words, changesSpeaker).map((words) => {
    const text = oneLine(textOf(words, transcript.language));
    return isSpeaker(words[0].speaker) ? `**${nameOf(transcript, words[0].speaker)}:** ${text}` : text;
  });
}

/** Subtitles, `{start, end, text}` in milliseconds, which overlap in split calls only; the rules are the server's. */
function cues(transcript) {
  const lines = transcript.segments.flatMap((segment) => linesOf(segment, transcript));
  if (transcript.channels !== "split") return placed(lines, transcript);
  const sides = [...new Set(lines.map(({ speaker }) => speaker))];
  return sides
    .flatMap((side) => placed(lines.filter(({ speaker }) => speaker === side), transcript))
    .sort((a, b) => a.start - b.start || a.end - b.end);
}

function placed(lines, transcript) {
  const starts = [];
  for (const line of lines) starts.push(Math.max(milliseconds(line.start), starts.length ? starts.at(-1) + 1 : 0));
  return lines.map((line, i) => {
    const limit = starts[i + 1] ?? Math.max(milliseconds(transcript.duration), starts[i] + 1);
    const end = Math.min(Math.max(milliseconds(line.end), starts[i] + MIN_DISPLAY_MS), limit);
    return { start: starts[i], end, text: line.text };
  });
}

function linesOf(segment, transcript) {
  const words = segment.words.filter((word) => oneLine(word.text));
  if (!words.length) {
    const text = oneLine(segment.text);
    return text ? [{ start: segment.start, end: segment.end, text }] : [];
  }
  const cuts = (group, word) =>
    changesSpeaker(group, word) ||
    word.start - group.at(-1).end > MAX_PAUSE_S ||
    group.length >= MAX_WORDS ||
    [...lineOf([...group, word], transcript)].length > MAX_CHARS;
  return runs(words, cuts).map((group) => (
    { start: group[0].start, end: group.at(-1).end, speaker: group[0].speaker, text: lineOf(group, transcript) }
  ));
}

function lineOf(words, transcript) {
  const text = words.map((word) => oneLine(word.text)).join(separator(transcript.language));
  return isSpeaker(words[0].speaker) ? `[${nameOf(transcript, words[0].speaker)}] ${text}` : text;
}

const milliseconds = (seconds) => Math.round(seconds * 1000);

const span = ({ start, end }, mark) => `${clock(start, mark)} --> ${clock(end, mark)}`;

function clock(ms, mark) {
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  const time = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(two).join(":");
  return `${time}${mark}${String(ms % 1000).padStart(3, "0")}`;
}
