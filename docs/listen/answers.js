// From what a network says of a recording, or of its windows, to an answer, as emotion_ser does.
import {cutWindows, levels, speechShare, utterance, RATE, WHOLE_CLIP_S, WINDOW_S, MIN_SPEECH_SHARE} from "./windows.js";
import {forward, softmax} from "./adapt.js";

const NOTHING_SAID = 1, STRANGE = [1, 2], UNSURE = 3;

// {start, end, speech} of each window and, where somebody speaks, what `ask` found; `report(seconds)` may throw to end it
export async function listen(samples, ask, report = () => {}) {
  const seconds = samples.length / RATE;
  if (seconds <= WHOLE_CLIP_S) {
    const level = levels(samples);
    return [{start: 0, end: seconds, speech: speechShare(level, level), ...tidy(await ask(samples.slice()))}];
  }
  const rows = [];
  for (const {samples: part, ...row} of cutWindows(samples)) {
    report(row.end);
    rows.push(row.speech < MIN_SPEECH_SHARE ? row : {...row, ...tidy(await ask(utterance(part).slice()))});
  }
  return rows;
}

const tidy = ({probabilities, reason: [reason], parts}) =>
  ({p: probabilities, strange: STRANGE.includes(reason) ? reason : 0, parts: parts && [parts.slice(0, parts.length / 2), parts.slice(parts.length / 2)]});

// of a recording, what tells where its source lies: all of it, or of a long one every third window
export function partsOf(rows) {
  const apart = (row, i) => Number.isInteger(row.start / WINDOW_S) || i === rows.length - 1;
  return rows.filter((row, i) => row.parts && row.speech > 0 && apart(row, i)).map((row) => row.parts);
}

// the answer of a window: p, best, why (0: trusted)
function judged(p, strange, threshold) {
  const best = p.indexOf(Math.max(...p));
  return {p, best, why: strange || (p[best] >= threshold ? 0 : UNSURE)};
}

// rows of `listen` -> the same with their answers, and that of the whole; `shift` from `estimateShift`, if there is one
export function answerOf(rows, about, shift) {
  const probabilities = (row) => shift ? softmax(forward(about.adapt, shift, row.parts).map((x) => x / about.temperature)) : row.p;
  const answered = rows.map((row) => row.p ? {...row, ...judged(probabilities(row), row.strange, about.threshold)} : {...row, why: NOTHING_SAID});
  const spoken = answered.filter((row) => row.p), strange = spoken.filter((row) => row.strange);
  const seconds = rows.at(-1).end, speech = rows.reduce((sum, row) => sum + row.speech, 0) / rows.length;
  if (!spoken.length) return {rows: answered, seconds, speech, windows: 0, why: NOTHING_SAID};
  const counted = strange.length === spoken.length ? spoken : spoken.filter((row) => !row.strange);
  const p = about.labels.map((_, i) => counted.reduce((sum, row) => sum + row.p[i], 0) / counted.length);
  const nothing = strange.filter((row) => row.strange === NOTHING_SAID).length;
  const doubt = strange.length > spoken.length / 2 ? (2 * nothing >= strange.length ? NOTHING_SAID : 2) : 0;
  return {rows: answered, seconds, speech, windows: counted.length, ...judged(p, doubt, about.threshold)};
}
