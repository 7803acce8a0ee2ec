"""scikit-learn on either side: what calls itself an estimator is examined by scikit-learn, and what is the same thing gives the same figures."""
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from emotion_ser.core import silent
from emotion_ser.dataset import Dataset, load_full_encoder
from emotion_ser.estimators import EmotionEmbedder, HeadClassifier, evaluate_protocol
from emotion_ser.own import load_corpus
from emotion_ser.protocols import EvaluationConfig, run_evaluation, save_evaluation
from emotion_ser.selection import REGULARISATION, Candidate, fit_linear_heads
from emotion_ser.store import embed_corpus

QUIET = dict(report=silent, progress=False)
REFUSED = dict(check_class_weight_classifiers="a weight for each label is refused, with a sentence")


@pytest.fixture(scope="module")
def embedded(small, tmp_path_factory):
    return embed_corpus(load_corpus(str(small), report=silent), load_full_encoder("acoustic"), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.mark.parametrize("head", ["lda", "logistic", pytest.param("mlp", marks=pytest.mark.thorough("trains 300 networks; 08b_estimators examines the linear heads"))])
def test_scikit_learn_examines_the_heads(head):
    found = check_estimator(HeadClassifier(head), on_skip=None, on_fail=None, expected_failed_checks=REFUSED if head == "mlp" else None)
    failed = {one["check_name"]: str(one["exception"]) for one in found if one["status"] == "failed"}
    assert failed == {} and sum(one["status"] == "passed" for one in found) > 50


def test_clones_and_options():
    embedder = clone(EmotionEmbedder("acoustic", pooling="functionals", front="speech"))
    assert embedder.get_params() == dict(encoder="acoustic", layers="last", pooling="functionals", front="speech", device=None)
    assert clone(HeadClassifier("logistic", 0.1, "balanced", 3)).get_params() == dict(head="logistic", regularisation=0.1, class_weight="balanced", seed=3)


@pytest.mark.parametrize("head", ["lda", "logistic"])
def test_vectors_from_elsewhere_get_the_figures_of_the_corpus(small, embedded, tmp_path, head):
    "The same vectors, labels, speakers and folds, by the command and by `evaluate_protocol`"
    config = EvaluationConfig(str(small), protocol="actor-kfold", head=head, layers="all", pooling="functionals")
    by_command = run_evaluation(config, cache_dir=tmp_path, **QUIET)
    m = embedded.manifest
    mine = evaluate_protocol(embedded.vectors, m.emotion, m.actor, protocol="actor-kfold", head=head, **QUIET)
    assert mine.metrics["uar"] == by_command.metrics["uar"] and mine.metrics["intervals"] == by_command.metrics["intervals"]
    rows = {Path(path).name: k for k, path in enumerate(m.path)}  # folds come in another order where genders are not known
    theirs = by_command.predictions.assign(row=[rows[Path(path).name] for path in by_command.predictions.path])
    ours = mine.predictions.assign(row=mine.predictions.path.str.removeprefix("row ").astype(int))
    one, other = (table.sort_values(["row", "prediction"])[["row", "truth", "prediction"]].to_numpy().tolist() for table in (ours, theirs))
    assert one == other
    assert sorted(row["regularisation"] for row in mine.metrics["splits"]) == sorted(row["regularisation"] for row in by_command.metrics["splits"])


@pytest.mark.parametrize("head", ["lda", "logistic"])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_class_weights_are_those_of_an_evaluation(embedded, head, weight):
    "`HeadClassifier` and what `evaluate --class-weight` fits are one head"
    m, one = embedded.manifest, Candidate(head, "all", "mean", REGULARISATION[head][1])
    rows = np.flatnonzero((m.emotion != "sad") | (np.arange(len(m)) % 5 == 0))
    labels = sorted(set(m.emotion))
    dataset = Dataset(m, [embedded.vectors[:, None, None]], 0, labels, class_weight=weight)
    theirs = fit_linear_heads(dataset, rows, [one])[one].predict_proba(embedded.vectors)
    ours = HeadClassifier(head, one.regularisation, weight).fit(embedded.vectors[rows], m.emotion.to_numpy()[rows])
    assert list(ours.classes_) == labels and np.allclose(ours.predict_proba(embedded.vectors), theirs, atol=1e-4)
    assert (theirs.argmax(1) == labels.index("sad")).sum() > 0


def test_names_of_features_need_an_encoder():
    with pytest.raises(NotFittedError): EmotionEmbedder().get_feature_names_out()
    assert EmotionEmbedder().fit().get_feature_names_out()[0] == "embedding0"


def test_a_pipeline_that_is_the_same_thing_gives_the_same(embedded, tmp_path):
    m = embedded.manifest
    scaled = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg", tol=1e-6, max_iter=1000))
    grid = dict(logisticregression__C=REGULARISATION["logistic"])
    theirs = evaluate_protocol(embedded.vectors, m.emotion, m.actor, protocol="loso", head=scaled, grid=grid, **QUIET)
    ours = evaluate_protocol(embedded.vectors, m.emotion, m.actor, protocol="loso", head="logistic", **QUIET)
    assert theirs.predictions.prediction.tolist() == ours.predictions.prediction.tolist()
    p, q = (run.predictions.filter(like="p_").to_numpy() for run in (theirs, ours))
    assert np.abs(p - q).max() < 0.005
    out = save_evaluation(theirs, tmp_path / "run")
    assert {path.name for path in out.iterdir()} == {"metrics.json", "predictions.csv", "cost.json", "confusion_matrix.png", "reliability.png"}  # and no config.yaml: no command makes it


def test_speakers_may_be_unknown_and_labels_rare():
    rng = np.random.default_rng(0)
    found = evaluate_protocol(rng.normal(size=(60, 5)), ["yes", "no", "maybe"] * 20, head=LogisticRegression(), repeats=2, **QUIET)
    assert found.metrics["config"]["protocol"] == "random" and "speakers are not known" in found.metrics["interval_over"]
    assert found.metrics["encoder"] == "vectors [60, 5]"
