"""What comes from a stranger is data: no code of a checkpoint runs, no file is taken for another, memory has bounds."""
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import PATIENCE_S, ROOT, offline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2ForCTC

from emotion_ser.acoustic import AcousticEncoder
from emotion_ser.audio import AudioError
from emotion_ser.blocks import TunedEncoder, load_upper, save_upper
from emotion_ser.checkpoint import EncoderError, quiet_transformers
from emotion_ser.bundled import bundled_models
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.embed import Encoder
from emotion_ser.familiar import FAMILIAR_FILE, load_familiarity
from emotion_ser.head import EmotionHead, HeadError, load_head, save_head
from emotion_ser.robust import load_any_head
from emotion_ser.testing import tiny_config

NOISE = np.random.default_rng(0).normal(size=20_000).astype(np.float32)


def vector(folder): return Encoder.from_pretrained(folder, "all", "mean+std+speech", device="cpu")(NOISE)


def changed(file, **entries):
    "Give a JSON file other entries"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def trapped(tiny, folder, marker, kind):
    "A copy of an encoder that would run a program, in one of the ways that a folder can"
    shutil.copytree(tiny, folder)
    (folder / "trap.py").write_text(f"open({str(marker)!r}, 'w').close()\nfrom transformers import *\n"
                                    "class C(Wav2Vec2Config): model_type = 'trap'\nclass M(Wav2Vec2Model): config_class = C\nclass E(Wav2Vec2FeatureExtractor): pass\n")
    code = dict(auto_map={"AutoConfig": "trap.C", "AutoModel": "trap.M", "AutoFeatureExtractor": "trap.E"})
    if kind == "config": changed(folder / "config.json", model_type="trap", **code)
    if kind == "known config": changed(folder / "config.json", **code)
    if kind == "extractor": changed(folder / "preprocessor_config.json", feature_extractor_type="E", **code)
    if kind == "known extractor": changed(folder / "preprocessor_config.json", **code)
    if kind == "processor": (folder / "processor_config.json").write_text(json.dumps(dict(feature_extractor=dict(feature_extractor_type="E", **code))))
    if kind == "other config":
        (folder / "config.9.json").write_text((folder / "config.json").read_text())
        changed(folder / "config.9.json", model_type="trap", **code)
        changed(folder / "config.json", configuration_files=["config.9.json"])
    if kind == "kernel": changed(folder / "config.json", _attn_implementation="someone/kernels:trap")
    if kind == "pickle":
        (folder / "model.safetensors").unlink()
        torch.save({"weight": Payload(marker)}, folder / "pytorch_model.bin")
    if kind == "bare pickle":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    return folder


class Payload:
    "Unpickled, it touches a file"
    def __init__(self, marker): self.marker = marker
    def __reduce__(self): return os.system, (f"touch {self.marker}",)


KINDS = ("config", "known config", "extractor", "known extractor", "processor", "other config", "kernel", "pickle", "bare pickle")
YES = "y\n" * 50


def answered_yes(folder, *command):
    "Run a command to which somebody answers yes, whatever it asks; no network"
    done = subprocess.run([sys.executable, *command], input=YES, text=True, capture_output=True, timeout=PATIENCE_S, cwd=ROOT,
                          env={**os.environ, **offline(folder), "HF_HOME": str(folder / "hf"), "HF_MODULES_CACHE": str(folder / "modules")})
    return done.returncode, done.stdout, done.stderr


def test_no_code_of_a_checkpoint_runs(tiny, tmp_path):
    marker, folders = tmp_path / "ran", {}
    for kind in KINDS: folders[kind] = str(trapped(tiny, tmp_path / kind.replace(" ", "_"), marker, kind))
    tries = ("import json, sys; from emotion_ser.checkpoint import EncoderError; from emotion_ser.embed import Encoder\nfor kind, folder in json.loads(sys.argv[1]).items():\n"
             "    try: Encoder.from_pretrained(folder, device='cpu'); print(kind, '| loaded')\n    except EncoderError as error: print(kind, '|', error)")
    code, out, err = answered_yes(tmp_path, "-c", tries, json.dumps(folders))
    assert not marker.exists() and code == 0, out + err
    answers = dict(line.split(" | ") for line in out.splitlines())
    assert set(answers) == set(KINDS) and "[y/N]" not in out + err
    assert all(folders[kind] in answers[kind] for kind in KINDS)  # names the folder: none was loaded
    assert all("none is ever run here" in answers[kind] for kind in KINDS if "pickle" not in kind)
    assert all("it was not run" in answers[kind] for kind in KINDS if "pickle" in kind)


AT_THE_SHELL = pytest.mark.thorough("in Python each kind is refused above; one remains at the shell")


