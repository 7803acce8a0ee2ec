"""What a shell meets: names that are not meant for terminals, consoles that are not UTF-8, Ctrl-C, options without effect, figures of another run."""
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from conftest import emotion_ser, fails, shards, signalled

from emotion_ser.listening import Prediction
from emotion_ser.core import printable, read_table
from emotion_ser.rows import prediction_row, row_writer

LABELS = {"happy": "None", "sad": "=cmd|' /C calc'!A0", "angry": r"$\frac{$", "calm": "a,b\x1b[31m|<b>"}


@pytest.fixture(scope="module")
def odd(small, tmp_path_factory):
    "Four speakers' clips under labels that somebody typed; a classifier of them; their cache"
    place = tmp_path_factory.mktemp("odd")
    clips = [p for p in sorted(small.glob("Actor_*/*.wav"))]
    names = {"02": "calm", "03": "happy", "04": "sad", "05": "angry"}
    rows = [(p, LABELS[names[p.stem[6:8]]], f"s{p.stem[-2:]}") for p in clips if p.stem[6:8] in names]
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(place / "odd.csv", index=False)
    cache = dict(EMOTION_SER_CACHE=str(place / "cache"))
    emotion_ser("train", "--corpus", place / "odd.csv", "--out", place / "model", check=True, **cache)
    return place, cache


def shown(done):
    "All that a command printed, in which nothing but newlines moves a terminal"
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert not [c for c in text if c != "\n" and not c.isprintable()], text
    return text


def test_names_do_not_reach_the_terminal(odd, small, tmp_path):
    place, cache = odd
    clip = next(small.rglob("*.wav"))
    bell = shutil.copy(clip, tmp_path / "=1+1\x1b]0;owned\x07\n.wav")
    for form in ("table", "csv", "jsonl"): assert "answered" in shown(emotion_ser("predict", bell, "--model", place / "model", "--format", form, check=True))
    shown(emotion_ser("predict", tmp_path / "none\x1b[2J.wav"))
    for command in (("study", "--out", tmp_path / "run"), ("evaluate", "--protocol", "actor-kfold", "--layers", "all", "--pooling", "mean+std")):
        assert r"a,b\x1b[31m" in shown(emotion_ser(*command, "--corpus", place / "odd.csv", **cache, check=True)) or command[0] == "study"
    assert r"\x1b" in shown(emotion_ser("study", "--corpus", place / "odd.csv", "--emotions", "x\x1b[2J", **cache))
    card = (place / "model/README.md").read_text()
    assert "\x1b" not in card and "<b>" not in card and card.count("| labels |") == 1


def test_labels_come_back_as_they_were(odd, tmp_path):
    "A study, its figures and its table; a label called None is no missing value"
    place, cache = odd
    emotion_ser("study", "--corpus", place / "odd.csv", "--out", tmp_path / "run", check=True, **cache)
    found, metrics = read_table(tmp_path / "run/predictions.csv"), json.loads((tmp_path / "run/metrics.json").read_text())
    assert set(found.truth) == set(map(printable, LABELS.values())) and (found.truth == found.prediction).mean() == pytest.approx(metrics["accuracy"])
    assert len(list((tmp_path / "run").glob("*.png"))) == 2
    raw = list(csv.reader((tmp_path / "run/predictions.csv").open(newline="")))
    assert not [cell for row in raw[1:] for cell in row if cell.startswith("=")]


def test_figures_of_a_label_called_none(odd, tmp_path):
    "The card states of the answers what predictions.csv holds"
    place, cache = odd
    options = ("--corpus", place / "odd.csv", "--layers", "all", "--pooling", "functionals")
    emotion_ser("evaluate", *options, "--protocol", "actor-kfold", "--out", tmp_path / "run", check=True, **cache)
    emotion_ser("train", *options, "--measured", tmp_path / "run", "--out", tmp_path / "model", check=True, **cache)
    answers = read_table(tmp_path / "run/predictions.csv")
    sure = answers[answers.filter(regex="^p_").max(axis=1) >= 0.5]
    figures = json.loads((tmp_path / "model/config.json").read_text())["about"]["measured"]
    assert figures["accuracy_when_answered"] == pytest.approx((sure.truth == sure.prediction).mean()) and (sure.truth == "None").any()
    assert f"{100 * figures['accuracy_when_answered']:.0f}% of these answers are right" in (tmp_path / "model/README.md").read_text()
    for changed, reason in {("--hold-out", "s01"): "measured on", ("--head", "logistic"): "another head, 'lda'",
                            ("--protocol", "random"): "inner folds are by clip"}.items():
        fails(emotion_ser("train", *options, *changed, "--measured", tmp_path / "run", "--out", tmp_path / "other", **cache), reason)
    emotion_ser("study", "--corpus", place / "odd.csv", "--out", tmp_path / "study", check=True, **cache)
    fails(emotion_ser("train", *options, "--measured", tmp_path / "study", "--out", tmp_path / "other", **cache), "not a folder that `emotion_ser evaluate` wrote")
    assert not (tmp_path / "other").exists()


