"""What may happen to a recording, and what is no speech: every one of them works on whatever comes, and is the same each time."""
import json

import numpy as np
import pytest
from conftest import emotion_ser, fails, metrics

from emotion_ser import nuisances
from emotion_ser.acoustic import AcousticEncoder, load_encoder
from emotion_ser.audio import AudioError
from emotion_ser.channels import KINDS_OF_CHANNEL, change_channel, channel_copy
from emotion_ser.dataset import load_dataset, load_full_encoder
from emotion_ser.nuisances import NUISANCES, codecs, through_aac
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import load_waveform
from emotion_ser.protocols import EvaluationConfig
from emotion_ser.sounds import NO_SPEECH
from emotion_ser.store import embed_corpus, store_path

ASKED = """silence-cut silence-0.5s silence-1s silence-3s silence-0.5s-60db silence-1s-60db silence-3s-60db dc-offset click gain-30db clipping
8khz telephone mp3-32 mp3-64 mp3-128 opus-32 opus-64 opus-128 white-20db white-10db pink-20db pink-10db babble-20db babble-10db small-room hall
22khz 44khz 48khz speed-0.9 speed-1.1 music-before ring-tone-before""".split()


@pytest.fixture(scope="module")
def voices(small):
    "Eight recordings by four synthetic voices, half a second of a quiet room around each"
    corpus, rng = load_corpus(str(small), report=lambda text: None), np.random.default_rng(0)
    waves = [np.pad(load_waveform(path), 8000) for path in corpus.path[::30]]
    return [load_waveform(wave + rng.normal(0, 1e-4, len(wave)), 16000) for wave in waves]


def seeded(): return np.random.default_rng(5)


def test_all_that_was_asked_for():
    assert set(ASKED) <= set(NUISANCES) and set(NUISANCES) - set(ASKED) <= {"aac-32", "aac-64", "aac-128"}
    assert {name for name, change in NUISANCES.items() if change.group == "degraded"} - {"aac-32"} == {
        "8khz", "mp3-32", "opus-32", "white-20db", "pink-20db", "babble-20db", "small-room"}
    unnoticed = {name for name, change in NUISANCES.items() if not change.noticed}
    assert unnoticed - {"aac-128"} == {name for name in ASKED if name.startswith("silence") or name.endswith("-128")} | {
        "dc-offset", "click", "gain-30db", "22khz", "44khz", "48khz"}


@pytest.mark.parametrize("name", NUISANCES)
def test_a_nuisance(voices, name):
    "Pure, repeatable, and something that can be loaded; also of the shortest clip"
    change, wave = NUISANCES[name], voices[0]
    before, first = wave.copy(), NUISANCES[name](wave, seeded())
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(change(wave, seeded()), first)
    assert first.dtype == np.float32 and first.ndim == 1 and np.isfinite(first).all() and np.abs(first).max() < 8
    assert not np.array_equal(first, wave)
    for short in (wave[9000:9900], seeded().normal(0, 0.1, 1000).astype(np.float32)):
        assert len(load_waveform(change(short, seeded()), 16000)) >= 400


@pytest.mark.parametrize("name", sorted(name for name, change in NUISANCES.items() if not change.noticed))
def test_what_nobody_notices_hardly_moves_an_embedding(voices, name):
    "Through the front end: by less than a quarter of what two clips differ (AAC takes away faint noise, all that these voices have above 5 kHz)"
    encoder = load_encoder("acoustic", pooling="mean+std", front="speech")
    plain = np.stack([encoder(wave) for wave in voices])
    scale = plain.std(0) + 0.05 * np.abs(plain).mean(0) + 1e-6
    changed = np.stack([encoder(load_waveform(NUISANCES[name](wave, seeded()), 16000)) for wave in voices])
    between = np.mean([np.linalg.norm((a - b) / scale) for i, a in enumerate(plain) for b in plain[:i]])
    moved = np.linalg.norm((changed - plain) / scale, axis=1).mean() / between
    assert moved < (0.5 if name.startswith("aac") else 0.25), moved


def test_offset_and_click_would_have_moved_it(voices):
    "What 0.1.0 did: without the front end they move an embedding by more than half of what two clips differ"
    encoder = AcousticEncoder()
    plain = np.stack([encoder(wave) for wave in voices])
    between = np.mean([np.linalg.norm((a - b) / plain.std(0)) for i, a in enumerate(plain) for b in plain[:i]])
    for name in ("dc-offset", "click"):
        changed = np.stack([encoder(load_waveform(NUISANCES[name](wave, seeded()), 16000)) for wave in voices])
        assert np.linalg.norm((changed - plain) / plain.std(0), axis=1).mean() > 0.5 * between, name