@pytest.mark.parametrize("kind", [pytest.param("config", marks=AT_THE_SHELL), pytest.param("extractor", marks=AT_THE_SHELL), "pickle"])
def test_nor_at_the_shell(kind, tiny, small, tmp_path):
    marker, clip = tmp_path / "ran", next(small.rglob("*.wav"))
    evil = trapped(tiny, tmp_path / "evil", marker, kind)
    model = save_head(EmotionHead(96), tmp_path / "model", encoder=str(evil), layers="last", pooling="mean+std")
    commands = [("predict", clip, "--model", model), ("embed", small, "--encoder", evil, "--out", tmp_path / "cache"), ("study", "--corpus", small, "--encoder", evil)]
    for command in commands if kind == "config" else commands[:1]:
        code, out, err = answered_yes(tmp_path, "-m", "emotion_ser", *map(str, command))
        assert not marker.exists() and code != 0 and str(evil) in err and "[y/N]" not in out + err and "Traceback" not in err, (command, out, err)


def test_a_folder_reaches_nothing_but_its_own_files(tiny, tmp_path):
    other = shutil.copytree(tiny, tmp_path / "other")
    torch.manual_seed(1)
    save_file({key: torch.randn_like(tensor) for key, tensor in load_file(tiny / "model.safetensors").items()}, other / "model.safetensors")
    lured = shutil.copytree(tiny, tmp_path / "lured")
    (lured / "adapter_config.json").write_text(json.dumps(dict(base_model_name_or_path=str(other), peft_type="LORA")))
    (lured / "tokenizer_config.json").write_text(json.dumps(dict(auto_map={"AutoTokenizer": ["trap.T", None]})))
    os.mkfifo(lured / "pytorch_model.bin")  # to open it would block for ever
    assert np.array_equal(vector(lured), vector(tiny))
    for index in ("../other/model.safetensors", str(other / "model.safetensors"), "model.exe"):
        (lured / "model.safetensors").unlink(missing_ok=True)
        (lured / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map={"masked_spec_embed": index})))
        with pytest.raises(EncoderError, match="names a shard that does not lie beside it"): vector(lured)
    (lured / "model.safetensors.index.json").unlink()
    with pytest.raises(EncoderError, match="no model.safetensors"): vector(lured)
    changed(lured / "config.json", num_hidden_layers=10**8)
    shutil.copy(tiny / "model.safetensors", lured)
    with pytest.raises(EncoderError, match="100000000 layers"): vector(lured)
    changed(lured / "config.json", num_hidden_layers=3, hidden_size=48 * 4000, intermediate_size=64_000)
    with pytest.raises(EncoderError, match="describes .* weights, of which"): vector(lured)


def test_shards_and_links_beside_an_index_are_read(tiny, tmp_path):
    sharded = shutil.copytree(tiny, tmp_path / "sharded")
    tensors = load_file(sharded / "model.safetensors")
    (sharded / "model.safetensors").unlink()
    first = dict(list(tensors.items())[:9])
    save_file(first, sharded / "a.safetensors")
    save_file({key: tensor for key, tensor in tensors.items() if key not in first}, tmp_path / "blob")
    (sharded / "b.safetensors").symlink_to(tmp_path / "blob")  # as the hub's cache has them
    (sharded / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map={key: f"{'ab'[key not in first]}.safetensors" for key in tensors})))
    assert np.array_equal(vector(sharded), vector(tiny))
    (sharded / "b.safetensors").unlink()
    with pytest.raises(EncoderError, match="there is no b.safetensors"): vector(sharded)


