"""A classifier in one file: it answers as in Python, it is standard ONNX, it needs no torch, and what is no such file is refused in a sentence."""
import json
import os
import sys

import numpy as np
import onnx
import pytest
import soundfile as sf
from conftest import emotion_ser, run

from emotion_ser.answers import clips_for_testing, sample_clips
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.clips import list_clips, load_clip
from emotion_ser.core import silent
from emotion_ser.embed import Encoder
from emotion_ser.familiar import make_sound
from emotion_ser.graph import run_model
from emotion_ser.head import EmotionHead, HeadError
from emotion_ser.onefile import export_classifier
from emotion_ser.own import load_corpus
from emotion_ser.portable import OneFile, read_metadata
from emotion_ser.preprocess import load_waveform
from emotion_ser.refusals import NOTHING_SAID
from emotion_ser.robust import normal_logits
from emotion_ser.shift import estimate_shift
from emotion_ser.testing import tiny_checkpoint

RATE = 16000


@pytest.fixture(scope="module")
def acoustic():
    return EmotionClassifier.from_pretrained("acoustic")


@pytest.fixture(scope="module")
def file(acoustic, tmp_path_factory):
    return acoustic.export(tmp_path_factory.mktemp("onefile") / "acoustic.onnx")


@pytest.fixture(scope="module")
def paths():
    return load_corpus("sample", report=silent).path.iloc[5::60].tolist()


def same(theirs, ours, most=1e-3):
    "Whether two answers are the same but for rounding"
    assert max(abs(theirs.probabilities[label] - p) for label, p in ours.probabilities.items()) < most
    assert (theirs.label, theirs.trusted, theirs.why, theirs.windows) == (ours.label, ours.trusted, ours.why, ours.windows)


