"""Fetching a checkpoint by name, from a server on this machine that speaks the Hugging Face hub's protocol."""
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import emotion_ser

from emotion_ser.checkpoint import DEFAULT_ENCODER, REVISIONS
from emotion_ser.testing import tiny_checkpoint


@pytest.fixture
def hub(tmp_path):
    "A hub that holds a tiny random checkpoint under the default encoder's name, and notes what it is asked for"
    tiny_checkpoint(tmp_path / "checkpoint", n_layers=2)
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args): pass

        def answer(self, with_body):
            asked.append(self.path)
            file = tmp_path / "checkpoint" / self.path.rsplit("/", 1)[-1]
            known = "/resolve/" in self.path and file.is_file()
            body = file.read_bytes() if known else json.dumps({"error": "Entry not found"}).encode()
            self.send_response(200 if known else 404)
            if known: self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            else: self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", REVISIONS[DEFAULT_ENCODER])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body: self.wfile.write(body)

        def do_GET(self): self.answer(True)
        def do_HEAD(self): self.answer(False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_default_encoder_is_fetched_at_its_pinned_revision(hub, small, tmp_path):
    url, asked = hub
    env = dict(HF_ENDPOINT=url, HF_HOME=str(tmp_path / "hf"), HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0")
    command = ("study", "--corpus", small, "--encoder", DEFAULT_ENCODER, "--emotions", "happy,sad", "--recipe", "baseline", "--out", tmp_path / "A")
    emotion_ser(*command, check=True, **env)
    found = json.loads((tmp_path / "A/metrics.json").read_text())
    assert (found["encoder"], found["embedding_size"]) == (DEFAULT_ENCODER, 48)
    fetched = [path for path in asked if path.endswith(("config.json", "model.safetensors"))]
    assert fetched and all(f"/resolve/{REVISIONS[DEFAULT_ENCODER]}/" in path for path in fetched)
    emotion_ser(*command, check=True, **{**env, "HF_HUB_OFFLINE": "1"})  # kept: the second run needs no hub


def test_a_hub_out_of_reach_is_one_line(small, tmp_path):
    done = emotion_ser("study", "--corpus", small, "--encoder", DEFAULT_ENCODER, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{DEFAULT_ENCODER}: cannot be loaded" in done.stderr.strip().splitlines()[-1]
