// From a file or a microphone to samples at 16 kHz.
import {RATE, MIN_SAMPLES} from "./windows.js";

export const MAX_RECORDING_S = 30, MAX_S = 1200, MAX_BYTES = 100e6;
const AT_THE_SHELL = "; at the shell, emotion_ser predict --timeline takes any length";

const decoder = new OfflineAudioContext(1, 1, RATE);  // one for all: a new one for each recording is slow to be let go

// What a person is told, as a sentence
export class Problem extends Error {}

// a Blob -> [n_samples] mono, 16 kHz, as decoded
export async function decode(file) {
  if (!file.size) throw new Problem("it is empty");
  if (file.size > MAX_BYTES) throw new Problem(`${Math.round(file.size / 1e6)} MB are too many, ${MAX_BYTES / 1e6} MB are the bound${AT_THE_SHELL}`);
  let sound;
  try { sound = await decoder.decodeAudioData(await file.arrayBuffer()); }
  catch { throw new Problem("this browser finds no sound in it that it can decode"); }
  const samples = sound.getChannelData(0).slice(), n = sound.numberOfChannels;
  for (let channel = 1; channel < n; channel++) sound.getChannelData(channel).forEach((x, i) => { samples[i] += x; });
  if (n > 1) samples.forEach((x, i) => { samples[i] = x / n; });
  return checked(samples);
}

function checked(samples) {
  const seconds = samples.length / RATE;
  if (samples.length < MIN_SAMPLES) throw new Problem(`${seconds.toFixed(3)} s are too short, ${MIN_SAMPLES / RATE} s are the least`);
  if (seconds > MAX_S) throw new Problem(`${Math.round(seconds / 60)} minutes are too many, ${MAX_S / 60} are the bound${AT_THE_SHELL}`);
  if (!samples.every(Number.isFinite)) throw new Problem("it holds samples that are not numbers");
  if (samples.every((x) => x === 0)) throw new Problem("digital silence, every sample is zero: is the microphone muted?");
  return samples;
}

// a WAV file of 16 bits
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
  return new Blob([view], {type: "audio/wav"});
}

const REFUSED = {
  NotAllowedError: "The microphone was refused. Allow it for this page (in most browsers left of the address), or choose a file.",
  NotFoundError: "No microphone was found. Plug one in, or choose a file.",
  NotReadableError: "The microphone cannot be opened; perhaps another program holds it. Close that, or choose a file.",
};

// Opens the microphone, as it is: no filter of the browser. `hear(level, seconds)` is called for each block, dB and s; `full` when time is up
export async function record(hear, full) {
  if (!navigator.mediaDevices) throw new Problem("Browsers give the microphone only to pages that come by https or from this machine. Choose a file instead.");
  const plain = {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  let stream;
  try { stream = await navigator.mediaDevices.getUserMedia({audio: plain}); }
  catch (error) { throw new Problem(REFUSED[error.name] ?? `The microphone cannot be opened (${error.name}). Choose a file instead.`); }
  const context = new AudioContext(), blocks = [];
  let n = 0;
  const close = () => { stream.getTracks().forEach((track) => track.stop()); return context.state === "closed" || context.close(); };
  try { await context.audioWorklet.addModule(new URL("microphone.js", import.meta.url)); }
  catch (error) { await close(); throw error; }
  const most = MAX_RECORDING_S * context.sampleRate, node = new AudioWorkletNode(context, "microphone", {numberOfOutputs: 0});
  node.port.onmessage = ({data}) => {
    if (n >= most) return;
    blocks.push(data.subarray(0, most - n));
    n += blocks.at(-1).length;
    hear(10 * Math.log10(data.reduce((sum, x) => sum + x * x, 1e-12) / data.length), n / context.sampleRate);
    if (n >= most) full();
  };
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  // ends it; -> a WAV file
  return async () => {
    await close();
    const all = new Float32Array(n);
    let at = 0;
    for (const block of blocks) { all.set(block, at); at += block.length; }
    return wav(all, context.sampleRate);
  };
}
