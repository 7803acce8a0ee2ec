"""Does a classifier in one file answer as in Python, and what do 8-bit weights cost?

Needs EMOTION_SER_RAVDESS, EMOTION_SER_CORPORA and EMOTION_SER_ENCODER (whisper-base); writes nbs/results/onefile*.csv."""
import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from competitors import whisper_place
from measure import machine

from emotion_ser.answers import AS_RECORDED, answer_row, clips_for_testing, questions, sample_clips
from emotion_ser.bundled import bundled_models
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.compare import paired_difference
from emotion_ser.core import record, silent
from emotion_ser.data import label_names
from emotion_ser.evaluate import intervals
from emotion_ser.onefile import export_classifier
from emotion_ser.portable import OneFile

CORPORA = ("ravdess", "emodb", "emovo", "nemo", "tess")
MODELS = ("acoustic", "whisper-base")
STRANGERS = (("acoustic", "tess"), ("whisper-base", "tess"), ("ravdess-whisper-base", "emodb"))  # what has not been learned from


def load(name: str) -> EmotionClassifier:
    "A classifier of the package, with its encoder from where the environment says"
    return EmotionClassifier.from_pretrained(name, whisper_place() if "whisper" in name else None)


def answers(classifier, clips: pd.DataFrame) -> pd.DataFrame:  # of `answer_row`, and seconds
    "What a classifier answers to clips, and how long that takes"
    rows = []
    for about, make in questions(clips, AS_RECORDED):
        sound, started = make(), time.perf_counter()
        row = answer_row(classifier, label_names(clips), about, lambda: sound)
        rows.append(row | dict(seconds=time.perf_counter() - started))
    return pd.DataFrame(rows)


def probabilities(rows: pd.DataFrame) -> np.ndarray:
    "[n_clips, n_labels]"
    return rows.filter(regex="^p_").to_numpy()


def compare(name: str, clips: list[pd.DataFrame], folder: Path) -> pd.DataFrame:  # a row for each kind of weights
    "One classifier in Python, and in files of both kinds"
    classifier, rows = load(name), []
    ask = lambda one: pd.concat([answers(one, part) for part in clips], ignore_index=True)
    ours = ask(classifier)
    for int8 in (False, True):
        file = export_classifier(classifier, folder / f"{name}-{int8}.onnx", int8)
        theirs = ask(OneFile(file))
        off = np.abs(probabilities(theirs) - probabilities(ours)).max(axis=1)
        rows.append(dict(model=name, weights="int8" if int8 else "float32", megabytes=file.stat().st_size / 1e6,
                         clips=len(ours), most=off.max(), median=np.median(off),
                         labels_changed=(theirs.label != ours.label).sum(), trust_changed=(theirs.trusted != ours.trusted).sum(),
                         seconds=theirs.seconds.median(), seconds_python=ours.seconds.median()))
    return pd.DataFrame(rows)


def strangers(name: str, corpus: str, folder: Path) -> dict:
    "What 8-bit weights cost on a corpus that was not learned from"
    classifier = load(name)
    clips = clips_for_testing(classifier, corpus, report=silent)
    file = export_classifier(classifier, folder / f"{name}.onnx", int8=True)
    ours, theirs = answers(classifier, clips), answers(OneFile(file), clips)
    truth, labels, groups = clips.emotion.to_numpy(), label_names(clips), clips.actor.astype(str).to_numpy()
    first, second = ours.prediction.to_numpy(), theirs.prediction.to_numpy()
    found = paired_difference(truth, first, second, labels, groups).loc["uar"]
    low, high = intervals(truth, second, labels, groups)["uar"]
    return dict(model=name, corpus=corpus, clips=len(clips), speakers=len(set(groups)), uar_float32=found["first"],
                uar_int8=found.second, low=low, high=high, difference=found.difference, difference_low=found.low,
                difference_high=found.high, labels_changed=(first != second).sum())


def main():
    "Measure and record"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("nbs/results"), help="folder for onefile*.csv; default: nbs/results")
    parser.add_argument("--clips", type=int, default=40, help="of each corpus; default: 40")
    parser.add_argument("--models", nargs="+", choices=list(bundled_models()), default=MODELS, help=f"default: {' '.join(MODELS)}")
    options = parser.parse_args()
    about = dict(command="python bench/onefile.py", machine=machine(), seed=0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tables = []
        for name in options.models:
            clips = [sample_clips(clips_for_testing(load(name), corpus, report=silent), options.clips) for corpus in CORPORA]
            tables.append(compare(name, clips, folder))
        table = pd.concat(tables, ignore_index=True)
        record(table.round(6), options.out / "onefile.csv", **about, corpora=CORPORA, clips=options.clips)
        print(table.round(5).to_string(index=False), flush=True)
        table = pd.DataFrame([strangers(name, corpus, folder) for name, corpus in STRANGERS])
        record(table.round(4), options.out / "onefile_strangers.csv", **about)
        print(table.round(4).to_string(index=False))


if __name__ == "__main__": main()
