"""The front end: what a listener does not notice must hardly change an embedding, and no kept embedding may be taken for another."""
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from conftest import emotion_ser, fails, metrics

from emotion_ser import front as front_module
from emotion_ser.acoustic import AcousticEncoder, load_encoder
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.embed import Encoder
from emotion_ser.front import FRONTS, SPEECH_FRONT, cut_speech, frame_levels, remove_rumble, speech_bounds, speech_front
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import load_waveform, normalise
from emotion_ser.runs import settings_record
from emotion_ser.scale import OnnxEncoder, RayWorker, check_onnx
from emotion_ser.store import EmbeddingJob, embed_clip, embed_corpus, encode_batches, list_clips, store_path
from emotion_ser.testing import tiny_checkpoint

RATE = 16000


def recording(spoken, rng):
    "An utterance as RAVDESS's are recorded: a second of a quiet room on either side"
    around = rng.normal(0, 1e-4, len(spoken) + 2 * RATE)
    around[RATE:-RATE] += spoken
    return around.astype(np.float32)


def click(waveform, at=0.5):
    touched = waveform.copy()
    touched[int(at * len(waveform))] = 1.0
    return touched


UNNOTICED = {
    "dc-offset": lambda w: w + 0.01,
    "click": lambda w: click(0.7 * w, 0.1),
    "click among the words": lambda w: click(0.2 * w),
    "gain -30 dB": lambda w: w * 10 ** (-30 / 20),
    "gain -30 dB, and a click": lambda w: click(w * 10 ** (-30 / 20), 0.1),
    "silence cut": lambda w: w[RATE - 800:-RATE + 800],
    "digital silence": lambda w: np.pad(w, 3 * RATE),
    "a minute of silence": lambda w: np.pad(w, (0, 60 * RATE)),
}
HARMLESS = {"gain -30 dB", "digital silence", "a minute of silence", "silence cut"}  # to `acoustic`: it has the peak at 1 and the speech alone


@pytest.fixture(scope="module")
def clips(small):
    "Sixteen recordings by four synthetic voices"
    corpus, rng = load_corpus(str(small), report=lambda text: None), np.random.default_rng(0)
    return [recording(load_waveform(path), rng) for path in corpus.path[::15]]


def shifts(encoder, clips, change):
    "By how much a change moves embeddings, where the mean distance of two clips is 1"
    plain = np.stack([encoder(load_waveform(clip, RATE)) for clip in clips])
    scale = plain.std(0) + 1e-6
    changed = np.stack([encoder(load_waveform(change(clip), RATE)) for clip in clips])
    pairs = [np.linalg.norm((a - b) / scale) for i, a in enumerate(plain) for b in plain[:i]]
    return np.linalg.norm((changed - plain) / scale, axis=1).mean() / np.mean(pairs)


@pytest.mark.parametrize("name", UNNOTICED)
def test_acoustic_hardly_moves(clips, name):
    "By less than a fifth of what two clips differ, where without the front end it is more than that"
    through = shifts(load_encoder("acoustic", pooling="mean+std", front="speech"), clips, UNNOTICED[name])
    as_is = shifts(load_encoder("acoustic", pooling="mean+std"), clips, UNNOTICED[name])
    assert through < 0.2, through
    if name not in HARMLESS: assert as_is > 2 * through and as_is > 0.2, (as_is, through)


@pytest.mark.parametrize("name", ["silence cut", "digital silence"])
def test_silence_does_not_move_a_mean(clips, tmp_path, name):
    "A network's mean over the whole clip, which silence moves most"
    place = tiny_checkpoint(tmp_path / "whisper", "whisper")
    through = shifts(Encoder.from_pretrained(place, device="cpu").set_front("speech"), clips[:6], UNNOTICED[name])
    as_is = shifts(Encoder.from_pretrained(place, device="cpu"), clips[:6], UNNOTICED[name])
    assert through < 0.2 and as_is > 2 * through, (as_is, through)


