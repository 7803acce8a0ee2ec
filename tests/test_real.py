"""The real corpus and a real pretrained encoder, where the environment says they are."""
import os

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from emotion_ser.own import load_corpus
from emotion_ser.splits import make_split
from emotion_ser.embed import Encoder
from emotion_ser.store import embed_corpus
from emotion_ser.preprocess import load_waveform

corpus = pytest.mark.skipif("EMOTION_SER_RAVDESS" not in os.environ, reason="EMOTION_SER_RAVDESS names no corpus")
encoder = pytest.mark.skipif("EMOTION_SER_ENCODER" not in os.environ, reason="EMOTION_SER_ENCODER names no encoder")


@pytest.fixture(scope="module")
def manifest():
    reported = []
    found = load_corpus("ravdess", report=reported.append)
    twins, understood = reported
    assert twins == "03-01-03-01-02-01-07 and 03-01-03-01-02-02-07 are the same recording: kept on one side of every split"
    assert understood.startswith("understood: 1440 clips; 8 labels: neutral 96, calm 192") and "24 speakers" in understood
    assert (found["sound"] == found.content).all()  # no other two have the same samples
    return found


@corpus
def test_the_corpus_is_whole(manifest):
    assert len(manifest) == 1440 and manifest.actor.nunique() == 24
    assert (manifest.sampling_rate == 48000).all() and manifest.channels.value_counts().to_dict() == {1: 1435, 2: 5}
    recorded = pd.read_csv(ROOT / "nbs/results/ravdess_manifest.csv")
    assert recorded.emotion.tolist() == manifest.emotion.tolist()


@corpus
def test_the_splits_are_those_of_the_baseline(manifest):
    split = make_split(manifest, "random")
    assert [len(rows) for rows in split.parts.values()] == [1008, 216, 216]
    twins = np.flatnonzero(manifest.duplicated("content", keep=False))
    assert len(twins) == 2 and set(twins) <= set(split.train)
    assert [manifest.actor.iloc[rows].nunique() for rows in make_split(manifest, "actor-holdout").parts.values()] == [16, 4, 4]


@corpus
@encoder
def test_a_real_encoder_embeds_a_few_clips(manifest, tmp_path):
    few = manifest[(manifest.actor == 1) & (manifest.statement == 1)].drop_duplicates("emotion").reset_index(drop=True)
    everything = Encoder.from_pretrained(os.environ["EMOTION_SER_ENCODER"], "all", "mean+std", device="cpu")
    x = embed_corpus(few, everything, tmp_path / "cache", progress=False).vectors
    assert x.shape == (8, everything.size) and np.isfinite(x).all()
    last = Encoder.from_pretrained(os.environ["EMOTION_SER_ENCODER"], device="cpu")
    assert np.array_equal(embed_corpus(few, last, tmp_path / "cache", progress=False).vectors[3], last(load_waveform(few.path[3])))
    one = Encoder.from_pretrained(os.environ["EMOTION_SER_ENCODER"], 1, device="cpu")
    assert np.array_equal(one(load_waveform(few.path[0])), x[0, 2 * one.width: 3 * one.width])
