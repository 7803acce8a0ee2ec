"""Who embeds: this project, the network alone, and what users would run instead."""
import importlib.util
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from emotion_ser.checkpoint import has_bfloat16, quiet_transformers
from emotion_ser.core import one_thread
from emotion_ser.embed import Encoder, WhisperEncoder
from emotion_ser.preprocess import SAMPLING_RATE
from emotion_ser.scale import OnnxEncoder
from emotion_ser.store import embed_corpus

ENCODERS = ("whisper-base", "wav2vec2-base")
OURS = "this project"
FASTER = "faster-whisper's encoder"


def whisper_place() -> str:
    "Where whisper-base is: the folder that EMOTION_SER_ENCODER names, or its name on the hub"
    return os.environ.get("EMOTION_SER_ENCODER", "openai/whisper-base")


def random_wav2vec2(**options) -> Encoder:
    "An encoder of wav2vec2-base's shape; speed does not depend on what the weights are"
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
    torch.manual_seed(0)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    return Encoder(Wav2Vec2Model(Wav2Vec2Config()), extractor, "wav2vec2-base (random)", **options)


def benchmark_encoder(
    name: str,  # one of `ENCODERS`
    layers="last",
    dtype: str = "float32",
) -> Encoder:
    "The encoder that is measured, on the CPU"
    options = dict(layers=layers, dtype=dtype, device="cpu")
    if name == "whisper-base": return Encoder.from_pretrained(whisper_place(), **options)
    return random_wav2vec2(**options)


# ---------------------------------------------------------------- the network alone

def mean_frame(
    encoder: Encoder,
    waveform: np.ndarray,  # [n_samples] float32 at 16 kHz
) -> np.ndarray:  # [width]
    "The network's last layer, averaged over time"
    with torch.inference_mode():
        frames = encoder.forward(encoder.prepare(waveform[None]))[0]
        return frames.float().mean(0).numpy()


def forward_only(
    encoder: Encoder,
    waveforms: list[np.ndarray],  # each [n_samples] float32 at 16 kHz
) -> np.ndarray:  # [n_clips, width]
    "The network alone, a clip at a time on all of torch's threads"
    return np.stack([mean_frame(encoder, waveform) for waveform in waveforms])


def forward_by_clip(encoder: Encoder, waveforms: list[np.ndarray]) -> np.ndarray:
    "The network alone, a clip per thread"
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, one_thread():
        return np.stack(list(pool.map(partial(mean_frame, encoder), waveforms)))


# ---------------------------------------------------------------- this project

def from_files(
    encoder: Encoder,
    paths: list[str],  # of recordings
    times: int = 1,  # how often each counts, as another clip
) -> np.ndarray:  # [n_clips, size]
    "This project: `embed_corpus` into an empty folder, then read back"
    contents = [f"clip {i}" for i in range(len(paths) * times)]
    manifest = pd.DataFrame(dict(path=paths * times, content=contents))
    with tempfile.TemporaryDirectory() as folder:
        return embed_corpus(manifest, encoder, folder, progress=False).vectors


# ---------------------------------------------------------------- what users would run instead

def padded_loop(
    encoder: Encoder,
    waveforms: list[np.ndarray],
    size: int = 8,  # clips per batch
) -> np.ndarray:  # [n_clips, width]
    "As most notebooks do it: batches padded with zeros (Whisper: to 30 s), mean over the padding too"
    options = dict(sampling_rate=SAMPLING_RATE, return_tensors="pt")
    if not isinstance(encoder, WhisperEncoder): options.update(padding=True)
    means = []
    with torch.inference_mode():
        for i in range(0, len(waveforms), size):
            prepared = encoder.extractor(waveforms[i:i + size], **options)
            inputs = next(iter(prepared.values())).to(encoder.dtype)
            means.append(encoder.model(inputs).last_hidden_state.float().mean(1).numpy())
    return np.concatenate(means)


def pipeline_loop(encoder: Encoder, waveforms: list[np.ndarray]) -> np.ndarray:
    "Hugging Face's feature-extraction pipeline; it was made for text, so the extractor is its tokenizer"
    from transformers import pipeline
    with quiet_transformers():
        make: Callable = pipeline
        ask = make("feature-extraction", model=encoder.model, tokenizer=encoder.extractor,
                   device="cpu", return_tensors=True,
                   tokenize_kwargs=dict(sampling_rate=SAMPLING_RATE))
        return np.stack([ask(waveform)[0].float().mean(0).numpy() for waveform in waveforms])


def nkululeko_loop(encoder: Encoder, waveforms: list[np.ndarray]) -> np.ndarray:
    "nkululeko's extraction (wav2vec 2.0 only), if it is installed; its loading of files is left out"
    from nkululeko.feat_extract.feats_wav2vec2 import Wav2vec2
    theirs = SimpleNamespace(processor=encoder.extractor, model=encoder.model, device="cpu")
    embed = partial(Wav2vec2.get_embeddings, theirs)
    return np.stack([embed(waveform, SAMPLING_RATE, "clip") for waveform in waveforms])


