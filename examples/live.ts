// Streams a WAV file to a speech-to-text server and prints what it hears, while it hears it.
//
//     node live.ts ws://127.0.0.1:9876/v1/ws speech.wav      Node 22.18 or newer, or bun live.ts …
//
// The file must be 16-bit mono, at 8000, 16000, 24000, 44100 or 48000 Hz. In a browser only main() differs: send what
// an AudioWorklet records, as 16-bit integers.

import { readFile } from "node:fs/promises";

type Message =
  | { type: "ready"; supported_rates: number[] }
  | { type: "partial" | "final"; text: string }
  | { type: "error"; message: string };

type Pcm = { rate: number; bytes: Uint8Array<ArrayBuffer> };

const FRAMES_PER_SECOND = 10;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Speaks to the server. Resolves when it closes the connection, which it does after the last final. */
function transcribe(url: string, pcm: Pcm): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onerror = () => reject(new Error(`no server answers at ${url}`));
    socket.onclose = () => resolve();
    socket.onmessage = ({ data }) => {
      const message: Message = JSON.parse(data);
      switch (message.type) {
        case "ready": // the server has a place for us, and waits
          socket.send(JSON.stringify({ type: "configure", sample_rate: pcm.rate })); // else it is taken for 48 kHz
          send(socket, pcm).catch(reject); // not awaited: the text comes while we speak
          break;
        case "partial": // what is heard so far of this utterance; the next one replaces it
          console.log("...", message.text);
          break;
        case "final": // the whole utterance, which never changes again
          console.log(">>>", message.text);
          break;
        case "error":
          console.error(message.message);
      }
    };
  });
}

/** Sends the audio as fast as it would be spoken, then asks for the last final. */
async function send(socket: WebSocket, { rate, bytes }: Pcm): Promise<void> {
  const size = Math.floor(rate / FRAMES_PER_SECOND) * 2;
  for (let start = 0; start < bytes.length && socket.readyState === WebSocket.OPEN; start += size) {
    socket.send(bytes.subarray(start, start + size)); // bytes become a binary message
    await sleep(1000 / FRAMES_PER_SECOND);
  }
  if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"stop"}');
}

/** The audio of a WAV file: a header and chunks, each with a name of four letters and its size. */
function parseWav(file: Uint8Array<ArrayBuffer>): Pcm {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let rate = 0;
  for (let at = 12; at + 8 <= file.length; ) {
    const name = String.fromCharCode(...file.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (name === "fmt ") {
      const [channels, bits] = [view.getUint16(start + 2, true), view.getUint16(start + 14, true)];
      if (channels !== 1 || bits !== 16) throw new Error("not 16-bit mono");
      rate = view.getUint32(start + 4, true);
    } else if (name === "data" && rate > 0) {
      return { rate, bytes: file.subarray(start, start + size) };
    }
    at = start + size + (size % 2); // chunks start at even places
  }
  throw new Error("not a WAV file");
}

async function main(): Promise<void> {
  const [url, path] = process.argv.slice(2);
  if (!url || !path) throw new Error("usage: live.ts ws://127.0.0.1:9876/v1/ws FILE.wav");
  await transcribe(url, parseWav(new Uint8Array(await readFile(path))));
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
