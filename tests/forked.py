"""Python commands in processes of their own that need not import torch and the like anew: each is forked from a server that has (the `forkserver` of multiprocessing)."""
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

# not transformers and huggingface_hub: when they are imported they read where the hub's cache is, which differs from test to test
PRELOADED = ["torch", "numpy", "pandas", "pyarrow.parquet", "pyarrow.dataset", "scipy.signal", "scipy.optimize", "scipy.stats", "sklearn.linear_model",
             "sklearn.metrics", "sklearn.model_selection", "matplotlib.pyplot", "seaborn", "soundfile", "fastcore.test", "nbdev.test", "nbdev.showdoc", "typer", "rich.console"]
APART = multiprocessing.get_context("forkserver")
APART.set_forkserver_preload(PRELOADED)


def _become(arguments, cwd, env, outputs):
    "Inside a forked process: do what `python *arguments` does"
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in zip((1, 2), outputs):
        with open(path, "wb") as file: os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1 if number == 2 else -1, encoding="utf-8", errors=errors, closefd=False)
                              for number, errors in ((1, "strict"), (2, "backslashreplace")))
    sys.path[:0] = places = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
    for place in places:
        if (customise := Path(place, "sitecustomize.py")).is_file(): runpy.run_path(str(customise))
    if arguments[0] == "-m":
        sys.argv = [find_spec(arguments[1]).origin, *arguments[2:]]
        sys.path.insert(0, cwd)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        sys.path.insert(0, str(Path(cwd, arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


def forked(*arguments, cwd=None, env=None, timeout=None):
    "As `subprocess.run([python, *arguments], capture_output=True, text=True)` for a script or `-m module`. For what depends on how Python begins or ends take a new process instead"
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"{folder}/stdout", f"{folder}/stderr"]
        process = APART.Process(target=_become, args=([str(a) for a in arguments], str(cwd or os.getcwd()), dict(os.environ if env is None else env), outputs))
        process.start()
        process.join(timeout)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        texts = [Path(path).read_text("utf-8") if os.path.exists(path) else "" for path in outputs]
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *texts)
