"""What the figures may claim: recorded intervals, few speakers and none, odd labels, degenerate corpora, and runs that fail or go on."""
import json
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from emotion_ser import protocols
from emotion_ser.core import read_run, read_table, silent
from emotion_ser.corpus import CorpusError
from emotion_ser.own import load_corpus
from emotion_ser.evaluate import interval_groups, interval_text, intervals
from emotion_ser.head import HeadError
from emotion_ser.protocols import EvaluationConfig, compare_runs, run_evaluation
from emotion_ser.splits import default_protocol
from emotion_ser.unseen import learned_only

RESULTS = ROOT / "nbs/results"
RECORDED = sorted(RESULTS.rglob("metrics.json"))
QUIET = dict(report=silent, progress=False)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: str(file.parent.relative_to(RESULTS)))
def test_recorded_figures_follow_from_the_recorded_predictions(file):
    metrics = json.loads(file.read_text())
    if not (file.parent / "predictions.csv").is_file(): return
    table = learned_only(read_table(file.parent / "predictions.csv"))
    groups, over = interval_groups(len(table), table.actor)
    found = intervals(table.truth, table.prediction, metrics["labels"], groups)
    for metric, interval in found.items(): assert np.allclose(interval, metrics["intervals"][metric], atol=1e-9), metric
    assert over == metrics["interval_over"]
    assert abs((table.truth == table.prediction).mean() - metrics["accuracy"]) < 1e-9


def asked(options):
    "The options of a command as a configuration has them: name -> text"
    words, found = options.split(), {}
    for word, after in zip(words, [*words[1:], "--"]):
        if word.startswith("--"): found[word[2:].replace("-", "_")] = "True" if after.startswith("--") else after
    return found


def test_every_recorded_run_has_its_command():
    lines = [line.split(maxsplit=2) for line in (RESULTS / "commands.txt").read_text().splitlines() if not line.startswith("#")]
    listed = {place: (command, asked(options)) for command, place, options in lines if command != "train"}
    assert set(listed) == {str(file.parent.relative_to(RESULTS)) for file in RECORDED}
    for place, (command, options) in listed.items():
        run = read_run(RESULTS / place)
        assert run["command"].split()[1] == command, place
        assert options == {name: str(run["config"][name]) for name in options}, place


@pytest.fixture(scope="module")
def clips(small):
    "Twelve clips of each of the four speakers, three of four emotions"
    table = load_corpus(str(small), report=silent)
    table = table[table.emotion.isin(["happy", "sad", "angry", "calm"])]
    return table.groupby(["actor", "emotion"]).head(3).reset_index(drop=True)


def own(clips, folder, **columns):
    "A corpus of one's own: the clips under other names, in a CSV of path, label and, if it is among the columns, speaker"
    folder.mkdir()
    names = [f"{i:03}.wav" for i in range(len(clips))]
    for path, name in zip(clips.path, names): shutil.copy(path, folder / name)
    pd.DataFrame(dict(path=names, label=clips.emotion) | columns).to_csv(folder / "list.csv", index=False)
    return str(folder / "list.csv")


def evaluated(corpus, out=None, head="lda", **options):
    "A run with a small grid, and what it reported"
    sentences = []
    config = EvaluationConfig(corpus, head=head, layers="all", pooling="mean", repeats=2, **options)
    return run_evaluation(config, out, report=sentences.append, progress=False), sentences


def test_own_corpora_need_no_protocol(clips, tmp_path):
    table = pd.concat([clips] * 1)
    named = {"a": (table, dict(speaker="s" + table.actor.astype(str)), "actor-kfold", "4 actors"),
             "b": (table, {}, "random", "clips"),
             "c": (table[table.actor < 3], dict(speaker=table.actor[table.actor < 3].tolist()), None, None)}
    for name, (some, columns, protocol, over) in named.items():
        corpus, out = own(some, tmp_path / name, **columns), tmp_path / "runs" / name
        if protocol is None:  # two speakers: random splits are refused too, in a sentence
            with pytest.raises(CorpusError, match="speakers"): evaluated(corpus, out)
            assert not out.exists()
            continue
        run, sentences = evaluated(corpus, out)
        assert run.config.protocol == protocol and f"--protocol {protocol}" in run.metrics["command"]
        assert any(sentence.startswith(f"protocol {protocol}: ") for sentence in sentences)
        assert over in run.metrics["interval_over"].split(",")[0]
    assert any("are not known" in sentence for sentence in evaluated(own(table, tmp_path / "d"))[1])


def test_the_sample_is_evaluated_on_emobox(small):
    assert EvaluationConfig(str(small)).protocol is None
    assert default_protocol(load_corpus(str(small), report=silent), silent) == "emobox"