def test_one_writer_for_the_header_and_the_rows():
    "A hundred and twenty labels, one with a comma, one with a quotation mark: every column is filled, in every form"
    p = {f"label {k}": 0.005 for k in range(118)} | {"a, b": 0.31, 'say "x"': 0.1}
    row = prediction_row("x.wav", Prediction("a, b", 0.31, False, p, 3.0, 0.5, why="not sure enough"))
    above, line = row_writer("csv", list(p))
    header, cells = csv.reader([*above, line(row)])
    assert len(header) == len(cells) == 9 + len(p) and dict(zip(header, cells))["p_a, b"] == "0.31" and "" not in cells[:-1]
    _, line = row_writer("jsonl", list(p))
    assert json.loads(line(row))["probabilities"].keys() == p.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need a file system that takes any bytes")
@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_a_name_that_is_not_utf8_is_one_row(small, tmp_path, form):
    folder = tmp_path / "calls"
    folder.mkdir()
    clips = sorted(small.glob("Actor_01/*.wav"))[:2]
    shutil.copy(clips[0], folder / "good.wav")
    shutil.copy(clips[1], os.fsencode(folder) + b"/caf\xe9.wav")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.wav")).write_text("not a recording")
    done, kept = (emotion_ser("predict", folder, "--format", form, *out) for out in ((), ("--out", tmp_path / "rows")))
    assert done.returncode == kept.returncode == 1 and "2 of 3 recordings answered" in shown(done)
    lines = (tmp_path / "rows").read_text(encoding="utf-8").splitlines()
    assert lines == done.stdout.splitlines() and len(lines) == {"table": 2, "csv": 4, "jsonl": 3}[form]
    if form == "jsonl": assert {os.fsencode(json.loads(line)["file"]).split(b"/")[-1] for line in lines} == {b"good.wav", b"caf\xe9.wav", b"bad\xff.wav"}


AGAIN = pytest.mark.thorough("one of the kind remains")


@pytest.mark.parametrize("console", [pytest.param(dict(PYTHONIOENCODING="ascii"), marks=AGAIN), dict(PYTHONIOENCODING="cp1252"), pytest.param(dict(LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), marks=AGAIN)])
def test_a_console_that_is_not_utf8(small, tmp_path, console):
    clip = shutil.copy(next(small.rglob("*.wav")), tmp_path / "幸せ.wav")
    for form in ("table", "csv", "jsonl"):
        done = emotion_ser("predict", clip, "--format", form, **console)
        assert done.returncode == 0 and "1 of 1" in done.stderr and done.stdout, done.stderr
    rows = [(path, "高兴" if path.stem[6:8] == "03" else "sad", path.stem[-2:]) for path in sorted(small.rglob("*.wav")) if path.stem[6:8] in ("03", "04")]
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(tmp_path / "zh.csv", index=False)
    options = ("--corpus", tmp_path / "zh.csv", "--layers", "all", "--pooling", "functionals")
    done = subprocess.run([sys.executable, "-m", "emotion_ser", "evaluate", *map(str, options), "--protocol", "actor-kfold", "--out", str(tmp_path / "run")],
                          capture_output=True, env={**os.environ, **console})  # as bytes: cp1252 has a ± of its own
    assert done.returncode == 0 and b"recall" in done.stdout and rb"\u9ad8" in done.stdout if "PYTHONIOENCODING" in console else True, done.stderr
    emotion_ser("train", *options, "--out", tmp_path / "model", check=True, **console)
    assert "高兴" in (tmp_path / "model/README.md").read_text(encoding="utf-8")


def test_a_foreign_drawing_backend(small, tmp_path):
    done = emotion_ser("study", "--corpus", small, "--emotions", "happy,sad", "--out", tmp_path / "run", check=True, MPLBACKEND="nonsense")
    assert "could not be drawn" not in done.stderr and len(list((tmp_path / "run").glob("*.png"))) == 2


