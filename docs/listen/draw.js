// What an answer looks like: bars, waveform, timeline.
import {clock, element, percent} from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// one per label, in the classifier's order
export function bars(labels, {p, best}) {
  return labels.map((label, i) => {
    const bar = svg("svg", {viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true"}, svg("rect", {width: 100 * p[i], height: 1}));
    return element("li", {className: i === best ? "best" : ""}, element("span", {}, label), bar, element("span", {className: "percent"}, percent(p[i])));
  });
}

// smallest and largest sample of each of so many slices
function outline(samples, points) {
  const found = [];
  for (let i = 0; i < points; i++) {
    const end = Math.max(Math.floor((i + 1) * samples.length / points), Math.floor(i * samples.length / points) + 1);
    let low = Infinity, high = -Infinity;
    for (let k = Math.floor(i * samples.length / points); k < end && k < samples.length; k++) { low = Math.min(low, samples[k]); high = Math.max(high, samples[k]); }
    found.push([low, high]);
  }
  return found;
}

export function waveform(samples, points = 600) {
  const slices = outline(samples, Math.min(points, samples.length)), most = Math.max(1e-4, ...slices.flat().map(Math.abs)), n = slices.length;
  const y = (x) => (50 - 48 * x / most).toFixed(1);
  const path = `M${slices.map(([, high], i) => `${i},${y(high)}`).join("L")}L${slices.map(([low], i) => `${n - 1 - i},${y(slices[n - 1 - i][0])}`).join("L")}Z`;
  return svg("svg", {class: "wave", viewBox: `0 0 ${Math.max(1, n - 1)} 100`, preserveAspectRatio: "none", role: "img", "aria-label": "the waveform"}, svg("path", {d: path}));
}

// seconds and minutes under a picture
export function axis(seconds) {
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300].find((x) => seconds / x <= 6) ?? 300, marks = [];
  for (let t = 0; t < 0.95 * seconds; t += step) {
    const mark = element("span", {}, seconds < 60 ? `${t} s` : clock(t));
    mark.style.left = `${100 * t / seconds}%`;
    marks.push(mark);
  }
  return element("div", {className: "axis", ariaHidden: "true"}, ...marks);
}

// a strip for each label: the darker the likelier, in colour where the answer can be trusted, nothing where nobody speaks
export function strips(labels, {rows, seconds}) {
  const edges = rows.map((row, i) => i ? ((rows[i - 1].start + rows[i - 1].end) + (row.start + row.end)) / 4 : 0).concat(seconds);
  const cells = (i) => rows.flatMap((row, k) => row.p ? [svg("rect", {x: edges[k], width: edges[k + 1] - edges[k], height: 1, "fill-opacity": row.p[i].toFixed(3), ...(!row.why && row.best === i ? {class: "sure"} : {})})] : []);
  return labels.flatMap((label, i) => [element("span", {className: "of"}, label),
    svg("svg", {class: "strip", viewBox: `0 0 ${seconds} 1`, preserveAspectRatio: "none", "aria-hidden": "true"}, ...cells(i))]);
}

// stretches with one answer: [start, end, words]
export function stretches(labels, rows, words) {
  const found = [];
  rows.forEach((row, i) => {
    const text = words(row, labels), start = i ? found.at(-1).end : 0, end = i + 1 < rows.length ? (row.start + row.end + rows[i + 1].start + rows[i + 1].end) / 4 : row.end;
    if (found.length && found.at(-1).text === text) found.at(-1).end = end;
    else found.push({start, end, text});
  });
  return found;
}
