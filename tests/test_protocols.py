"""Whole evaluations on small corpora: resumed, compared, on random labels, and as a user runs them."""
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import emotion_ser, fails, metrics

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


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in (*WHOLE_CORPORA, "predefined")])
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


PARTS_OF = {"1": "Train", "2": "train", "3": "dev", "4": "TEST"}  # actor -> what a list says


@pytest.fixture
def divided(small, tmp_path):
    "A function that writes the small corpus as a list with a split of its own, changed as asked, and gives its path"
    m = load_corpus(str(small), report=silent)
    table = pd.DataFrame(dict(path=m.path, label=m.emotion, speaker=m.actor, split=m.actor.astype(str).map(PARTS_OF)))
    table = table[table.label.isin(["happy", "sad", "angry"])].reset_index(drop=True)

    def write(change=lambda table: table, name="list.csv"):
        change(table.copy()).to_csv(tmp_path / name, index=False)
        return tmp_path / name
    return write


@pytest.mark.parametrize("command", ["study", "evaluate --layers all --pooling mean"])
def test_the_split_of_a_list_is_used_and_recorded(divided, tmp_path, command):
    command, *options = command.split()
    line = (command, "--corpus", divided(), "--protocol", "predefined", *options)
    done = emotion_ser(*line, "--out", tmp_path / "A", check=True)
    understood = "parts: train 48, valid 24, test 24; read as a list (path, label, speaker, part from `split`)"
    assert understood in done.stderr
    assert "both sides" not in done.stderr and "leaves alone" not in done.stderr
    tested = pd.read_csv(tmp_path / "A/predictions.csv", dtype=str)
    assert set(tested.actor) == {"4"} and len(tested) == 24
    assert yaml.safe_load((tmp_path / "A/config.yaml").read_text())["protocol"] == "predefined"
    assert metrics(tmp_path / "A")["config"]["protocol"] == "predefined"
    emotion_ser(command, "--config", tmp_path / "A/config.yaml", "--out", tmp_path / "B", check=True)
    assert metrics(tmp_path / "A") == metrics(tmp_path / "B")
    assert (tmp_path / "A/predictions.csv").read_bytes() == (tmp_path / "B/predictions.csv").read_bytes()


@pytest.mark.parametrize("command", ["study", "evaluate --layers all --pooling mean --protocol loso",
                                     "train --layers all --pooling mean --out OUT"])
def test_without_that_protocol_the_split_of_a_list_changes_nothing(divided, tmp_path, command):
    words = command.replace("OUT", str(tmp_path / "model")).split()
    plain = divided(lambda t: t.drop(columns="split"), "plain.csv")
    with_column, without = (emotion_ser(*words, "--corpus", file, check=True) for file in (divided(), plain))
    assert with_column.stdout.replace("list", "plain") == without.stdout.replace("list", "plain")
    said = "all of it is learned from" if words[0] == "train" else "--protocol predefined takes it"
    assert said in with_column.stderr and said not in without.stderr


def test_what_a_split_leaves_open_is_told(divided):
    line = ("study", "--protocol", "predefined", "--corpus")
    say = lambda change: emotion_ser(*line, divided(change), check=True).stderr
    merged = say(lambda t: t.assign(split=t.split.replace("dev", "train")))
    assert "no clip is for valid: 11 of the 72 for train" in merged
    shared = say(lambda t: t.assign(split=t.split.where(t.index % 5 != 0, "test")))
    assert "both sides of the split, 3 of 4 that are tested (1, 2, 3): its figures hold for seen speakers" in shared
    copies = say(lambda t: pd.concat([t, t[:2].assign(split="test")], ignore_index=True))
    assert "on both sides of the list's split: 2 recordings, kept where it is tested" in copies
    assert "the speakers of 96 of 96 clips are not known" in say(lambda t: t.drop(columns="speaker"))


