"""The command as a user runs it: results, repeatability, interruption, and every failure in one line."""
import shutil
import signal
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import emotion_ser, fails, metrics, run, shards, signalled

FILES = {"metrics.json", "config.yaml", "history.csv", "predictions.csv", "confusion_matrix.png", "learning_curves.png", "model/config.json", "model/model.safetensors"}


def files(folder): return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.thorough("06_study compares two runs byte by byte")
def test_two_runs_are_the_same(small, tmp_path):
    for out in ("A", "B"):
        done = emotion_ser("study", "--corpus", small, "--seed", 1, "--out", tmp_path / out, anew=True, check=True)
        assert "UAR" in done.stdout and str(tmp_path / out) in done.stdout.replace("\n", "")
        assert files(tmp_path / out) == FILES
    assert metrics(tmp_path / "A") == metrics(tmp_path / "B")
    for name in FILES - {"metrics.json"}: assert (tmp_path / "A" / name).read_bytes() == (tmp_path / "B" / name).read_bytes(), name


def test_metrics_say_how_they_were_made(small, tmp_path):
    emotion_ser("study", "--corpus", small, "--protocol", "actor-holdout", "--recipe", "baseline", "--emotions", "happy,sad", "--out", tmp_path / "A", check=True)
    found = metrics(tmp_path / "A")
    assert found["corpus"] == "sample (synthetic)" and found["labels"] == ["happy", "sad"]
    assert [found[f"n_{part}"] for part in ("train", "valid", "test")] == [32, 16, 16]
    assert found["config"]["protocol"] == "actor-holdout" and "--recipe baseline" in found["command"] and found["versions"]["torch"]
    assert set(found["intervals"]) == {"accuracy", "macro_precision", "macro_recall", "macro_f1", "uar"}


@pytest.mark.thorough("00_data shows that each clip is read once")
def test_the_doubled_archive_gives_the_same_metrics(small, tmp_path):
    doubled = tmp_path / "kaggle"
    shutil.copytree(small, doubled)
    shutil.copytree(small, doubled / "audio_speech_actors_01-24")
    single = emotion_ser("study", "--corpus", small, "--out", tmp_path / "A", check=True)
    twice = emotion_ser("study", "--corpus", doubled, "--out", tmp_path / "B", check=True)
    assert "copies" not in single.stderr and "480 files hold 240 clips; left out, copies: 240" in twice.stderr
    apart = ("seconds", "config", "command")
    assert metrics(tmp_path / "A", apart) == metrics(tmp_path / "B", apart)
    assert (tmp_path / "A/predictions.csv").read_bytes() == (tmp_path / "B/predictions.csv").read_bytes()


def test_a_killed_run_resumes(small, tmp_path, own_cache):
    "Killed between two shards: a shard is written every two seconds, of a clock that goes on by a tenth with each clip"
    killed = signalled("study", "--corpus", small, "--out", tmp_path / "A", number=signal.SIGKILL, at=[("os.rename", "*.parquet", 3)], CLOCK_STEP="0.1")
    assert killed.returncode == -signal.SIGKILL and len(shards(own_cache)) == 3
    assert 10 < sum(pq.read_metadata(shard).num_rows for shard in shards(own_cache)) < 200
    kept = {shard: shard.stat().st_mtime_ns for shard in shards(own_cache)}
    emotion_ser("study", "--corpus", small, "--out", tmp_path / "A", check=True)
    assert kept.items() <= {shard: shard.stat().st_mtime_ns for shard in shards(own_cache)}.items()  # what was there was used, not made again
    emotion_ser("study", "--corpus", small, "--out", tmp_path / "B", check=True, EMOTION_SER_CACHE=str(tmp_path / "undisturbed"))
    assert metrics(tmp_path / "A") == metrics(tmp_path / "B")
    assert (tmp_path / "A/predictions.csv").read_bytes() == (tmp_path / "B/predictions.csv").read_bytes()


