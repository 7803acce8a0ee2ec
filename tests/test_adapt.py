"""A classifier that moves to a voice, a microphone or a corpus by recordings without labels; and what it is trained, saved and refused by."""
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import emotion_ser, fails

import emotion_ser.adaptation as adaptation
from emotion_ser.adaptation import load_source, head_digest, movable_models, recording_vectors, save_source, source_path, trained_head
from emotion_ser.audio import AudioError
from emotion_ser.bundled import bundled_models
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.core import load_tensors, save_tensors, silent
from emotion_ser.corpus import CorpusError
from emotion_ser.head import HeadError
from emotion_ser.protocols import EvaluationConfig
from emotion_ser.training import train_classifier

QUIET = dict(report=silent, progress=False)


@pytest.fixture
def model(robust_model): return EmotionClassifier.from_pretrained(robust_model)


@pytest.fixture
def strangers(imitated): return sorted(imitated["cafe"].glob("*.wav"))


def same(a, b): return np.array_equal(a.source.offsets, b.source.offsets) and a.source.share == b.source.share


def state(classifier): return {name: tensor.clone() for name, tensor in classifier.head.state_dict().items()}


def told(model, recordings, **options):
    "The adapted classifier, and what was reported"
    sentences = []
    return model.adapt(recordings, report=sentences.append, **options), "\n".join(sentences)


def test_no_recording_is_no_source(model, tmp_path):
    with pytest.raises(AudioError, match="no recording to adapt to; give one with speech at least, better twenty"): model.adapt([], report=silent)
    (tmp_path / "notes.wav").write_text("notes")
    with pytest.raises(AudioError, match="none of 2 recordings can be used to adapt to"): model.adapt([tmp_path / "notes.wav", tmp_path / "no.wav"], report=silent)


def test_one_recording_moves_it_a_little(model, strangers):
    one, said = told(model, strangers[:1])
    assert "1 recording tell" in said and "followed in part only" in said and one.source.recordings == 1
    many, said = told(model, strangers)
    assert "in part only" not in said and f"adapted to {len(strangers)} recordings, taken to be of one source" in said
    assert model.head.recipe.line_share < one.source.share < many.source.share < 1


def test_recordings_of_one_mood_are_warned_of(model, imitated):
    angry = max((path for name in ("emodb", "emovo") for path in imitated[name].rglob("*.wav")), key=lambda path: model.predict(path).confidence)
    label = model.predict(angry).label
    shifted, said = told(model, [angry] * 6)
    assert f"of these sound {label}" in said and "add recordings of other moods" in said
    assert shifted.source.label == label and shifted.source.most >= 0.6
    assert shifted.predict(angry).label == label  # what sounds alike is not moved until it sounds like everything
    assert "ONE-SIDED" not in told(model, [angry] * 4)[1]


def test_broken_ones_are_named_and_left_out(model, strangers, tmp_path):
    (tmp_path / "notes.wav").write_text("notes")
    sf.write(tmp_path / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    sf.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.01, 32000), 16000)
    odd = [tmp_path / name for name in ("notes.wav", "nan.wav", "noise.wav", "missing.wav")]
    moved, said = told(model, [*odd, *strangers[:6]])
    assert "left out, cannot be adapted to: 4" in said and all(path.name in said for path in odd)
    assert same(moved, model.adapt(strangers[:6], report=silent))
    with pytest.raises(AudioError, match="notes.wav"): model.adapt([*strangers[:2], odd[0]], on_error="raise", report=silent)
    with pytest.raises(ValueError, match="give skip or raise"): model.adapt(strangers, on_error="ignore", report=silent)


def test_what_raises_something_else_is_left_out_too(model, strangers, monkeypatch):
    heard = adaptation.recording_vectors
    def trap(classifier, source): return heard(classifier, source) if source is not strangers[0] else 1 / 0
    monkeypatch.setattr(adaptation, "recording_vectors", trap)
    moved, said = told(model, strangers[:5])
    assert "ZeroDivisionError" in said and strangers[0].name in said and moved.source.recordings == 4


def test_adapting_is_deterministic_and_leaves_the_first_as_it_was(model, strangers):
    before, answer, record = state(model), model.predict(strangers[0]), json.dumps(model.info.__dict__, default=str)
    moved = model.adapt(strangers, report=silent)
    assert same(moved, model.adapt(strangers, report=silent)) and same(moved, moved.adapt(strangers, report=silent))
    assert all(torch.equal(tensor, model.head.state_dict()[name]) for name, tensor in before.items())
    assert model.predict(strangers[0]) == answer and model.source is None and json.dumps(model.info.__dict__, default=str) == record
    assert moved.predict(strangers[0]) != answer and moved.threshold == model.threshold and moved.encoder is model.encoder


