"""What does a GPU give? The same clips embedded on each device there is, in one run.

`python bench/gpu.py` on a machine with one records nbs/results/speed_gpu.csv; elsewhere it says that there is none."""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from competitors import random_wav2vec2
from measure import machine, similarity

from emotion_ser.core import record, silent
from emotion_ser.own import load_corpus
from emotion_ser.store import embed_corpus

CONTESTANTS = {  # name -> options of the encoder
    "processor": dict(device="cpu"),
    "GPU": dict(device="cuda"),
    "GPU, bfloat16": dict(device="cuda", dtype="bfloat16"),
    "GPU, float16": dict(device="cuda", dtype="float16")}


def embed(
    options: dict,  # of the encoder
    manifest: pd.DataFrame,
) -> tuple[np.ndarray, float]:  # [n, size], seconds
    "A corpus from files to vectors; what a first call costs alone comes before"
    encoder = random_wav2vec2(layers="all", pooling="mean+std", **options)
    with tempfile.TemporaryDirectory() as warm: embed_corpus(manifest[:32], encoder, warm, progress=False)
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        found = embed_corpus(manifest, encoder, cache, progress=False)
        return found.vectors, time.perf_counter() - started


def measure_devices(
    manifest: pd.DataFrame,
    contestants: dict,  # as `CONTESTANTS`
    rounds: int = 3,
) -> pd.DataFrame:  # contestant, clips_per_s (median), times_processor, cosine, cosine_standardised to the processor's
    "Every contestant in turn, several times"
    seconds: dict[str, list] = {name: [] for name in contestants}
    vectors = {}
    for _ in range(rounds):
        for name, options in contestants.items():
            vectors[name], taken = embed(options, manifest)
            seconds[name].append(taken)
    first = next(iter(contestants))
    median = {name: float(np.median(taken)) for name, taken in seconds.items()}
    alike = [similarity(vectors[first], found) for found in vectors.values()]
    return pd.DataFrame(dict(
        contestant=list(contestants), clips_per_s=[len(manifest) / s for s in median.values()],
        times_processor=[median[first] / s for s in median.values()],
        cosine=[a[0] for a in alike], cosine_standardised=[a[1] for a in alike]))


def main():
    "The options"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("nbs/results"), help="folder for speed_gpu.csv; default: nbs/results")
    parser.add_argument("--clips", type=int, default=240, help="of the synthetic corpus; default: 240")
    parser.add_argument("--rounds", type=int, default=3, help="whose median counts; default: 3")
    options = parser.parse_args()
    if not torch.cuda.is_available(): sys.exit("no GPU that PyTorch can use here; nothing was measured")
    manifest = load_corpus("sample", report=silent)[:options.clips]
    table = measure_devices(manifest, CONTESTANTS, options.rounds)
    about = dict(command="python bench/gpu.py", machine=machine(), gpu=torch.cuda.get_device_name(), clips=options.clips,
                 rounds=options.rounds, corpus=manifest.attrs["corpus"], encoder="wav2vec2-base (random)")
    record(table.round(5), options.out / "speed_gpu.csv", **about)
    print(table.round(4).to_string(index=False))


if __name__ == "__main__": main()
