"""Every command over the odd files of `odd_files.py`, what each made of them, and the table of it."""
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
from conftest import at_most
from odd_files import KINDS, Kind, voice

ROOT = Path(__file__).parent.parent
BY_SLUG = {k.slug: k for k in KINDS}
RAW = "[\x00-\x08\x0b-\x1f\x7f\udc80-\udcff\u202e]"  # what must not reach a terminal: control characters, what is not UTF-8, a change of direction
NO_SPEECH = "no speech in any window"  # what a timeline says of silence, without an error
WHOLE_CLIPS = ("load_waveform", "corpus", "embed", "embed folder", "study", "train", "evaluate")  # what takes a clip as a whole


@dataclass
class Outcome:
    "What a command made of a file"
    accepted: bool
    reason: str = ""  # why it was refused; empty where a command does not say it of each file
    seconds: float | None = None  # how long it took the recording to be
    wave: np.ndarray | None = None  # what it decoded, [n_samples] at `rate`
    rate: int = 16000
    crash: str = ""  # anything but an answer or a refusal
    took: float = 0.0  # s


# ---------------------------------------------------------------- the functions, in this process

@contextmanager
def nobody(path):
    "As a user without rights: root may read everything"
    if os.geteuid() or os.access(path, os.R_OK) and os.stat(path).st_mode & 0o444: yield path; return
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    shutil.copy2(path, folder / path.name)
    os.seteuid(65534)
    try: yield folder / path.name
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


class Untrue(Exception):
    "An answer that contradicts itself"


def mono(samples): return samples.mean(axis=1, dtype=np.float64)


def by_load_waveform(path):
    from emotion_ser.preprocess import load_waveform
    wave = load_waveform(path, how="none")
    return Outcome(True, seconds=len(wave) / 16000, wave=wave)


def by_read_audio(path):
    from emotion_ser.codec import read_audio
    samples, rate, _ = read_audio(path)
    return Outcome(True, seconds=len(samples) / rate, wave=mono(samples), rate=rate)


def by_open_recording(path):
    from emotion_ser.codec import open_recording
    with open_recording(path) as recording: blocks, seconds, rate = list(recording.blocks), recording.seconds, recording.rate
    wave = mono(np.concatenate(blocks))
    if seconds is not None and abs(len(wave) / rate - seconds) > 2 / rate: raise Untrue(f"it says {seconds:.4f} s and gives {len(wave) / rate:.4f} s")
    return Outcome(True, seconds=len(wave) / rate, wave=wave, rate=rate)


@cache
def classifier():
    from emotion_ser.classifier import EmotionClassifier
    return EmotionClassifier.from_pretrained("acoustic")


def as_outcome(prediction):
    "A prediction as an outcome"
    if not abs(sum(prediction.probabilities.values()) - 1) < 1e-6: raise Untrue("probabilities that do not sum to 1")
    return Outcome(True, seconds=prediction.seconds)


def by_predict(path): return as_outcome(classifier().predict(path))
def by_predict_file(path): return as_outcome(classifier().predict(open_regular(path)))
def by_predict_bytes(path): return as_outcome(classifier().predict(io.BytesIO(Path(path).read_bytes())))


def open_regular(path): return open(path, "rb")


def by_app(path):
    from emotion_ser.demo import show
    from emotion_ser.audio import AudioError
    page = show(classifier(), Path(path).read_bytes(), path.name)
    if "\x1b" in page or "<b>[red]" in page: raise Untrue("the name came through as it is")
    if 'class="error"' in page: raise AudioError(unescape(re.sub("<[^>]*>", "", page)).strip())
    assert 'class="answer"' in page
    return Outcome(True)


FUNCTIONS = dict(load_waveform=by_load_waveform, read_audio=by_read_audio, open_recording=by_open_recording, predict=by_predict,
                 predict_file=by_predict_file, predict_bytes=by_predict_bytes, app=by_app)


def ask(name, path, seconds=300):
    "What one of `FUNCTIONS` makes of a file"
    from emotion_ser.audio import AudioError
    started = time.perf_counter()
    try:
        with nobody(path) if path.exists() and path.is_file() else nullcontext(path) as path, at_most(seconds): found = FUNCTIONS[name](path)
    except AudioError as error: found = Outcome(False, str(error))
    except Exception as error: found = Outcome(False, crash=f"{type(error).__name__}: {error}")
    found.took = time.perf_counter() - started
    return found


