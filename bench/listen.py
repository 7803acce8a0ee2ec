"""How fast, how large and how close to Python is the page that listens? In a headless Chromium, medians of five.

Needs EMOTION_SER_RAVDESS, EMOTION_SER_CORPORA and EMOTION_SER_ENCODER (whisper-base); writes nbs/results/listen.csv."""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import soundfile as sf
from measure import machine
from playwright.sync_api import Browser, Page, sync_playwright

from emotion_ser.classifier import EmotionClassifier
from emotion_ser.core import record
from emotion_ser.portable import OneFile
from emotion_ser.preprocess import load_waveform

TIMES, CLIPS, ANSWERS = 5, 20, 100


class Counted(SimpleHTTPRequestHandler):
    "Files of a folder, and how many bytes of them were sent"
    sent = 0

    def log_message(self, *args): pass

    def copyfile(self, source, outputfile):
        Counted.sent += os.fstat(source.fileno()).st_size
        super().copyfile(source, outputfile)


@contextmanager
def served(folder: Path) -> Iterator[str]:  # its address
    "A static host on this machine"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counted, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}/"
    finally: server.shutdown()


def opened(browser: Browser, address: str) -> tuple[Page, float]:  # the page, and after how many seconds it was ready
    "The page in a profile of its own, so that nothing lies in a cache"
    page = browser.new_context().new_page()
    page.set_default_timeout(600_000)
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready~=acoustic]")
    return page, time.perf_counter() - start


def choose(page: Page, model: str):
    "Take another classifier, and wait until it is there"
    page.check(f"input[value={model}]")
    page.wait_for_selector(f"body[data-ready~={model}]")


def answered(page: Page, path: Path) -> tuple[np.ndarray, float]:  # probabilities [n_labels], and seconds
    "What the page answers to a file"
    count = int(page.get_attribute("body", "data-answers") or 0)
    start = time.perf_counter()
    page.set_input_files("#file", path)
    page.wait_for_selector(f"body[data-answers='{count + 1}']")
    seconds = time.perf_counter() - start
    return np.array([float(bar.get_attribute("width") or 0) / 100 for bar in page.query_selector_all("#bars rect")]), seconds


def real_clips() -> list[Path]:
    "Some of RAVDESS and of a corpus that nobody learned from"
    places = [("EMOTION_SER_RAVDESS", "*/*.*"), ("EMOTION_SER_CORPORA", "tess/*.flac")]
    found = [sorted(Path(os.environ[name]).glob(pattern)) for name, pattern in places]
    return [clip for clips in found for clip in clips[:: len(clips) // (CLIPS // 2)][: CLIPS // 2]]


def most_off(page: Page, classifier, clips: list[Path]) -> float:
    "The largest difference between a probability in the browser and in Python"
    wanted = [np.array([*classifier.predict(clip).probabilities.values()]) for clip in clips]
    return max(float(np.abs(answered(page, clip)[0] - p).max()) for clip, p in zip(clips, wanted))


def memory() -> float:  # MB
    "What all processes of the browser hold"
    processes = psutil.Process().children(recursive=True)
    return sum(one.memory_info().rss for one in processes if "chrom" in one.name()) / 1e6


def measured(browser: Browser, address: str, folder: Path) -> Iterator[tuple[str, float, float, str]]:  # what, found, at most, unit
    "Everything that was aimed at"
    runs = []
    for _ in range(TIMES):
        Counted.sent = 0
        page, seconds = opened(browser, address)
        runs.append((seconds, Counted.sent / 1e6))
        page.context.close()
    yield "acoustic: page ready", statistics.median(run[0] for run in runs), 3, "s"
    yield "acoustic: transferred until ready", max(run[1] for run in runs), 15, "MB"
    clips, clip = real_clips(), folder / "four_seconds.wav"
    sf.write(clip, np.resize(load_waveform(clips[0]), 4 * 16000), 16000)
    page, _ = opened(browser, address)
    seconds = statistics.median(answered(page, clip)[1] for _ in range(TIMES))
    yield "acoustic: answer to 4 s", seconds, 0.5, "s"
    yield "acoustic: probabilities against Python", most_off(page, EmotionClassifier.from_pretrained("acoustic"), clips), 0.02, ""
    before = memory()
    for _ in range(ANSWERS): answered(page, clip)
    yield f"acoustic: memory after {ANSWERS} more answers", memory() - before, 30, "MB more"
    choose(page, "whisper-base")
    answered(page, clip)
    seconds = statistics.median(answered(page, clip)[1] for _ in range(TIMES))
    yield "whisper-base, int8: answer to 4 s", seconds, 3, "s"
    yield "whisper-base, int8: probabilities against Python with the same file", most_off(page, OneFile(folder / "page/whisper-base.int8.onnx"), clips), 0.02, ""


def main():
    "Measure and record"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("nbs/results"), help="folder for listen.csv; default: nbs/results")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        folder = Path(place)
        subprocess.run([sys.executable, Path(__file__).parent.parent / "docs/listen.py", folder / "page"], check=True)
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served(folder / "page") as address:
            rows = []
            for row in measured(browser, address, folder):
                print(row, flush=True)
                rows.append(row)
        version = browser.version
        browser.close()
    table = pd.DataFrame(rows, columns=["goal", "measured", "at_most", "unit"])
    table["met"] = table.measured <= table.at_most
    busy = os.getloadavg()[0]
    record(table.round(4), options.out / "listen.csv", command="python bench/listen.py", machine=machine(), browser=f"Chromium {version}, headless",
           times=TIMES, corpora=["ravdess", "tess"], clips=CLIPS, load=round(busy, 1))


if __name__ == "__main__": main()
