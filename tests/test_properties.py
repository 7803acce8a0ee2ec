"""What must hold for any input, searched with hypothesis."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_ser.data import EMOTIONS, parse_name, ravdess_names
from emotion_ser.splits import actor_split, random_split
from emotion_ser.evaluate import METRICS, confusion, confusion_metrics, evaluate_predictions, score
from emotion_ser.audio import AudioError
from emotion_ser.preprocess import MIN_SAMPLES, load_waveform


def test_every_name_of_the_corpus_is_understood():
    clips = [parse_name(name) for actor in range(1, 25) for name in ravdess_names(actor)]
    assert len(clips) == 1440 and None not in clips
    assert all((clip["gender"] == "male") == (clip["actor"] % 2 == 1) for clip in clips)
    assert pd.Series([clip["emotion"] for clip in clips]).value_counts().to_dict() == {e: 96 if e == "neutral" else 192 for e in EMOTIONS}


@st.composite
def manifests(draw):
    "A corpus of 3 to 9 speakers with some recordings that occur twice"
    actors, clips, seed = draw(st.integers(3, 9)), draw(st.integers(20, 60)), draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    n = actors * clips
    content = np.array([f"c{i}" for i in range(n)])
    for i in rng.choice(n // 2, draw(st.integers(0, 4)), replace=False) * 2: content[i + 1] = content[i]
    actor = np.repeat(np.arange(1, actors + 1), clips)
    actor[1::2] = actor[::2][: len(actor[1::2])]  # twins are of one actor
    return pd.DataFrame(dict(content=content, actor=actor, gender=np.where(actor % 2, "male", "female"), emotion=np.array(EMOTIONS)[np.arange(n) // 2 % 4]))


@settings(max_examples=30, deadline=None)
@given(manifests(), st.integers(0, 1000), st.sampled_from([random_split, actor_split]))
def test_no_split_ever_leaks(manifest, seed, protocol):
    split = protocol(manifest, seed)
    rows = np.concatenate(list(split.parts.values()))
    assert sorted(rows) == list(range(len(manifest)))
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        for column in ["content"] + ["actor"] * (protocol is actor_split):
            assert not set(manifest[column].iloc[split.parts[a]]) & set(manifest[column].iloc[split.parts[b]])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 8), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]), st.floats(1e-3, 1.0))
def test_whatever_can_be_decoded_comes_out_the_same_way(n, channels, rate, loudness):
    samples = loudness * np.random.default_rng(n).uniform(-1, 1, size=(n + channels, channels)).astype(np.float32)
    try: waveform = load_waveform(samples, rate)
    except AudioError as error:
        assert "too short" in str(error) and len(samples) * 16000 / rate < MIN_SAMPLES + 1
        return
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert abs(len(waveform) - len(samples) * 16000 / rate) <= 1
    assert np.abs(waveform).max() == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.integers(1, 200), st.integers(0, 2**16))
def test_metrics_from_a_confusion_matrix_are_scikit_learns(n_labels, n, seed):
    rng = np.random.default_rng(seed)
    labels = EMOTIONS[:n_labels]
    truth, guess = rng.choice(labels, n), rng.choice(labels, n)
    ours = confusion_metrics(confusion(truth, guess, labels).to_numpy())
    for metric, value in score(truth, guess, labels).items(): assert ours[metric] == pytest.approx(value), metric


@pytest.mark.parametrize("odd", [["None", "nan", "01"], ["", " ", "1.0"], ["é", "=1+1", "a, b"]])
def test_labels_are_names_whatever_they_look_like(odd):
    rng = np.random.default_rng(0)
    truth, guess, actors = rng.integers(0, 3, 240), rng.integers(0, 3, 240), np.repeat(np.arange(24), 10)
    usual, renamed = (evaluate_predictions(np.array(labels)[truth], np.eye(3)[guess], labels, actors) for labels in (["a", "b", "c"], odd))
    for what in (*METRICS, "intervals", "confusion"): assert renamed[what] == usual[what]
    assert [row["emotion"] for row in renamed["per_class"]] == odd
    with pytest.raises(ValueError, match="is none of the labels"): evaluate_predictions(np.array(odd)[truth], np.eye(3)[guess][:, :2], odd[:2], actors)
