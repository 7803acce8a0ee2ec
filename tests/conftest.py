"""What the tests share: small synthetic corpora, and the command as a user runs it."""
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from forked import forked
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from emotion_ser.core import silent
from emotion_ser.corpora import imitate_corpus
from emotion_ser.synthetic import make_sample_corpus
from emotion_ser.testing import tiny_checkpoint

ROOT = Path(__file__).parent.parent
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background; some tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
PATIENCE_S = 1800  # what takes longer hangs; a loaded machine alone fails no test
for wait in ("raylet_start_wait_time_s", "gcs_server_port_wait_time_s", "gcs_server_request_timeout_seconds"): os.environ.setdefault(f"RAY_{wait}", str(PATIENCE_S))
os.environ.setdefault("RAY_agent_register_timeout_ms", str(1000 * PATIENCE_S))


THOROUGH = os.environ.get("EMOTION_SER_TESTS") == "all"  # as `make ci` sets it


def pytest_collection_modifyitems(config, items):
    "What is marked `thorough` is for `make ci`. The site takes longest and begins; notebooks fill the gaps at the end"
    left_out = [item for item in items if not THOROUGH and item.get_closest_marker("thorough")]
    items[:] = [item for item in items if item not in set(left_out)]
    if left_out: config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: (item.path.name != "test_docs.py") + (item.path.name == "test_cells.py"))


class ByFile(LoadFileScheduling):
    "The tests of a file stay in one worker, with what they share; notebooks go to whichever is free"
    def _split_scope(self, nodeid): return nodeid if "test_cells.py" in nodeid else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log): return ByFile(config, log)


def run(*command, cwd=None, check=False, timeout=PATIENCE_S, **env):
    "Run a command and return it with its stdout and stderr as text"
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=timeout, env={**os.environ, **env})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def python(*arguments, cwd=None, check=False, timeout=PATIENCE_S, **env):
    "Run a script or `-m module`, as `run` does, in a process that has imported torch and the like already"
    done = forked(*arguments, cwd=cwd, timeout=timeout, env={**os.environ, **env})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def emotion_ser(*args, anew=False, **kwargs):
    """Run the command line in a process of its own, where no encoder lies in the cache of the Hugging Face hub unless this test has put it there.
    `anew`: in a new Python, with its own order of sets, which imports what it needs itself"""
    hub = dict(HF_HUB_CACHE=os.path.join(os.environ.get("EMOTION_SER_CACHE", ROOT / "nowhere"), "hub"))
    command = ("-m", "emotion_ser", *args)
    return run(sys.executable, *command, **(hub | kwargs)) if anew else python(*command, **(hub | kwargs))


def signalled(*args, at, number=signal.SIGINT, **env):
    """Run the command line; it sends itself a signal at a point that no clock decides, the last of those in `at`, each an event, a pattern, and how often (see signals/sitecustomize.py).
    `import` and `open` are signalled before they are done, `os.rename` (also of `os.replace`) when it is; `exit` and `end` are Python's own"""
    steps = [(*step, *("*", 1)[len(step) - 1:]) for step in at]
    path = os.pathsep.join(filter(None, [str(ROOT / "tests/signals"), os.environ.get("PYTHONPATH")]))
    anew = any(event in ("import", "exit", "end") for event, *_ in at)
    return emotion_ser(*args, anew=anew, PYTHONPATH=path, SIGNAL_AT=json.dumps([number, *steps]), **env)


@contextmanager
def at_most(seconds=PATIENCE_S):
    "TimeoutError after so long (in the main thread)"
    def late(*args): raise TimeoutError(f"not done after {seconds} s")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fails(done, *words, status=1):
    "The command ended in one line that says what to do, and no traceback"
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words: assert word in last, last


def metrics(folder, without=("seconds",)):
    "A run's metrics.json, but for what differs from run to run"
    found = json.loads((folder / "metrics.json").read_text())
    return {key: value for key, value in found.items() if key not in without}