def test_paths_samples_files_and_a_folder_are_the_same_source(model, strangers, imitated):
    by_path = model.adapt(strangers, report=silent)
    assert same(by_path, model.adapt([sf.read(path, dtype="float32") for path in strangers], report=silent))
    assert same(by_path, model.adapt(iter(map(str, strangers)), report=silent))
    assert same(by_path, model.adapt(imitated["cafe"], report=silent))


def test_a_long_recording_counts_by_its_windows(model, strangers, tmp_path):
    sounds = [sf.read(path, dtype="float32")[0] for path in strangers]
    pause = np.random.default_rng(0).normal(0, 1e-4, 12 * 16000).astype(np.float32)
    long = np.concatenate([*sounds[:10], pause, *sounds[10:20]])
    sf.write(tmp_path / "long.wav", long, 16000)
    vectors = recording_vectors(model, tmp_path / "long.wav")
    assert 3 < len(vectors) < len(long) / 48000 - 2  # no window of the pause
    moved, said = told(model, [tmp_path / "long.wav"])
    assert f"adapted to 1 recording in {len(vectors)} windows" in said and moved.source.recordings == len(vectors)
    with pytest.raises(AudioError, match="none of 1"): model.adapt([(pause, 16000)], report=silent)


def test_an_adapted_one_is_saved_with_its_source(model, strangers, tmp_path):
    moved = model.adapt(strangers, report=silent)
    back = EmotionClassifier.from_pretrained(moved.save_pretrained(tmp_path / "moved"))
    assert back.predict(strangers[3]) == moved.predict(strangers[3]) and back.source.recordings == len(strangers)
    assert torch.equal(load_tensors(tmp_path / "moved/model.safetensors", ("labels",))[0]["offsets"], moved.head.offsets)
    assert f"| adapted to a source by | {len(strangers)} recordings |" in (tmp_path / "moved/README.md").read_text()
    assert head_digest(back) == head_digest(model)  # the same model, elsewhere
    assert same(back.adapt(strangers[:4], report=silent), model.adapt(strangers[:4], report=silent))


def test_a_kept_source_is_of_one_model(model, strangers, robust_model, tmp_path):
    moved = model.adapt(strangers, report=silent)
    path = save_source(moved, tmp_path / "a/line.json")
    assert load_source(model, path).predict(strangers[0]) == moved.predict(strangers[0])
    assert load_source(model.adapt(strangers[:2], report=silent), path).predict(strangers[0]) == moved.predict(strangers[0])
    other = replace(model, head=trained_head(model))
    with torch.no_grad(): other.head.line.bias[0] += 1e-3
    with pytest.raises(HeadError, match="line.json: a source of another model"): load_source(other, path)
    with pytest.raises(HeadError, match="call adapt first"): save_source(model, path)
    with pytest.raises(HeadError, match="lda head cannot be adapted"): load_source(EmotionClassifier.from_pretrained("ravdess-acoustic"), path)


@pytest.mark.parametrize("change", [dict(offsets=[[0]]), dict(offsets="x"), dict(offsets=[[1e999] * 7] * 2), dict(share=2), dict(share=None), dict(most="x"), dict(label="x"),
                                    dict(label=[]), dict(recordings=-1), dict(recordings="x"), dict(recordings=None)], ids=str)
