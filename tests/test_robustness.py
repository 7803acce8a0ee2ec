"""What happens to recordings: rows, draws, answers that outlive an interruption, and a classifier that holds where that of before did not."""
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import emotion_ser, fails

from emotion_ser.acoustic import load_encoder
from emotion_ser.answers import (
    AS_RECORDED,
    altered_clip,
    ask_all,
    learned_speakers,
    listed_nuisances,
    questions,
    run_key,
    sample_clips,
    clips_for_testing,
    with_known_labels,
)
from emotion_ser.audio import AudioError
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.clips import list_clips
from emotion_ser.core import read_table, silent
from emotion_ser.corpus import CorpusError
from emotion_ser.familiar import Familiarity
from emotion_ser.measure import group_lines, robustness_rows
from emotion_ser.nuisances import NUISANCES
from emotion_ser.own import load_corpus
from emotion_ser.protocols import EvaluationConfig
from emotion_ser.robustness import COLUMNS, group_rows, run_robustness
from emotion_ser.sounds import NO_SPEECH
from emotion_ser.training import train_classifier

FEW = "dc-offset,telephone,dog,rain"
QUIET = dict(report=silent, progress=False)


@pytest.fixture(scope="module")
def bundled(): return EmotionClassifier.from_pretrained("ravdess-acoustic")


@pytest.fixture(scope="module")
def manifest(small): return load_corpus(small, report=silent)


def ask(classifier, manifest, **how): return run_robustness(classifier, manifest, **dict(dict(clips=16, sounds=3, nuisances=FEW), **QUIET) | how)


@pytest.fixture(scope="module")
def table(bundled, manifest): return ask(bundled, manifest)


def test_a_row_for_each_nuisance_and_kind_of_sound(table):
    assert table.columns.tolist() == COLUMNS
    assert table.nuisance.tolist() == ["as recorded", "dc-offset", "telephone", "rain", "dog"]
    assert table.group.tolist() == ["as recorded", "unnoticed", "noticed", "no speech", "no speech"]
    assert table.clips.tolist() == [16, 16, 16, 3, 3] and not table.unanswered.any()
    assert table.learned.tolist() == [False, False, False, True, False] and table.noticed.tolist() == [False, False, True, False, False]
    recorded, offset = table.iloc[0], table.iloc[1]
    assert np.isclose(offset.loss, recorded.uar_among - offset.uar_among) and offset.loss_low <= offset.loss <= offset.loss_high
    assert np.isnan(recorded.loss) and table.uar_among.isna().sum() == 2
    assert table.attrs["interval_over"].startswith("4 actors, 95%, paired jackknife")


def test_workers_and_the_order_of_the_clips_change_nothing(bundled, manifest, table):
    assert ask(bundled, manifest.sample(frac=1, random_state=1), workers=1).equals(table)
    assert not ask(bundled, manifest, seed=1).equals(table)


def test_draws_are_even(manifest):
    for n in (8, 30, 77):
        some = sample_clips(manifest, n)
        cells = some.groupby("emotion").actor.value_counts()
        assert len(some) == n and np.ptp(some.emotion.value_counts()) <= 1 and max(np.ptp(cells[label]) for label in set(some.emotion)) <= 1
    assert len(sample_clips(manifest, 10**6)) == len(manifest)
    nobody = sample_clips(manifest.assign(actor=None), 16)
    assert set(nobody.emotion.value_counts()) == {2}


def test_it_goes_on_where_it_was_interrupted(bundled, manifest, table, tmp_path, monkeypatch):
    import emotion_ser.answers as answers
    real = answers.questions

    def stop(clips, name, *rest):
        def press(): raise KeyboardInterrupt
        pairs = real(clips, name, *rest)
        return [(about, press) for about, _ in pairs] if name == "rain" else pairs

    with monkeypatch.context() as patch:
        patch.setattr(answers, "questions", stop)
        with pytest.raises(KeyboardInterrupt): ask(bundled, manifest, out=tmp_path / "run")
    kept = read_table(tmp_path / "run/answers.csv")
    assert set(kept.nuisance) == {"as recorded", "dc-offset", "telephone"} and not (tmp_path / "run/metrics.json").exists()
    sentences = []
    assert ask(bundled, manifest, out=tmp_path / "run", report=sentences.append).equals(table)
    assert "3 of what is asked were answered already" in sentences
    assert {"answers.csv", "robustness.csv", "metrics.json", "robustness.png", "no_speech.png"} == {path.name for path in (tmp_path / "run").iterdir()}
    m = json.loads((tmp_path / "run/metrics.json").read_text())
    assert m["clips"] == 16 and [row["nuisance"] for row in m["rows"]] == table.nuisance.tolist() and m["corpus_digest"] and m["model_digest"]
    assert ask(replace(bundled, threshold=0.9), manifest, out=tmp_path / "run", report=sentences.append).trusted[0] <= table.trusted[0]
    assert "begun anew" in sentences[-1]