@pytest.mark.parametrize("change, sentence", [
    (lambda t: t.drop(columns="split"), "no column says which clip is for train, valid or test"),
    (lambda t: t.assign(split=[*"AB"] * (len(t) // 2)), "no column says which clip"),
    (lambda t: t.assign(split=t.split.where(t.index != 5, "holdout")),
     "03-01-03-01-01-02-02: part 'holdout'; each clip needs train, valid or test"),
    (lambda t: t.assign(split=t.split.where(t.index != 5, "eval")),  # beside test
     "03-01-03-01-01-02-02: part 'eval'; each clip needs"),
    (lambda t: t.assign(split=t.split.where(t.index != 5)), "03-01-03-01-01-02-02: no part; each clip needs"),
    (lambda t: t[t.split != "TEST"], "no clip is for test (train 48, valid 24)"),
    (lambda t: t[t.split.str.lower() != "train"].assign(speaker=None), "no clip is for train (valid 24, test 24)"),
    (lambda t: t.assign(label=t.label.where((t.split != "TEST") | (t.label != "sad"), "bored")),
     "train has no clip of bored (8 clips, one in test)")])
@pytest.mark.parametrize("command", [
    "study", pytest.param("evaluate", marks=pytest.mark.thorough("the same functions refuse"))])
def test_a_split_that_cannot_be_meant_is_refused(divided, tmp_path, command, change, sentence):
    line = (command, "--corpus", divided(change), "--protocol", "predefined", "--out", tmp_path / "run")
    fails(emotion_ser(*line), sentence)
    assert not (tmp_path / "run").exists()


def test_a_remark_names_the_lines_whose_part_is_none(divided):
    file = divided(lambda t: t.assign(split=t.split.where(t.index != 5, "holdout")))
    said = []
    assert (load_corpus(str(file), said.append).part == "holdout").sum() == 1
    assert "clips that are for none of train, valid and test: line 7: holdout" in said


def rare(table):
    "The same list, with few sad clips to learn from"
    return table[(table.label != "sad") | (table.split == "TEST") | (table.index % 4 == 0)]


@pytest.mark.parametrize("line", ["study", "study --recipe baseline", *(
    f"evaluate --head {head} --layers all --pooling mean+std" for head in ("lda", "logistic", "mlp", "ensemble"))])
def test_class_weights_at_the_shell(divided, tmp_path, line):
    "They are recorded where they are asked for; what is left out is what `none` does"
    file = divided(rare)
    line = (*line.split(), "--corpus", file, "--protocol", "predefined")
    for name in ("default", "none", "balanced"):
        options = () if name == "default" else ("--class-weight", name)
        emotion_ser(*line, *options, "--out", tmp_path / name, check=True)
    found = {name: metrics(tmp_path / name) for name in ("default", "none", "balanced")}
    settings = {name: (tmp_path / name / "config.yaml").read_text() for name in found}
    assert "class_weight" not in found["default"]["config"]
    assert "class-weight" not in found["default"]["command"] + settings["default"]
    assert found["balanced"]["config"]["class_weight"] == "balanced"
    assert yaml.safe_load(settings["balanced"])["class-weight"] == "balanced"
    predictions = {name: (tmp_path / name / "predictions.csv").read_bytes() for name in found}
    assert predictions["default"] == predictions["none"] != predictions["balanced"]


def test_a_card_cites_a_run_with_the_same_class_weights_alone(divided, tmp_path):
    line = ("--corpus", divided(rare), "--layers", "all", "--pooling", "mean")
    balanced = ("--class-weight", "balanced")
    measure = lambda *options: emotion_ser(
        "evaluate", *line, *options, "--protocol", "actor-kfold", "--out", tmp_path / "run", check=True)
    train = lambda *options: emotion_ser(
        "train", *line, *options, "--measured", tmp_path / "run", "--out", tmp_path / "m")
    measure(*balanced)
    assert "splits were there already" not in measure().stderr  # another key
    assert train().returncode == 0
    measure(*balanced)
    fails(train(), "measured with another class_weight, 'balanced'")
    assert train(*balanced).returncode == 0
    assert "--class-weight balanced" in (tmp_path / "m/README.md").read_text()


def test_class_weights_that_a_head_cannot_have(small, tmp_path):
    fails(emotion_ser("evaluate", "--corpus", small, "--head", "robust", "--class-weight", "none"),
          "--class-weight none: in the robust head every label counts the same; leave it out")
    fails(emotion_ser("study", "--corpus", small, "--encoder", "x", "--finetune", 1, "--class-weight", "balanced"),
          "--class-weight balanced: a network that is fine-tuned")
    assert emotion_ser("train", "--corpus", small, "--class-weight", "even", "--out", tmp_path / "m").returncode == 2


def test_a_clip_that_is_tested_twice_is_one_witness():
    clips = ["a.wav", "b.wav"] * 10
    assert len(set(interval_groups(20, [None] * 20, clips)[0])) == 2 and interval_groups(20, [None] * 20, clips)[1].startswith("2 clips,")
    assert interval_groups(20, ["x", "y"] * 10, clips)[1].startswith("2 actors,")
