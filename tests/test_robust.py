"""The robust head: what it does with labels, sources and files that are not as in the notebooks."""
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from emotion_ser.dataset import Dataset
from emotion_ser.head import HeadError, save_head
from emotion_ser.robust import ROBUST, RobustHead, fit_line, load_any_head, source_offsets
from emotion_ser.selection import Candidate
from emotion_ser.shift import estimate_shift
from emotion_ser.sources import RobustLearner, draw_recordings, fit_robust
from emotion_ser.splits import inner_folds, make_splits

LABELS = ["angry", "happy", "sad"]
QUICK = replace(ROBUST, networks=1, epochs=30)
VIEW = Candidate("robust", "all", "mean", QUICK.regularisation)


def dataset(corpora=("a", "b", "c"), speakers=2, per_label=6, missing=(), unknown=False, far=2.0, seed=0):
    "Clips of three labels, twelve numbers each; every speaker and every corpus has an offset of its own"
    rng, rows, vectors = np.random.default_rng(seed), [], []
    centres = 2 * rng.normal(size=(3, 12))
    for corpus in corpora:
        there = far * rng.normal(size=12)
        for speaker in range(speakers):
            own = there + 0.3 * rng.normal(size=12)
            for k, label in enumerate(LABELS):
                if (corpus, label) in missing: continue
                for n in range(per_label):
                    rows.append((f"{corpus}{speaker}{label}{n}", label, None if unknown else f"{corpus}:{speaker}", corpus))
                    vectors.append(centres[k] + own + 0.4 * rng.normal(size=12))
    table = pd.DataFrame(rows, columns=["path", "emotion", "actor", "corpus"])
    table = table.assign(content=table.path, sound=table.path, gender="female")
    return Dataset(table, [np.array(vectors, np.float32)[:, None, None]], 0, LABELS)


def fitted(data, protocol="corpora", recipe=QUICK):
    split = make_splits(data.manifest, protocol)[0]
    return split, fit_robust(data, split.train, inner_folds(data.manifest, split), VIEW, recipe)


def recall(head, data, rows):
    labels = np.array(head.labels)
    return (labels[head.predict_proba(data.view(rows, VIEW)).argmax(1)] == data.manifest.emotion.to_numpy()[rows]).mean()


def test_recordings_of_a_far_source_help():
    "Alone it is wrong about a corpus that lies elsewhere; ten recordings without labels put it right"
    data = dataset(far=2.0)
    split, fit = fitted(data)
    vectors = data.view(split.test, VIEW)
    moved = fit.head.at_source(estimate_shift(fit.head, vectors[::3]))
    assert recall(moved, data, split.test) >= max(0.9, recall(fit.head, data, split.test))


def test_one_sided_recordings_do_not_harm():
    data = dataset(far=1.0, per_label=20)
    split, fit = fitted(data)
    vectors, truth = data.view(split.test, VIEW), data.manifest.emotion.to_numpy()[split.test]
    drawn = draw_recordings(truth, 20, np.random.default_rng(0), "sad")
    shift = estimate_shift(fit.head, vectors[drawn])
    assert shift.label == "sad" and shift.most > 0.5
    assert recall(fit.head.at_source(shift), data, split.test) >= recall(fit.head, data, split.test) - 0.02


def test_a_source_that_is_one_sided_is_told_from_one_that_lies_elsewhere():
    "Twenty sad recordings are twenty sad recordings; twenty of all kinds are not, wherever the source lies"
    data = dataset(far=1.0, per_label=20)
    split, fit = fitted(data)
    vectors, truth = data.view(split.test, VIEW), data.manifest.emotion.to_numpy()[split.test]
    sad, any_of_these = np.flatnonzero(truth == "sad")[:20], np.random.default_rng(0).permutation(len(truth))[:20]
    sided, mixed = estimate_shift(fit.head, vectors[sad]), estimate_shift(fit.head, vectors[any_of_these])
    assert (sided.label, sided.most > 0.7, sided.follow) == ("sad", True, 0) and mixed.most < 0.6 and mixed.follow > 0


@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("size", [0, 1e-3, 1e3])
def test_recordings_of_any_size_give_a_shift_of_numbers(n, size):
    "The same recording over and over, nothing at all, and what lies far outside"
    _, fit = fitted(dataset())
    vectors = np.repeat(size * np.random.default_rng(0).normal(size=(1, 12)), n, axis=0)
    shift = estimate_shift(fit.head, vectors)
    assert all(np.isfinite(part).all() for part in (shift.offsets, shift.means))
    assert all(0 <= part <= 1 for part in (shift.share, shift.follow, shift.most))
    assert np.isfinite(fit.head.at_source(shift).predict_proba(vectors)).all()