def test_what_is_asked_besides_is_added(bundled, manifest, table, tmp_path):
    for names in ("dc-offset", "telephone,rain", FEW): found = ask(bundled, manifest, nuisances=names, out=tmp_path)
    assert found.equals(table)


def test_checks_of_familiarity_belong_to_what_was_asked(bundled, manifest):
    n, some = bundled.encoder.size, sample_clips(manifest, 3)
    checks = [Familiarity(*(np.zeros(n, np.float32), np.ones(n, np.float32), np.zeros(n, np.float32), np.zeros((1, n), np.float32),
                            np.ones(1, np.float32), np.full(3, limit, np.float32))) for limit in (np.inf, -1)]
    models = [replace(bundled, familiar=checked) for checked in (None, *checks)]
    assert len({run_key(model, some) for model in models}) == 3
    assert not ask_all(models[2], some, [AS_RECORDED], progress=False).trusted.any()


def test_an_unknown_nuisance_lists_them(bundled, manifest):
    with pytest.raises(ValueError, match="no nuisance 'clack'; there are silence-cut.*music-before.*sounds without speech: tone"):
        ask(bundled, manifest, nuisances="click,clack")
    assert listed_nuisances() == [AS_RECORDED, *NUISANCES, *NO_SPEECH]


def test_a_foreign_answers_csv_is_not_overwritten(bundled, manifest, tmp_path):
    (tmp_path / "answers.csv").write_text("question,answer\n1,2\n")
    with pytest.raises(ValueError, match="not written by `emotion_ser robustness`"): ask(bundled, manifest, out=tmp_path)
    assert (tmp_path / "answers.csv").read_text().startswith("question")


def test_a_broken_clip_is_listed_and_left_out(bundled, manifest, tmp_path):
    some = sample_clips(manifest, 6)
    (tmp_path / "broken.wav").write_bytes(b"RIFF, and then nothing")
    odd = pd.concat([some, some.head(1).assign(path=str(tmp_path / "broken.wav"), content="broken")], ignore_index=True)
    sentences = []
    found = ask(bundled, odd, out=tmp_path / "run", nuisances="click", report=sentences.append)
    assert found.clips.tolist() == [6, 6] and any("broken.wav" in sentence for sentence in sentences)
    assert "broken.wav" in json.loads((tmp_path / "run/metrics.json").read_text())["left_out"][0]
    with pytest.raises(AudioError, match="none of 1 clips"): ask(bundled, odd.tail(1))


def test_a_fault_is_a_wrong_answer_with_its_reason(bundled, manifest):
    class Trap(type(bundled.encoder)):
        def __call__(self, waveform):
            if np.abs(waveform).max() > 0.999 and len(waveform) % 2: raise IndexError("index 3 is out of bounds")
            return super().__call__(waveform)

    trapped = replace(bundled, encoder=Trap("all", "functionals"))
    some = sample_clips(manifest, 16)
    answers = ask_all(trapped, some, [AS_RECORDED], progress=False)
    failed = answers[answers.error.notna()]
    assert 0 < len(failed) < 16 and failed.error.str.contains("index 3 is out of bounds").all() and not failed.trusted.any()
    found = ask(trapped, manifest, nuisances="click")
    assert found.unanswered[0] == len(failed)


def test_labels_and_voices_are_those_that_the_classifier_knows(bundled, manifest, small):
    odd = manifest.assign(emotion=manifest.emotion.replace(dict(calm="bored", happy="joy")))
    sentences = []
    kept = with_known_labels(odd, bundled.labels, None, sentences.append)
    assert "happy" in set(kept.emotion) and "bored" not in set(kept.emotion) and any("bored" in sentence for sentence in sentences)
    with pytest.raises(CorpusError, match="fewer than two labels"): with_known_labels(odd, ["grief"], "none", silent)
    with pytest.raises(CorpusError, match="no speaker 77"): clips_for_testing(bundled, small, ("77",), report=silent)
    assert learned_speakers(manifest, bundled.info) == []
    own = replace(bundled.info, corpus=manifest.attrs["corpus"], actors=["1", "2"])
    assert learned_speakers(manifest, own) == ["1", "2"]


