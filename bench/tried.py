"""What else could run the networks? One core, clip by clip, everybody in turn; what is not installed is left out.

`pip install openvino ctranslate2` adds these two; writes nbs/results/speed_tried.csv."""
import argparse
import importlib.metadata
import importlib.util
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from competitors import ENCODERS, FASTER, OURS, FasterWhisper, benchmark_encoder, mean_frame
from measure import machine, similarity
from speed import chosen_corpus, keep

from emotion_ser.checkpoint import has_bfloat16
from emotion_ser.core import one_thread, silent
from emotion_ser.embed import Encoder, mean_std
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import load_waveform
from emotion_ser.scale import LayerStates, onnx_session, to_int8, write_graph

BARE = "bare network"


class LayerMeans(LayerStates):
    "All layers' statistics inside the graph: [n_clips, top + 1, 2, width]"
    def forward(self, inputs):
        return torch.stack([mean_std(frames) for frames in super().forward(inputs)])


# ---------------------------------------------------------------- functions of a waveform: [width], the last layer's mean

def last_mean(frames: np.ndarray) -> np.ndarray:
    "Of [1, top + 1, n_frames, width]; all layers are pooled, as a corpus needs them"
    return mean_std(torch.from_numpy(frames[0]))[-1, 0].numpy()


def by_torch(encoder: Encoder, autocast: bool = False) -> Callable:
    "PyTorch, all layers"
    def embed(waveform):
        inputs = encoder.prepare(waveform[None])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return last_mean(torch.stack(encoder.layer_states(inputs), 1).float().numpy())
    return embed


def by_onnx(encoder: Encoder, graph: Path, pooled: bool = False) -> Callable:
    "ONNX Runtime, on a graph of layers or of their statistics"
    session = onnx_session(graph)

    def embed(waveform):
        out = session.run(None, dict(inputs=encoder.prepare(waveform[None]).numpy()))[0]
        return out[0, -1, 0] if pooled else last_mean(out)
    return embed


def by_openvino(encoder: Encoder, graph: Path, precision: str, pooled: bool = True) -> Callable:
    "OpenVINO, on one core"
    import openvino
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(core.read_model(str(graph)), "CPU", options).create_infer_request()

    def embed(waveform):
        out = request.infer({0: encoder.prepare(waveform[None]).numpy()})[0]
        return out[0, -1, 0].copy() if pooled else last_mean(out)
    return embed


# ---------------------------------------------------------------- static integers

class Calibration:
    "Clips that show ONNX Runtime how large activations become"
    def __init__(self, encoder: Encoder, waveforms: list[np.ndarray]):
        self.inputs = iter([dict(inputs=encoder.prepare(w[None]).numpy()) for w in waveforms])

    def get_next(self): return next(self.inputs, None)


def to_static_int8(graph: Path, path: Path, calibration: Calibration):
    "Another graph whose matrix products are in 8-bit integers, with ranges from calibration clips"
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    ready = graph.with_suffix(".ready.onnx")
    quant_pre_process(str(graph), str(ready), skip_symbolic_shape=True)
    quantize_static(str(ready), str(path), calibration, quant_format=QuantFormat.QDQ, per_channel=True,
                    op_types_to_quantize=["MatMul", "Gemm"], activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, extra_options=dict(MatMulConstBOnly=True))


# ---------------------------------------------------------------- all of them

def write_graphs(
    encoder: Encoder,
    waveforms: list[np.ndarray],  # for calibration
    folder: Path,
) -> dict[str, Path]:  # layers, int8, static, statistics
    "The network as graphs"
    graphs = {name: folder / f"{name}.onnx" for name in ("layers", "int8", "static", "statistics")}
    inputs = encoder.prepare(waveforms[0][None])
    write_graph(encoder, inputs, graphs["layers"])
    to_int8(graphs["layers"], graphs["int8"])
    to_static_int8(graphs["layers"], graphs["static"], Calibration(encoder, waveforms))
    axes = dict(inputs={0: "clips", inputs.ndim - 1: "samples"})
    with torch.inference_mode():
        torch.onnx.export(LayerMeans(encoder).eval(), (inputs,), str(graphs["statistics"]), input_names=["inputs"],
                          output_names=["statistics"], dynamic_axes=axes, opset_version=17, dynamo=False)
    return graphs