def test_the_head_itself_is_left_as_it_was():
    data = dataset()
    split, fit = fitted(data)
    before = {name: tensor.clone() for name, tensor in fit.head.state_dict().items()}
    vectors = data.view(split.test, VIEW)
    moved = fit.head.at_source(estimate_shift(fit.head, vectors))
    again = fit.head.at_source(estimate_shift(fit.head, vectors))
    assert all(torch.equal(before[name], tensor) for name, tensor in fit.head.state_dict().items())
    assert all(torch.equal(one, two) for one, two in zip(moved.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(moved.offsets, fit.head.offsets)


def test_the_same_bytes_twice():
    data = dataset()
    one, two = (fitted(data)[1].head.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("missing", [{("a", "sad")}, {("b", "sad")}, {("b", "sad"), ("c", "sad")}, {("a", "sad"), ("b", "sad")}])
def test_labels_that_a_corpus_lacks(missing):
    "In the tested corpus, in one of the others, in all others, in two of three: finite, and of the right columns"
    data = dataset(missing=missing)
    split, fit = fitted(data)
    member = RobustLearner(VIEW).member(data, split, inner_folds(data.manifest, split))
    known = sorted(set(data.manifest.emotion.iloc[split.train]), key=LABELS.index)
    assert fit.head.labels == known and member.test.shape == (len(split.test), 3)
    assert np.isfinite(member.test).all() and np.allclose(member.test.sum(1), 1, atol=1e-5)
    if "sad" not in known: assert not member.test[:, LABELS.index("sad")].any()
    assert all(torch.isfinite(tensor).all() for tensor in fit.head.state_dict().values())


def test_two_labels():
    data = dataset(missing={(corpus, "sad") for corpus in "abc"})
    data.labels = LABELS[:2]
    split, fit = fitted(data)
    assert fit.head.labels == LABELS[:2] and recall(fit.head, data, split.train) > 0.9


def test_speakers_that_nobody_knows():
    "A corpus is then one source"
    data = dataset(unknown=True)
    split, fit = fitted(data)
    assert recall(fit.head, data, split.train) > 0.9


def test_one_corpus():
    "Its speakers are the sources, and are left out in turn"
    data = dataset(corpora=("a",), speakers=6)
    split, fit = fitted(data, "actor-kfold")
    assert recall(fit.head, data, split.test) > 0.8


def test_a_large_corpus_counts_as_much_as_a_small_one():
    x = np.array([[0.0]] * 99 + [[9.0]])
    centres, offsets = source_offsets(x, np.zeros(100, int), np.zeros(100), np.array(["a"] * 99 + ["b"]))
    assert centres == pytest.approx(4.5)


def test_the_line_of_two_labels_is_symmetric():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    line = fit_line(x, y, np.zeros(40), np.zeros(40), 1.0)
    assert line.weight.shape == (2, 3) and line.weight[0] == pytest.approx(-line.weight[1])
    assert (line.predict_proba(x).argmax(1) == y).mean() > 0.9


def test_files(tmp_path):
    data = dataset()
    split, fit = fitted(data)
    save_head(fit.head, tmp_path, corpus="toy")
    again = load_any_head(tmp_path)
    assert isinstance(again, RobustHead) and again.about == dict(corpus="toy")
    assert (again.predict_proba(data.view(split.test, VIEW)) == fit.head.predict_proba(data.view(split.test, VIEW))).all()
    config = json.loads((tmp_path / "config.json").read_text())
    for change in (dict(robust=dict(nonsense=1)), dict(robust=3), dict(robust=dict(even="thirty")), dict(robust=dict(share=None)), dict(robust=dict(own_mean=-1)), dict(hidden="many"), dict(hidden=7), dict(labels=["x", "y", "z"]), dict(labels=None)):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(HeadError, match=str(tmp_path)): load_any_head(tmp_path)


def test_wrong_sizes():
    _, fit = fitted(dataset())
    with pytest.raises(HeadError, match="takes"): fit.head.predict_proba(np.zeros((2, 3)))
    with pytest.raises(HeadError, match="no recording"): estimate_shift(fit.head, np.zeros((0, 12)))


def test_a_draw_leaves_something_to_answer():
    truth = np.repeat(["neutral", "sad"], [12, 4])
    rng = np.random.default_rng(0)
    assert draw_recordings(truth, 15, rng) is None and draw_recordings(truth, 20, rng, "neutral") is None
    assert len(set(draw_recordings(truth, 10, rng))) == 10
    assert (truth[draw_recordings(truth, 10, rng, "neutral")] == "neutral").sum() == 9
