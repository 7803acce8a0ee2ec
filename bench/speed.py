"""How fast does it embed? Against the network alone, and against what users would run instead.

`make bench` measures everything and records it in nbs/results/speed*.csv; the notebook 21_speed shows it."""
import argparse
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from competitors import ENCODERS, FASTER, OURS, competitors, whisper_place
from measure import (
    alternate, growth, import_seconds, in_turn, machine, peak_memory, second_run_seconds, similarity, steps)

from emotion_ser.core import read_table, record, silent
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import SAMPLING_RATE, load_waveform

PARTS = ("benchmark", "corpus", "steps", "growth", "goals")
RIVALS = ("Hugging Face pipeline", "padded loop, batches of 8")


def benchmark(
    encoder: str,  # one of `ENCODERS`
    paths: list[str],
    rounds: int = 3,
    memory: bool = True,  # measure peak memory too, a process each
    report=print,  # called with each sentence worth telling
) -> pd.DataFrame:  # a row per competitor
    "Everybody's speed, memory and similarity to this project's float32 embeddings"
    waveforms = [load_waveform(path) for path in paths]
    length = sum(map(len, waveforms)) / SAMPLING_RATE
    runs = {name: one.prepare(paths, waveforms) for name, one in competitors(encoder).items()}
    seconds, embedded = alternate(runs, rounds, report)
    median, ratio = seconds.median().to_numpy(), seconds.div(seconds[OURS], axis=0).median()
    table = pd.DataFrame(dict(encoder=encoder, contestant=list(runs)))
    table["clips_per_s"] = len(paths) / median
    table["times_real_time"] = length / median
    table["ours_faster_by"] = ratio.to_numpy()
    alike = [similarity(embedded[OURS], embedded[name]) for name in runs]
    table[["cosine", "cosine_standardised"]] = alike
    if memory: table["peak_mb"] = [peak_memory(encoder, name, paths[:8]) for name in runs]
    return table


def whole_corpus(
    paths: list[str],
    encoder: str = "whisper-base",
) -> pd.DataFrame:  # contestant, clips, clips_per_s, times_real_time, times_bare (median over turns)
    "Every clip of a corpus once, by this project, the bare network and faster-whisper's encoder"
    waveforms = [load_waveform(path) for path in paths]
    length, bare = sum(map(len, waveforms)) / SAMPLING_RATE, "bare network, clip per core"
    runs = {}
    for name, one in competitors(encoder).items():
        if not name.startswith((OURS, FASTER, bare)): continue
        chosen, clips = one.make_encoder(), paths if one.reads_files else waveforms
        runs[name] = lambda start, n, one=one, chosen=chosen, clips=clips: one.embed(chosen, clips[start:start + n])
    seconds = in_turn(runs, len(paths))
    table = pd.DataFrame(dict(contestant=list(runs), clips=len(paths)))
    table["clips_per_s"] = len(paths) / seconds.sum().to_numpy()
    table["times_real_time"] = length / seconds.sum().to_numpy()
    return table.assign(times_bare=seconds.rdiv(seconds[bare], axis=0).median().to_numpy())


# ---------------------------------------------------------------- what was aimed at

def speed_goals(
    encoder: str,
    table: pd.DataFrame,  # from `benchmark`, of this encoder
) -> Iterator[tuple]:  # goal, wanted, reached, met
    "Nearly the speed of the network alone, and well ahead of what one would run instead"
    table = table.set_index("contestant")
    wanted = {"bare network": 0.95}
    if encoder == "whisper-base": wanted |= dict.fromkeys(RIVALS, 2.0)
    for rival, least in wanted.items():
        ratio = table.ours_faster_by[rival]
        yield f"{encoder}, float32, against {rival}", f">= {least}", ratio, ratio >= least
    if encoder == "whisper-base": return
    exact = table[table.index.str.startswith(OURS) & (table.cosine >= 0.999)].clips_per_s
    for rival in RIVALS:  # what gives other numbers does not count
        gain = exact.max() / table.clips_per_s[rival]
        goal = f"{encoder}, fastest at cosine 0.999 ({exact.idxmax()}), against {rival}"
        yield goal, ">= 1.8", gain, gain >= 1.8


def growth_goals(
    encoder: str,
    table: pd.DataFrame,  # from `growth`, of this encoder
) -> Iterator[tuple]:  # goal, wanted, reached, met
    "Time and memory that do not grow with the corpus"
    first, last = table.iloc[0], table.iloc[-1]
    n, ratio = int(last.times), last.per_clip_ms / first.per_clip_ms
    goal = f"{encoder}, CPU time per clip at {n}x the corpus over that at 1x"
    yield goal, "0.95 to 1.05", ratio, 0.95 <= ratio <= 1.05
    more = last.peak_mb - first.peak_mb
    yield f"{encoder}, memory at {n}x beyond that at 1x (MB)", "<= 100", more, more <= 100


