"""What a model card says of the corpora, their licences, the threshold and strangers, and whose figures it refuses to cite."""
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import emotion_ser, fails

from emotion_ser.card import ModelInfo, cite_strangers, details, model_card, promise_text, read_info
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.core import MARKER, read_run, silent
from emotion_ser.corpora import CORPORA, corpus_key, imitate_corpus
from emotion_ser.figures import Measured, figures_of, strangers, when_sure
from emotion_ser.licences import known_corpora, licence_text, speech_kind
from emotion_ser.own import load_corpus
from emotion_ser.protocols import EvaluationConfig, run_evaluation
from emotion_ser.training import train_classifier

ROOT = Path(__file__).parent.parent
STRANGERS = ROOT / "nbs/results/strangers"
QUIET = dict(report=silent, progress=False)
RAVDESS = """
RAVDESS: 24 professional actors, two sentences, North American English (Livingstone & Russo 2018,
PLoS ONE 13(5): e0196391), CC BY-NC-SA 4.0: the weights come from it, so commercial use needs a licence of its owners.
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    "Small corpora that nothing tells from real ones, each with up to four voices: name -> folder"
    folder, made = tmp_path_factory.mktemp("real"), {}
    for name in ("emodb", "emovo", "tess", "cafe"):
        made[name] = imitate_corpus(folder / name, name, speakers=4)
        (made[name] / MARKER).unlink()
    return made


def named(real, *names): return ",".join(f"{name}:{real[name]}" for name in names)


def test_ravdess_alone_has_the_card_of_before():
    card = model_card(["sad"], ModelInfo("RAVDESS", "acted", clips=1440))
    assert card.endswith(RAVDESS) and "license: cc-by-nc-sa-4.0\nlanguage: en\n---" in card
    assert "The corpus is acted speech. A score on it says" in card and "strangers" not in card and "other people, with" not in card
    assert read_info(dict(corpus="RAVDESS")).kind == "acted" and RAVDESS not in model_card(["sad"], ModelInfo("RAVDESS"))


@pytest.mark.parametrize("folder", sorted((ROOT / "emotion_ser/models").glob("*/config.json")), ids=lambda path: path.parent.name)
def test_the_card_of_a_bundled_model_follows_from_its_record(folder):
    config = json.loads(folder.read_text())
    numbers = config["about"].pop("temperature"), config["about"].pop("threshold")
    assert (folder.parent / "README.md").read_text(encoding="utf-8") == model_card(config["labels"], read_info(config["about"]), *numbers)


def test_the_table_knows_whose_speech_it_is():
    for info in CORPORA.values():
        assert info.kind == "acted" and info.citation and all(len(code) == 2 for code in info.codes.split())
        count = len(f"{info.female} {info.male}".split())
        words = {2: "two", 4: "four"}
        assert info.speech.startswith((f"{count} ", f"{words.get(count)} ")), info.title


def test_several_corpora_are_named_with_languages_and_licences(real):
    manifest = load_corpus(named(real, "emodb", "emovo"), report=silent)
    found = known_corpora(manifest)
    assert list(found) == ["emodb", "emovo"] and sum(found.values()) == len(manifest) and speech_kind(manifest) == "acted"
    card = model_card(["sad"], ModelInfo(manifest.attrs["corpus"], "acted", found))
    assert "license: cc-by-nc-sa-4.0\nlanguage: [de, it]\n---" in card and "The corpora are acted speech. A score on them says" in card
    for name in found:
        info = CORPORA[name]
        assert f"- {info.title}: {info.speech} ({info.citation}), {info.licence}; " in card and f"{found[name]} of its {info.clips} clips" in card
    assert "strictest of their licences holds for these weights, CC BY-NC-SA 4.0: commercial use needs" in card
    assert "license: cc-by-4.0\nlanguage: de" in model_card(["sad"], ModelInfo("EmoDB", "acted", dict(emodb=9)))


def test_what_nobody_knows_is_not_claimed(real, imitated, small, tmp_path):
    assert speech_kind(load_corpus(str(small), report=silent)) == speech_kind(load_corpus(f"emovo:{imitated['emovo']}", report=silent)) == "synthetic"
    german = sorted(real["emodb"].rglob("*.wav"))
    for k, path in enumerate(german):
        (tmp_path / "EmoDB" / ("sad", "happy")[k % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "EmoDB" / ("sad", "happy")[k % 2] / f"mine{k}.wav")
    own = load_corpus(f"own:{tmp_path / 'EmoDB'}", report=silent)
    assert (speech_kind(own), known_corpora(own)) == (None, {})
    mixed = load_corpus(f"own:{tmp_path / 'EmoDB'},{named(real, 'emovo')}", report=silent)
    assert speech_kind(mixed) is None and list(known_corpora(mixed)) == ["emovo"]
    card = model_card(["sad"], ModelInfo(mixed.attrs["corpus"], None, known_corpora(mixed)))
    assert "license:" not in card and "language:" not in card and "- EMOVO" in card and "Of the other recordings the licence is not known" in card


def test_what_allows_no_derivatives_stays_at_home(real):
    alone, both = (known_corpora(load_corpus(named(real, *names), report=silent)) for names in (["tess"], ["emovo", "tess"]))
    assert licence_text(alone).endswith("CC BY-NC-ND 4.0: the weights come from it, so they may not be shared.\n")
    assert "may not be shared: TESS (CC BY-NC-ND 4.0) does not allow it." in licence_text(both)
    card = model_card(["sad"], ModelInfo("EMOVO + TESS", "acted", both))
    assert "license:" not in card and "language: [it, en]" in card


def test_figures_are_counted_at_the_classifier_s_own_threshold():
    run = Measured(STRANGERS / "whisper-base_corpora_robust")
    for threshold in (0.5, 0.63):
        figures = figures_of(run, threshold)
        assert figures["answered"] == when_sure(run.predictions, threshold)["answered"]
        assert f"At a threshold of {threshold} it answers {100 * figures['answered']:.0f}% of the clips" in details(figures)
        assert f"trusted (threshold {threshold})" in model_card(["sad"], ModelInfo(measured=figures))
        sure = run.predictions.filter(regex="^p_").max(axis=1) >= threshold
        assert np.isclose(figures["corpora"][0]["trusted"], sure[run.predictions.corpus == "ravdess"].mean())


@pytest.mark.parametrize("run", sorted(path.name for path in STRANGERS.glob("*_corpora_*")))
def test_rows_on_strangers_are_those_of_the_run(run):
    run = Measured(STRANGERS / run)
    rows, unseen = strangers(run), run.metrics["unseen"]
    for row, noted in zip(rows, [*unseen["corpora"], unseen["mean"]], strict=True):
        for key in ("uar", "trusted", "right_when_trusted", "ece"): assert row[key] == pytest.approx(noted[key], abs=1e-6)
        assert row["interval"] == pytest.approx(noted["interval"], abs=1e-6)


def test_a_promise_says_what_it_does_not_count():
    promise = dict(over="speakers", threshold=0.55, left_out=dict(a=dict(clips=3, answered=0.5, right=1.0)))
    assert "at a threshold of 0.55, before its checks refuse anything" in promise_text(promise)
    figures = figures_of(Measured(STRANGERS / "acoustic_corpora_robust"))
    checked = ModelInfo(measured=figures, familiar=dict(false_alarms=dict(a=0.01), no_speech_trusted=0.0))
    assert "what these refuse is not counted" in model_card(["sad"], checked)
    assert "what these refuse" not in model_card(["sad"], replace(checked, familiar=None)) + model_card(["sad"], replace(checked, measured=None))


@pytest.fixture(scope="module")
def elsewhere(real, tmp_path_factory):
    "A run of protocol transfer on two corpora, the configuration of a classifier of one of them, and a cache"
    folder, view = tmp_path_factory.mktemp("elsewhere"), dict(layers="all", pooling="functionals")
    config = EvaluationConfig(named(real, "emodb", "emovo"), protocol="transfer", **view)
    run_evaluation(config, folder / "run", cache_dir=folder / "cache", **QUIET)
    run_evaluation(replace(config, protocol="corpora"), folder / "corpora", cache_dir=folder / "cache", **QUIET)
    return folder / "run", EvaluationConfig(named(real, "emovo"), protocol="actor-kfold", **view), folder / "cache"


def test_what_learned_from_one_corpus_has_rows_on_others(elsewhere, tmp_path):
    run, config, cache = elsewhere
    trained = train_classifier(config, strangers=run, cache_dir=cache, **QUIET)
    row, mean = trained.info.strangers["corpora"]
    noted = next(row for row in read_run(run)["unseen"]["corpora"] if row["learned_from"] == "emovo")
    assert (row["corpus"], row["clips"], mean["corpus"]) == ("emodb", noted["clips"], "mean") and row["uar"] == pytest.approx(noted["uar"])
    folder = trained.save_pretrained(tmp_path / "model")
    card = (folder / "README.md").read_text()
    assert "with the same recipe learned from EMOVO alone (labels neutral, " in card and f"| EmoDB | {noted['clips']} |" in card and "language: it" in card
    assert EmotionClassifier.from_pretrained(folder).info.strangers == trained.info.strangers


def test_rows_come_onto_a_classifier_that_is_there(elsewhere, tmp_path):
    run, config, cache = elsewhere
    at_once = train_classifier(config, strangers=run, cache_dir=cache, **QUIET).save_pretrained(tmp_path / "at_once")
    later = train_classifier(config, cache_dir=cache, **QUIET).save_pretrained(tmp_path / "later")
    cite_strangers(later, run)
    for name in ("model.safetensors", "config.json", "README.md"): assert (at_once / name).read_bytes() == (later / name).read_bytes()


def test_figures_on_strangers_of_another_recipe_are_refused(elsewhere, real, tmp_path):
    run, config, cache = elsewhere
    quiet = dict(cache_dir=cache, **QUIET)
    for changed, why in ((dict(head="logistic"), "another head, 'lda'"), (dict(front="speech"), "another front, 'as-is'"),
                         (dict(layers=None), "another layers, 'all'"), (dict(augment=True), "another augment, False"),
                         (dict(corpus=named(real, "cafe")), "nothing in it learned from cafe alone, but from emodb, emovo"),
                         (dict(emotions="happy,sad"), "it learned from other clips, speakers or labels of emovo"),
                         (dict(corpus=named(real, "emodb", "emovo"), protocol="corpora"), "it learns from 2 corpora")):
        with pytest.raises(ValueError, match=why): train_classifier(replace(config, **changed), strangers=run, **quiet)
    with pytest.raises(ValueError, match="other clips, speakers"): train_classifier(config, hold_out=("f1",), strangers=run, **quiet)
    with pytest.raises(ValueError, match="figures on strangers come from protocol transfer"): train_classifier(config, strangers=run.parent / "corpora", **quiet)
    with pytest.raises(ValueError, match="give this one as strangers="): train_classifier(config, measured=run, **quiet)
    model = train_classifier(config, **quiet).save_pretrained(tmp_path / "model")
    kept = {path.name: path.read_bytes() for path in model.iterdir()}
    record = json.loads(kept["config.json"])
    for changed, why in ((dict(encoder_fingerprint=dict(encoder="acoustic", version=1)), "of other weights than acoustic"), (dict(clips=1), "other clips or speakers of EMOVO"),
                         (dict(corpus="mine"), "mine is no corpus of the table"), (dict(augment=True), "another augment, False")):
        (model / "config.json").write_text(json.dumps({**record, "about": {**record["about"], **changed}}))
        with pytest.raises(ValueError, match=why): cite_strangers(model, run)
        assert (model / "README.md").read_bytes() == kept["README.md"]


def test_strangers_at_the_shell(elsewhere, tmp_path):
    run, config, cache = elsewhere
    options = ("--corpus", config.corpus, "--layers", "all", "--pooling", "functionals", "--strangers", run, "--out", tmp_path / "model")
    emotion_ser("train", *options, check=True)
    assert "On corpora of other people, with the same recipe" in (tmp_path / "model/README.md").read_text()
    fails(emotion_ser("train", *options[:-1], tmp_path / "other", "--head", "logistic"), "measured with another head, 'lda'")
    assert not (tmp_path / "other").exists() and corpus_key("EMOVO") == "emovo"
