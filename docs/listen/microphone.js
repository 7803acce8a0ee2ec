// Hands on what a microphone hears, a twentieth of a second at a time.
class Microphone extends AudioWorkletProcessor {
  block = new Float32Array(Math.round(sampleRate / 20));
  n = 0;

  process([[samples]]) {
    for (const x of samples ?? []) {
      this.block[this.n++] = x;
      if (this.n < this.block.length) continue;
      this.port.postMessage(this.block);
      this.n = 0;
    }
    return true;
  }
}
registerProcessor("microphone", Microphone);