def test_one_speaker_has_no_interval_and_unknown_ones_are_clips(bundled, manifest):
    alone = ask(bundled, manifest[manifest.actor == 1].reset_index(drop=True), clips=8, nuisances="click")
    assert np.isnan(alone.loss_low[1]) and "one speaker" in alone.attrs["interval_over"]
    nobody = ask(bundled, manifest.assign(actor=None), clips=8, nuisances="click")
    assert nobody.attrs["interval_over"].startswith("8 clips") and robustness_rows(alone)[1][3] == ""


def test_groups_say_the_worst(table):
    rows = {row["group"]: row for row in group_rows(table)}
    assert list(rows) == ["unnoticed", "noticed", "no speech, learned", "no speech, kept"]
    assert rows["noticed"]["worst"] == "telephone" and rows["no speech, kept"]["worst_loss"] is None
    assert len(group_lines(list(rows.values()))) == 4


def test_chance_depends_on_nothing_but_the_clip_and_the_name(manifest):
    some = sample_clips(manifest, 4)
    first, last = questions(some, "pink-10db"), questions(some[::-1], "pink-10db")
    assert all((a() == b()).all() for (_, a), (_, b) in zip(first, last[::-1]))


@pytest.mark.thorough("two classifiers are trained and asked 480 times; 18_recordings shows the recorded ones")
def test_it_holds_where_that_of_010_did_not(small, tmp_path):
    "What nobody notices: a constant of 0.01, one click, silence that is cut off, on voices that neither classifier heard"
    lost = {}
    for name, how in dict(before=dict(head="lda", front="as-is"), now=dict(head="robust", front="speech")).items():
        config = EvaluationConfig(corpus=str(small), protocol="actor-kfold", layers="all", **how)
        classifier = train_classifier(config, hold_out=(4,), cache_dir=tmp_path, **QUIET)
        clips = clips_for_testing(classifier, small, ("4",), report=silent)
        lost[name] = ask(classifier, clips, clips=60, nuisances="dc-offset,click,silence-cut").set_index("nuisance")
    goal, unnoticed = 0.03, ["dc-offset", "click", "silence-cut"]
    assert lost["now"].loss[unnoticed].max() <= goal and lost["now"].right_loss[unnoticed].max() <= 0.05
    assert lost["before"].loss[["dc-offset", "click"]].min() > goal and lost["before"].loss["click"] > 0.2
    assert lost["before"].trusted["click"] > lost["now"].trusted["click"]


def test_silence_moves_no_embedding_out_of_its_place(small, tiny):
    "A network's mean over time: silence on either side, and one click, against how far clips lie apart (0.1.0 had the first of these)"
    clips, moved = list_clips(sample_clips(load_corpus(small, report=silent), 8)), {}
    for front in ("as-is", "speech"):
        encoder = load_encoder(str(tiny), "all", "mean", front)
        recorded, *others = (np.stack([encoder(altered_clip(clip, name)) for clip in clips]) for name in (AS_RECORDED, "silence-1s", "click"))
        apart = np.linalg.norm(recorded - recorded.mean(axis=0), axis=1).mean()
        moved[front] = [np.linalg.norm(other - recorded, axis=1).mean() / apart for other in others]
    assert all(before > 5 * now for before, now in zip(moved["as-is"], moved["speech"])) and moved["as-is"][0] > 1 > moved["speech"][0]


def test_the_commands(small, tmp_path):
    options = ("--corpus", small, "--clips", 12, "--nuisances", "click,dog", "--out", tmp_path / "run")
    done = emotion_ser("robustness", "ravdess-acoustic", *options, "--speakers", "1,2", check=True)
    assert "as recorded" in done.stdout and "dog" in done.stdout and "no speech, kept" in done.stdout
    m = json.loads((tmp_path / "run/metrics.json").read_text())
    assert m["speakers"] == ["1", "2"] and m["command"].startswith("emotion_ser robustness ravdess-acoustic --corpus") and "--speakers 1,2" in m["command"]
    fails(emotion_ser("robustness", "ravdess-acoustic", *options[:-3], "clack", *options[-2:]), "no nuisance 'clack'")
    fails(emotion_ser("adaptation", "--corpus", small, "--out", tmp_path / "curve"), "name several")
    for command, words in dict(robustness=("--speakers", "--nuisances", "--encoder-path"), adaptation=("--draws", "--front", "ravdess,emodb,emovo")).items():
        shown = emotion_ser(command, "--help", check=True, COLUMNS="200").stdout
        assert all(word in shown for word in words)
