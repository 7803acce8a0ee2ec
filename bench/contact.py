"""How long does a newcomer wait? The commands that one types first, each in a process of its own.

`make bench` records it in nbs/results/contact.csv; the notebook 21_speed shows it."""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from measure import machine

from emotion_ser.core import record, silent
from emotion_ser.own import load_corpus

RUN = (sys.executable, "-m", "emotion_ser")
NOTEBOOKS = Path(__file__).parent.parent / "nbs"
STORY = ("00_data", "01_preprocess", "02_embed", "03_head", "04_train", "05_evaluate")


def contacts(
    clip: str,  # a WAV file
    place: Path,  # where the cache and the results go, empty
    round: int,  # a number: what must be the first of its kind is kept apart by it
) -> dict:  # what is done -> the command, its variables of the environment
    "What is asked of the package at first, in this order"
    cache = {"EMOTION_SER_CACHE": str(place / str(round)), "HF_HUB_CACHE": str(place / "hub")}
    predict = (*RUN, "predict", clip)
    study = (*RUN, "study", "--out", str(place / "study"))
    story = (sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(place / "read"),
             *(str(NOTEBOOKS / f"{name}.ipynb") for name in STORY))
    return {"python -c 'import torch'": ((sys.executable, "-c", "import torch"), {}),
            "emotion_ser --help": ((*RUN, "--help"), {}),
            "emotion_ser predict one.wav": (predict, cache),
            "emotion_ser predict one.wav, nothing compiled yet":
                (predict, cache | {"PYTHONPYCACHEPREFIX": str(place / f"compiled-{round}")}),
            "emotion_ser study, the first time": (study, cache),
            "emotion_ser study, again": (study, cache),
            "the notebooks 00 to 05, from top to bottom": (story, {"EMOTION_SER_CACHE": str(place / f"read-{round}")})}


WANTED = {  # what is done -> s, and of which clock
    "emotion_ser --help": (0.3, "cpu_s"),
    "emotion_ser predict one.wav": (2.0, "wall_s"),
    "emotion_ser study, again": (10.0, "wall_s"),
    "the notebooks 00 to 05, from top to bottom": (180.0, "wall_s")}


def seconds_of(
    command: tuple,
    variables: dict,  # of the environment, besides those there are
) -> tuple[float, float]:  # CPU s, of the process and what it started; wall s
    "What a command costs. Raises `CalledProcessError` if it fails"
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, started = spent(), time.perf_counter()
    kept = {"PYTHONDONTWRITEBYTECODE": ""}  # what Python compiled stays there for the next time, as it does for users
    subprocess.run(command, check=True, capture_output=True, env=os.environ | kept | variables)
    return spent() - before, time.perf_counter() - started


def first_contact(
    clip: str,  # a WAV file
    rounds: int = 3,  # whose median counts
    only: str = "",  # what is done, or a part of it; default: all
) -> pd.DataFrame:  # command, cpu_s, wall_s, wanted
    "Every command in turn, round after round; what is read from the disk has been read once before"
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for round in range(rounds):
            asked = {name: what for name, what in contacts(clip, Path(place), round).items() if only in name}
            if not round: seconds_of(*next(iter(asked.values())))
            rows += [(name, *seconds_of(*what)) for name, what in asked.items()]
    table = pd.DataFrame(rows, columns=["command", "cpu_s", "wall_s"])
    median = table.groupby("command", sort=False).median().reset_index()
    wanted = [f"{WANTED[name][1][:-2]} < {WANTED[name][0]:g} s" if name in WANTED else "" for name in median.command]
    return median.assign(wanted=wanted)


def main():
    "Measure and record"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("nbs/results"),
                        help="folder for contact.csv; default: nbs/results")
    parser.add_argument("--rounds", type=int, default=3, help="whose median counts; default: 3")
    options = parser.parse_args()
    clip, load = load_corpus("sample", report=silent).path[0], os.getloadavg()[0]
    table = first_contact(clip, options.rounds)
    record(table.round(2), options.out / "contact.csv", command="make bench", machine=machine(),
           rounds=options.rounds, corpus="sample (synthetic)", encoder="acoustic",
           load=[round(one, 1) for one in (load, os.getloadavg()[0])])  # of the machine, before and after
    print(table.round(2).to_string(index=False))


if __name__ == "__main__": main()
