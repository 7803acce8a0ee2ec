"""What the tests share: small synthetic corpora, and the command as a user runs it."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emotion_ser.data import make_sample_corpus

ROOT = Path(__file__).parent.parent


def run(*command, cwd=None, check=False, timeout=600, **env):
    "Run a command and return it with its stdout and stderr as text"
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=timeout, env={**os.environ, **env})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def emotion_ser(*args, **kwargs):
    "Run the command line in a process of its own"
    return run(sys.executable, "-m", "emotion_ser", *args, **kwargs)


def offline(folder):
    "The environment in which Python finds no network"
    (folder / "sitecustomize.py").write_text("import socket\n\ndef refuse(*args, **kwargs): raise OSError('no network here')\n\n"
                                             "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n")
    return dict(PYTHONPATH=str(folder))


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    "Four synthetic speakers, 240 clips"
    return make_sample_corpus(tmp_path_factory.mktemp("corpora") / "small", seed=7, actors=4)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    "Each test has a cache of its own"
    monkeypatch.setenv("EMOTION_SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