# ---------------------------------------------------------------- is it right?

def quarters_alike(wave, rate, reference):
    "The least correlation with the reference (16 kHz) over its quarters, at the best lag of at most 0.3 s, and the level against it"
    from scipy.signal import correlate
    from emotion_ser.preprocess import resample
    wave = resample(np.asarray(wave, np.float32), rate).astype(np.float64)
    if not np.isfinite(wave).all() or not wave.any(): return 0.0, 0.0
    n = min(len(wave), len(reference))
    both = correlate(wave, reference, "full", "fft")
    middle = len(reference) - 1
    lag = int(np.argmax(both[middle - 4800:middle + 4801])) - 4800 if len(both) > 9601 and middle >= 4800 else 0
    a, b = (wave[lag:], reference) if lag >= 0 else (wave, reference[-lag:])
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    parts = [float(x @ y / np.sqrt((x @ x) * (y @ y) + 1e-300)) for x, y in zip(np.array_split(a, 4), np.array_split(b, 4))]
    return min(parts), float(np.sqrt((a @ a) / (b @ b)))


@cache
def reference(rate, seconds):
    "The voice at 16 kHz, as it comes from that rate"
    from emotion_ser.preprocess import resample
    return resample(voice(rate, seconds), rate).astype(np.float64)


def fault(k: Kind, command: str, found: Outcome) -> str:
    "What is wrong with an outcome, or nothing"
    if found.crash: return f"CRASH {found.crash[:160]}"
    right = k.right
    if k.content and command in ("read_audio", "open_recording"): right = "either"  # decoders need not judge what they decode
    if right == "long": right = "refuse" if command in WHOLE_CLIPS else "whole"
    if right == "refuse" and found.accepted: return "ACCEPTED" + (f" as {found.seconds:.3f} s" if found.seconds is not None else "")
    if right == "whole" and not found.accepted: return f"REFUSED {found.reason[-160:]}"
    if not found.accepted:
        if found.reason == NO_SPEECH and k.content and "NaN" not in k.says: return ""
        if k.says and found.reason and not re.search(k.says, found.reason): return f"REASON {found.reason[-160:]}"
        if command.startswith("cli") and re.search(RAW, found.reason): return f"UNPRINTABLE {found.reason!r}"
        return ""
    if k.content and command in ("read_audio", "open_recording"): return ""  # there may be nothing to compare
    if k.seconds is not None and found.seconds is not None and abs(found.seconds - k.seconds) > k.within + 0.001:
        return f"LENGTH {found.seconds:.3f} s for {k.seconds:.3f}"
    if k.like and found.wave is not None:
        like, gain = quarters_alike(found.wave, found.rate, reference(k.rate, k.seconds))
        if like < k.like: return f"SOUND correlation {like:.3f}"
        if k.gain and abs(20 * np.log10(gain / k.gain)) > 1: return f"LEVEL {gain:.3g} for {k.gain:g}"
    return ""


# ---------------------------------------------------------------- the commands, in processes of their own

@dataclass
class Ran:
    "A finished command"
    status: int
    out: str
    err: str
    seconds: float
    peak_mb: float

    @property
    def crash(self):
        "How it ended, if it did not end as it should"
        if "Traceback (most recent" in self.err: return self.err.strip().splitlines()[-1]
        if self.status < 0: return "timed out" if self.status == -signal.SIGKILL else f"signal {-self.status}"
        return ""


def command(*args, cwd=None, timeout=600, env=(), before=()):
    "Run emotion_ser, and watch its memory"
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen([*before, sys.executable, "-m", "emotion_ser", *map(os.fspath, args)], cwd=cwd, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                   env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(ROOT / "no cache"), **dict(env)})
        peak = 0.0
        while process.poll() is None:
            try: peak = float(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1])
            except (OSError, TypeError): pass
            if time.perf_counter() - started > timeout: process.kill()
            time.sleep(0.05)
        took = time.perf_counter() - started
        for file in (out, err): file.seek(0)
        return Ran(process.returncode, out.read().decode(errors="surrogateescape"), err.read().decode(errors="surrogateescape"), took, peak / 1024)


def slug_in(text):
    "The kind whose folder a text names"
    found = re.search(r"[/\\](?:files|places)[/\\](\d{3})-", text)
    return KINDS[int(found[1])].slug if found else None


