"""Builds the page that listens into a folder: what lies in docs/listen, the classifiers as ONNX files, what runs them in a browser, and samples. Needs no Sphinx."""
import gzip
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from emotion_ser.bundled import encoder_at_hand
from emotion_ser.card import corpora_of, read_info
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.corpora import CORPORA
from emotion_ser.onefile import export_classifier
from emotion_ser.portable import read_metadata
from emotion_ser.sounds import NO_SPEECH
from emotion_ser.synthetic import make_voice, utter

DOCS = Path(__file__).parent
WASM = "ort-wasm-simd-threaded.wasm"
MODELS = {"acoustic": "answers at once; seldom sure of a stranger", "whisper-base": "right more often; loads when it is chosen"}
CARD = "https://github.com/emotion-ser/emotion_ser/blob/main/emotion_ser/models/{}/README.md"
KEPT = ("name", "license", "labels", "threshold", "temperature", "reasons", "adapt")  # of the metadata, what the page reads


def percent(share): return "" if share is None else f"{100 * share:.0f}%"


def span(low, high): return f"{100 * low:.0f} to {100 * high:.0f}"


def worth(about):
    "What a classifier learned from, and how often it is right with strangers: sentences, and a row for each corpus that was left out"
    info = read_info(about)
    corpora = [f"{CORPORA[name].title}, {CORPORA[name].language}" for name in corpora_of(info)]
    m, chance = info.measured or {}, f"guessing gets {percent(info.chance)}"
    accuracy, low, high = m["accuracy"]
    sentences = [f"It learned from {info.clips} recordings of {len(info.actors)} actors in {len(corpora)} corpora: {'; '.join(corpora)}.",
                 f"Of voices, rooms and languages that it had not learned from, classifiers made like it name {percent(accuracy)} of the recordings rightly "
                 f"(95% interval {span(low, high)}; {chance}). They are sure of {percent(m['answered'])}, and {percent(m['accuracy_when_answered'])} of these answers are right.",
                 "The corpora are acted speech: a score on them says little about speech that is not, and nothing about what somebody feels. It is not for judging anybody."]
    rows = [[CORPORA[row["corpus"]].title, percent(row["uar"]), span(*row["interval"]), percent(row["trusted"]), percent(row["right_when_trusted"])]
            for row in m["corpora"] if row["corpus"] in CORPORA]
    return dict(sentences=sentences, rows=rows, head=["left out", "UAR", "95% interval", "sure of", "right when sure"])


def export(folder, name, encoder=None):
    "One classifier as an ONNX file, and what the page must know of it"
    small = name != "acoustic"
    path = export_classifier(EmotionClassifier.from_pretrained(name, encoder), folder / f"{name}{'.int8' * small}.onnx", small, name)
    notes, size = read_metadata(path), path.stat().st_size
    return dict(file=path.name, bytes=size, hint=f"{size / 1e6:.{int(size < 1e7)}f} MB; {MODELS[name]}", card=CARD.format(name),
                **{key: notes[key] for key in KEPT}, worth=worth(notes["about"]))


def samples():
    "caption -> samples at 16 kHz: voices that a program makes, alone and in a row, and a telephone"
    rng, parts = np.random.default_rng(5), []
    voices = [make_voice(rng, male) for male in (True, False)]
    for voice in voices:
        for emotion in ("sad", "neutral", "happy", "angry"):
            parts += [utter(rng, voice, dict(emotion=emotion, intensity="strong", statement=1)), rng.normal(0, 1e-3, 24000)]
    low, high = (np.concatenate([parts[i][:-400], parts[i + 2]]) for i in (0, 8))
    row = np.concatenate(parts * 2)
    return {"a low voice": low, "a high voice": high, f"both, {len(row) / 16000:.0f} s": row, "a telephone": NO_SPEECH["ring-tone"](rng)}


def build(folder, encoder=None):
    "All of the page; `encoder`: the folder of whisper-base, if it is not in the cache"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS / "listen", folder)
    shutil.copy(DOCS / "static/icon.svg", folder)
    shutil.copy(DOCS / "vendor/listen/ort.wasm.bundle.min.mjs", folder)
    packed = gzip.compress((DOCS / "vendor/listen" / WASM).read_bytes(), 9, mtime=0)
    (folder / f"{WASM}.gz").write_bytes(packed)
    site = dict(runtime=dict(file=f"{WASM}.gz", bytes=len(packed)), models=[], samples=[], missing="")
    for i, (name, sound) in enumerate(samples().items()):
        sf.write(folder / f"sample-{i}.wav", sound, 16000, subtype="PCM_16")
        site["samples"].append(dict(name=name, file=f"sample-{i}.wav"))
    for name in MODELS:
        if name == "acoustic": site["models"].append(export(folder, name))
        elif encoder or encoder_at_hand(name): site["models"].append(export(folder, name, encoder))
        else: site["missing"] = f"{name}, which is right more often, is not part of this build of the page: its encoder was not at hand."
    if site["missing"]: print(f"{site['missing']} Fetch it (hf download openai/whisper-base), or name its folder: EMOTION_SER_ENCODER.", file=sys.stderr)
    (folder / "site.json").write_text(json.dumps(site))


if __name__ == "__main__": build(Path(sys.argv[1]), os.environ.get("EMOTION_SER_ENCODER"))
