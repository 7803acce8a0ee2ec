// The page: what is pressed, dropped or chosen becomes a recording, and a recording an answer.
import {decode, record, Problem, MAX_RECORDING_S} from "./sound.js";
import {answerOf, listen, partsOf} from "./answers.js";
import {estimateShift, shiftSentences} from "./adapt.js";
import {WHOLE_CLIP_S} from "./windows.js";
import {ask, fetched, load} from "./model.js";
import {axis, bars, strips, stretches, waveform} from "./draw.js";
import {brief, clock, element, facts, headline, percent, reason} from "./words.js";

document.documentElement.style.colorScheme = {dark: "dark", light: "light"}[localStorage.getItem("mode")] ?? "";  // as the site around it
const $ = Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
const site = await (await fetch(new URL("site.json", import.meta.url))).json();
const ready = {};  // name of a classifier -> promise
let chosen = site.models[0], heard = [], turn = 0;  // recordings of one voice, or the last one

function say(text) { $.status.textContent = text; }
function complain(error, name) {
  if (!(error instanceof Problem)) console.error(error);
  const text = error instanceof Problem ? error.message : `Something went wrong (${error.message}).`;
  $.problem.textContent = name ? `${name} cannot be read: ${text}` : text;
}

function show(share) {
  $.progress.hidden = share === null;
  if (share !== null) $.progress.value = share;
}

// the classifier, loaded once
function prepared(about) {
  return ready[about.name] ??= (async () => {
    const size = `${(about.bytes / 1e6).toFixed(about.bytes < 1e7 ? 1 : 0)} MB`;
    say(`Loading ${about.name}, ${size} …`);
    try {
      await load(about, site.runtime, (share) => { if (about === chosen) show(share); });
      if (about === chosen) say(`${about.name} is ready.`);
      document.body.dataset.ready = [...(document.body.dataset.ready ?? "").split(" ").filter(Boolean), about.name].join(" ");
    } catch (error) {
      delete ready[about.name];
      say("");
      throw error;
    } finally { show(null); }
  })();
}

// Gives way to whatever is asked later
class Late extends Error {}
function mine(now) { if (now !== turn) throw new Late(); }

async function asked(recording, now) {
  const about = chosen;
  await prepared(about);
  mine(now);
  if (recording.rows[about.name]) return;
  const seconds = recording.samples.length / 16000;
  say(`Listening to ${recording.name} …`);
  recording.rows[about.name] = await listen(recording.samples, (waveform) => ask(about.name, waveform), (until) => {
    mine(now);
    show(until / seconds);
  });
}

// a recording from a Blob, and its answer
async function hear(file, name, own = false) {
  const now = ++turn;
  $.problem.textContent = "";
  show(null);
  say(`Reading ${name} …`);
  try {
    const samples = await decode(file);
    mine(now);
    const recording = {name, file, own, samples, rows: {}};
    await asked(recording, now);
    mine(now);
    heard = $.same.checked && adaptable() ? [...heard, recording] : [recording];
    answer();
  } catch (error) {
    if (error instanceof Late) return;
    say("");
    complain(error, name);
  }
  if (now === turn) show(null);
}

const adaptable = () => Boolean(chosen.adapt);
const rowsOf = (recording) => recording.rows[chosen.name];

function shiftNow() {
  if (!$.same.checked || !adaptable()) return null;
  const parts = heard.flatMap((recording) => partsOf(rowsOf(recording)));
  return parts.length ? estimateShift(chosen.adapt, parts) : null;
}

// of the last recording, and a table of all if they are of one voice
function answer() {
  const recording = heard.at(-1), shift = shiftNow(), found = answerOf(rowsOf(recording), chosen, shift);
  const long = found.seconds > WHOLE_CLIP_S;
  $.answer.hidden = false;
  $.name.textContent = recording.name;
  $.headline.replaceChildren(...headline(found, chosen.labels));
  $.why.textContent = reason(found, chosen);
  $.bars.replaceChildren(...(found.p ? bars(chosen.labels, found) : []));
  const wave = element("div", {className: "seekable"}, waveform(recording.samples), element("div", {className: "head"}));
  $.wave.hidden = long;
  $.wave.replaceChildren(...(long ? [] : [wave, axis(found.seconds)]));
  $.timeline.hidden = !long;
  $.timeline.replaceChildren(...(long ? timeline(found, wave) : []));
  $.bars.className = found.why ? "" : "sure";
  $.facts.textContent = facts(found, long) + (shift ? `; adapted to ${heard.length} recording${heard.length === 1 ? "" : "s"} of this voice` : "") + `; ${chosen.name}`;
  sound(recording);
  voice(shift);
  say("");
  document.body.dataset.answers = Number(document.body.dataset.answers ?? 0) + 1;
}

