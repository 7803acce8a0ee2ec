"""Which classifier answers if none is named: the one for strangers that can answer at once, said aloud and found without a network."""
import json
import os
import sys
from pathlib import Path

import pytest
from conftest import emotion_ser, fails, offline, run

from emotion_ser.bundled import NEEDED, bundled_models, bundled_record, default_model, encoder_at_hand
from emotion_ser.checkpoint import REVISIONS
from emotion_ser.core import silent
from emotion_ser.join import SHARED

ENCODER = "openai/whisper-base"
real = pytest.mark.skipif(not os.path.isdir(os.environ.get("EMOTION_SER_ENCODER", "")), reason="EMOTION_SER_ENCODER names no folder")


def put(cache, source=None, revision=REVISIONS[ENCODER], leave_out=""):
    "A cache of the hub that holds the encoder's files: those of a folder, or empty ones"
    snapshot = cache / "models--openai--whisper-base/snapshots" / revision
    snapshot.mkdir(parents=True)
    for file in set(NEEDED) - {leave_out}:
        if source: os.symlink(Path(source) / file, snapshot / file)
        else: (snapshot / file).touch()
    return cache


@pytest.fixture
def at_hand(monkeypatch):
    "Whether the encoder is at hand in a cache; no socket can be opened"
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("the network was asked"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: pytest.fail("the network was asked"))

    def look(cache):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        return encoder_at_hand("whisper-base")
    return look


def test_the_encoder_is_at_hand_if_all_of_it_lies_there_at_the_pinned_commit(at_hand, tmp_path):
    assert not at_hand(tmp_path / "nowhere") and at_hand(put(tmp_path / "whole"))
    assert not at_hand(put(tmp_path / "other", revision="0" * 40))
    for file in NEEDED: assert not at_hand(put(tmp_path / file, leave_out=file))


def test_a_link_that_leads_nowhere_is_no_encoder(at_hand, tmp_path):
    assert not at_hand(put(tmp_path / "gone", source=tmp_path / "blobs"))


def test_who_answers_and_what_is_said(at_hand, tmp_path):
    told = []
    at_hand(tmp_path / "nowhere")
    assert default_model(report=told.append) == default_model("acoustic", told.append) == "acoustic"
    assert default_model("some/encoder", told.append) == default_model(Path("folder"), told.append) == "whisper-base"
    at_hand(put(tmp_path / "whole"))
    assert default_model(report=told.append) == "whisper-base" and default_model("acoustic", silent) == "whisper-base"
    assert len(told) == 5 and all(sentence.startswith("no model was named: ") for sentence in told)
    assert "model='whisper-base'" in told[0] and "its encoder is some/encoder" in told[2] and "in the cache" in told[4] and "model='acoustic'" in told[4]


def test_from_python_it_is_said_on_stderr(small, tmp_path):
    code = "import sys; from emotion_ser import EmotionClassifier; print(EmotionClassifier.from_pretrained().encoder.name)"
    done = run(sys.executable, "-c", code, check=True, HF_HUB_CACHE=str(tmp_path / "nowhere"), **offline(tmp_path))
    assert done.stdout == "acoustic\n" and "no model was named: acoustic answers" in done.stderr


def test_at_the_shell_it_is_said_on_stderr_unless_one_is_named(small, tiny, tmp_path):
    clip = next(small.rglob("*.wav"))
    ask = ("predict", clip, "--format", "jsonl")
    unnamed, named = emotion_ser(*ask, check=True, **offline(tmp_path)), emotion_ser(*ask, "--model", "acoustic", check=True)
    assert unnamed.stdout == named.stdout and "acoustic answers" in unnamed.stderr and "was named" not in named.stderr
    assert "1 of 1 recordings answered by acoustic" in unnamed.stderr and len(json.loads(unnamed.stdout)["probabilities"]) == 7
    fails(emotion_ser(*ask, "--encoder-path", tiny), "the head takes")  # the head of whisper-base, with another encoder
    fails(emotion_ser(*ask, "--encoder-path", "/nowhere"), "/nowhere: cannot be loaded")
    fails(emotion_ser("predict", tmp_path / "*.ogg"), "no file matches")


def test_the_name_of_a_file_says_its_format(small, tmp_path):
    ask = "predict", next(small.rglob("*.wav")), "--model", "acoustic", "--out"
    for name, begins in {"a.csv": "file,", "a.jsonl": "{", "a.txt": "03-"}.items():
        emotion_ser(*ask, tmp_path / name, check=True)
        assert (tmp_path / name).read_text().startswith(begins)
    emotion_ser(*ask, tmp_path / "b.csv", "--format", "jsonl", check=True)
    assert (tmp_path / "b.csv").read_text().startswith("{")
    fails(emotion_ser(*ask, tmp_path / "c.csv", "--top", "2"), "--format csv has a column for each emotion")


def test_a_source_is_kept_for_the_one_that_answered(imitated, tmp_path, own_cache):
    ask = "predict", imitated["cafe"], "--source", "line 7", "--format", "jsonl"
    kept = emotion_ser(*ask, "--adapt", check=True)
    assert "source line 7 kept for acoustic" in kept.stderr and (own_cache / "sources/acoustic/line 7.json").is_file()
    assert emotion_ser(*ask, "--model", "acoustic", check=True).stdout == kept.stdout


@real
def test_with_the_encoder_in_the_cache_the_better_one_answers_without_a_network(small, tmp_path):
    clip, cache = next(small.rglob("*.wav")), put(tmp_path / "hub", source=os.environ["EMOTION_SER_ENCODER"])
    done = emotion_ser("predict", clip, "--format", "jsonl", check=True, HF_HUB_CACHE=str(cache), **offline(tmp_path))
    assert "whisper-base answers (its encoder is in the cache)" in done.stderr and "answered by whisper-base" in done.stderr
    given = emotion_ser("predict", clip, "--format", "jsonl", "--encoder-path", os.environ["EMOTION_SER_ENCODER"], check=True)
    assert given.stdout == done.stdout and f"its encoder is {os.environ['EMOTION_SER_ENCODER']}" in given.stderr


@pytest.mark.parametrize("name, encoder", dict(acoustic="acoustic", **{"whisper-base": ENCODER}).items())
def test_those_for_strangers_are_what_is_said_of_them(name, encoder):
    about, folder = bundled_record(name), bundled_models()[name]
    assert about["encoder"] == encoder and about["revision"] == REVISIONS.get(encoder) and about["front"] == "speech" and about["setting"]["head"] == "robust"
    assert about["corpus"] == "RAVDESS + EmoDB + EMOVO + nEMO" and sorted(about["promise"]["left_out"]) == ["emodb", "emovo", "nemo", "ravdess"] and about["echo"]
    assert sorted(json.loads((folder / "config.json").read_text())["labels"]) == sorted(SHARED) and (folder / "familiar.safetensors").is_file()
