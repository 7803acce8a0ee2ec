"""Recordings of one's own at the shell: whole folders, bad files, hours of sound, models that come from elsewhere."""
import base64
import csv
import json
import os
import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import emotion_ser, fails, run

from emotion_ser import demo
from emotion_ser.channels import add_noise, coloured_noise
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.codec import open_recording
from emotion_ser.core import silent
from emotion_ser.front import clean, frame_levels, speech_bounds
from emotion_ser.own import load_corpus
from emotion_ser.windows import cut_windows

corpus = pytest.mark.skipif("EMOTION_SER_RAVDESS" not in os.environ, reason="EMOTION_SER_RAVDESS names no corpus")
BAD = {"notes.txt": "not audio that libsndfile can read", "empty.wav": "the file is empty", "cut.wav": "cut short", "blink.wav": "too short"}


def mixture(clips, folder):
    "Copies of clips, the same sounds in two more forms, and files that cannot be decoded"
    folder.mkdir()
    for clip in clips: shutil.copy(clip, folder)
    samples, rate = sf.read(clips[0])
    sf.write(folder / "stereo.wav", np.stack([np.repeat(samples, 2), np.zeros(2 * len(samples))], axis=1), 44100, subtype="PCM_24")
    sf.write(folder / "phone.wav", samples[:: max(1, rate // 8000)], 8000)
    sf.write(folder / "cut.wav", samples, rate)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:9000])
    sf.write(folder / "blink.wav", samples[: rate // 100], rate)
    (folder / "notes.txt").write_text("These are notes.")
    (folder / "empty.wav").touch()
    return folder


def check_mixture(clips, folder):
    "Good ones are answered, bad ones are named with the reason, and every line is JSON"
    done = emotion_ser("predict", mixture(clips, folder), folder / "notes.txt", "--format", "jsonl")
    assert "not read: 1 .txt" in done.stderr  # in the folder it is reported; named, it is tried
    rows = {Path(row["file"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert {name for name, row in rows.items() if "error" in row} == set(BAD)
    for name, reason in BAD.items():
        assert reason in rows[name]["error"] and re.search(f"{re.escape(name)}: .*{reason}", done.stderr)
    good = [row for row in rows.values() if "error" not in row]
    assert len(good) == len(clips) + 2
    for row in good: assert abs(sum(row["probabilities"].values()) - 1) < 1e-3 and row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    return rows


def test_a_mixed_folder(small, tmp_path): check_mixture(sorted(small.glob("Actor_01/*.wav"))[:5], tmp_path / "mixed")


@corpus
def test_thirty_real_clips_and_six_odd_ones(tmp_path):
    clips = sorted(Path(os.environ["EMOTION_SER_RAVDESS"]).glob("Actor_*/*.flac"))[::48]
    assert len(clips) == 30
    check_mixture(clips, tmp_path / "mixed")


def test_a_table_that_appears_when_complete(small, tmp_path):
    clips = sorted(small.glob("Actor_01/*.wav"))[:3]
    done = emotion_ser("predict", *clips, "--format", "csv", "--out", tmp_path / "answers.csv", check=True)
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert done.stdout == "" and [Path(row["file"]) for row in rows] == clips and "3 of 3" in done.stderr
    assert [p.name for p in tmp_path.iterdir() if "writing" in p.name] == []
    fails(emotion_ser("predict", tmp_path / "*.flac"), "*.flac: no file matches")
    fails(emotion_ser("predict", clips[0], "--model", small), "no config.json in it")
    fails(emotion_ser("predict", clips[0], "--out", tmp_path), "not a file that can be written")
    fails(emotion_ser("predict", clips[0], "--format", "xml"), "'xml'", status=2)


@pytest.mark.thorough("evaluates, trains and asks 180 clips of RAVDESS; 14a_training holds the same of synthetic ones")
@corpus
def test_held_out_actors_are_answered_as_in_the_evaluation(tmp_path):
    "EmoBox's folds among eight actors; the first fold is held out of a classifier, whose answers must be the evaluation's"
    clips = load_corpus("ravdess", report=silent).query("actor in (1, 4, 8, 3, 2, 6, 11, 20)")
    clips = clips.assign(label=clips.emotion, speaker=clips.actor)
    (tmp_path / "eight").mkdir()
    for path in clips.path: os.symlink(path, tmp_path / "eight" / Path(path).name)
    options = ("--corpus", tmp_path / "eight", "--encoder", "acoustic", "--head", "lda")
    emotion_ser("evaluate", *options, "--protocol", "emobox", "--out", tmp_path / "run", check=True)
    tested = pd.read_csv(tmp_path / "run/predictions.csv").query("split == 0")
    assert sorted(tested.actor.unique()) == [1, 11, 20] and len(tested) == 180
    emotion_ser("train", *options, "--hold-out", "1,11,20", "--out", tmp_path / "model", check=True)
    done = emotion_ser("predict", *(tmp_path / "eight" / path for path in tested.path), "--model", tmp_path / "model", "--format", "jsonl", check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in answers] == tested.prediction.tolist()
    sure = tested.filter(regex="^p_").max(axis=1)
    assert np.allclose([row["confidence"] for row in answers], sure, atol=1e-3)


def peak_memory(*args):
    "Run the command; the most memory it held, in MB, and what it printed"
    code = ("import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=sys.stderr); print(done.stdout, end='')")
    done = run(sys.executable, "-c", code, sys.executable, "-m", "emotion_ser", *args, check=True)
    return float(done.stderr), done.stdout


@pytest.mark.thorough("nine minutes of sound; test_security holds the same for an encoder")
def test_memory_does_not_grow_with_the_recording(small, tmp_path):
    minute = np.concatenate([sf.read(clip)[0] for clip in sorted(small.glob("Actor_0*/*.wav"))])[: 60 * 16000]
    held = {}
    for minutes in (1, 8):
        with sf.SoundFile(tmp_path / "long.wav", "w", 48000, 2) as sound:
            for _ in range(minutes): sound.write(np.repeat(np.repeat(minute, 3)[:, None], 2, axis=1))
        held[minutes], printed = peak_memory("predict", tmp_path / "long.wav", "--model", "acoustic", "--timeline", "--format", "jsonl")
        rows = [json.loads(line) for line in printed.splitlines()]
        assert [row["start"] for row in rows] == [float(s) for s in range(60 * minutes - 2)]
    assert held[8] - held[1] < 100, held


def test_a_microphone_is_followed(small, tmp_path):
    "A stand-in for sounddevice plays a file into the callback; what is printed is what the file's timeline says"
    (tmp_path / "sounddevice.py").write_text(
        "import soundfile\n\nclass PortAudioError(Exception): pass\n\nclass InputStream:\n"
        "    def __init__(self, samplerate, blocksize, device, channels, dtype, callback):\n"
        "        for block in soundfile.blocks('played.wav', blocksize, dtype='float32', always_2d=True): callback(block, len(block), None, None)\n"
        "    def __enter__(self): return self\n    def __exit__(self, *error): pass\n")
    played = np.concatenate([sf.read(clip)[0] for clip in sorted(small.glob("Actor_01/*.wav"))])[: 12 * 16000]
    sf.write(tmp_path / "played.wav", played, 16000, subtype="FLOAT")
    done = emotion_ser("listen", "--seconds", 12, cwd=tmp_path, check=True, PYTHONPATH=str(tmp_path))
    expected = emotion_ser("predict", "played.wav", "--timeline", cwd=tmp_path, check=True).stdout.splitlines()
    assert done.stdout.splitlines() == [line.removeprefix("played.wav").strip() for line in expected] and len(expected) == 10
    (tmp_path / "sounddevice.py").write_text("raise ImportError")
    fails(emotion_ser("listen", cwd=tmp_path, PYTHONPATH=str(tmp_path)), 'pip install "emotion_ser[mic]"')


@pytest.fixture
def hub(tmp_path):
    "A hub that takes commits and gives back what was committed"
    kept, commit = {}, "0123456789abcdef0123456789abcdef01234567"

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args): pass

        def reply(self, body, status=200, **headers):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": commit, **headers}.items(): self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD": self.wfile.write(body)

        def do_POST(self):
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/api/repos/create": self.reply(dict(url=f"{url}/me/mine", id="me/mine"))
            elif "/preupload/" in self.path:
                self.reply(dict(files=[dict(path=f["path"], uploadMode="regular", shouldIgnore=False, oid=None) for f in json.loads(text)["files"]]))
            elif "/commit/" in self.path:
                for line in map(json.loads, text.splitlines()):
                    if line["key"] == "file": kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.reply(dict(success=True, commitOid=commit, commitUrl=f"{url}/me/mine/commit/{commit}"))
            else: self.reply(dict(valid=True))

        def do_GET(self):
            file = self.path.rsplit("/", 1)[-1]
            if self.path.startswith("/api/models/me/mine/tree"): self.reply([dict(type="file", path=p, size=len(b), oid="0" * 40) for p, b in kept.items()])
            elif self.path.startswith("/api/models/me/mine"):
                self.reply(dict(id="me/mine", modelId="me/mine", sha=commit, siblings=[dict(rfilename=p) for p in kept]))
            elif "/resolve/" in self.path and file in kept: self.reply(kept[file], ETag=f'"{file}"')
            else: self.reply(dict(error="Repository not found"), 404, **{"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url, kept
    server.shutdown()
    server.server_close()


def test_pushed_and_fetched(hub, small, tmp_path):
    url, kept = hub
    env = dict(HF_ENDPOINT=url, HF_HOME=str(tmp_path / "hf"), HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0", HF_TOKEN="hf_test")
    push = "from emotion_ser import EmotionClassifier; print(EmotionClassifier.from_pretrained('acoustic').push_to_hub('me/mine'))"
    assert "me/mine" in run(sys.executable, "-c", push, check=True, **env).stdout
    assert set(kept) >= {"README.md", "config.json", "model.safetensors"} and b"What it must not be used for" in kept["README.md"]
    clip = sorted(small.glob("Actor_01/*.wav"))[0]
    fetched = emotion_ser("predict", clip, "--format", "jsonl", "--model", "me/mine", check=True, **env)
    assert fetched.stdout == emotion_ser("predict", clip, "--format", "jsonl", check=True).stdout
    fails(emotion_ser("predict", clip, "--model", "me/other", **env), "me/other: no such folder", "not on the hub")


def test_a_study_leaves_a_model_that_can_be_used(small, tmp_path):
    emotion_ser("study", "--corpus", small, "--emotions", "happy,sad", "--out", tmp_path / "run", check=True)
    tested = pd.read_csv(tmp_path / "run/predictions.csv")
    classifier = EmotionClassifier.from_pretrained(tmp_path / "run/model")
    assert [classifier.predict(small / path).label for path in tested.path] == tested.prediction.tolist()


def speech_in(sound):
    with open_recording((sound.astype(np.float32), 16000)) as recording: return next(cut_windows(recording, 10, 10)).speech


def test_a_voice_without_pauses_is_speech_and_steady_noise_is_none():
    corpus, rng, tight, noisy = load_corpus("sample", report=silent), np.random.default_rng(0), [], []
    for path in corpus.path[corpus.actor == 5][:20]:
        sound = sf.read(path)[0]
        part = speech_bounds(frame_levels(clean(sound)))
        tight.append(speech_in(sound[160 * part.start : 160 * part.stop]))
        noisy.append(speech_in(add_noise(np.pad(sound, 8000), coloured_noise(len(sound) + 16000, rng, "pink"), 8)))
    assert min(tight) > 0.2 and min(noisy) > 0.1
    for colour in ("white", "pink"): assert speech_in(coloured_noise(48000, rng, colour) * 0.1) == 0
    assert speech_in(np.sin(np.arange(48000) / 5) * 0.1) == speech_in(np.zeros(48000)) == 0


def test_without_ffmpeg_the_widget_says_how_to_convert(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    page = demo.show(EmotionClassifier.from_pretrained("acoustic"), b"\0\0\0\x20ftypM4A " + bytes(100), "voice.m4a")
    assert "voice.m4a cannot be read: needs ffmpeg" in page and "ffmpeg -i recording recording.wav" in page
    assert "M4A" not in demo.accepted_formats()[1]