function timeline(found, wave) {
  const rows = stretches(chosen.labels, found.rows, brief).map(({start, end, text}) => {
    const from = element("button", {type: "button", className: "seek", onclick: () => { $.player.currentTime = start; $.player.play(); }}, clock(start));
    from.setAttribute("aria-label", `play from ${clock(start)}`);
    return element("tr", {}, element("td", {}, from, ` to ${clock(end)}`), element("td", {}, text));
  });
  const head = element("tr", {}, element("th", {scope: "col"}, "when"), element("th", {scope: "col"}, "answer"));
  const list = element("details", {}, element("summary", {}, "The same as a list"), element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  const strip = element("div", {className: "strips"}, ...strips(chosen.labels, found), element("span"), wave, element("span"), axis(found.seconds));
  const caption = element("figcaption", {}, "Over time: the stronger, the likelier; in colour where it is sure; empty where nobody speaks.");
  return [caption, strip, list];
}

// the player, and a way to keep what was recorded
function sound({file, own}) {
  URL.revokeObjectURL($.player.src);
  $.player.src = URL.createObjectURL(file);
  $.save.hidden = !own;
  if (own) Object.assign($.save, {href: $.player.src, download: "recording.wav"});
}

function voice(shift) {
  $.voice.hidden = !adaptable();
  $.file.multiple = $.same.checked;
  if (!$.same.checked) return $.recordings.replaceChildren();
  const words = (found) => { const {p, best, why} = found; return p ? `${chosen.labels[best]} ${percent(p[best])}${why ? ", unsure" : ""}` : "no speech"; };
  const head = element("tr", {}, ...["recording", "alone", "among the others"].map((text) => element("th", {scope: "col"}, text)));
  const rows = heard.map((recording) => element("tr", {}, element("th", {scope: "row"}, recording.name),
    ...[null, shift].map((one) => element("td", {}, words(answerOf(rowsOf(recording), chosen, one))))));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const notes = shift ? shiftSentences(shift, chosen.labels, heard.length) : [];
  const again = element("button", {type: "button", onclick: () => { $.same.checked = false; heard = heard.slice(-1); answer(); $.same.focus(); }}, "Begin with another voice");
  $.recordings.replaceChildren(element("div", {className: "wide"}, table), ...notes.map((text) => element("p", {className: "hint"}, text)), again);
}

// what it learned from, and how often it is right on strangers
function worth({license, card, worth: {sentences, head, rows}}) {
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", {scope: "col"}, text)))),
    element("tbody", {}, ...rows.map(([first, ...rest]) => element("tr", {}, element("th", {scope: "row"}, first), ...rest.map((text) => element("td", {}, text))))));
  $.worth.replaceChildren(...sentences.map((text) => element("p", {}, text)), ...(rows.length ? [element("div", {className: "wide", tabIndex: 0, role: "group", ariaLabel: "figures by corpus"}, table)] : []),
    element("p", {className: "hint"}, `Weights under ${license.replace(/the card$/, "")}`, element("a", {href: card}, "its card"), "."));
  $.about.hidden = false;
}

async function choose(about) {
  chosen = about;
  const now = ++turn;
  $.problem.textContent = "";
  worth(about);
  try {
    await prepared(about);
    mine(now);
    for (const recording of heard) await asked(recording, now);
    mine(now);
    if (heard.length) answer();
  } catch (error) { if (!(error instanceof Late)) complain(error); }
  if (now === turn) show(null);
}

// record, and stop
let stop = null, opening = false;
async function ended() {
  const close = stop;
  stop = null;
  if (!close) return;
  document.body.classList.remove("recording");
  $["record-text"].textContent = "Record";
  $["record-hint"].textContent = `up to ${MAX_RECORDING_S} s`;
  $.level.style.width = "0";
  const file = await close();
  await hear(file, "your recording", true);
}

async function begin() {
  if (opening) return;
  opening = true;
  $.problem.textContent = "";
  $.player.pause();
  try {
    stop = await record((level, seconds) => {
      if (!stop) return;
      $.level.style.width = `${Math.max(0, Math.min(100, 100 * (level + 60) / 54))}%`;
      $["record-hint"].textContent = `${seconds.toFixed(1)} of ${MAX_RECORDING_S} s`;
    }, ended);
    document.body.classList.add("recording");
    $["record-text"].textContent = "Stop";
    say("Recording.");
  } catch (error) { complain(error); }
  opening = false;
}
$.record.onclick = () => stop ? ended() : begin();

// files, dropped or chosen
async function files(list) {
  const all = [...list];
  if (all.length > 1 && !$.same.checked) return complain(new Problem(`${all.length} files: choose one, or say below an answer that what follows is one voice.`));
  for (const file of all) await hear(file, file.name);
}
$.file.onchange = () => { const list = [...$.file.files]; $.file.value = ""; files(list); };
for (const kind of ["dragover", "dragleave", "drop"]) addEventListener(kind, (event) => {
  event.preventDefault();
  document.body.classList.toggle("dropping", kind === "dragover");
  if (kind === "drop") files(event.dataTransfer.files);
});

$.same.onchange = () => { heard = heard.slice(-1); answer(); };

// where the player is
$.player.ontimeupdate = () => {
  const share = $.player.currentTime / $.player.duration;
  for (const head of document.querySelectorAll(".head")) head.style.left = `${100 * (Number.isFinite(share) ? share : 0)}%`;
};
$.answer.onclick = ({target, clientX}) => {
  const box = target.closest(".seekable")?.getBoundingClientRect();
  if (box && Number.isFinite($.player.duration)) $.player.currentTime = $.player.duration * (clientX - box.left) / box.width;
};

async function sample({name, file}) {
  $.problem.textContent = "";
  try { await hear(new Blob([await fetched(file)], {type: "audio/wav"}), name); }
  catch (error) { complain(error); }
}
for (const one of site.samples) $.samples.append(element("button", {type: "button", onclick: () => sample(one)}, one.name));

for (const about of site.models) {
  const radio = element("input", {type: "radio", name: "model", value: about.name, checked: about === chosen, onchange: () => choose(about)});
  $.models.append(element("label", {}, radio, element("span", {}, element("b", {}, about.name), ` ${about.hint}`)));
}
if (site.missing) $.models.append(element("p", {className: "hint"}, site.missing));
await choose(chosen);
