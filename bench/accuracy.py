"""What does other arithmetic cost in accuracy? Embeds RAVDESS anew in each way and classifies unseen speakers.

Needs EMOTION_SER_RAVDESS and EMOTION_SER_ENCODER (whisper-base); writes nbs/results/speed_accuracy.csv."""
import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from competitors import whisper_place
from measure import machine, similarity

from emotion_ser.compare import paired_difference
from emotion_ser.core import record, silent
from emotion_ser.data import label_names
from emotion_ser.embed import Encoder
from emotion_ser.own import load_corpus
from emotion_ser.scale import OnnxEncoder
from emotion_ser.selection import Dataset, candidates, select_and_predict
from emotion_ser.splits import make_splits
from emotion_ser.store import embed_corpus


def wide_encoders() -> dict:  # arithmetic -> makes the encoder
    "whisper-base in each arithmetic, with all layers"
    make = partial(Encoder.from_pretrained, whisper_place(), "all", "mean+std", device="cpu")
    return {"float32, torch": make,
            "float32, onnx": lambda: OnnxEncoder(make()),
            "bfloat16, torch": partial(make, dtype="bfloat16"),
            "int8, onnx": lambda: OnnxEncoder(make(), int8=True)}


def predict_unseen(
    manifest: pd.DataFrame,
    vectors: np.ndarray,  # [n_clips, size]: all layers, mean and deviation
    encoder,
    protocol: str = "emobox",
) -> np.ndarray:  # [n_clips]: an emotion for each
    "Predictions for every clip by discriminants that did not learn from its speaker"
    stats = vectors.reshape(len(vectors), encoder.n_layers + 1, 2, -1)
    dataset = Dataset(manifest, [stats], encoder.n_layers, label_names(manifest))
    labels, predictions = np.array(dataset.labels), manifest.emotion.to_numpy().copy()
    for split in make_splits(manifest, protocol):
        result = select_and_predict(dataset, split, [candidates("lda", encoder, "all", "mean+std")])
        predictions[split.test] = labels[result.probabilities.argmax(1)]
    return predictions


def compare_arithmetic(
    manifest: pd.DataFrame,
    encoders: dict,  # arithmetic -> makes the encoder; the first is what the others are held against
    protocol: str = "emobox",
) -> pd.DataFrame:  # arithmetic, uar, difference, low, high, cosine, cosine_standardised
    "What each arithmetic costs against the first"
    rows: list[dict] = []
    for name, make in encoders.items():
        encoder = make()
        embedded = embed_corpus(manifest, encoder, progress=False)
        predictions = predict_unseen(embedded.manifest, embedded.vectors, encoder, protocol)
        if not rows: first, reference = predictions, embedded.vectors
        about = embedded.manifest
        truth, actors = about.emotion.to_numpy(), about.actor.to_numpy()
        found = paired_difference(truth, first, predictions, label_names(about), actors).loc["uar"]
        cosine, standardised = similarity(reference, embedded.vectors)
        rows.append(dict(arithmetic=name, uar=found.second, difference=found.difference, low=found.low,
                         high=found.high, cosine=cosine, cosine_standardised=standardised))
    return pd.DataFrame(rows)


def main():
    "Measure and record"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("nbs/results"),
                        help="folder for speed_accuracy.csv; default: nbs/results")
    out = parser.parse_args().out
    table = compare_arithmetic(load_corpus("ravdess", report=silent), wide_encoders())
    record(table.round(4), out / "speed_accuracy.csv",
           corpus="RAVDESS", encoder="whisper-base", protocol="emobox", head="lda, layers all, mean+std",
           seed=0, machine=machine(), command="python bench/accuracy.py")
    print(table.round(4).to_string(index=False))


if __name__ == "__main__": main()
