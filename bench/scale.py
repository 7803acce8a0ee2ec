"""What do the commands take when the corpus grows? Embeds, studies, evaluates and trains on 1,250 to 20,000 clips.

`make bench-scale` records it in nbs/results/scale.csv; the notebook 20_scale shows it."""
import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf
from measure import HERE, machine

from emotion_ser.core import read_table, record
from emotion_ser.synthetic import VOWELS, make_voice, syllable, voice_source
from emotion_ser.testing import tiny_checkpoint

SIZES = (1250, 5000, 20000)  # clips
EACH = 50  # clips of a speaker
ENCODERS = ("acoustic", "whisper")
WIDTH, BLOCKS = 256, 6  # of a Whisper with random weights: every layer is seven times as much as one


# ---------------------------------------------------------------- the corpus

def make_clip(
    rng: np.random.Generator,
    voice: dict,  # from `make_voice`
    emotion: str,
) -> np.ndarray:  # [n_samples] float in -1 to 1, 0.3 to 1 s at 16 kHz
    "One vowel of a synthetic speaker: cheap, and no two alike"
    n, mood = int(rng.uniform(0.3, 1) * 16000), voice["moods"].loc[emotion]
    pitch = voice["f0"] * 2 ** ((mood.pitch + mood.rise * np.linspace(0, 1, n) ** 2) / 12)
    source = voice_source(rng, pitch, voice["bright"] + mood.bright, max(0, voice["breath"] + mood.breath), 16000)
    sound = syllable(source, str(rng.choice(list(VOWELS))), voice["tract"], 16000)
    return 0.7 * sound / np.abs(sound).max()


def make_corpus(
    folder: Path,
    clips: int,
) -> Path:  # a CSV of path, label, speaker
    "Speakers of fifty clips each; a larger corpus begins with all of a smaller one"
    rows: list[tuple] = []
    for i in range(clips):
        speaker, k = divmod(i, EACH)
        if k == 0: voice = make_voice(np.random.default_rng([0, speaker]), male=speaker % 2 == 1)
        emotion, path = voice["moods"].index[k % 8], folder / f"{speaker:04}" / f"{k:02}.wav"
        rows.append((path, emotion, f"s{speaker:04}"))
        if path.exists(): continue
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, make_clip(np.random.default_rng([0, speaker, k]), voice, emotion), 16000, subtype="PCM_16")
    listed = folder / f"{clips}.csv"
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(listed, index=False)
    return listed


# ---------------------------------------------------------------- the commands

def commands(
    corpus: Path,
    encoder: str,  # `acoustic`, or a folder
    place: Path,  # of everything that is written; its `embeddings` are this run's cache
) -> dict:  # name -> command line of `emotion_ser`
    "What is measured; of a network one layer is asked for, and by the last training all of them"
    asked = f"--corpus {corpus} --encoder {encoder}"
    one = "" if encoder == "acoustic" else f" --layers {BLOCKS // 2}"
    lines = {"embed": f"embed {corpus} --out {place}/embeddings --encoder {encoder}"}
    for line in (f"study{one}", f"evaluate --head lda{one}", f"train{one}"):
        lines[line] = f"{line} {asked} --out {place}/{line.split()[0]}"
    everything = "train --layers all --pooling mean+std"
    if one: lines[everything] = f"{everything} {asked} --out {place}/everything"
    return lines


def measured(
    command: str,
    cache: Path,
) -> list[float]:  # cpu_s, wall_s, peak_mb
    "A command in a process of its own"
    words = [sys.executable, "-W", "ignore", str(HERE / "one_process.py"), "command", "--", *shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "EMOTION_SER_CACHE": str(cache)})
    if done.returncode: raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    return [float(number) for number in done.stdout.strip().splitlines()[-1].split()]


def scale(
    place: Path,  # a folder, for clips and caches
    clips: int,
    encoder: str,  # one of `ENCODERS`
    report=print,  # called with a sentence for each command
) -> pd.DataFrame:  # clips, command, encoder, cpu_s, wall_s, peak_mb
    "Time and memory of each command on so many clips, from an empty cache"
    corpus, here, name = make_corpus(place / "clips", clips), place / f"{encoder}-{clips}", encoder
    if encoder == "whisper": name = str(tiny_checkpoint(place / "network", "whisper", width=WIDTH, n_layers=BLOCKS))
    rows: list[tuple] = []
    for command, line in commands(corpus, name, here).items():
        rows.append((clips, command, encoder, *measured(line, here)))
        report("{} clips, {} with {}: {:.1f} s CPU, {:.1f} s, {:.0f} MB".format(*rows[-1]))
    return pd.DataFrame(rows, columns=["clips", "command", "encoder", "cpu_s", "wall_s", "peak_mb"])


def keep(table: pd.DataFrame, file: Path):
    "Record what was measured of a size and an encoder; what is there of others stays"
    if file.is_file():
        there, now = (pd.MultiIndex.from_frame(one[["clips", "encoder"]]) for one in (read_table(file), table))
        table = pd.concat([read_table(file)[~there.isin(now)], table])
    record(table.round(2).sort_values(["encoder", "clips"], kind="stable"), file, command="make bench-scale",
           machine=machine(), seed=0, corpus=f"synthetic, {EACH} clips of 0.3 to 1 s by each speaker",
           encoder=f"acoustic; whisper with random weights, {BLOCKS} blocks, {WIDTH} wide")


def main():
    "The options"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--out", type=Path, default=Path("nbs/results"), help="folder for scale.csv; default: nbs/results")
    option("--sizes", type=int, nargs="+", default=SIZES, help="clips; default: 1250 5000 20000")
    option("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS, help="default: both")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for encoder in chosen.encoders:
            for clips in chosen.sizes: keep(scale(Path(place), clips, encoder), chosen.out / "scale.csv")


if __name__ == "__main__": main()
