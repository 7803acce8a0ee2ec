"""Makes the recorded runs again, from the list in commands.txt: `python nbs/results/record.py --help`."""
import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent
KEPT = ("metrics.json history.csv predictions.csv cost.json confusion_matrix.png unseen_corpora.png adaptation.csv "
        "adaptation.png robustness.csv robustness.png no_speech.png").split()  # of a run that is recorded for the first time

TWINS = "twins/"  # classifiers that are not recorded: they are asked about speakers and corpora that the bundled ones have learned from


def listed(patterns):
    "The lines of commands.txt whose place fits one of the patterns: command, place, options"
    lines = [line.split(maxsplit=2) for line in (RESULTS / "commands.txt").read_text().splitlines() if line and not line.startswith("#")]
    chosen = [line for line in lines if any(fnmatch.fnmatch(line[1], pattern) for pattern in patterns)]
    if not chosen: sys.exit(f"nothing in commands.txt fits {' '.join(patterns)}")
    return chosen


def run(command, options, out, encoder, runs):
    "One command of the list, into a folder; what a previous try left there is gone on with"
    words = [encoder if word == "models/whisper-base" else word for word in options.split()]
    words = [str(runs / word) if word.startswith(TWINS) else word for word in words]
    corpus = [] if "--corpus" in words else ["--corpus", "ravdess"]
    subprocess.run([sys.executable, "-m", "emotion_ser", command, *corpus, *words, "--out", out], check=True, stdin=subprocess.DEVNULL)


def keep(out, place):
    "Renew the files that are recorded of a run; of a new one the usual, of a classifier all"
    place.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in place.iterdir()}
    for file in filter(Path.is_file, out.iterdir()):
        if file.name in (before or KEPT) or (out / "config.json").is_file(): shutil.copy(file, place)


def predictions(folder):
    "What a run predicted, clip by clip"
    table = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    return table.set_index([c for c in ("split", "path") if c in table]).prediction.sort_index()


def compared(out, place):
    "The run beside the recorded one: UAR of both, and how many clips are predicted otherwise"
    uar = [100 * json.loads((folder / "metrics.json").read_text())["uar"] for folder in (place, out)]
    if not (place / "predictions.csv").is_file(): return f"recorded UAR {uar[0]:.2f}, now {uar[1]:.2f}; no predictions are recorded"
    ours, theirs = predictions(out), predictions(place)
    if not ours.index.equals(theirs.index): return f"recorded UAR {uar[0]:.2f}, now {uar[1]:.2f}; OTHER CLIPS"
    return f"recorded UAR {uar[0]:.2f}, now {uar[1]:.2f}; {(ours != theirs).sum()} of {len(ours)} labels differ"


def main():
    "Run what was asked, one after the other"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="which, such as 'protocols/*lda*'; default: all, which takes hours")
    parser.add_argument("--encoder", default="models/whisper-base", help="a folder or a hub name in the place of models/whisper-base")
    parser.add_argument("--runs", default="runs", type=Path, help="where the runs go")
    parser.add_argument("--check", action="store_true", help="compare with what is recorded, and record nothing")
    asked = parser.parse_args()
    for command, place, options in listed(asked.patterns):
        out, there = asked.runs / place.replace("../", ""), RESULTS / place
        if not any((out / name).is_file() for name in ("metrics.json", "config.json")): run(command, options, out, asked.encoder, asked.runs)
        if place.startswith(TWINS): continue
        if asked.check: print(f"{place}: {compared(out, there)}", flush=True)
        else: keep(out, there)


if __name__ == "__main__": main()