def shards(folder):
    "The finished shards of embeddings at any depth"
    return [path for path in folder.rglob("*.parquet") if not any(part.startswith(".writing") for part in path.parts)]


def offline(folder):
    "The environment in which Python finds no network"
    (folder / "sitecustomize.py").write_text("import socket\n\ndef refuse(*args, **kwargs): raise OSError('no network here')\n\n"
                                             "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n")
    return dict(PYTHONPATH=str(folder))


def copy_sources(folder):
    "The project's sources in a folder of their own"
    for name in ("nbs", "emotion_ser", "tests"): shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_proc"))
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE", "constraints.txt"): shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    "A folder that all workers of this run share"
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def made_once(shared_folder):
    "`made_once(name, make)`: a folder that `make(folder)` has filled, in whichever worker needed it first"
    def folder_of(name, make):
        folder = shared_folder / "shared" / name / name
        with FileLock(shared_folder / f"{name}.lock"):
            if not (done := shared_folder / f"{name}.done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                make(folder)
                done.touch()
        return folder
    return folder_of


@pytest.fixture(scope="session")
def shared_cache(shared_folder):
    "A cache that all workers share: the synthetic corpus is made and embedded once"
    return shared_folder / "shared/cache"


def make_installed(folder):
    "sdist, the wheel from it, and a fresh environment that holds the wheel and borrows this one's dependencies"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy_sources(folder / "sources"), check=True)
    wheel, = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", check=True)
    python = folder / "venv/bin/python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", check=True).stdout.strip()
    borrowed = run(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", check=True).stdout
    (Path(site) / "borrowed.pth").write_text(borrowed)
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed", wheel, check=True)


@pytest.fixture(scope="session")
def installed(made_once):
    "A fresh environment with the wheel: `dist`, `sources`, `wheel`, `python`"
    folder = made_once("installed", make_installed)
    wheel, = (folder / "dist").glob("*.whl")
    return SimpleNamespace(dist=folder / "dist", sources=folder / "sources", wheel=wheel, python=folder / "venv/bin/python")


@pytest.fixture(scope="session")
def listening(made_once):
    "The folder of the page that listens, built with the network refused; `whisper-base` is part of it where EMOTION_SER_ENCODER names its encoder"
    if not (ROOT / "docs/vendor/listen").is_dir(): pytest.skip("docs/fetch.py has not fetched the page's scripts")

    def build(folder):
        paths = os.pathsep.join([*offline(folder).values(), str(ROOT)])
        run(sys.executable, "docs/listen.py", folder / "listen", cwd=ROOT, check=True, PYTHONPATH=paths, HF_HUB_CACHE=str(folder / "nowhere"))
    return made_once("listening", build) / "listen"


@pytest.fixture(scope="session")
def small(made_once):
    "Four synthetic speakers, 240 clips"
    return made_once("small", lambda folder: make_sample_corpus(folder, seed=7, actors=4))


@pytest.fixture(scope="session")
def tiny(made_once):
    "The folder of a wav2vec 2.0 of three small blocks with random weights"
    return made_once("tiny", tiny_checkpoint)


@pytest.fixture(scope="session")
def imitated(made_once):
    "Small synthetic corpora in the naming of real ones, each with two voices of its own: name -> folder"
    return {name: made_once(name, lambda folder: imitate_corpus(folder, name)) for name in ("emodb", "emovo", "savee", "cafe")}


@pytest.fixture(scope="session")
def robust_model(imitated, made_once):
    "The folder of a classifier with a robust head, which learned from three of the imitated corpora"
    from emotion_ser.protocols import EvaluationConfig
    from emotion_ser.training import train_classifier
    corpora = ",".join(f"{name}:{imitated[name]}" for name in ("emodb", "emovo", "savee"))

    def train(folder):
        trained = train_classifier(EvaluationConfig(corpora, head="robust", front="speech"), cache_dir=folder / "cache", report=silent, progress=False)
        trained.save_pretrained(folder / "model")
    return made_once("robust", train) / "model"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    "Each test has a cache of its own"
    monkeypatch.setenv("EMOTION_SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