class FasterWhisper:
    "faster-whisper's encoder, CTranslate2, on the frames of the clip alone: the last layer, no other"
    def __init__(self, encoder: Encoder, compute: str = "float32"):
        import ctranslate2
        self.encoder, cores = encoder, torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            place = converted(encoder, folder)
            self.model = ctranslate2.models.Whisper(
                place, device="cpu", compute_type=compute, intra_threads=1, inter_threads=cores)

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        "[n_samples] float32 at 16 kHz -> [width]"
        from ctranslate2 import StorageView
        mel = np.ascontiguousarray(self.encoder.prepare(waveform[None]).numpy())
        return np.array(self.model.encode(StorageView.from_array(mel)))[0].mean(0)


def converted(
    encoder: Encoder,  # a Whisper
    folder: str,  # receives two models
) -> str:  # the folder of the second
    "A checkpoint for CTranslate2; it wants a decoder, which gets one block of random weights and is never asked"
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperForConditionalGeneration
    config: Any = encoder.model.config
    whole = WhisperForConditionalGeneration(type(config)(**{**config.to_dict(), "decoder_layers": 1}))
    whole.model.encoder.load_state_dict(encoder.model.state_dict())
    with quiet_transformers():
        whole.save_pretrained(f"{folder}/whole")
        encoder.extractor.save_pretrained(f"{folder}/whole")
        return TransformersConverter(f"{folder}/whole").convert(f"{folder}/converted")


def faster_whisper_loop(embed: FasterWhisper, waveforms: list[np.ndarray]) -> np.ndarray:
    "CTranslate2, a clip per core"
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, one_thread():
        return np.stack(list(pool.map(embed, waveforms)))


# ---------------------------------------------------------------- tried and dropped

def in_int8(encoder: Encoder) -> Encoder:
    "The transformer's matrices in 8-bit integers, by PyTorch's dynamic quantisation"
    quantise = torch.ao.quantization.quantize_dynamic
    encoder.model = quantise(encoder.model, {torch.nn.Linear}, dtype=torch.qint8)
    encoder.transformer = encoder.find_transformer(encoder.model)
    return encoder


def compiled(encoder: Encoder) -> Encoder:
    "The network through torch.compile, for any length"
    blocks: Any = encoder.transformer.layers
    for block in blocks:
        block._forward_hooks.clear()
        block._forward_pre_hooks.clear()
    encoder.model.forward = torch.compile(encoder.model.forward, dynamic=True)
    return encoder


# ---------------------------------------------------------------- all of them

@dataclass(frozen=True)
class Competitor:
    "A way to embed"
    embed: Callable  # an encoder and clips -> [n_clips, size]
    make_encoder: Callable
    reads_files: bool = False  # starts from files; the others get their waveforms for nothing

    def prepare(self, paths: list[str], waveforms: list[np.ndarray]) -> Callable:
        "A function of how many clips to embed (None: all)"
        encoder, clips = self.make_encoder(), paths if self.reads_files else waveforms
        return lambda n=None: self.embed(encoder, clips[:n])


def ours(
    name: str,  # one of `ENCODERS`
    plain: Callable,  # makes the encoder as it is
) -> dict[str, Competitor]:
    "The ways of this project that can be had here"
    make = partial(benchmark_encoder, name)
    found = {OURS: Competitor(from_files, plain, True)}
    if importlib.util.find_spec("onnxruntime"):
        for runtime in ("onnx", "onnx-int8"):
            wrapped = partial(onnx_encoder, name, int8=runtime == "onnx-int8")
            found[f"{OURS}, {runtime}"] = Competitor(from_files, wrapped, True)
    if has_bfloat16():
        found[f"{OURS}, bfloat16"] = Competitor(from_files, partial(make, dtype="bfloat16"), True)
    return found


def onnx_encoder(name: str, int8: bool):
    "The encoder that is measured, by ONNX Runtime"
    return OnnxEncoder(benchmark_encoder(name), int8=int8)


def rivals(
    name: str,  # one of `ENCODERS`
    plain: Callable,  # makes the encoder as it is
) -> dict[str, Competitor]:
    "The network alone, and what users would run instead"
    found = {"bare network": Competitor(forward_only, plain),
             "bare network, clip per core": Competitor(forward_by_clip, plain),
             "Hugging Face pipeline": Competitor(pipeline_loop, plain),
             "padded loop, batches of 8": Competitor(padded_loop, plain)}
    if name == "whisper-base":
        found["stock 30 s call"] = Competitor(partial(padded_loop, size=1), plain)
        if importlib.util.find_spec("ctranslate2"):
            for name, compute in {FASTER: "float32", f"{FASTER}, int8": "int8_float32"}.items():
                found[name] = Competitor(faster_whisper_loop, lambda how=compute: FasterWhisper(plain(), how))
    elif importlib.util.find_spec("nkululeko"):
        found["nkululeko"] = Competitor(nkululeko_loop, plain)
    return found


def tried(
    name: str,  # one of `ENCODERS`
) -> dict[str, Competitor]:
    "What was tried and dropped"
    make = partial(benchmark_encoder, name)
    found = {"tried: int8, torch": Competitor(from_files, lambda: in_int8(make()), True)}
    if name == "wav2vec2-base":
        found["tried: torch.compile"] = Competitor(forward_by_clip, lambda: compiled(make()))
    return found


def competitors(
    name: str,  # one of `ENCODERS`
) -> dict[str, Competitor]:
    "Everybody who is measured, by name"
    plain = lru_cache(partial(benchmark_encoder, name))  # shared by all that leave it as it is
    return ours(name, plain) | rivals(name, plain) | tried(name)
