"""Whole corpora as strangers: who learns from whom, what is chosen on what, and what a run reports of each."""
import json

import numpy as np
import pandas as pd
import pytest

import emotion_ser.protocols as protocols
from emotion_ser.card import worth
from emotion_ser.core import read_run, silent
from emotion_ser.corpus import CorpusError
from emotion_ser.dataset import Dataset
from emotion_ser.figures import Measured, check_same_clips, figures_of
from emotion_ser.linear import balanced_weights, fit_discriminant, fit_logistic
from emotion_ser.own import load_corpus
from emotion_ser.protocols import EvaluationConfig, compare_runs, run_evaluation, task_key
from emotion_ser.rows import print_evaluation
from emotion_ser.selection import Candidate, select_and_predict
from emotion_ser.splits import WHOLE_CORPORA, default_protocol, inner_folds, make_splits, report_gaps
from emotion_ser.synthetic import make_sample_corpus

QUIET = dict(report=silent, progress=False)
VIEW = dict(layers="all", pooling="mean")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    "Three synthetic corpora of three, two and two speakers in one manifest; only the third knows a label `bored`, and no `calm`"
    folder, tables = tmp_path_factory.mktemp("strangers"), []
    for seed, (name, actors) in enumerate(dict(north=3, east=2, south=2).items()):
        one = load_corpus(str(make_sample_corpus(folder / name, seed, actors)), report=silent)
        tables.append(one.assign(corpus=name, actor=name + ":" + one.actor.astype(str)))
    manifest = pd.concat(tables, ignore_index=True)
    manifest.loc[(manifest.corpus == "south") & (manifest.emotion == "calm"), "emotion"] = "bored"
    manifest.attrs["corpus"] = "north + east + south"
    return manifest


@pytest.fixture
def loaded(three, monkeypatch):
    "Whatever corpus is named, it is the three"
    monkeypatch.setattr(protocols, "load_manifest", lambda *args, **kwargs: three)
    return three


def corpora(manifest, rows): return manifest.corpus.iloc[rows].unique().tolist()


def test_each_corpus_is_tested_whole_and_settings_are_chosen_without_it(three):
    splits = make_splits(three, "corpora")
    assert [corpora(three, split.test) for split in splits] == [["north"], ["east"], ["south"]]
    for split in splits:
        assert not set(corpora(three, split.train)) & set(corpora(three, split.test))
        folds = inner_folds(three, split)
        assert [corpora(three, fold.valid) for fold in folds] == [[name] for name in corpora(three, split.train)]
        for fold in folds: assert not set(corpora(three, fold.train)) & set(corpora(three, np.r_[fold.valid, fold.test]))


def test_a_transfer_learns_from_one_and_chooses_by_speaker(three):
    splits = make_splits(three, "transfer")
    pairs = [corpora(three, split.train) + corpora(three, split.test) for split in splits]
    assert len(pairs) == 6 and all(learned != tested for learned, tested in pairs)
    for split in splits:
        for fold in inner_folds(three, split): assert not set(three.actor.iloc[fold.train]) & set(three.actor.iloc[fold.valid])


def test_two_corpora_choose_by_speaker(three):
    two = three[three.corpus != "south"].reset_index(drop=True)
    for split in make_splits(two, "corpora"):
        for fold in inner_folds(two, split): assert set(two.actor.iloc[fold.valid]).isdisjoint(two.actor.iloc[fold.train])


@pytest.mark.parametrize("protocol", WHOLE_CORPORA)
def test_what_is_no_question_is_refused_with_the_way_out(three, protocol):
    one = three[three.corpus == "north"].reset_index(drop=True)
    for manifest in (one, one.drop(columns="corpus")):
        with pytest.raises(CorpusError, match="name several, such as corpus="): make_splits(manifest, protocol)
    apart = three.assign(emotion=three.emotion.where(three.corpus != "south", "x" + three.emotion))
    with pytest.raises(CorpusError, match="fewer than two labels in common"): make_splits(apart, protocol)
    single = three[(three.corpus != "east") | (three.actor == "east:1")].query("corpus != 'south'").reset_index(drop=True)
    with pytest.raises(CorpusError, match="needs two known speakers"): make_splits(single, protocol)


def test_corpora_without_speakers_can_be_strangers(three):
    nobody = three.assign(actor=three.actor.where(three.corpus != "south", None))
    assert len(make_splits(nobody, "corpora")) == 3
    with pytest.raises(CorpusError, match="needs two known speakers"): make_splits(nobody, "transfer")


def test_several_corpora_are_strangers_to_each_other_unless_asked_otherwise(three):
    assert default_protocol(three, silent) == "corpora"
    assert default_protocol(three[three.corpus == "north"], silent) == "actor-kfold"


def test_labels_that_nobody_could_learn_are_told(three):
    sentences = []
    report_gaps(three, make_splits(three, "corpora"), sentences.append)
    assert "left out of the figures" in sentences[0] and sentences[1:] == ["  split 2: bored"]


