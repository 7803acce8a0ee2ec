"""Speech emotion recognition as a study: the names most used, each loaded when first needed."""
__version__ = "0.3.0"

import sys
from importlib import import_module

from .docstrings import DocstringFinder

sys.meta_path.insert(0, DocstringFinder(__name__))
_HOME = {"load_corpus": "own", "download_ravdess": "data", "list_recordings": "corpus", "make_split":
         "splits", "make_splits": "splits", "load_waveform": "preprocess", "Encoder": "embed",
         "WhisperEncoder": "embed", "AcousticEncoder": "acoustic", "load_encoder": "acoustic",
         "embed_corpus": "store", "save_manifest": "store", "OnnxEncoder": "scale", "ray_engine": "scale",
         "export_onnx": "scale", "EmotionHead": "head", "load_head": "head", "train_head": "train",
         "cross_validate": "train", "score": "evaluate", "plot_confusion": "evaluate",
         "TunedEncoder": "blocks", "embed_states": "states", "fine_tune": "finetune", "StudyConfig": "study",
         "run_study": "study", "EvaluationConfig": "protocols", "run_evaluation": "protocols",
         "compare_runs": "protocols", "EmotionEmbedder": "estimators", "HeadClassifier": "estimators",
         "evaluate_protocol": "estimators", "EmotionClassifier": "classifier", "OneFile": "portable",
         "train_classifier": "training", "predict_files": "folders"}
__all__ = ["__version__", *_HOME]


def __getattr__(name):
    "Import torch and the like only when something that needs them is asked for (PEP 562)"
    if name not in _HOME: raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__(): return sorted({*globals(), *_HOME})
