"""Whole evaluations on small corpora: resumed, compared, on random labels, and as a user runs them."""
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import emotion_ser

from emotion_ser.classifier import EmotionClassifier
from emotion_ser.core import silent
from emotion_ser.evaluate import interval_groups
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import load_waveform
from emotion_ser.protocols import EvaluationConfig, run_evaluation
from emotion_ser.splits import PROTOCOLS, WHOLE_CORPORA
from emotion_ser.study import StudyConfig, run_study
from emotion_ser.testing import tiny_checkpoint

QUIET = dict(report=silent, progress=False)


def same_files(first, second, but=("cost.json",)):
    "The files of two folders are the same, byte by byte"
    names = sorted(p.name for p in first.iterdir() if p.is_file() and p.name not in but)
    return len(names) == 5 and all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.thorough("08_protocols compares two runs byte by byte, and test_shell interrupts")
def test_a_run_is_the_same_again_and_after_an_interruption(small, tmp_path):
    config = EvaluationConfig(str(small), protocol="loso", augment=True)
    whole = run_evaluation(config, tmp_path / "whole", **QUIET)
    run_evaluation(config, tmp_path / "again", **QUIET)
    assert same_files(tmp_path / "whole", tmp_path / "again")
    splits = sorted((tmp_path / "again" / "splits").iterdir())
    assert len(splits) == 4
    splits[0].unlink()
    splits[1].write_text(splits[1].read_text()[:100])  # a file that was cut off
    (tmp_path / "again" / "metrics.json").unlink()
    sentences = []
    resumed = run_evaluation(config, tmp_path / "again", report=sentences.append, progress=False)
    assert resumed.cost["splits_kept"] == 2 and "2 of 4 splits were there already" in sentences
    assert same_files(tmp_path / "whole", tmp_path / "again")
    assert set(whole.metrics["chosen"]) and sum(whole.metrics["chosen"].values()) == 4


def test_another_configuration_does_not_reuse_what_is_there(small, tmp_path):
    run_evaluation(EvaluationConfig(str(small), protocol="loso", layers="all", pooling="mean"), tmp_path, **QUIET)
    other = run_evaluation(EvaluationConfig(str(small), protocol="loso", layers="all", pooling="mean", speaker_norm=True), tmp_path, **QUIET)
    assert other.cost["splits_kept"] == 0


@pytest.fixture(scope="module")
def nonsense(small, tmp_path_factory):
    "The small corpus with the names of each actor's clips, and so their labels, dealt anew among that actor's recordings"
    manifest, rng, folder = load_corpus(str(small), report=silent), np.random.default_rng(0), tmp_path_factory.mktemp("nonsense")
    for _, clips in manifest.groupby("actor"):
        for recording, name in zip(clips.path, rng.permutation(clips.path)): shutil.copy(recording, folder / Path(name).name)
    assert (load_corpus(str(folder), report=silent).content != manifest.content).mean() > 0.9
    return folder


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in WHOLE_CORPORA])
@pytest.mark.parametrize("head", ["lda", pytest.param("logistic", marks=pytest.mark.thorough("one head remains; 07_selection asks the same of each protocol"))])
def test_random_labels_give_chance(nonsense, protocol, head):
    found = run_evaluation(EvaluationConfig(str(nonsense), protocol=protocol, head=head, repeats=4), **QUIET).metrics
    low, high = found["intervals"]["uar"]
    if protocol == "actor-holdout": assert low is None and found["uar"] < 0.3  # one speaker alone is tested
    else: assert low < 1 / 8 < high
    assert found["calibration"]["ece_after"] < 0.15  # it learns on inner folds that it knows nothing


@pytest.mark.parametrize("head", ["mlp-baseline", pytest.param("mlp", marks=pytest.mark.thorough("the ensemble holds such a network")), "ensemble"])
def test_every_clip_is_tested_once_by_a_network_that_has_not_seen_its_actor(small, tmp_path, head):
    found = run_evaluation(EvaluationConfig(str(small), protocol="actor-kfold", head=head, layers="all", pooling="mean"), tmp_path, **QUIET)
    assert len(found.predictions) == 240 == found.predictions.path.nunique()
    assert (found.predictions.groupby("actor").split.nunique() == 1).all()
    assert len(found.metrics["splits"]) == 4 and head in found.metrics["command"]


def test_the_commands(small, tmp_path):
    run = lambda *options: emotion_ser("evaluate", "--corpus", small, "--protocol", "loso", *options, check=True)
    done = run("--out", tmp_path / "plain")
    assert "UAR" in done.stdout and "95% interval (4 actors)" in done.stdout and "chosen on inner folds" in done.stdout
    assert "NORMALISED PER SPEAKER" in run("--speaker-norm", "--out", tmp_path / "norm").stdout
    compared = emotion_ser("compare", tmp_path / "plain", tmp_path / "norm", check=True)
    assert "paired" in compared.stdout and compared.stdout.count(" to ") == 3
    emotion_ser("evaluate", "--corpus", small, "--protocol", "random", "--repeats", 2, "--out", tmp_path / "random", check=True)
    for arguments, sentence in [(("compare", tmp_path / "plain", tmp_path / "random"), "not tested on the same clips"),
                                (("compare", tmp_path / "plain", tmp_path / "nowhere"), "no predictions.csv"),
                                (("evaluate", "--corpus", small, "--layers", "9"), "no layer 9")]:
        failed = emotion_ser(*arguments)
        assert failed.returncode == 1 and failed.stderr.strip().splitlines()[-1].startswith("error:") and sentence in failed.stderr
    assert emotion_ser("evaluate", "--head", "forest").returncode == 2


def test_a_fine_tuned_study_leaves_a_classifier(small, tmp_path):
    tiny = tiny_checkpoint(tmp_path / "tiny", "whisper", 32)
    config = StudyConfig(str(small), str(tiny), protocol="actor-holdout", emotions="happy,sad", finetune=2)
    study = run_study(config, tmp_path / "run", tmp_path, **QUIET)
    back = EmotionClassifier.from_pretrained(tmp_path / "run/model", encoder=tiny)
    for name, tensor in study.encoder.upper.state_dict().items(): assert tensor.equal(back.encoder.upper.state_dict()[name])
    waveform = load_waveform(next(small.rglob("*.wav")))
    direct = EmotionClassifier(study.head, study.encoder).probabilities(waveform)
    assert np.allclose(back.probabilities(waveform), direct, atol=1e-6)
    back.save_pretrained(tmp_path / "again")
    assert "encoder, top 2 blocks tuned" in (tmp_path / "again/README.md").read_text()
    assert (tmp_path / "again/encoder.safetensors").read_bytes() == (tmp_path / "run/model/encoder.safetensors").read_bytes()
    (tmp_path / "run/model/encoder.safetensors").unlink()
    with pytest.raises(ValueError, match="encoder.safetensors: cannot be read"):
        EmotionClassifier.from_pretrained(tmp_path / "run/model", encoder=tiny)


def test_a_clip_that_is_tested_twice_is_one_witness():
    clips = ["a.wav", "b.wav"] * 10
    assert len(set(interval_groups(20, [None] * 20, clips)[0])) == 2 and interval_groups(20, [None] * 20, clips)[1].startswith("2 clips,")
    assert interval_groups(20, ["x", "y"] * 10, clips)[1].startswith("2 actors,")