SHARD_THERE, SHARD_BEGUN = ("os.rename", "*.parquet"), ("open", "*/.writing-*/*.parquet")


STUDY, EMBED = ("study", "--corpus", "CORPUS"), ("embed", "CORPUS", "--out", "OUT")
EVALUATE, TRAIN = ("evaluate", "--corpus", "CORPUS", "--protocol", "actor-kfold", "--out", "OUT"), ("train", "--corpus", "CORPUS", "--out", "OUT")


@pytest.mark.parametrize("command, point", [(STUDY, SHARD_THERE), (EVALUATE, SHARD_THERE), (TRAIN, SHARD_THERE), (EMBED, SHARD_THERE), (EMBED, SHARD_BEGUN)])
def test_ctrl_c_goes_on_where_it_was(small, tmp_path, own_cache, command, point):
    done = signalled(*({"OUT": tmp_path / "out", "CORPUS": small}.get(word, word) for word in command), at=[point])
    assert done.returncode == 130 and done.stderr.splitlines()[-1] == "interrupted; the same command goes on where it was" and "Traceback" not in done.stderr
    assert bool(shards(tmp_path)) == (point == SHARD_THERE) and not list(tmp_path.rglob(".writing*"))


@pytest.mark.parametrize("module", ["emotion_ser.cli", "numpy", "torch", "matplotlib.pyplot", *(pytest.param(name, marks=AGAIN) for name in ("typer.main", "pandas", "numpy.random", "scipy.special", "torch.nn", "torch.library", "sklearn"))])
def test_ctrl_c_while_it_is_still_loading(small, tmp_path, module):
    done = signalled("study", "--corpus", small, "--emotions", "happy,sad", "--recipe", "baseline", "--out", tmp_path / "out", at=[("import", module)])
    assert done.returncode == 130 and done.stderr.splitlines()[-1].startswith("interrupted") and "Traceback" not in done.stderr


def test_ctrl_c_in_predict(small, tmp_path):
    "What was printed stands; with --out there is nothing, not even half of it"
    done = signalled("predict", small, "--format", "jsonl", "--out", tmp_path / "rows", at=[("open", "*/.writing-*/rows"), ("open", "*.wav", 20)])
    assert (done.returncode, done.stdout) == (130, "") and "interrupted; what was printed stands" in done.stderr and "begins anew" in done.stderr
    assert not (tmp_path / "rows").exists() and not list(tmp_path.glob(".writing*"))


@pytest.mark.parametrize("point", ["exit", "end"])
@pytest.mark.parametrize("command, status, last", [(("version",), 0, ""), (("compare", "nowhere", "nowhere"), 1, "error: nowhere")])
def test_ctrl_c_after_the_end_changes_nothing(command, status, last, point):
    "A finished command keeps its status while Python ends"
    done = signalled(*command, at=[(point,)])
    assert done.returncode == status and "".join(done.stderr.splitlines()[-1:]).startswith(last) and "KeyboardInterrupt" not in done.stderr
    assert bool(done.stdout) == (not status)


def test_a_command_alone_shows_its_help():
    for command in ("train", "predict", "compare", "download"):
        done = emotion_ser(command)
        assert "Usage" in done.stdout and "error" not in done.stderr and done.returncode == 2


@pytest.mark.parametrize("command, reasons", [
    ("evaluate --members 2", ("--members 2", "--finetune")), ("evaluate --members 1", ("--members 1", "--finetune")), ("evaluate --head tuned", ("--head tuned", "--finetune")),
    ("evaluate --repeats 3 --protocol loso", ("--repeats 3", "--protocol random")),
    ("study --finetune 1 --encoder x --recipe baseline", ("--recipe baseline", "--finetune")), ("predict x.wav --format csv --top 2", ("--top 2", "--format csv")),
    ("predict x.wav --model acoustic --encoder-path /nowhere", ("acoustic", "/nowhere", "out")), ("train --out OUT --published a/b", ("published", "acoustic")),
    ("embed CORPUS --out OUT --dtype float32", ("--dtype float32", "acoustic")), ("embed CORPUS --out OUT --runtime onnx", ("--runtime onnx", "acoustic")),
    ("embed CORPUS --out OUT --address a:1", ("--address a:1", "--engine ray"))])
def test_options_without_effect_are_refused(small, tmp_path, command, reasons):
    fails(emotion_ser(*({"OUT": tmp_path / "out", "CORPUS": small}.get(word, word) for word in command.split())), *reasons)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["study", "evaluate --protocol actor-kfold", "train", "embed"])
