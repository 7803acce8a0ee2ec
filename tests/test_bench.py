"""The benchmark beside the package: its competitors compute what they claim, the clock is fair, and the goals are read as they were written."""
import importlib.util
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from emotion_ser.embed import Encoder
from emotion_ser.own import load_corpus
from emotion_ser.core import silent
from emotion_ser.preprocess import load_waveform
from emotion_ser.testing import tiny_checkpoint

BENCH = ROOT / "bench"
sys.path.insert(0, str(BENCH))
import accuracy  # noqa: E402
import competitors  # noqa: E402
import measure  # noqa: E402
import speed  # noqa: E402
import tried  # noqa: E402
from competitors import Competitor, forward_by_clip, forward_only, from_files, padded_loop, pipeline_loop  # noqa: E402


@pytest.fixture(scope="module")
def paths(small): return load_corpus(str(small), silent).path[:6].tolist()


@pytest.fixture(scope="module")
def waveforms(paths): return [load_waveform(path) for path in paths]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    "Folders of tiny networks with random weights, by kind"
    place = tmp_path_factory.mktemp("tiny")
    return {kind: tiny_checkpoint(place / kind, kind, width=48, n_layers=2) for kind in ("wav2vec2", "whisper")}


@pytest.fixture
def encoder(tiny): return Encoder.from_pretrained(tiny["wav2vec2"], device="cpu")


@pytest.fixture
def whisper(tiny): return Encoder.from_pretrained(tiny["whisper"], device="cpu")


def equal(a, b, eps): assert np.allclose(a, b, rtol=0, atol=eps), np.abs(a - b).max()


def test_all_but_the_padded_loop_compute_the_same(encoder, paths, waveforms):
    ours = from_files(encoder, paths)
    for rival in (forward_only, forward_by_clip, pipeline_loop): equal(rival(encoder, waveforms), ours, 1e-5)
    if importlib.util.find_spec("nkululeko"): equal(competitors.nkululeko_loop(encoder, waveforms), ours, 1e-5)
    assert measure.least_cosine(padded_loop(encoder, waveforms), ours) < 0.9999
    assert (from_files(encoder, paths, times=3)[6:12] == ours).all()


def test_what_pads_to_thirty_seconds_averages_over_silence(whisper, paths, waveforms):
    ours = from_files(whisper, paths)
    for rival in (forward_only, forward_by_clip): equal(rival(whisper, waveforms), ours, 1e-4)
    padded = padded_loop(whisper, waveforms)
    equal(padded, pipeline_loop(whisper, waveforms), 1e-4)
    assert measure.least_cosine(padded, ours) < 0.9999


def test_integers_in_torch_still_embed(encoder, paths):
    "Near enough in plain cosine to be mistaken for the same"
    ours = from_files(encoder, paths)
    theirs = from_files(competitors.in_int8(encoder), paths)
    assert theirs.shape == ours.shape and (theirs != ours).any() and measure.least_cosine(ours, theirs) > 0.9


def test_everybody_takes_turns():
    order = []
    runs = {name: lambda n, name=name: order.append(name) or np.zeros((n or 6, 2)) for name in "ab"}
    seconds, embedded = measure.alternate(runs, rounds=2, report=silent)
    assert order == list("ab" "abba")  # a warm-up, then forwards and backwards
    assert seconds.shape == (2, 2) and embedded["a"].shape == (6, 2)


def test_a_competitor_gets_files_or_waveforms():
    show = lambda encoder, clips: [encoder, *clips]
    assert Competitor(show, lambda: "net").prepare(["p", "q"], [1, 2])(1) == ["net", 1]
    assert Competitor(show, lambda: "net", reads_files=True).prepare(["p", "q"], [1, 2])() == ["net", "p", "q"]


def test_a_large_mean_hides_a_large_error():
    x = np.random.default_rng(0).normal(size=(50, 8))
    equal(measure.similarity(x, x), (1, 1), 1e-5)
    close = 100 + x + np.random.default_rng(1).normal(scale=0.3, size=x.shape)
    raw, standardised = measure.similarity(100 + x, close)
    assert raw > 0.9999 > 0.99 > standardised


def test_goals():
    raced = ["this project", "this project, onnx", "this project, bfloat16", "bare network", "Hugging Face pipeline", "padded loop, batches of 8"]
    table = pd.DataFrame(dict(encoder="wav2vec2-base", contestant=raced, clips_per_s=[2.0, 3.0, 9.0, 2.0, 1.5, 1.0],
                              ours_faster_by=[1, 2 / 3, 2 / 9, 1, 4 / 3, 2], cosine=[1, 1, 0.9, 1, 1, 0.8]))
    grown = pd.DataFrame(dict(encoder="wav2vec2-base", times=[1, 16], per_clip_ms=[100.0, 110.0], peak_mb=[900.0, 950.0]))
    reached = speed.goals(table, grown, study_s=9, import_s=0.1)
    assert reached.met.tolist() == ["yes", "yes", "yes", "no", "yes", "yes", "yes"]
    equal(reached.reached[:3], [1, 2, 3], 1e-9)  # bfloat16 is fastest here, and too far off to count


def test_the_goals_of_the_recorded_tables():
    "Read anew they are what was recorded"
    results = ROOT / "nbs/results"
    kept = speed.read_table(results / "speed_goals.csv")
    seconds = dict(zip(kept.goal, kept.reached))
    anew = speed.goals(*(speed.read_table(results / f"{name}.csv") for name in ("speed", "speed_growth")),
                       seconds["the whole study from a warm cache (s)"], seconds["import emotion_ser (s)"])
    assert anew.goal.tolist() == kept.goal.tolist() and anew.met.tolist() == kept.met.tolist()
    equal(anew.reached, kept.reached, 2e-3)