def test_the_hub_s_old_format_gives_the_same(tiny, tmp_path):
    "A pickle, keys below `wav2vec2.`, weight norm as `weight_g` and `weight_v`: as facebook/wav2vec2-base was released"
    old = shutil.copytree(tiny, tmp_path / "old")
    changed(old / "config.json", architectures=["Wav2Vec2ForPreTraining"])
    with quiet_transformers(): keys = Wav2Vec2ForCTC(tiny_config()).state_dict().keys()
    assert any(key.startswith("wav2vec2.") for key in keys)  # the prefix that models with a head have
    renamed = {"wav2vec2." + key.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"): tensor
               for key, tensor in load_file(old / "model.safetensors").items()}
    assert sum(key.endswith(("weight_g", "weight_v")) for key in renamed) == 2
    (old / "model.safetensors").unlink()
    for zipped in (True, False):  # torch's format since 1.6, and that before it
        torch.save(renamed, old / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        with pytest.warns(UserWarning, match="its weights are a pickle, pytorch_model.bin; they were read as numbers alone") as warned: read = vector(old)
        assert len(warned) == 1 and np.array_equal(read, vector(tiny))
    torch.save(dict(renamed, epoch=3), old / "pytorch_model.bin")
    with pytest.warns(UserWarning), pytest.raises(EncoderError, match="holds other things than weights"): vector(old)


def test_a_pickle_is_reported_in_one_line(tiny, small, tmp_path):
    old = shutil.copytree(tiny, tmp_path / "old")
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    names = lambda folder: answered_yes(tmp_path, "-m", "emotion_ser", "embed", str(small / "Actor_01"), "--encoder", str(folder), "--out", str(tmp_path / "cache"))
    code, out, err = names(old)
    assert code == 0 and "pickle" not in err  # there are safetensors: the pickle is not read
    (old / "model.safetensors").unlink()
    code, out, err = names(old)
    assert code == 0 and [line for line in err.splitlines() if "pickle" in line] == [f"note: {old}: its weights are a pickle, pytorch_model.bin; "
                                                                                     "they were read as numbers alone, and nothing in it was run"]


def test_a_folder_needs_no_network(tiny, tmp_path, monkeypatch):
    import socket
    def refuse(*args, **kwargs): raise AssertionError("a connection")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    before = set(threading.enumerate())
    vector(tiny)
    assert set(threading.enumerate()) <= before  # nor a thread that converts it on the hub


MEASURE = """
import resource, sys, numpy as np, torch, warnings
torch.set_num_threads(1)
from emotion_ser.acoustic import load_encoder
encoder = load_encoder(sys.argv[1], "all", sys.argv[2])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
clip = np.random.default_rng(0).normal(size=160_000).astype(np.float32)
encoder(clip)
short = peak()
assert np.isfinite(encoder(np.tile(clip, 60))).all()
print(peak() - short)
"""


@pytest.mark.parametrize("name", ["acoustic", "tiny"])
def test_memory_does_not_grow_with_the_length_of_a_clip(name, tiny):
    "Ten minutes may take 400 MB more than ten seconds; kept whole, they took 1,400 and 660"
    pooling = ("acoustic", "functionals") if name == "acoustic" else (str(tiny), "mean+std+speech")
    done = subprocess.run([sys.executable, "-c", MEASURE, *pooling], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 400


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_a_flipped_bit_is_found(name, tmp_path):
    folder = shutil.copytree(bundled_models()[name], tmp_path / name)
    size, rng = load_any_head(folder).config["n_inputs"], np.random.default_rng(0)
    loads = {"model.safetensors": lambda: load_any_head(folder), FAMILIAR_FILE: lambda: load_familiarity(folder / FAMILIAR_FILE, size, {})}
    for file, load in loads.items():
        if not (folder / file).exists(): continue
        load()
        whole = (folder / file).read_bytes()
        header = 8 * (8 + int.from_bytes(whole[:8], "little"))
        for bit in [*range(0, header, 37), *rng.integers(0, 8 * len(whole), 300)]:
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            (folder / file).write_bytes(flipped)
            with pytest.raises(HeadError): load()
        (folder / file).write_bytes(whole)


def test_a_flipped_bit_of_tuned_blocks_is_found(tiny, tmp_path):
    encoder = TunedEncoder.from_pretrained(tiny, 1, device="cpu")
    save_upper(encoder, file := tmp_path / "encoder.safetensors")
    whole = file.read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 300):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(EncoderError): load_upper(encoder, file)
    save_file(encoder.upper.state_dict(), file)  # without a digest, as it was written before
    load_upper(encoder, file)


def test_a_head_without_a_digest_is_read_as_before(tmp_path):
    head = EmotionHead(5)
    save_head(head, tmp_path)
    save_file(head.state_dict(), tmp_path / "model.safetensors", dict(labels=json.dumps(head.labels)))
    assert np.array_equal(load_head(tmp_path).predict_proba(np.ones((2, 5))), head.predict_proba(np.ones((2, 5))))


@pytest.mark.parametrize("name", ["acoustic", "ravdess-acoustic"])
def test_the_bundled_models_answer_as_before_with_a_digest(name):
    clip = (np.sin(np.arange(32_000) / 20) * np.random.default_rng(0).random(32_000), 16_000)
    prediction = EmotionClassifier.from_pretrained(name).predict(clip)
    assert abs(sum(prediction.probabilities.values()) - 1) < 1e-9


@pytest.mark.parametrize("lacking", ["onnx", "onnxruntime"])
def test_an_extra_that_is_not_installed_is_named(lacking, tiny, small, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{lacking!r}] = None\n")
    done = subprocess.run([sys.executable, "-m", "emotion_ser", "embed", str(small), "--encoder", str(tiny), "--runtime", "onnx", "--out", str(tmp_path / "cache")],
                          capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and 'pip install "emotion_ser[onnx]"' in done.stderr and "Traceback" not in done.stderr, done.stderr


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 3000), st.floats(width=32), st.sampled_from([0, 1e-45, 1e-38, 1e-20, 1e-6, 1, 1e3, 1e6, 1e7, 1e19, 3.4e38]),
       st.sampled_from(["alike", "noise", "alternating", "click", "mixed"]), st.integers(0, 2**16))
def test_any_samples_give_finite_features_or_a_sentence(size, value, scale, kind, seed):
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        samples = dict(alike=np.full(size, value), noise=rng.normal(size=size) * scale, alternating=np.where(np.arange(size) % 2, scale, -scale),
                       click=np.where(np.arange(size) == seed % 500, scale, 0), mixed=np.where(rng.random(size) < 0.1, value, rng.normal(size=size) * scale))
        waveform = samples[kind].astype(np.float32)
    encoder = AcousticEncoder(pooling="functionals")
    try: vector = encoder(waveform)
    except AudioError: return
    assert vector.shape == (encoder.size,) and np.isfinite(vector).all()