def goals(
    speed: pd.DataFrame,  # the tables of `benchmark`, one below the other
    grown: pd.DataFrame,  # the tables of `growth`, with a column encoder
    study_s: float,  # the whole study from a warm cache
    import_s: float,  # `import emotion_ser`
) -> pd.DataFrame:  # goal, wanted, reached, met
    "What was aimed at, written down before it was measured, and what came of it"
    rows: list[tuple] = []
    for encoder, table in speed.groupby("encoder"): rows += speed_goals(encoder, table)
    for encoder, table in grown.groupby("encoder"): rows += growth_goals(encoder, table)
    rows += [("the whole study from a warm cache (s)", "< 10", study_s, study_s < 10),
             ("import emotion_ser (s)", "< 1", import_s, import_s < 1)]
    table = pd.DataFrame(rows, columns=["goal", "wanted", "reached", "met"])
    return table.assign(met=table.met.map({True: "yes", False: "no"}))


# ---------------------------------------------------------------- all of it

def chosen_corpus() -> str:
    "RAVDESS if EMOTION_SER_RAVDESS names it, else the synthetic corpus"
    return "ravdess" if os.environ.get("EMOTION_SER_RAVDESS") else "sample"


def all_growth(
    encoders: list[str],
    paths: list[str],
    times: list[int],
    rounds: int,
) -> pd.DataFrame:
    "Growth of each encoder; the slow one on fewer clips"
    tables = []
    for encoder in encoders:
        few = paths[:8] if encoder == "wav2vec2-base" else paths * 2
        tables.append(growth(encoder, few, times, rounds).assign(encoder=encoder))
    return pd.concat(tables, ignore_index=True)


def study_seconds(corpus: str) -> float:
    "The whole study with whisper-base from a warm cache"
    with tempfile.TemporaryDirectory() as out:
        return second_run_seconds(
            "study", "--corpus", corpus, "--encoder", whisper_place(), "--out", out)


def keep(table: pd.DataFrame, file: Path, about: dict):
    "Record a table, and print it"
    record(table.round(4), file, **about)
    print(f"\n{table.round(3).to_string(index=False)}")


def run(options):
    "Measure the parts that were asked, print and record each"
    manifest = load_corpus(chosen_corpus(), report=silent)
    spread_evenly = manifest.path.iloc[:: len(manifest) // options.clips]
    paths = spread_evenly[:options.clips].tolist()
    about = dict(command="make bench", machine=machine(), rounds=options.rounds,
                 corpus=manifest.attrs["corpus"], clips=options.clips,
                 nkululeko=importlib.util.find_spec("nkululeko") is not None)
    print(f"{about['machine']}; {about['clips']} clips of {about['corpus']}")
    speed, growing = options.out / "speed.csv", options.out / "speed_growth.csv"
    if "benchmark" in options.parts:
        tables = [benchmark(encoder, paths, options.rounds) for encoder in options.encoders]
        keep(pd.concat(tables, ignore_index=True), speed, about)
    if "corpus" in options.parts:
        keep(whole_corpus(manifest.path.tolist()), options.out / "speed_corpus.csv",
             {**about, "clips": len(manifest), "rounds": 1})
    if "steps" in options.parts:
        spent = pd.DataFrame({encoder: steps(encoder, paths) for encoder in options.encoders})
        keep(spent.rename_axis("step").reset_index(), options.out / "speed_steps.csv", about)
    if "growth" in options.parts:
        keep(all_growth(options.encoders, paths, options.times, options.rounds), growing, about)
    if "goals" in options.parts:
        seconds = study_seconds(chosen_corpus()), import_seconds()
        reached = goals(read_table(speed), read_table(growing), *seconds)
        keep(reached, options.out / "speed_goals.csv", about)


def main():
    "The options"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--out", type=Path, default=Path("nbs/results"),
           help="folder for speed*.csv; default: nbs/results")
    option("--clips", type=int, default=16, help="of the corpus, spread evenly over it; default: 16")
    option("--rounds", type=int, default=3, help="whose median counts; default: 3")
    option("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS, help="default: both")
    option("--times", nargs="+", type=int, default=[1, 4, 16],
           help="sizes of the corpus for growth; default: 1 4 16")
    option("--parts", nargs="+", choices=PARTS, default=PARTS,
           help="default: all; goals reads the tables of the others in --out")
    run(parser.parse_args())


if __name__ == "__main__": main()
