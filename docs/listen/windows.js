// What emotion_ser/windows.py does, for samples at 16 kHz: how loud, how much of it speech, in windows of three seconds.
export const RATE = 16000, WHOLE_CLIP_S = 10, WINDOW_S = 3, HOP_S = 1, MIN_SPEECH_SHARE = 0.1, MIN_SAMPLES = 400;
const FRAME = 400, STEP = 160, BACKGROUND = 3000, EVEN = 5;  // samples, samples, levels, levels
const ABOVE_NOISE_DB = 9, RANGE_DB = 7.5, ABOVE_SHARE = 2 / 3, SILENCE_DBFS = -60;
const WITHIN_DB = 30, PAUSE_STEPS = 40, AROUND_STEPS = 10;

// [n_samples] -> [n] dB: how loud each 25 ms are, one value every 10 ms
export function levels(samples) {
  const size = Math.min(FRAME, samples.length), found = [];
  for (let first = 0; size && first + size <= samples.length; first += STEP) {
    let sum = 0, squares = 0;
    for (let i = first; i < first + size; i++) { sum += samples[i]; squares += samples[i] * samples[i]; }
    found.push(10 * Math.log10(Math.max(squares / size - (sum / size) ** 2, 1e-12)));
  }
  return found;
}

// of sorted numbers, as numpy.percentile interpolates
function percentile(sorted, percent) {
  const place = percent / 100 * (sorted.length - 1), low = Math.floor(place), next = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[next] - sorted[low]) * (place - low);
}

const ascending = (values) => Float64Array.from(values).sort();

// how far what is loud lies above the background, dB
function levelRange(level) {
  const power = level.map((x) => 10 ** (x / 10)), size = Math.min(EVEN, power.length), even = [];
  for (let i = 0; i + size <= power.length; i++) {
    let sum = 0;
    for (let j = i; j < i + size; j++) sum += power[j];
    even.push(10 * Math.log10(sum / size));
  }
  const sorted = ascending(even);
  return percentile(sorted, 95) - percentile(sorted, 10);
}

// share of a window's frames that are louder than the background and than silence; `recent`: levels of what came until its end
export function speechShare(level, recent) {
  const height = levelRange(recent), above = height >= RANGE_DB ? Math.min(ABOVE_NOISE_DB, ABOVE_SHARE * height) : ABOVE_NOISE_DB;
  const least = Math.max(percentile(ascending(recent), 10) + above, SILENCE_DBFS);
  return level.filter((x) => x >= least).length / level.length;
}

// the longest stretch without a pause, and a tenth of a second around it
export function utterance(samples) {
  const level = levels(samples), most = level.reduce((a, b) => Math.max(a, b), -Infinity);
  const loud = level.flatMap((x, i) => x >= most - WITHIN_DB ? [i] : []);
  const breaks = loud.flatMap((x, i) => i && x - loud[i - 1] > PAUSE_STEPS ? [i] : []);
  if (!breaks.length) return samples;
  const starts = [0, ...breaks].map((i) => loud[i]), ends = [...breaks, loud.length].map((i) => loud[i - 1] + 1);
  const lengths = starts.map((x, i) => ends[i] - x), k = lengths.indexOf(Math.max(...lengths));
  return samples.subarray(Math.max(0, (starts[k] - AROUND_STEPS) * STEP), (ends[k] + AROUND_STEPS) * STEP);
}

// {start, end (s), samples, speech} of each window; the last one ends where the recording ends
export function* cutWindows(samples, window = WINDOW_S * RATE, hop = HOP_S * RATE) {
  let recent = [], until = 0;
  const measured = (start, end) => {
    const part = samples.subarray(start, end), level = levels(part), fresh = Math.max(1, Math.round((end - until) / STEP));
    recent = [...recent, ...level.slice(-fresh)].slice(-BACKGROUND);
    until = end;
    return {start: start / RATE, end: end / RATE, samples: part, speech: speechShare(level, recent)};
  };
  for (let start = 0; start + window <= samples.length; start += hop) yield measured(start, start + window);
  if (until < samples.length) yield measured(Math.max(0, samples.length - window), samples.length);
}