def test_weights_balance_corpora_and_labels_and_their_absence_changes_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 12)).astype(np.float32), np.arange(90) % 3
    x[:, 0] += y
    corpus = np.where(np.arange(90) < 60, "large", "small")
    weights = balanced_weights(corpus, y)
    sums = pd.Series(weights).groupby([corpus, y]).sum()
    assert np.allclose(sums, sums.iloc[0]) and np.isclose(weights.mean(), 1)
    for fit in (fit_discriminant, fit_logistic):
        plain, none, even, balanced = (list(fit(x, y, 3, **how).values())[0].predict_proba(x)
                                       for how in ({}, dict(weights=None), dict(weights=np.ones(90)), dict(weights=weights)))
        assert (plain == none).all() and np.allclose(plain, even, atol=1e-4) and not np.allclose(plain, balanced, atol=1e-3)


def test_a_secret_of_the_tested_corpus_changes_no_choice(three):
    "The label, written into one layer of the tested corpus, is of no use to what chooses"
    labels = sorted(set(three.emotion))
    stats = np.random.default_rng(0).normal(size=(len(three), 3, 2, 9)).astype(np.float32)
    dataset, split = Dataset(three, [stats], 2, labels), make_splits(three, "corpora")[0]
    grid = [Candidate("lda", layer, "mean", 0.5) for layer in "012"]
    before = select_and_predict(dataset, split, [grid])
    stats[split.test, 2, 0] = np.eye(9)[dataset.targets[split.test]] * 9
    after = select_and_predict(dataset, split, [grid])
    assert (before.inner, before.chosen, before.temperature) == (after.inner, after.chosen, after.temperature)


def test_a_run_reports_each_stranger(loaded, tmp_path, capsys):
    config = EvaluationConfig(protocol="corpora", **VIEW)
    sentences = []
    run = run_evaluation(config, tmp_path / "run", report=sentences.append, progress=False)
    m = read_run(tmp_path / "run")
    rows = {row["corpus"]: row for row in m["unseen"]["corpora"]}
    assert list(rows) == ["north", "east", "south"] and [row["speakers"] for row in rows.values()] == [3, 2, 2]
    assert rows["south"]["not_learned"] == {"bored": 16} and "bored" not in rows["south"]["labels"] and rows["south"]["clips"] == 104
    assert any("left out of the figures" in sentence for sentence in sentences)
    assert np.isclose(m["unseen"]["mean"]["uar"], np.mean([row["uar"] for row in rows.values()]))
    for row in rows.values():
        low, high = row["interval"]
        assert 0 <= low <= row["uar"] <= high <= 1 and 0 <= row["trusted"] <= 1
    assert (tmp_path / "run/unseen_corpora.png").stat().st_size > 1000
    south = run.predictions[run.predictions.corpus == "south"]
    assert set(south.truth[~south.learned]) == {"bored"} and len(run.predictions) == len(loaded)
    print_evaluation(run, tmp_path / "run")
    printed = " ".join(capsys.readouterr().out.split())
    assert "bored 16" in printed and "north" in printed and "unseen_corpora.png" in printed
    again = run_evaluation(config, tmp_path / "run", **QUIET)
    assert again.cost["splits_kept"] == 3 and again.metrics == run.metrics


def test_runs_on_strangers_are_compared_and_cited(loaded, tmp_path):
    for name, head in dict(a="lda", b="logistic").items():
        run_evaluation(EvaluationConfig(protocol="corpora", head=head, **VIEW), tmp_path / name, **QUIET)
    found = compare_runs(tmp_path / "a", tmp_path / "b")
    rows = found.attrs["unseen"]
    assert [row["corpus"] for row in rows] == ["north", "east", "south", "mean"]
    a, b = (read_run(tmp_path / name) for name in "ab")
    for row, x, y in zip(rows, a["unseen"]["corpora"], b["unseen"]["corpora"]):
        assert np.isclose(row["first"], x["uar"]) and np.isclose(row["second"], y["uar"]) and row["low"] <= row["difference"] <= row["high"]
    assert np.isclose(found.loc["uar", "first"], a["uar"])
    measured = Measured(tmp_path / "a")
    check_same_clips(measured, loaded, a["labels"])
    card = worth(json.loads(json.dumps(figures_of(measured))))
    assert "on other corpora" in card and "| south |" in card and "| mean |" in card


def test_a_transfer_has_a_row_for_each_pair(loaded, tmp_path):
    run_evaluation(EvaluationConfig(protocol="transfer", **VIEW), tmp_path / "run", **QUIET)
    m = read_run(tmp_path / "run")
    assert len({(row["learned_from"], row["corpus"]) for row in m["unseen"]["corpora"]}) == 6
    assert (tmp_path / "run/unseen_corpora.png").is_file()
    run_evaluation(EvaluationConfig(protocol="actor-kfold", **VIEW), tmp_path / "run", **QUIET)
    assert not (tmp_path / "run/unseen_corpora.png").exists() and "unseen" not in read_run(tmp_path / "run")


def test_the_key_of_a_single_corpus_is_the_one_of_before(loaded):
    "A corpus in a column of its own, and a setting that 0.2.0 did not have, at its default, change no key"
    task = protocols.read_config(EvaluationConfig(protocol="actor-kfold", **VIEW), **QUIET)
    single, none = (protocols.replace(task, dataset=protocols.replace(task.dataset, manifest=manifest))
                    for manifest in (task.dataset.manifest.assign(corpus="one"), task.dataset.manifest.drop(columns="corpus")))
    assert task_key(single) == task_key(none) != task_key(task)