def by_cli_predict(paths, timeline=False, **how):
    "`predict` over all files at once: slug -> outcome, and the command"
    ran = command("predict", "--format", "jsonl", *["--timeline"] * timeline, "--", *paths.values(), **how)
    found = {slug: Outcome(False, crash=ran.crash or f"no row; {ran.err.strip()[-160:]}") for slug in paths}
    for line in ran.out.splitlines():
        try: row = json.loads(line)
        except ValueError: continue
        if (slug := slug_in(row.get("file", ""))) not in found: continue
        if "error" in row: found[slug] = Outcome(False, row["error"])
        elif not timeline: found[slug] = Outcome(True, seconds=row["seconds"])
        elif row["label"] or found[slug].accepted: found[slug] = Outcome(True, seconds=row["end"])
        else: found[slug] = Outcome(False, NO_SPEECH)
    return found, ran


def good_corpus(folder):
    "Rows of a small corpus that can be learned from: 4 speakers, 3 labels"
    from emotion_ser.synthetic import make_sample_corpus
    names = {"03": "happy", "04": "sad", "05": "angry"}
    clips = sorted(make_sample_corpus(folder / "good", seed=7, actors=4).glob("*/*.wav"))
    return [dict(path=str(p), label=names[p.stem[6:8]], speaker=f"speaker {p.stem[-2:]}") for p in clips if p.stem[6:8] in names]


def in_csv(paths, good, file):
    "A CSV of the good corpus and odd files, as if one of its speakers had spoken them"
    rows = good + [dict(path=str(p.absolute()), label="happy", speaker="speaker 01") for p in paths.values()]
    with open(file, "w", newline="") as out:
        writer = csv.DictWriter(out, ["path", "label", "speaker"])
        writer.writeheader()
        writer.writerows(rows)
    return file


def for_a_csv(paths):
    "Those that a list can name (no line breaks, UTF-8), and of equal bytes one (the others would be left out as copies)"
    seen, kept = set(), {}
    for slug, path in paths.items():
        data = path.read_bytes() if path.is_file() and BY_SLUG[slug].right != "long" and not BY_SLUG[slug].place else slug
        if not re.search("[\n\udce9]", str(path)) and data not in seen: kept[slug] = path
        seen.add(data)
    return kept


def by_corpus(paths, good, folder):
    "`load_corpus` and `embed_corpus` in this process: slug -> outcome with its reason"
    from emotion_ser.core import silent
    from emotion_ser.own import load_corpus
    from emotion_ser.acoustic import AcousticEncoder
    from emotion_ser.store import embed_corpus
    table = in_csv(paths, good, folder / "corpus.csv")
    try:
        with at_most(500):
            manifest = load_corpus(table, silent)
            embedded = embed_corpus(manifest, AcousticEncoder(), folder / "cache", on_error="skip", progress=False)
    except Exception as error: return dict.fromkeys(paths, Outcome(False, crash=f"all ended: {type(error).__name__}: {str(error)[:200]}"))
    return among(paths, embedded.manifest, [*manifest.attrs.get("left_out", []), *embedded.skipped.values()])


def among(paths, manifest, left_out):
    "Who is in a manifest, who was left out and why"
    found = {slug: Outcome(False, crash="neither embedded nor reported") for slug in paths}
    for reason in left_out:
        if (slug := slug_in(str(reason))) in found: found[slug] = Outcome(False, str(reason))
    for path, seconds in zip(manifest.path, manifest.duration if "duration" in manifest else [None] * len(manifest)):
        if (slug := slug_in(str(path))) in found and Path(path).name != "other.wav": found[slug] = Outcome(True, seconds=seconds)
    return found


