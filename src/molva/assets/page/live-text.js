/** Lines of live speech as texts. Pure. A line is `{ start, end, turns: [{ speaker, start, end, text }] }` in seconds. */

/** The line of a segment of LiveSession whose recording began at `offset` seconds. */
export function lineOf({ text, words, unfinished }, offset) {
  const moved = words.map((word) => ({ ...word, start: word.start + offset, end: word.end + offset }));
  const turns = moved.some((word) => word.speaker !== undefined) ? turnsOf(moved) : [{ speaker: null, text }];
  const [start, end] = [moved[0]?.start ?? offset, moved.at(-1)?.end ?? offset];
  return { start, end, unfinished, turns: turns.map((turn) => ({ start, end, ...turn })) };
}

function turnsOf(words) {
  const turns = [];
  for (const { word, start, end, speaker = null } of words) {
    const last = turns.at(-1);
    if (last && last.speaker === speaker) Object.assign(last, { end, text: `${last.text} ${word}` });
    else turns.push({ speaker, start, end, text: word });
  }
  return turns;
}

/** `12:05`, or `1:02:05` from an hour on. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(String);
  return (hours === "0" ? [] : [hours]).concat(minutes.padStart(2, "0"), rest.padStart(2, "0")).join(":");
}

/** A line for each turn, with its speaker's name in front where another one spoke before. */
export function asText(lines, name) {
  let before = null;
  return lines
    .flatMap((line) => line.turns)
    .map(({ speaker, text }) => {
      const changed = speaker !== null && speaker !== before;
      before = speaker;
      return `${changed ? `${name(speaker)}: ` : ""}${text}\n`;
    })
    .join("");
}

/** SubRip, a cue for each turn. Cues do not overlap and are seen for 0.3 s at least where there is room. */
export function asSrt(lines, name) {
  const turns = lines.flatMap((line) => line.turns);
  return turns
    .map(({ speaker, start, end, text }, i) => {
      const until = Math.min(Math.max(end, start + 0.3), turns[i + 1]?.start ?? Infinity);
      return `${i + 1}\n${stamp(start)} --> ${stamp(until)}\n${speaker === null ? "" : `${name(speaker)}: `}${text}\n`;
    })
    .join("\n");
}

function stamp(seconds) {
  const ms = Math.round(seconds * 1000);
  const [h, m, s] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  return `${[h, m, s].map((each) => String(each).padStart(2, "0")).join(":")},${String(ms % 1000).padStart(3, "0")}`;
}