def contestants(
    name: str,  # one of `ENCODERS`
    waveforms: list[np.ndarray],  # for calibration
    folder: Path,  # for graphs
) -> dict[str, Callable]:  # name -> a function of a waveform
    "Everybody who can be had here; first the bare network and this project"
    encoder = benchmark_encoder(name, "all")
    graphs = write_graphs(encoder, waveforms, folder)
    found: dict[str, Callable] = {BARE: partial(mean_frame, encoder), OURS: by_torch(encoder),
             f"{OURS}, onnx": by_onnx(encoder, graphs["layers"]),
             f"{OURS}, onnx-int8": by_onnx(encoder, graphs["int8"])}
    if has_bfloat16():
        found[f"{OURS}, bfloat16"] = by_torch(benchmark_encoder(name, "all", "bfloat16"))
        found["torch.autocast, bfloat16"] = by_torch(encoder, autocast=True)
    found["onnx, statistics in the graph"] = by_onnx(encoder, graphs["statistics"], pooled=True)
    found["onnx, static int8"] = by_onnx(encoder, graphs["static"])
    if importlib.util.find_spec("openvino"):
        for precision in ("f32", "bf16") if has_bfloat16() else ("f32",):
            found[f"OpenVINO {precision}, statistics in the graph"] = by_openvino(encoder, graphs["statistics"], precision)
        found["OpenVINO, static int8"] = by_openvino(encoder, graphs["static"], "f32", pooled=False)
    if name == "whisper-base" and importlib.util.find_spec("ctranslate2"):
        found[f"{FASTER} (last layer alone)"] = FasterWhisper(encoder)
        found[f"{FASTER}, int8 (last layer alone)"] = FasterWhisper(encoder, "int8_float32")
    return found


def cpu_times(
    runs: dict[str, Callable],
    waveforms: list[np.ndarray],
) -> tuple[pd.DataFrame, dict]:  # CPU seconds [n_clips, n_contestants]; name -> embeddings
    "Clip by clip in turn, after a pass in which each length is new"
    embedded: dict[str, Any] = {name: [run(w) for w in waveforms] for name, run in runs.items()}
    seconds = []
    for waveform in waveforms:
        row = {}
        for name, run in runs.items():
            started = time.process_time()
            run(waveform)
            row[name] = time.process_time() - started
        seconds.append(row)
    return pd.DataFrame(seconds), {name: np.stack(rows) for name, rows in embedded.items()}


def try_all(
    name: str,  # one of `ENCODERS`
    waveforms: list[np.ndarray],
) -> pd.DataFrame:  # encoder, contestant, cpu_ms, times_bare (medians over clips), cosine, cosine_standardised
    "Speed on one core, against the bare network, and similarity to this project's float32"
    with tempfile.TemporaryDirectory() as folder, one_thread():
        seconds, embedded = cpu_times(contestants(name, waveforms[:8], Path(folder)), waveforms)
    table = pd.DataFrame(dict(encoder=name, contestant=list(seconds)))
    table["cpu_ms"] = 1000 * seconds.median().to_numpy()
    table["times_bare"] = seconds.rdiv(seconds[BARE], axis=0).median().to_numpy()
    table[["cosine", "cosine_standardised"]] = [similarity(embedded[OURS], rows) for rows in embedded.values()]
    return table


def main():
    "The options"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--out", type=Path, default=Path("nbs/results"), help="folder for speed_tried.csv; default: nbs/results")
    option("--clips", type=int, default=24, help="of the corpus, spread evenly over it; default: 24")
    option("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS, help="default: both")
    chosen = parser.parse_args()
    manifest = load_corpus(chosen_corpus(), report=silent)
    waveforms = [load_waveform(path) for path in manifest.path.iloc[:: len(manifest) // chosen.clips][:chosen.clips]]
    table = pd.concat([try_all(name, waveforms) for name in chosen.encoders], ignore_index=True)
    extra = [name for name in ("openvino", "ctranslate2", "onnxruntime") if importlib.util.find_spec(name)]
    keep(table, chosen.out / "speed_tried.csv",
         dict(command=f"python bench/tried.py --clips {len(waveforms)}", machine=machine(), corpus=manifest.attrs["corpus"], clips=len(waveforms),
              installed={name: importlib.metadata.version(name) for name in extra}))


if __name__ == "__main__": main()