def by_learning(paths, good, folder, verb, source=None, timeout=600):
    "`embed`, `study`, `train` or `evaluate` on a CSV with all of them: slug -> outcome, and the command"
    import pandas as pd
    out, table = folder / verb, source or in_csv(paths, good, folder / f"{verb}.csv")
    shutil.rmtree(out, ignore_errors=True)
    options = dict(embed=[table], study=["--corpus", table], train=["--corpus", table, "--protocol", "random"], evaluate=["--corpus", table, "--protocol", "random", "--repeats", "1"])[verb]
    ran = command(verb, *options, "--out", out, env=dict(EMOTION_SER_CACHE=str(folder / "cache")), timeout=timeout)
    if ran.status or ran.crash: return dict.fromkeys(paths, Outcome(False, crash=f"all ended: {ran.crash or ran.err.strip()[-200:]}")), ran
    if verb == "embed":
        manifest = pd.read_parquet(out / "manifest.parquet")
        shards = {str(c) for shard in out.glob("*/*.parquet") for c in pd.read_parquet(shard, columns=["content"]).content}
        kept = manifest[manifest.content.astype(str).isin(shards)]
        found = {slug: Outcome(False) for slug in paths}
        return found | {s: o for s, o in among(paths, kept, []).items() if o.accepted}, ran
    if verb == "train":  # how many it learned from, and how many it says were left out
        n = json.loads((out / "config.json").read_text())["about"]["clips"] - len(good)
        left_out = sum(map(int, re.findall(r"left out, (?!exact)[^:]*: (\d+)", ran.err)))
        return dict(accepted=n, left_out=left_out), ran
    metrics = json.loads((out / "metrics.json").read_text())
    found = {slug: Outcome(True) for slug in paths}  # what is not reported was accepted
    for reason in metrics["left_out"]:
        if slug := slug_in(str(reason)): found[slug] = Outcome(False, str(reason))
    return found, ran


# ---------------------------------------------------------------- the table

def everything(out, paths):
    "Every command over every kind: command -> slug -> outcome, and notes on the runs"
    out, notes = Path(out), []
    work = out / "work"
    work.mkdir(exist_ok=True)
    os.environ["EMOTION_SER_CACHE"] = str(work / "cache")
    light = {s: p for s, p in paths.items() if not BY_SLUG[s].heavy}
    files = {s: p for s, p in light.items() if not BY_SLUG[s].place}
    places = {s: p for s, p in light.items() if BY_SLUG[s].place}
    heavy = {s: p for s, p in paths.items() if BY_SLUG[s].heavy}
    results: dict = {name: {} for name in FUNCTIONS}
    for name in FUNCTIONS:
        for slug, path in light.items():
            if name in ("predict_file", "predict_bytes", "app") and BY_SLUG[slug].place and slug != "link to a recording": continue
            results[name][slug] = ask(name, path)
            if results[name][slug].took > 3: notes.append(f"{name}, {slug}: {results[name][slug].took:.1f} s")
        print(name, "done", flush=True)

    def note(name, ran):
        notes.append(f"{name}: status {ran.status}, {ran.seconds:.0f} s, peak {ran.peak_mb:.0f} MB" + f"; CRASH {ran.crash}" * bool(ran.crash))
        if re.search(RAW, ran.out + ran.err): notes.append(f"{name}: UNPRINTABLE characters in what it printed")
        print(notes[-1], flush=True)

    good = good_corpus(work)
    in_table = for_a_csv(files)
    for group, these, allowed in (("files", files, 600), ("places", places, 60)):
        for name, timeline in (("cli predict", False), ("cli timeline", True)):
            some = {s: p for s, p in these.items() if s != "may not be read" or os.geteuid()}
            for slug in {"folder"} & set(some):  # a folder means the files in it, here none
                found, ran = by_cli_predict({slug: some.pop(slug)}, timeline)
                if not ran.crash and ran.status: found[slug] = Outcome(False, ran.err.strip())
                results.setdefault(name, {}).update(found)
            found, ran = by_cli_predict(some, timeline, timeout=allowed)
            results.setdefault(name, {}).update(found)
            note(f"{name}, {group}", ran)
    results["corpus"] = by_corpus(in_table, good, work)
    for verb in ("embed", "study", "evaluate", "train"):
        found, ran = by_learning(in_table, good, work, verb)
        note(verb, ran)
        (work / f"{verb}.err").write_text(ran.err, errors="backslashreplace")
        if "accepted" in found:
            wanted = Counter(o.accepted for o in results["corpus"].values())
            notes.append(f"train: learned from {found['accepted']} of the odd files and reported {found['left_out']} left out; `corpus` has {wanted[True]} and {wanted[False]}")
        else: results[verb] = found
    found, ran = by_learning(files, good, work, "embed", out / "files")
    note("embed folder", ran)
    (work / "embed folder.err").write_text(ran.err, errors="backslashreplace")
    lines = re.findall(r"^.*(?:not read|left out|other file|no recording).*$", ran.err, re.M)
    results["embed folder"] = {s: o for s, o in found.items() if o.accepted or not o.crash}
    notes += [f"embed folder says: {line[:200]}" for line in lines]
    in_table = {s: p for s, p in places.items() if s != "may not be read" or os.geteuid()}
    for verb in ("embed", "study"):
        (work / "p").mkdir(exist_ok=True)
        found, ran = by_learning(in_table, good, work / "p", verb, timeout=90)
        note(f"{verb}, places", ran)
        results[verb].update(found)
    for slug, path in heavy.items():
        for name, timeline in (("cli predict", False), ("cli timeline", True)):
            found, ran = by_cli_predict({slug: path}, timeline, timeout=400)
            results[name].update(found)
            note(f"{name}, {slug}", ran)
        for verb in ("embed", "study"):
            (work / "h").mkdir(exist_ok=True)
            found, ran = by_learning({slug: path}, good, work / "h", verb)
            note(f"{verb}, {slug}", ran)
            results[verb].update(found)
    results |= bare_names(out, note)
    return results, notes