def test_a_failure_leaves_no_folder(tmp_path, command):
    "Neither for a corpus that is not there, nor for one in which nothing can be read"
    bad = tmp_path / "bad"
    for label in ("happy", "sad"):
        for who in "abc": (bad / label / who).mkdir(parents=True), (bad / label / who / "x.wav").write_text("no sound")
    for corpus in (tmp_path / "nowhere", bad):
        where = (corpus,) if command == "embed" else ("--corpus", corpus)
        fails(emotion_ser(*command.split(), *where, "--out", tmp_path / "deep/out"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["bad"]


def test_labels_that_say_nothing(small, tmp_path):
    "Train warns; the card repeats it"
    clips = sorted(small.glob("Actor_*/*.wav"))
    pd.DataFrame(dict(path=clips, label=["ab"[k * 7 % 11 % 2] for k in range(len(clips))], speaker=[p.parent.name for p in clips])).to_csv(tmp_path / "coins.csv", index=False)
    done = emotion_ser("train", "--corpus", tmp_path / "coins.csv", "--out", tmp_path / "model", check=True)
    assert "NOT ABOVE CHANCE" in done.stderr and "NOT ABOVE CHANCE" in (tmp_path / "model/README.md").read_text()
    real = emotion_ser("train", "--corpus", small, "--out", tmp_path / "real", check=True)
    assert "CHANCE" not in real.stderr + (tmp_path / "real/README.md").read_text()


def test_a_label_without_clips_to_learn_from(small, tmp_path):
    "Two of three labels are one speaker's each; a split by speaker cannot teach both"
    rows = [(p, "sad" if p.stem[6:8] in ("03", "04") else p.parent.name, p.parent.name) for p in sorted(small.glob("Actor_*/*.wav"))]
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(tmp_path / "own.csv", index=False)
    done = emotion_ser("study", "--corpus", tmp_path / "own.csv", "--protocol", "actor-holdout", "--out", tmp_path / "run")
    assert "no clip to learn from, so never answered: Actor_" in done.stderr


def test_evaluate_of_an_own_corpus_needs_no_protocol(small, tmp_path):
    "With speakers by speaker, without them by clip and with a warning; RAVDESS's names under EmoBox's folds"
    rows = [(p, p.stem[6:8], p.parent.name) for p in sorted(small.glob("Actor_*/*.wav"))]
    table = pd.DataFrame(rows, columns=["path", "label", "speaker"])
    table.to_csv(tmp_path / "known.csv", index=False)
    table[["path", "label"]].to_csv(tmp_path / "unknown.csv", index=False)
    options = ("--layers", "all", "--pooling", "mean+std")
    for corpus, protocol, reason in ((tmp_path / "known.csv", "actor-kfold", "actor-kfold"), (tmp_path / "unknown.csv", "random", "speakers"), (small, "emobox", "emobox")):
        done = emotion_ser("evaluate", "--corpus", corpus, *options, check=True, EMOTION_SER_CACHE=str(tmp_path / "shared"))
        assert f"protocol {protocol}" in done.stdout and reason in done.stderr


def test_compare_says_what_it_needs(small, tmp_path):
    emotion_ser("study", "--corpus", small, "--emotions", "happy,sad", "--out", tmp_path / "study", check=True)
    fails(emotion_ser("compare", tmp_path / "study", tmp_path / "study"), "study", "evaluate")
    fails(emotion_ser("compare", tmp_path / "nowhere", tmp_path / "study"), "nowhere")


def test_the_bundled_models_can_be_made_again():
    "Of those of RAVDESS alone: their recorded runs are those of their settings, by all that can be compared without the corpus"
    from emotion_ser.figures import Measured, check_same_settings
    from emotion_ser.bundled import bundled_models
    from emotion_ser.protocols import EvaluationConfig
    for encoder in ("acoustic", "whisper-base"):
        folder = bundled_models()[f"ravdess-{encoder}"]
        about = json.loads((folder / "config.json").read_text())["about"]
        run = Measured(Path(__file__).parent.parent / f"nbs/results/protocols/{encoder}_emobox_lda_augment")
        config = EvaluationConfig("ravdess", protocol="actor-kfold", augment=True)
        check_same_settings(run, asdict(config), by_clip=False)
        assert run.metrics["encoder_fingerprint"] == about["encoder_fingerprint"] and run.metrics["clips"] == about["clips"]
