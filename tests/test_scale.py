"""A large corpus: what nobody asks for stays on disk, and nothing is done again for each split."""
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from emotion_ser import dataset, protocols, runs, store, training
from emotion_ser.core import silent
from emotion_ser.dataset import load_dataset, load_full_encoder
from emotion_ser.evaluate import drawn_metrics
from emotion_ser.protocols import EvaluationConfig, pooled_predictions, read_config
from emotion_ser.selection import SplitResult, make_grids, select_and_predict
from emotion_ser.splits import make_splits
from emotion_ser.study import StudyConfig, run_study
from emotion_ser.testing import tiny_checkpoint
from emotion_ser.training import train_classifier

WIDTH, BLOCKS = 32, 5


@pytest.fixture(scope="module")
def network(tmp_path_factory): return str(tiny_checkpoint(tmp_path_factory.mktemp("net") / "tiny", "whisper", WIDTH, BLOCKS))


@pytest.fixture
def held(monkeypatch):
    "What is read from the store, and the datasets that are loaded"
    read, loaded = [], []
    one_shard, load = store.read_shard, dataset.load_dataset

    def read_shard(files, shard, contents, columns, width):
        read.append((len(contents), tuple(columns)))
        return one_shard(files, shard, contents, columns, width)

    def load_dataset(*args, **options):
        loaded.append(load(*args, **options))
        return loaded[-1]

    monkeypatch.setattr(store, "read_shard", read_shard)
    for module in (protocols, training): monkeypatch.setattr(module, "load_dataset", load_dataset)
    return read, loaded


def columns(read): return {column for _, some in read for column in some}


ONE_LAYER = {f"layer3_{statistic}" for statistic in ("mean", "std")}


def test_evaluation_holds_the_layer_that_is_asked(network, small, own_cache, held):
    read, loaded = held
    task = read_config(EvaluationConfig(str(small), network, layers="3"), report=silent, progress=False)
    assert sum(stats.nbytes for stats in task.dataset.stats) == len(task.dataset.manifest) * 2 * WIDTH * 4
    assert columns(read) == ONE_LAYER


def test_training_holds_the_layer_that_is_asked(network, small, own_cache, held, tmp_path):
    read, loaded = held
    config = EvaluationConfig(str(small), network, layers="3", pooling="mean+std")
    train_classifier(config, report=silent, progress=False)
    assert [stats.shape[1:] for stats in loaded[0].stats] == [(1, 2, WIDTH)]
    assert columns(read) == ONE_LAYER


def test_all_layers_leave_out_the_statistics_of_speech(network, small, own_cache, held):
    "Two of four statistics of each layer are what discriminants compete on; an ensemble reads all"
    read, _ = held
    shapes = {}
    for head in ("lda", "ensemble", "robust"):
        task = read_config(EvaluationConfig(str(small), network, head=head), report=silent, progress=False)
        shapes[head] = task.dataset.stats[0].shape[1:]
    assert shapes == dict(lda=(BLOCKS + 1, 2, WIDTH), ensemble=(BLOCKS + 1, 4, WIDTH), robust=(BLOCKS + 1, 1, WIDTH))


@pytest.mark.parametrize("options", [dict(layers="3"), dict(pooling="mean"), dict()])
def test_answers_are_the_same_bytes(network, small, own_cache, options):
    "Whether everything is held or what is asked"
    manifest = runs.load_manifest(str(small), report=silent)
    encoder = load_full_encoder(network)
    grids, quiet = make_grids("lda", encoder, **options), dict(augment=True, speaker_norm=True, report=silent, progress=False)
    whole = load_dataset(manifest, encoder, **quiet)
    part = load_dataset(manifest, encoder, settings=grids[0], **quiet)
    assert sum(stats.nbytes for stats in part.stats) < sum(stats.nbytes for stats in whole.stats)
    split = make_splits(manifest, "loso")[0]
    a, b = (select_and_predict(one, split, grids) for one in (whole, part))
    assert a.probabilities.tobytes() == b.probabilities.tobytes() and a.inner == b.inner and a.temperature == b.temperature


def test_a_study_holds_each_part_once(small, own_cache, monkeypatch):
    "Training, validation and test part are read one by one, not cut from a whole beside them"
    sizes, read = [], store.read_store
    monkeypatch.setattr(store, "read_store", lambda index, contents, *rest: sizes.append(len(contents)) or read(index, contents, *rest))
    study = run_study(StudyConfig(str(small)), report=silent, progress=False)
    assert sizes == [study.metrics[f"n_{part}"] for part in ("train", "valid", "test")]


def test_the_folder_of_a_corpus_is_found_once(monkeypatch, small):
    "Not again for each split: of leave-one-speaker-out there are as many as speakers"
    asked = []
    monkeypatch.setattr(os.path, "commonpath", lambda paths, found=os.path.commonpath: asked.append(len(paths)) or found(paths))
    manifest = runs.load_manifest(str(small), report=silent)
    splits, labels = make_splits(manifest, "loso"), sorted(set(manifest.emotion))
    corpus = dataset.Dataset(manifest, [], 0, labels)
    even = [SplitResult(np.full((len(split.test), len(labels)), 1 / len(labels)), 1.0, [], {}, 0.5) for split in splits]
    asked.clear()
    table = pooled_predictions(corpus, splits, even)
    assert len(splits) > 2 and asked == [manifest.path.map(os.path.dirname).nunique()]
    assert all((small / path).exists() for path in table.path)


def test_intervals_over_many_clips_take_little_memory():
    "Where speakers are not known each clip is drawn: 2,000 draws of 20,000 clips at once would be 640 MB"
    rng = np.random.default_rng(0)
    truth, guess = rng.choice(["a", "b"], (2, 20000))
    tracemalloc.start()
    drawn_metrics(truth, guess, ["a", "b"], np.arange(20000), draws=200)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30 * 2**20  # at once, 200 of them are 64 MB


# ---------------------------------------------------------------- the benchmark

@pytest.mark.thorough("the benchmark itself, eight commands in new processes; what it measures is tested one by one")
def test_a_small_measurement(tmp_path):
    "Every command at two sizes, each with a cache of its own, as it is recorded"
    done = subprocess.run([sys.executable, "-W", "ignore", ROOT / "bench/scale.py", "--sizes", "200", "400", "--encoders", "acoustic", "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table, recorded = (pd.read_csv(place / "scale.csv") for place in (tmp_path, ROOT / "nbs/results"))
    assert list(table) == list(recorded) and table.command.tolist() == 2 * ["embed", "study", "evaluate --head lda", "train"]
    assert (table[["cpu_s", "wall_s", "peak_mb"]] > 0).all(axis=None)
    assert json.loads((tmp_path / "scale.json").read_text())["command"] == "make bench-scale"
