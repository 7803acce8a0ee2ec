// A classifier, fetched when it is wanted, and asked in a worker.
import {Problem} from "./sound.js";

const worker = new Worker(new URL("worker.js", import.meta.url), {type: "module"});
const waiting = new Map();
let count = 0, wasm, begun = false;
worker.onmessage = ({data: {id, result, error}}) => {
  const [done, fail] = waiting.get(id);
  waiting.delete(id);
  error === undefined ? done(result) : fail(new Problem(`The classifier cannot answer: ${error}`));
};
worker.onerror = () => {
  for (const [, fail] of waiting.values()) fail(new Problem("The classifier cannot run in this browser; a recent Firefox, Chrome, Edge or Safari can."));
  waiting.clear();
};

function call(kind, rest, moved = []) {
  return new Promise((done, fail) => {
    waiting.set(++count, [done, fail]);
    worker.postMessage({id: count, kind, ...rest}, moved);
  });
}

// the bytes of a file beside this one; `progress` is called with how many more there are
export async function fetched(file, progress = () => {}) {
  const failed = new Problem(`${file} could not be fetched; is the connection gone? Reload the page to try again.`);
  const reply = await fetch(new URL(file, import.meta.url)).catch(() => { throw failed; });
  if (!reply.ok) throw failed;
  const reader = reply.body.getReader(), blocks = [];
  for (let block; !(block = await reader.read().catch(() => { throw failed; })).done;) {
    blocks.push(block.value);
    progress(block.value.length);
  }
  return new Blob(blocks).arrayBuffer();
}

// unpacked, unless a server has done so already
async function unpacked(bytes) {
  const [a, b] = new Uint8Array(bytes, 0, 2);
  return a === 0x1f && b === 0x8b ? new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer() : bytes;
}

// `about`: an entry of site.json; `progress` is called with 0 to 1
export async function load(about, runtime, progress) {
  let got = 0;
  const all = about.bytes + (wasm ? 0 : runtime.bytes), count = (n) => progress(Math.min(1, (got += n) / all));
  wasm ??= fetched(runtime.file, count).then(unpacked);
  wasm.catch(() => { wasm = undefined; });
  const [binary, model] = await Promise.all([wasm, fetched(about.file, count)]);
  await call("load", {name: about.name, wasm: begun ? undefined : binary, model}, [model]);
  begun = true;
}

// [n_samples] at 16 kHz -> probabilities, speech_share, reason, parts: arrays
export const ask = (name, waveform) => call("ask", {name, waveform});