@pytest.mark.parametrize("wave", [
    np.zeros(400), np.eye(1, 400, 200)[0], np.full(16000, 0.25), np.full(400, 1e6), np.full(400, 1e-30), np.random.default_rng(0).normal(size=400),
    np.random.default_rng(0).normal(size=48000), np.sin(np.arange(16000)), np.eye(1, 160000, 7)[0], 1e6 * np.random.default_rng(0).normal(size=4000).clip(-1, 1)],
    ids=["zeros", "one click", "an offset alone", "a huge offset", "next to nothing", "25 ms of noise", "all noise", "a tone", "a click in silence", "huge"])
def test_whatever_comes_in(wave):
    "Something that every encoder takes comes out"
    heard = speech_front(wave.astype(np.float32))
    assert heard.dtype == np.float32 and heard.ndim == 1 and np.isfinite(heard).all()
    assert 2 * RATE < len(heard) <= len(wave) + 2 * RATE and np.abs(heard).max() < 1.01
    assert np.isfinite(AcousticEncoder().set_front("speech")(wave.astype(np.float32))).all()


def test_noise_is_left_whole(clips):
    "Where there is no floor below and no speech above, nothing is cut off; speech in noise is still found"
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert len(cut_speech(noise)) == len(noise)
    for clip in clips[:4]:
        clean, noisy = remove_rumble(normalise(clip)), remove_rumble(normalise(clip) + rng.normal(0, 0.01, len(clip)))
        a, b = speech_bounds(frame_levels(clean)), speech_bounds(frame_levels(noisy))
        assert abs(a.start - b.start) < 25 and abs(a.stop - b.stop) < 25, (a, b)


def test_the_same_each_time(clips):
    "Neither the order nor the loudness nor what else is running matters, and what came in is left alone"
    clip = normalise(clips[0])
    kept, heard = clip.copy(), speech_front(clip)
    speech_front(clips[1])
    np.testing.assert_array_equal(speech_front(clip), heard)
    np.testing.assert_array_equal(clip, kept)
    np.testing.assert_allclose(speech_front(clip * np.float32(1e-4)), heard, atol=1e-3)


def test_what_was_kept_stays(monkeypatch, tmp_path):
    "As it is, an encoder has the fingerprint of 0.2.0; each front end and each setting of it another one"
    plain = AcousticEncoder()
    assert plain.fingerprint == dict(encoder="acoustic", version=2) and plain.front == "as-is"
    place = store_path(tmp_path, plain, "peak")
    assert store_path(tmp_path, AcousticEncoder().set_front("as-is"), "peak") == place
    through = store_path(tmp_path, AcousticEncoder().set_front("speech"), "peak")
    monkeypatch.setattr(front_module, "SPEECH_FRONT", replace(SPEECH_FRONT, pad_s=0.5))
    assert len({place, through, store_path(tmp_path, AcousticEncoder().set_front("speech"), "peak")}) == 3
    json.dumps(AcousticEncoder().set_front("speech").fingerprint)


def test_store_batch_and_single(small, tiny, tmp_path):
    "One clip in a call, one in a batch, and one from the store: the same numbers"
    corpus = load_corpus(str(small), report=lambda text: None)[:6]
    encoder = Encoder.from_pretrained(tiny, "all", "mean+std+speech", device="cpu").set_front("speech")
    single = np.stack([encoder(load_waveform(path)) for path in corpus.path])
    stored = embed_corpus(corpus, encoder, tmp_path, progress=False)
    np.testing.assert_allclose(stored.vectors, single, atol=1e-5)  # threads add up in another order
    again = Encoder.from_pretrained(tiny, "all", "mean+std+speech", device="cpu").set_front("speech")
    np.testing.assert_array_equal(embed_corpus(corpus, again, tmp_path, progress=False).vectors, stored.vectors)
    job = EmbeddingJob(list_clips(corpus), encoder, stored.store)
    batched = dict(encode_batches((embed_clip(clip, job, encode=False) for clip in job.clips), encoder))
    vectors = np.stack([encoder.select(batched[clip]) for clip in job.clips])
    np.testing.assert_allclose(vectors, single, atol=1e-4)


