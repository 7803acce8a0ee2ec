// Answers as sentences, and the elements they stand in.
export const percent = (p) => `${Math.round(100 * p)}%`;
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// label and probability, or "unsure"; what follows says why
export function headline({p, best, why}, labels) {
  if (!p) return [element("b", {}, "no speech found")];
  if (!why) return [element("b", {}, labels[best]), `, ${percent(p[best])}`];
  if (why === 1) return [element("b", {}, "unsure"), "; no speech found"];
  return [element("b", {}, "unsure"), `; the best guess is ${labels[best]}, ${percent(p[best])}`];
}

export function reason({why, p, best}, {labels, threshold}) {
  if (!why || !p) return "";
  if (why === 1) return `Should somebody speak all the same, the best guess is ${labels[best]}, ${percent(p[best])}.`;
  if (why === 2) return "Why: the recording is unlike anything it learned from.";
  return `Why: not sure enough. No label reaches ${percent(threshold)}.`;
}

// of a window, short
export const brief = ({p, best, why}, labels) => !p ? "no speech" : why ? "unsure" : labels[best];

export function facts({seconds, speech, windows, why}, long) {
  const time = seconds < 60 ? `${seconds.toFixed(1)} s` : `${clock(seconds)} min`;
  return `${time}, ${why === 1 ? "no speech found" : "speech found"}${long ? ` in ${percent(speech)} of it; the mean of ${windows} windows of 3 s` : ""}`;
}
