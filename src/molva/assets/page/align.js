/** Times for a text that was edited: words that are still there keep theirs, others get what lies between. */

/**
 * The words of `text`, which took the place of `words` (`{text, start, end, probability, speaker?}`, at least one).
 * What a person wrote is certain. `spaced`: whether the language puts spaces between words.
 */
export function align(words, text, spaced) {
  const tokens = spaced ? text.split(/\s+/u).filter(Boolean) : unspacedTokens(text);
  const result = [];
  let [oldFrom, newFrom] = [0, 0];
  for (const [oldAt, newAt] of [...commonPairs(words, tokens), [words.length, tokens.length]]) {
    result.push(...between(words, oldFrom, oldAt, tokens.slice(newFrom, newAt)));
    if (oldAt < words.length) result.push(kept(words[oldAt], tokens[newAt]));
    [oldFrom, newFrom] = [oldAt + 1, newAt + 1];
  }
  return result;
}

/** A word in another spelling has been looked at by a person. */
function kept(word, text) {
  return word.text === text ? word : { ...word, text, probability: 1 };
}

/** Words at `from` to `to` of the old ones became `tokens`: one for one, or spread over the time by their lengths. */
function between(words, from, to, tokens) {
  if (tokens.length === to - from) return tokens.map((text, i) => kept(words[from + i], text));
  const { speaker } = words[from] ?? words[from - 1];
  const start = from < to ? words[from].start : (words[from - 1]?.end ?? words[0].start);
  const end = Math.max(start, from < to ? words[to - 1].end : (words[to]?.start ?? words.at(-1).end));
  const letters = tokens.reduce((sum, token) => sum + token.length, 0);
  const at = (n) => Math.round((start + ((end - start) * n) / letters) * 1000) / 1000;
  let n = 0;
  return tokens.map((text) => {
    const word = { text, start: at(n), end: at((n += text.length)), probability: 1 };
    return speaker === undefined ? word : { ...word, speaker };
  });
}

const fold = (text) => text.toLowerCase().replaceAll("ё", "е").replace(/[^\p{L}\p{N}]/gu, "") || text;

/** Longest common subsequence, blind to case and punctuation: pairs of an index in `words` and one in `tokens`. */
function commonPairs(words, tokens) {
  const [a, b] = [words.map(({ text }) => fold(text)), tokens.map(fold)];
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1)); // from there to the end
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (longest[i + 1][j] >= longest[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}

/** Without spaces, what the browser takes for words. */
const unspacedTokens = (text) =>
  [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text.replace(/\s+/gu, ""))]
    .map(({ segment }) => segment);
