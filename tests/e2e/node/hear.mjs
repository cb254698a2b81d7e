// Live transcription through OpenAI's client for Node: node hear.mjs BASE_URL KEY PCM24 ws|websocket, the transcript as
// JSON on stdout. `ws` is a package, which sends the key as a header; `websocket` is what Node shares with browsers, which
// sends it as a subprotocol. Both speak TLS only, so a proxy of a few lines stands before the server.
import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";
import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const [baseURL, apiKey, file, transport] = process.argv.slice(2);
const audio = fs.readFileSync(file);
const PIECE = 9600; // 0.2 s

const { hostname, port, pathname } = new URL(baseURL);
const read = (name) => fs.readFileSync(new URL(name, import.meta.url));
const proxy = tls.createServer({ key: read("localhost.key"), cert: read("localhost.pem") }, (outside) => {
  const inside = net.connect(port, hostname);
  outside.on("error", () => inside.destroy()).pipe(inside);
  inside.on("error", () => outside.destroy()).pipe(outside);
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const secureURL = `https://localhost:${proxy.address().port}${pathname}`;
const client = new OpenAI({ baseURL: secureURL, apiKey, dangerouslyAllowBrowser: true });

const session = {
  type: "transcription",
  audio: {
    input: {
      format: { type: "audio/pcm", rate: 24000 },
      transcription: { model: "gpt-4o-transcribe", language: "ru" },
      turn_detection: { type: "server_vad" },
    },
  },
};

function hear(connection) {
  return new Promise((resolve, reject) => {
    const deltas = {};
    connection.on("error", reject);
    connection.on("session.created", () => {
      connection.send({ type: "session.update", session });
      for (let i = 0; i < audio.length; i += PIECE) {
        connection.send({ type: "input_audio_buffer.append", audio: audio.subarray(i, i + PIECE).toString("base64") });
      }
    });
    const transcription = "conversation.item.input_audio_transcription";
    connection.on(`${transcription}.delta`, ({ item_id, delta }) => {
      deltas[item_id] = (deltas[item_id] ?? "") + delta;
    });
    connection.on(`${transcription}.completed`, ({ item_id, transcript }) => {
      connection.close();
      resolve({ transcript, deltas: deltas[item_id] });
    });
  });
}

const Connection = { ws: OpenAIRealtimeWS, websocket: OpenAIRealtimeWebSocket }[transport];
console.log(JSON.stringify(await hear(new Connection({ intent: "transcription" }, client))));
process.exit(0);