def test_a_damaged_source_is_refused(model, strangers, tmp_path, change):
    path = save_source(model.adapt(strangers[:3], report=silent), tmp_path / "line.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HeadError, match="line.json: damaged"): load_source(model, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "[" * 100000, '{"model": 1}'], ids=lambda text: text[:12])
def test_what_is_no_source_is_refused(model, tmp_path, text):
    (tmp_path / "line.json").write_text(text)
    with pytest.raises(HeadError, match="line.json: "): load_source(model, tmp_path / "line.json")


def test_of_the_bundled_models_those_for_strangers_move(strangers):
    assert movable_models() == [name for name in bundled_models() if not name.startswith("ravdess-")] == ["acoustic", "whisper-base"]
    plain, bundled = (EmotionClassifier.from_pretrained(name) for name in ("ravdess-acoustic", "acoustic"))
    with pytest.raises(HeadError, match="cannot be adapted to a source; .* acoustic, whisper-base can, or train one with .*emotion_ser train --head robust"): plain.adapt([], report=silent)
    moved = bundled.adapt(strangers[:6], report=silent)
    assert moved.source.recordings == 6 and bundled.source is None and moved.predict(strangers[0]).probabilities != bundled.predict(strangers[0]).probabilities


def change_file(folder, copy, tensors=None, **changes):
    "A copy of a classifier with other tensors, or other entries in config.json"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    about = {key: value for key, value in changes.items() if key not in config}
    config |= {key: value for key, value in changes.items() if key in config}
    config["about"] |= about
    (copy / "config.json").write_text(json.dumps(config))
    if tensors:
        found, note = load_tensors(copy / "model.safetensors", ("labels",))
        save_tensors({**found, **tensors}, copy / "model.safetensors", **{key: value for key, value in note.items() if key == "labels"})
    return copy


@pytest.mark.parametrize("change", [dict(robust=None), dict(robust=[]), dict(robust=dict(odd=1)), dict(hidden=7), dict(hidden="x"), dict(n_inputs=-1), dict(labels=["a", "b"]),
                                    dict(source=1), dict(source=dict(recordings=3)), dict(tensors=dict(scales=torch.zeros(3))), dict(tensors=dict(share=torch.tensor(torch.nan))),
                                    dict(tensors=dict(offsets=torch.full((2, 7), 9.0).cumsum(1)))], ids=str)
def test_a_damaged_robust_classifier_is_refused(robust_model, tmp_path, change):
    with pytest.raises(HeadError): EmotionClassifier.from_pretrained(change_file(robust_model, tmp_path / "copy", **change))


def test_a_robust_classifier_knows_what_it_may_promise(model, robust_model):
    promise = model.info.promise
    assert promise["over"] == "corpora" and list(promise["left_out"]) == ["emodb", "emovo", "savee"]
    assert 0.5 <= model.threshold == promise["threshold"] <= 0.7
    assert "On corpora it had not learned from it answered " in (robust_model / "README.md").read_text()
    assert "--head robust" in model.info.command and "--front speech" in model.info.command


def test_of_one_corpus_the_promise_is_for_its_speakers(small, tmp_path):
    trained = train_classifier(EvaluationConfig(str(small), head="robust", layers="all", pooling="mean"), cache_dir=tmp_path, **QUIET)
    assert trained.info.promise["over"] == "speakers" and list(trained.info.promise["left_out"]) == ["unheard speakers"]
    assert "On speakers it had not learned from" in (trained.save_pretrained(tmp_path / "model") / "README.md").read_text()


def test_several_corpora_are_left_out_in_turn_whatever_the_head(imitated, tmp_path):
    corpora = ",".join(f"{name}:{imitated[name]}" for name in ("emodb", "emovo"))
    config = EvaluationConfig(corpora, layers="all", pooling="mean")
    trained = train_classifier(config, cache_dir=tmp_path, **QUIET)
    assert "--protocol corpora" in trained.info.command and trained.info.promise is None
    with pytest.raises(CorpusError, match="name several"): train_classifier(replace(config, corpus=str(imitated["emodb"]), protocol="corpora"), **QUIET)


def test_predict_adapts_and_keeps_the_source(robust_model, strangers, imitated, tmp_path, own_cache):
    ask = "predict", imitated["cafe"], "--model", robust_model, "--format", "jsonl"
    rows = lambda done: [json.loads(line) for line in done.stdout.splitlines()]
    alone, adapted = emotion_ser(*ask, check=True), emotion_ser(*ask, "--adapt", "--source", "line 7", check=True)
    assert f"adapted to {len(strangers)} recordings, taken to be of one source" in adapted.stderr and "source line 7 kept" in adapted.stderr
    assert rows(alone) != rows(adapted) and len(rows(adapted)) == len(strangers)
    model = EmotionClassifier.from_pretrained(robust_model)
    expected = model.adapt(strangers, report=silent).predict(strangers[0])
    assert rows(adapted)[0]["label"] == expected.label and rows(adapted)[0]["confidence"] == round(expected.confidence, 4)
    assert source_path(robust_model, "line 7") == own_cache / "sources/model/line 7.json" and source_path(robust_model, "line 7").is_file()
    kept = emotion_ser(*ask, "--source", "line 7", check=True)
    assert rows(kept) == rows(adapted) and "adapted to 28 recordings before" in kept.stderr
    fails(emotion_ser(*ask, "--source", "line 8"), "--source line 8", "there are: line 7", "--adapt --source NAME")
    fails(emotion_ser(*ask, "--adapt", "--source", "../line"), "give a name of letters")
    path = source_path(robust_model, "line 7")
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(model="other")))
    fails(emotion_ser(*ask, "--source", "line 7"), "a source of another model", "adapt it anew")


def test_help_teaches_to_adapt():
    for command in ("predict", "listen"): assert "--source" in emotion_ser(command, "--help", check=True, COLUMNS="100").stdout
    words = re.sub(r"[^\w-]+", " ", emotion_ser("predict", "--help", check=True, COLUMNS="200").stdout)
    assert "--adapt" in words and "of one voice microphone or corpus" in words
    assert "robust" in emotion_ser("train", "--help", check=True).stdout
