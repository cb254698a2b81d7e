// What OpenAI's client for Node makes of a server: node ask.mjs BASE_URL KEY CLIP LONG JUNK, answers as JSON on stdout.
import fs from "node:fs";
import OpenAI from "openai";

const [baseURL, apiKey, clip, long, junk] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const model = "whisper-1";
const create = (file, rest) =>
  client.audio.transcriptions.create({ model, file: fs.createReadStream(file), ...rest });

async function refusal(ask) {
  try {
    await ask();
    return null;
  } catch (error) {
    const { status, param, code, type } = error;
    return { kind: error.constructor.name, status, param, code, type };
  }
}

async function streamed(file, rest) {
  const told = [];
  for await (const event of await create(file, { stream: true, ...rest })) told.push(event);
  return told;
}

const formats = {};
for (const response_format of ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]) {
  formats[response_format] = await create(long, { response_format });
}
const listed = [];
for await (const entry of client.models.list()) listed.push(entry.id);
const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });

console.log(
  JSON.stringify({
    clip: await create(clip, { language: "ru", prompt: "Слова.", temperature: 0, include: ["logprobs"] }),
    formats,
    words: await create(clip, { response_format: "verbose_json", timestamp_granularities: ["word"] }),
    cut: await create(long, {
      chunking_strategy: { type: "server_vad", threshold: 0.9, silence_duration_ms: 3000 },
    }),
    stream: await streamed(long),
    speakers: await streamed(long, { response_format: "diarized_json" }),
    listed,
    retrieved: (await client.models.retrieve("whisper-1")).id,
    refusals: {
      key: await refusal(() => stranger.models.list()),
      model: await refusal(() => create(clip, { model: "gpt-9" })),
      file: await refusal(() => create(junk)),
      stream: await refusal(() => create(junk, { stream: true })),
      strategy: await refusal(() => create(clip, { chunking_strategy: { type: "server_vad", threshold: 7 } })),
      missing: await refusal(() => client.models.retrieve("gpt-9")),
      translation: await refusal(() =>
        client.audio.translations.create({ model, file: fs.createReadStream(clip) }),
      ),
    },
  }),
);