def sounds(path):
    "A clip, and what may happen to one"
    rng, clip = np.random.default_rng(0), load_waveform(path)
    clicks = clip.copy()
    clicks[[500, len(clip) // 2]] = 3
    yield from (clip, 0.01 * clip + 0.3, clicks, clip[:400], clip[:4000], np.sign(clip), np.pad(clip, 3 * RATE)[:10 * RATE])
    yield from (rng.normal(size=RATE), make_sound("dtmf", 4), np.eye(1, 2000, 700)[0], np.tile(clip, 12))


def test_it_answers_as_python_does(acoustic, file, paths):
    asked = OneFile(file)
    for sound in sounds(paths[0]):
        same(asked.predict((sound.astype(np.float32), RATE)), acoustic.predict((sound.astype(np.float32), RATE)))
    for path in paths[1:]: same(asked.predict(path), acoustic.predict(path))


def test_it_is_standard_onnx_and_small(file):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"If", "Loop", "Scan"} and all(node.domain == "" for node in model.graph.node)
    assert not any(tensor.external_data for tensor in model.graph.initializer) and file.stat().st_size < 2e6


def test_what_it_says_of_itself(acoustic, file):
    notes = read_metadata(file)
    assert notes["labels"] == acoustic.labels and notes["threshold"] == acoustic.threshold and notes["sampling_rate"] == RATE
    assert notes["license"].startswith("CC BY-NC-SA 4.0") and "must not be used for" in notes["card"]
    assert notes["about"]["inner_uar"] == acoustic.info.inner_uar


def test_silence_and_what_is_no_waveform(file):
    silence = run_model(file, waveform=np.zeros(RATE, np.float32))
    assert read_metadata(file)["reasons"][silence["reason"][0]] == NOTHING_SAID and not silence["trusted"][0]
    assert np.isfinite(silence["probabilities"]).all() and silence["speech_share"][0] == 0
    asked = OneFile(file)
    for strange in (np.zeros(399), np.full(RATE, np.nan), np.zeros((2, RATE))):
        with pytest.raises(ValueError, match="not a waveform"): asked.ask(strange)


def test_a_page_can_move_it_to_a_source(acoustic, file, paths, tmp_path):
    "From the outputs and the notes alone the answers of an adapted classifier can be made"
    vectors = np.stack([acoustic.encoder(load_waveform(path)) for path in paths])
    shift, asked = estimate_shift(acoustic.head, vectors), OneFile(file)
    numbers = {name: np.array(value) for name, value in asked.notes["adapt"].items() if name != "recipe"}
    parts = asked.ask(load_waveform(paths[0]))["parts"]
    network, line = parts - shift.offsets
    near = numbers["sharpness"] * normal_logits(line, shift.means, numbers["precision"])
    line = line + shift.follow * (near - line)
    logits = ((1 - shift.share) * network + shift.share * line) / asked.notes["temperature"]
    p = np.exp(logits) / np.exp(logits).sum()
    moved = acoustic.adapt(paths, report=silent)
    assert np.abs(p - moved.probabilities(load_waveform(paths[0]))).max() < 1e-3
    same(OneFile(moved.export(tmp_path / "moved.onnx")).predict(paths[0]), moved.predict(paths[0]))


def test_networks_and_their_bytes(tmp_path, paths):
    encoder = Encoder.from_pretrained(tiny_checkpoint(tmp_path / "whisper", "whisper"), "all", "mean+std+speech").set_front("speech")
    small = EmotionClassifier(EmotionHead(encoder.size, ["yes", "no"], hidden=8, standardise=True), encoder)
    fine, coarse = (export_classifier(small, tmp_path / f"{int8}.onnx", int8) for int8 in (False, True))
    for path in paths[:2]:
        same(OneFile(fine).predict(path), small.predict(path))
        same(OneFile(coarse).predict(path), small.predict(path), most=0.02)
    assert coarse.stat().st_size < fine.stat().st_size
    encoder.fingerprint["dtype"] = "bfloat16"
    with pytest.raises(HeadError, match="bfloat16 on cpu"): small.export(tmp_path / "never.onnx")
    assert not (tmp_path / "never.onnx").exists()


def test_the_command_and_no_torch(tmp_path, paths):
    written = emotion_ser("export", "acoustic", "--out", "a.onnx", cwd=tmp_path, check=True)
    assert written.stdout.startswith("written: a.onnx (1.")
    sf.write(tmp_path / "a.wav", np.repeat(load_waveform(paths[0]), 3), 3 * RATE)
    code = ("import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from emotion_ser.cli import main; "
            "sys.argv[1:] = ['predict', 'a.wav', '--model', 'a.onnx', '--format', 'jsonl']; main()")
    row, torch_is_there = run(sys.executable, "-c", code, cwd=tmp_path, check=True).stdout.splitlines()
    ours = EmotionClassifier.from_pretrained("acoustic").predict(tmp_path / "a.wav")
    assert torch_is_there == "False" and json.loads(row)["label"] == ours.label and json.loads(row)["trusted"] == ours.trusted


@pytest.mark.parametrize("command, sentence", {
    "predict a.wav --model letter.onnx": "letter.onnx: not a graph that can be run",
    "predict a.wav --model nowhere.onnx": "nowhere.onnx: no such file",
    "predict a.wav --model letter.onnx --adapt": "--adapt: letter.onnx is complete",
    "export acoustic --out a.bin": "a.bin: the name of such a file ends in .onnx",
    "export letter.onnx --out a.onnx": "letter.onnx: is such a file already"}.items())
def test_what_is_refused(command, sentence, tmp_path):
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=RATE), RATE)
    (tmp_path / "letter.onnx").write_text("Dear reader, this is not a graph.")
    said = emotion_ser(*command.split(), cwd=tmp_path)
    assert said.returncode == 1 and sentence in said.stderr and "Traceback" not in said.stderr


@pytest.mark.skipif("EMOTION_SER_CORPORA" not in os.environ, reason="EMOTION_SER_CORPORA names no corpora")
def test_real_clips(acoustic, file):
    asked = OneFile(file)
    for corpus in ("emodb", "tess"):
        for clip in list_clips(sample_clips(clips_for_testing(acoustic, corpus, report=silent), 4)):
            sound = load_clip(clip)
            same(asked.predict((sound, RATE)), acoustic.predict((sound, RATE)))
