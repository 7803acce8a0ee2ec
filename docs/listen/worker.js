// The networks, away from the page so that it does not stand still: onnxruntime-web, one thread, nothing fetched here.
import * as ort from "./ort.wasm.bundle.min.mjs";

const sessions = {};
const kinds = {
  async load({name, wasm, model}) {
    if (wasm) Object.assign(ort.env.wasm, {wasmBinary: wasm, numThreads: 1});
    sessions[name] = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ["wasm"]});
    await kinds.ask({name, waveform: Float32Array.from({length: 16000}, (_, i) => Math.sin(i * i / 3e5) / 9)});  // the first answer takes longer
  },
  async ask({name, waveform}) {
    const input = new ort.Tensor("float32", waveform, [waveform.length]), session = sessions[name];
    const wanted = session.outputNames.filter((output) => ["probabilities", "speech_share", "reason", "parts"].includes(output));
    const found = await session.run({waveform: input}, wanted);
    return Object.fromEntries(wanted.map((output) => [output, Array.from(found[output].data)]));
  },
};

let last = Promise.resolve();  // one at a time
onmessage = ({data: {id, kind, ...rest}}) => {
  last = last.then(() => kinds[kind](rest)).then((result) => postMessage({id, result}), (error) => postMessage({id, error: String(error?.message ?? error)}));
};