def bare_names(out, note):
    "Files named on the command line as they are, from within their folder, in each form of output"
    folder = out / "work/names"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = [k for k in KINDS if k.slug.startswith("name: ") and "suffix" not in k.slug and not k.needs]
    for k in names: (folder / k.name).write_bytes(k.make())
    for form in ("jsonl", "csv", "table"):
        ran = command("predict", "--format", form, "--", *[k.name for k in names], cwd=folder)
        note(f"predict of bare names as {form}", ran)
        if form == "csv":
            cells = [row[0] for row in csv.reader(io.StringIO(ran.out))]
            if any(cell.startswith(("=", "+", "-", "@")) for cell in cells): note("predict of bare names as csv: a cell that a spreadsheet takes for a formula", ran)
        rows = [line for line in ran.out.splitlines() if line.strip()]
        if form != "csv" and len(rows) != len(names): note(f"predict of bare names as {form}: {len(rows)} lines for {len(names)} files", ran)
    ran = command("predict", "--format", "jsonl", ".", cwd=folder)
    note("predict of the folder they are in", ran)
    if len(ran.out.splitlines()) != len(names): note(f"predict of the folder they are in: {len(ran.out.splitlines())} lines for {len(names)} files", ran)
    return {}


def faults(k: Kind, outcomes: dict) -> dict:
    "command -> what is wrong with what it made of a kind, empty where nothing is; of `either`: whether all agree"
    found = {name: fault(k, name, outcome) for name, outcome in outcomes.items()}
    judged = {name: o.accepted for name, o in outcomes.items() if not (k.content and name in ("read_audio", "open_recording"))}
    if k.right == "either" and len(set(judged.values())) > 1: found = {name: text or "ACCEPTED by some only" * judged.get(name, False) for name, text in found.items()}
    return found


def table(out, paths):
    "Run everything, write OUT/table.md, print the counts and the faults"
    results, notes = everything(out, paths)
    wrong = {k.slug: faults(k, {name: by[k.slug] for name, by in results.items() if k.slug in by}) for k in KINDS}
    lines = ["| kind | right | what is done, and why | faults |", "|---|---|---|---|"]
    counts: Counter = Counter()
    cell = lambda text: "".join(c if c.isprintable() else " " for c in str(text)).replace("|", "\\|")
    for k in KINDS:
        if not wrong[k.slug]: continue
        first = next(by[k.slug] for by in results.values() if k.slug in by)
        done = f"accepted, {first.seconds:.2f} s" if first.accepted else first.crash or first.reason
        done = re.sub(r"^.*?/(files|places)/\d+-[^/]*/", "", done)
        bad = {name: text for name, text in wrong[k.slug].items() if text}
        for text in wrong[k.slug].values(): counts[text.split(" ")[0] if text else "right"] += 1
        counts["kinds right everywhere"] += not bad
        counts["kinds"] += 1
        lines.append(f"| {cell(k.slug)} | {k.right} | {cell(done)[:160]} | {cell('; '.join(f'{n}: {t}' for n, t in bad.items()))[:400] or 'none'} |")
    text = "\n".join([*lines, "", *[f"- {n}" for n in notes], "", *[f"- {k.slug}: {k.note}" for k in KINDS if k.note]])
    (Path(out) / "table.md").write_text(text + "\n", errors="backslashreplace")
    with open(Path(out) / "faults.csv", "w", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerows([k, name, fault] for k, by in wrong.items() for name, fault in by.items() if fault)
    print(dict(counts))
    return wrong