def test_without_ffmpeg(monkeypatch, voices):
    "AAC is left out of the table, and says why if it is asked for"
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(codecs()) == ["mp3", "opus"] and "aac-64" not in nuisances.bands_and_codecs()
    with pytest.raises(AudioError, match="needs ffmpeg"): through_aac(voices[0], 64)


@pytest.mark.parametrize("name", NO_SPEECH)
def test_a_sound_that_is_no_speech(name):
    "Any length, repeatable, of one level"
    for seconds in (0.3, 1.0, 4.0):
        sound = NO_SPEECH[name](seeded(), seconds)
        np.testing.assert_array_equal(sound, NO_SPEECH[name](seeded(), seconds))
        assert sound.dtype == np.float32 and len(sound) == int(seconds * 16000) and np.isfinite(sound).all()
        assert abs(np.abs(sound).max() - 0.5) < 1e-3


def test_half_of_them_are_kept():
    learned = sum(sound.learned for sound in NO_SPEECH.values())
    assert len(NO_SPEECH) >= 20 and abs(2 * learned - len(NO_SPEECH)) <= 4


def test_channels(voices):
    "All kinds are drawn; the peak stays; whatever comes in, something finite comes out"
    assert {int(np.random.default_rng(k).integers(len(KINDS_OF_CHANNEL))) for k in range(60)} == set(range(len(KINDS_OF_CHANNEL)))
    for k in range(30):
        wave = voices[k % len(voices)]
        through = change_channel(wave, np.random.default_rng(k))
        np.testing.assert_array_equal(through, change_channel(wave, np.random.default_rng(k)))
        assert abs(np.abs(through).max() - np.abs(wave).max()) < 1e-4 and len(wave) <= len(through) < len(wave) + 16000
    for odd in (np.zeros(400), np.full(400, 1e6), np.eye(1, 400, 3)[0], np.full(16000, 1e-20)):
        assert np.isfinite(change_channel(odd.astype(np.float32), seeded())).all()


def test_copies_in_the_store(small, tmp_path):
    "Each copy of a clip has a store of its own, the same whatever else was embedded; the clips as they are keep theirs"
    corpus, encoder = load_corpus(str(small), report=lambda text: None)[:5], AcousticEncoder()
    plain = embed_corpus(corpus, encoder, tmp_path, progress=False)
    assert plain.store == store_path(tmp_path, encoder, "peak") == store_path(tmp_path, encoder, "peak", channel=0)
    copies = [embed_corpus(corpus, encoder, tmp_path, progress=False, channel=k) for k in (1, 2)]
    assert len({plain.store, *(copy.store for copy in copies)}) == 3
    alone = embed_corpus(corpus[3:4], encoder, tmp_path / "alone", progress=False, channel=2)
    np.testing.assert_array_equal(alone.vectors[0], copies[1].vectors[3])
    wave = channel_copy(load_waveform(corpus.path[3]), corpus.content[3], 2)
    np.testing.assert_allclose(encoder(wave), alone.vectors[0], atol=1e-5)  # threads add up in another order
    with pytest.raises(ValueError, match="give 1, 2"): embed_corpus(corpus, encoder, tmp_path, progress=False, channel=-1)


def test_a_dataset_learns_from_them(small, tmp_path):
    corpus, told = load_corpus(str(small), report=lambda text: None), []
    few = corpus[:24].reset_index(drop=True)
    few.attrs.update(corpus.attrs)
    dataset = load_dataset(few, load_full_encoder("acoustic", "speech"), augment=True, channels=2, cache_dir=tmp_path, report=told.append, progress=False)
    assert len(dataset.stats) == 5 and "also through 2 other channels" in told[0]


def test_at_the_shell(small, tmp_path):
    "Evaluated and trained with copies: said in the record, the figure's title, the card; without them nothing is said"
    with pytest.raises(ValueError, match="give one or more"): EvaluationConfig(channels=-1)
    fails(emotion_ser("evaluate", "--corpus", small, "--encoder", "x", "--finetune", "1", "--channels", "1"), "leave channels out")
    corpus = ("--corpus", small, "--emotions", "happy,sad")
    options = (*corpus, "--channels", "1", "--front", "speech")
    emotion_ser("evaluate", *options, "--out", tmp_path / "run", check=True)
    run = metrics(tmp_path / "run")
    assert run["config"]["channels"] == 1 and "--channels 1" in run["command"]
    emotion_ser("train", *options, "--measured", tmp_path / "run", "--out", tmp_path / "model", check=True)
    about = json.loads((tmp_path / "model/config.json").read_text())["about"]
    assert about["channels"] == 1 and about["front"] == "speech" and "--channels 1" in about["command"]
    assert "| copies of each through other channels | 1 |" in (tmp_path / "model/README.md").read_text()
    fails(emotion_ser("train", *corpus, "--front", "speech", "--measured", tmp_path / "run", "--out", tmp_path / "other"),
          "measured with another channels, 1")
