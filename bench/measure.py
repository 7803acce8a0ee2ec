"""How it is measured: in alternating order, with medians over rounds, and with memory in processes of their own."""
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from competitors import benchmark_encoder

from emotion_ser.checkpoint import has_bfloat16
from emotion_ser.codec import read_audio
from emotion_ser.core import one_thread
from emotion_ser.embed import mean_std
from emotion_ser.frames import piece_part
from emotion_ser.preprocess import load_waveform, loudness, speech_part

HERE = Path(__file__).parent
STEPS = ("read", "resample", "features", "network", "pool")


def machine() -> str:
    "Processor, cores, and whether it computes in bfloat16"
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = (re.findall(r"model name\s*: (.+)", about) or ["unknown processor"])[0]
    bfloat16 = "yes" if has_bfloat16() else "no"
    return f"{model}, {torch.get_num_threads()} threads, bfloat16 {bfloat16}"


def in_turn(
    runs: dict[str, Callable],  # name -> a function of the first clip and of how many to embed
    clips: int,
    size: int = 60,  # clips of a turn
) -> pd.DataFrame:  # seconds [n_turns, n_competitors]
    "Everybody once over a whole corpus, a stretch of it at a time, forwards and backwards"
    seconds = []
    for run in runs.values(): run(0, 4)  # a warm-up
    for i, start in enumerate(range(0, clips, size)):
        row = {}
        for name in list(runs)[:: -1 if i % 2 else 1]:
            started = time.perf_counter()
            runs[name](start, size)
            row[name] = time.perf_counter() - started
        seconds.append(row)
    return pd.DataFrame(seconds)[list(runs)]


def alternate(
    runs: dict[str, Callable],  # name -> a function of how many clips to embed (None: all)
    rounds: int = 3,
    report=print,  # called with a sentence after each round
) -> tuple[pd.DataFrame, dict]:  # seconds [rounds, n_competitors]; name -> its embeddings
    "Run everybody in turn, forwards and backwards, after a warm-up on two clips"
    for run in runs.values(): run(2)
    seconds, embedded = [], {}
    for i in range(rounds):
        row = {}
        for name in list(runs)[:: -1 if i % 2 else 1]:
            started = time.perf_counter()
            embedded[name] = runs[name](None)
            row[name] = time.perf_counter() - started
        seconds.append(row)
        took = ", ".join(f"{name} {s:.1f} s" for name, s in row.items())
        report(f"round {i + 1} of {rounds}: {took}")
    return pd.DataFrame(seconds)[list(runs)], embedded


def least_cosine(
    a: np.ndarray,  # [n_clips, width]
    b: np.ndarray,  # [n_clips, width]
) -> float:
    "The smallest cosine between a clip's two embeddings"
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / lengths).min())


def similarity(
    reference: np.ndarray,  # [n_clips, width]
    other: np.ndarray,  # [n_clips, width]
) -> tuple[float, float]:  # as they are; standardised by the reference over the clips
    "The smallest cosines. Embeddings share a large mean: the second sees what a classifier sees"
    mean, deviation = reference.mean(0), reference.std(0) + 1e-9
    standardised = least_cosine((reference - mean) / deviation, (other - mean) / deviation)
    return least_cosine(reference, other), standardised


# ---------------------------------------------------------------- processes of their own

def in_fresh_process(
    *arguments,  # of `one_process.py`
) -> list[float]:
    "What a measurement in a process of its own printed last"
    command = [sys.executable, "-W", "ignore", HERE / "one_process.py", *arguments]
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.strip().splitlines()[-1].split()]


def peak_memory(
    encoder: str,  # one of `ENCODERS`
    competitor: str,
    paths: list[str],
) -> float:  # MB, everything included
    "What a competitor's process holds at most"
    return in_fresh_process("peak", encoder, competitor, *paths)[0]


def growth(
    encoder: str,  # one of `ENCODERS`
    paths: list[str],
    times=(1, 4, 16),  # the corpus
    rounds: int = 3,
) -> pd.DataFrame:  # times, seconds, cpu_s and peak_mb (medians over rounds), clips, per_clip_ms of CPU
    "How time and memory grow with the corpus; each run in a process of its own, sizes taking turns"
    measured = pd.DataFrame([(n, *in_fresh_process("growth", encoder, n, *paths))
                             for _ in range(rounds) for n in times],
                            columns=["times", "seconds", "cpu_s", "peak_mb"])
    table = measured.groupby("times").median().reset_index()
    clips = len(paths) * table.times
    return table.assign(clips=clips, per_clip_ms=1000 * table.cpu_s / clips)


def import_seconds(
    rounds: int = 5,
) -> float:
    "How long `import emotion_ser` takes, the median of some processes"
    return float(np.median([in_fresh_process("import")[0] for _ in range(rounds)]))


def second_run_seconds(
    *command,  # of `emotion_ser`, with its options
) -> float:
    "How long a command takes when it is run again"
    for _ in range(2):
        started = time.perf_counter()
        words = [sys.executable, "-m", "emotion_ser", *command]
        subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started


# ---------------------------------------------------------------- step by step

class Stopwatch:
    "Adds up the seconds of each step"
    def __init__(self): self.seconds = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def __call__(self, step: str):
        "Time what happens inside"
        started = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - started


def speech_frames(
    waveform: np.ndarray,  # [n_samples] float32 at 16 kHz
    n_frames: int,  # of the encoder, spread evenly over it
) -> slice:
    "Which of an encoder's frames lie in the part with speech"
    loud = loudness(torch.as_tensor(waveform))
    return piece_part(speech_part(loud), range(len(loud)), n_frames)


def time_clip(encoder, path: str, watch: Stopwatch):
    "Embed one clip step by step"
    with watch("read"): samples, rate, _ = read_audio(path)
    with watch("resample"): waveform = load_waveform((samples, rate))
    with watch("features"): inputs = encoder.prepare(waveform[None])
    with watch("network"): frames = torch.stack(encoder.layer_states(inputs), 1).float()[0]
    with watch("pool"):
        mean_std(frames)
        mean_std(frames[:, speech_frames(waveform, frames.shape[1])])


def steps(
    encoder: str,  # one of `ENCODERS`
    paths: list[str],
) -> pd.Series:  # ms per clip, by step
    "Where the time of a clip goes, on one thread"
    model, watch = benchmark_encoder(encoder, "all"), Stopwatch()
    with one_thread(), torch.inference_mode():
        time_clip(model, paths[0], Stopwatch())  # a warm-up
        for path in paths: time_clip(model, path, watch)
    return pd.Series(watch.seconds) * 1000 / len(paths)