def test_bad_clips_are_named_and_left_out(small, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(small, corpus)
    clips = sorted(corpus.rglob("*.wav"))
    clips[0].write_text("not a recording")
    clips[1].write_bytes(clips[1].read_bytes()[:9000])
    done = emotion_ser("study", "--corpus", corpus, "--out", tmp_path / "A", check=True)
    assert f"{clips[0].name}: not audio" in done.stderr and f"{clips[1].name}: cut short" in done.stderr
    assert len(metrics(tmp_path / "A")["left_out"]) == 2


def test_corpora_that_cannot_be_used(small, tmp_path):
    (tmp_path / "empty").mkdir()
    fails(emotion_ser("study", "--corpus", tmp_path / "empty"), "no audio file", "emotion_ser download")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/notes.wav").write_text("not a recording")
    fails(emotion_ser("study", "--corpus", tmp_path / "text"), "notes.wav")
    (tmp_path / "ravdess").mkdir()
    (tmp_path / "ravdess/03-01-05-02-01-01-12.wav").write_text("not a recording")
    fails(emotion_ser("study", "--corpus", tmp_path / "ravdess"), "03-01-05-02-01-01-12.wav", "not audio")
    shutil.copytree(small / "Actor_01", tmp_path / "one/Actor_01")
    for protocol in ("random", "actor-holdout"):
        fails(emotion_ser("study", "--corpus", tmp_path / "one", "--protocol", protocol), "1 of the 3 speakers", "actor 1")
    fails(emotion_ser("study", "--corpus", tmp_path / "nowhere"), "no such folder")


@pytest.mark.parametrize("options, reason", [
    (["--emotions", "happy,bored"], "no clip is labelled bored"), (["--layers", "7"], "layers 0 to 0"),
    (["--layers", "top"], "last, all"), (["--encoder", "/nowhere/at/all"], "cannot be loaded")])
def test_options_that_cannot_be_used(small, options, reason):
    fails(emotion_ser("study", "--corpus", small, *options, HF_HUB_OFFLINE="1"), reason)


def test_out_must_be_a_folder(small, tmp_path):
    (tmp_path / "taken").write_text("")
    fails(emotion_ser("study", "--corpus", small, "--out", tmp_path / "taken"), "a file, not a folder")
    fails(emotion_ser("study", "--corpus", small, "--out", tmp_path / "taken/below"), "taken")


HEAVY = {"matplotlib", "seaborn", "sklearn", "scipy", "transformers", "torchaudio", "fsspec", "IPython", "requests"}  # each is slow to import


def imported(*args):
    "The packages that a command has imported when it is done"
    code = ("import sys, emotion_ser.cli; emotion_ser.cli.app(sys.argv[1:], standalone_mode=False); "
            "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)")
    done = run(sys.executable, "-c", code, *args, check=True)
    return {*done.stderr.splitlines()[-1].split()}


def test_help_teaches_and_does_not_wait_for_torch():
    done = emotion_ser("study", "--help", check=True)
    for option in ("--corpus", "--encoder", "--layers", "--pooling", "--recipe", "--protocol", "--emotions", "--seed", "--out"): assert option in done.stdout
    for command in ([], ["study"], ["evaluate"], ["train"], ["predict"], ["embed"]):
        assert not imported(*command, "--help") & {*HEAVY, "numpy", "pandas", "torch", "soundfile"}


def test_predict_imports_what_it_needs(tmp_path):
    for rate in (16000, 44100):
        soundfile.write(tmp_path / "one.wav", np.sin(np.arange(2 * rate) / rate * 2 * np.pi * 220 * (1 + np.arange(2 * rate) / rate)), rate)
        found = imported("predict", tmp_path / "one.wav", "--model", "acoustic")
        assert "torch" in found and not found & HEAVY


def test_an_unknown_choice_lists_the_choices():
    fails(emotion_ser("study", "--recipe", "grandma"), "'tuned', 'baseline'", status=2)
    fails(emotion_ser("study", "--nonsense"), "No such option", status=2)
    fails(emotion_ser("study", "--seed", "-1"), "--seed", status=2)


def test_spellings_of_version_010(small, tmp_path):
    "They give the same run, which is recorded in today's; no help shows them"
    spellings = dict(old=("--recipe", "seed", "--protocol=actors"), new=("--recipe=baseline", "--protocol", "actor-holdout"))
    for name, options in spellings.items(): emotion_ser("study", "--corpus", small, *options, "--out", tmp_path / name, check=True)
    assert metrics(tmp_path / "old") == metrics(tmp_path / "new")
    assert metrics(tmp_path / "old")["config"]["recipe"] == "baseline" and "actor-holdout" in metrics(tmp_path / "old")["command"]
    for command, words in dict(study=("seed>", "|seed", "actors>"), evaluate=("mlp-seed", "committee", "|actors|"), train=("actors>", "actors|")).items():
        shown = emotion_ser(command, "--help", check=True).stdout
        assert not [word for word in words if word in shown]
    fails(emotion_ser("study", "--recipe", "seed", "--finetune", "1", "--encoder", "x"), "--recipe baseline", "--finetune")
    fails(emotion_ser("train", "--corpus", small, "--protocol", "actors", "--hold-out", "nobody", "--out", tmp_path / "model"), "no speaker nobody")