def test_the_recorded_names_are_todays():
    "Whoever is measured here has the name under which it was recorded; bfloat16 and ONNX depend on the machine"
    recorded = speed.read_table(ROOT / "nbs/results/speed.csv").groupby("encoder").contestant.apply(set)
    for name in competitors.ENCODERS:
        everybody = set(competitors.competitors(name))
        installed = {"this project, bfloat16", "nkululeko", competitors.FASTER, f"{competitors.FASTER}, int8"}
        assert everybody ^ recorded[name] <= installed


def test_a_small_benchmark(tiny, paths, monkeypatch):
    "Every column, every row, on a tiny network"
    monkeypatch.setenv("EMOTION_SER_ENCODER", str(tiny["whisper"]))
    table = speed.benchmark("whisper-base", paths[:3], rounds=1, memory=False, report=silent).set_index("contestant")
    recorded = speed.read_table(ROOT / "nbs/results/speed.csv")
    assert set(table.reset_index()) == set(recorded) - {"peak_mb"}
    assert (table.clips_per_s > 0).all() and table.ours_faster_by["this project"] == 1
    assert table.cosine["bare network"] > 0.999 and table.encoder.eq("whisper-base").all()
    spent = measure.steps("whisper-base", paths[:2])
    assert list(spent.index) == speed.read_table(ROOT / "nbs/results/speed_steps.csv").step.tolist() and (spent >= 0).all()


@pytest.mark.thorough("the benchmark itself, in new processes")
def test_memory_and_growth_in_processes_of_their_own(tiny, paths, monkeypatch):
    monkeypatch.setenv("EMOTION_SER_ENCODER", str(tiny["whisper"]))
    assert 50 < measure.peak_memory("whisper-base", "bare network", paths[:2]) < 5000
    grown = measure.growth("whisper-base", paths[:2], times=(1, 2), rounds=1)
    assert grown.clips.tolist() == [2, 4] and (grown.per_clip_ms > 0).all() and (grown.peak_mb > 50).all()
    assert set(grown) | {"encoder"} == set(speed.read_table(ROOT / "nbs/results/speed_growth.csv"))
    assert measure.import_seconds(rounds=1) > 0


def test_other_arithmetic_is_compared_for_unseen_speakers(tiny, small, own_cache):
    "The tiny twin of what `bench/accuracy.py` does with RAVDESS: the same arithmetic costs nothing"
    manifest = load_corpus(str(small), silent)
    make = partial(Encoder.from_pretrained, tiny["wav2vec2"], "all", "mean+std", device="cpu")
    table = accuracy.compare_arithmetic(manifest, {"float32": make, "again": make}, protocol="loso")
    assert table.difference.tolist() == [0, 0] and table.cosine[1] == pytest.approx(1)
    assert list(table) == list(speed.read_table(ROOT / "nbs/results/speed_accuracy.csv"))


def test_a_whole_corpus_is_embedded_once_by_everybody(tiny, paths, monkeypatch):
    monkeypatch.setenv("EMOTION_SER_ENCODER", str(tiny["whisper"]))
    asked = []
    seconds = measure.in_turn({name: lambda start, n, name=name: asked.append((name, start)) for name in "ab"}, clips=5, size=2)
    assert asked[2:] == [("a", 0), ("b", 0), ("b", 2), ("a", 2), ("a", 4), ("b", 4)] and seconds.shape == (3, 2)
    table = speed.whole_corpus(paths[:3])
    assert (table.clips == 3).all() and (table.clips_per_s > 0).all()
    assert table.set_index("contestant").times_bare["bare network, clip per core"] == 1


def test_growth_is_timed_after_every_length_was_heard(tiny, paths, monkeypatch):
    "What is done once for each length of clip is no growth: all clips are embedded before the clock starts"
    import one_process
    embedded = []
    monkeypatch.setattr(competitors, "benchmark_encoder", lambda *_: None)
    monkeypatch.setattr(competitors, "from_files", lambda encoder, paths, times=1: embedded.append((len(paths), times)))
    one_process.growth(SimpleNamespace(encoder="whisper-base", paths=paths, times=4))
    assert embedded == [(6, 1), (6, 4)]


def test_other_ways_compute_the_same(tiny, paths, monkeypatch):
    "But for integers and bfloat16, which come near"
    monkeypatch.setenv("EMOTION_SER_ENCODER", str(tiny["whisper"]))
    table = tried.try_all("whisper-base", [load_waveform(path) for path in paths[:3]]).set_index("contestant")
    alike = table.index[~table.index.str.contains("int8|bf")]
    assert len(alike) >= 4 and (table.cosine[alike] > 0.9999).all() and (table.cosine > 0.9).all()
    assert (table.cpu_ms > 0).all() and table.times_bare["bare network"] == 1


@pytest.mark.skipif(not importlib.util.find_spec("ctranslate2"), reason="needs ctranslate2")
def test_faster_whispers_encoder_hears_the_clip_alone(whisper, waveforms):
    equal(competitors.faster_whisper_loop(competitors.FasterWhisper(whisper), waveforms), forward_only(whisper, waveforms), 1e-4)


@pytest.mark.parametrize("script", ["speed.py", "accuracy.py", "one_process.py", "scale.py", "tried.py"])
def test_help(script):
    done = subprocess.run([sys.executable, BENCH / script, "--help"], capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