def test_onnx_and_ray_carry_it(small, tiny, tmp_path):
    "A runtime and a worker elsewhere hear what the encoder heard"
    corpus = load_corpus(str(small), report=lambda text: None)[:3]
    encoder = Encoder.from_pretrained(tiny, "all", "mean+std", device="cpu").set_front("speech")
    waveform = load_waveform(corpus.path[0])
    import pickle
    worker = pickle.loads(pickle.dumps(RayWorker(EmbeddingJob([], encoder, store_path(tmp_path, encoder, "peak")))))
    assert worker.job.encoder.front == "speech"
    batch = corpus[["path", "content"]].assign(path=corpus.path.astype(str), start=np.nan, end=np.nan)
    assert not worker({name: batch[name].to_numpy() for name in batch})["broken"].any()
    np.testing.assert_allclose(embed_corpus(corpus, encoder, tmp_path, progress=False).vectors[0], encoder(waveform), atol=1e-5)
    try: check_onnx()
    except ValueError: pytest.skip("no ONNX Runtime")
    onnx = OnnxEncoder(encoder)
    assert onnx.fingerprint["front"] == encoder.fingerprint["front"] and onnx.front == "speech"
    np.testing.assert_allclose(onnx(waveform), encoder(waveform), atol=1e-4)


def test_a_classifier_keeps_it(small, tmp_path):
    "Trained through a front end: its folder says so, it is loaded with it, its figures must be measured with it"
    corpus = ("--corpus", small, "--emotions", "happy,sad")
    emotion_ser("train", *corpus, "--front", "speech", "--out", tmp_path / "model", check=True)
    kept = json.loads((tmp_path / "model/config.json").read_text())
    assert "--front speech" in kept["about"]["command"]
    assert "| front end | speech |" in (tmp_path / "model/README.md").read_text()
    classifier = EmotionClassifier.from_pretrained(tmp_path / "model")
    assert classifier.encoder.front == classifier.info.front == "speech"
    spoken = load_waveform(load_corpus(str(small), report=lambda text: None).path[3])
    sf.write(tmp_path / "a.wav", 0.5 * spoken, RATE)
    sf.write(tmp_path / "b.wav", np.pad(0.1 * spoken, RATE) + 0.01, RATE, subtype="FLOAT")
    first, second = (classifier.predict(tmp_path / name) for name in ("a.wav", "b.wav"))
    assert first.label == second.label and abs(first.confidence - second.confidence) < 0.1
    emotion_ser("evaluate", *corpus, "--out", tmp_path / "run", check=True)
    refused = emotion_ser("train", *corpus, "--front", "speech", "--measured", tmp_path / "run", "--out", tmp_path / "other")
    fails(refused, "measured with another front, 'as-is'")
    assert "front" not in metrics(tmp_path / "run")["config"] and "--front" not in metrics(tmp_path / "run")["command"]
    kept["about"]["front"] = "studio"
    (tmp_path / "model/config.json").write_text(json.dumps(kept))
    fails(emotion_ser("predict", tmp_path / "a.wav", "--model", tmp_path / "model"), "names a front end 'studio'", "as-is, speech")


@pytest.mark.thorough("each command once more with --front; test_a_classifier_keeps_it remains")
def test_at_the_shell(small, tmp_path):
    "Options that do not go together are refused; a study and embeddings carry it"
    fails(emotion_ser("study", "--corpus", small, "--encoder", "x", "--finetune", "2", "--front", "speech"), "leave the front end out")
    emotion_ser("study", "--corpus", small, "--front", "speech", "--out", tmp_path / "study", check=True)
    assert metrics(tmp_path / "study")["config"]["front"] == "speech"
    assert EmotionClassifier.from_pretrained(tmp_path / "study/model").encoder.front == "speech"
    emotion_ser("embed", small, "--out", tmp_path / "kept", check=True)
    emotion_ser("embed", small, "--out", tmp_path / "kept", "--front", "speech", check=True)
    assert len([place for place in (tmp_path / "kept").iterdir() if place.is_dir()]) == 2


def test_records():
    "A setting that changes nothing is not written down, whatever its type"
    assert settings_record(dict(front="as-is", seed=0)) == dict(seed=0)
    assert all(settings_record(dict(front=front)) == dict(front=front) for front in FRONTS[1:])