@pytest.mark.parametrize("labels", [["None", "nan", "NA", "01"], [r"$\frac{$", "=1+1", "a, b", "<b>"]])
def test_labels_are_names(clips, labels, tmp_path):
    speakers = dict(speaker=clips.actor.tolist())
    renamed = clips.assign(emotion=clips.emotion.map(dict(zip(["angry", "calm", "happy", "sad"], labels))))
    plain, _ = evaluated(own(clips, tmp_path / "plain", **speakers), tmp_path / "one")
    try: odd, _ = evaluated(own(renamed, tmp_path / "odd", **speakers), tmp_path / "two")
    except CorpusError as error: pytest.skip(f"the corpus is read by other means: {error}")
    assert sorted(odd.metrics["labels"]) == sorted(labels)
    table = read_table(tmp_path / "two/predictions.csv")
    assert (table.truth == table.prediction).mean() == pytest.approx(odd.metrics["accuracy"])
    assert set(table.truth) == set(labels) and [c[2:] for c in table if c.startswith("p_")] == odd.metrics["labels"]
    assert compare_runs(tmp_path / "two", tmp_path / "two").loc["uar", "first"] == pytest.approx(odd.metrics["uar"])
    assert {"confusion_matrix.png", "reliability.png"} <= {p.name for p in (tmp_path / "two").iterdir()}
    assert len(plain.predictions) == len(odd.predictions)


def test_a_figure_that_fails_costs_no_numbers(clips, tmp_path, monkeypatch):
    corpus = own(clips, tmp_path / "corpus", speaker=clips.actor.tolist())
    whole, _ = evaluated(corpus, tmp_path / "run")
    monkeypatch.setattr(protocols, "plot_confusion", lambda *args, **more: 1 / 0)
    again, sentences = evaluated(corpus, tmp_path / "run")
    assert again.metrics == whole.metrics and (tmp_path / "run/metrics.json").is_file()
    assert not (tmp_path / "run/confusion_matrix.png").exists() and (tmp_path / "run/reliability.png").is_file()
    assert any("confusion_matrix.png could not be drawn" in sentence for sentence in sentences)


@pytest.mark.parametrize("options", [dict(protocol="emobox"), dict(layers="9"), dict(corpus="nowhere")])
def test_a_run_that_cannot_begin_leaves_nothing(clips, tmp_path, options):
    corpus = own(clips, tmp_path / "corpus", speaker=[f"s{a}" for a in clips.actor])
    out = tmp_path / "deep" / "run"
    with pytest.raises(ValueError): run_evaluation(EvaluationConfig(**{"corpus": corpus} | options), out, **QUIET)
    assert not (tmp_path / "deep").exists()
    (tmp_path / "deep" / "run").mkdir(parents=True)
    (out / "mine.txt").write_text("kept")
    with pytest.raises(ValueError): run_evaluation(EvaluationConfig(**{"corpus": corpus} | options), out, **QUIET)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


def test_a_label_that_only_one_speaker_has_is_reported(clips, tmp_path):
    some = clips[(clips.emotion != "sad") | (clips.actor == 2)].reset_index(drop=True)
    run, sentences = evaluated(own(some, tmp_path / "corpus", speaker=some.actor.tolist()), protocol="loso")
    at = next(i for i, sentence in enumerate(sentences) if "lacks a label" in sentence)
    assert sentences[at].endswith(": 1") and sentences[at + 1].strip().endswith("sad")
    assert np.isfinite([run.metrics["uar"], run.metrics["calibration"]["nll_after"]]).all()


@pytest.mark.parametrize("head", ["lda", "logistic", "mlp"])
def test_one_clip_of_each_label_is_a_sentence_or_a_result(clips, tmp_path, head):
    once = clips.groupby(["actor", "emotion"]).head(1).reset_index(drop=True)
    once = once[[f"{a}{e}" in ("1angry", "2calm", "3happy", "4sad") for a, e in zip(once.actor, once.emotion)]].reset_index(drop=True)
    try: evaluated(own(once, tmp_path / "corpus", speaker=once.actor.tolist()), tmp_path / "run", head, protocol="loso")
    except (CorpusError, HeadError) as error: assert re.search("label|clip", str(error)) and "minor" not in str(error)
    if head == "lda": assert not (tmp_path / "run").exists()


def test_intervals_of_one_speaker_are_none_and_can_be_printed(clips):
    groups, over = interval_groups(12, ["anna"] * 12)
    found = intervals(np.array(["a", "b"] * 6), np.array(["a"] * 12), ["a", "b"], groups)
    assert set(map(tuple, found.values())) == {(None, None)} and over.startswith("1 actor, none")
    assert json.loads(json.dumps(found)) == found and interval_text(*found["uar"]) == "none: one speaker"


def test_no_source_cites_what_a_reader_cannot_find():
    sources = [*ROOT.glob("tests/*.py"), *ROOT.glob("nbs/*.ipynb"), ROOT / "README.md"]
    cites = re.compile(r"\bissue'?s? (#?\d+|closing)|\bissues? \d|closing note", re.I)
    found = [f"{file.name}: {line.strip()[:80]}" for file in sources if file != Path(__file__) for line in islice(open(file), None) if cites.search(line)]
    assert not found
