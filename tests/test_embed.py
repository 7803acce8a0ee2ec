"""Embeddings on disk: what a kill, a second process, a full disk or a lost worker must not change."""
import errno
import hashlib
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from conftest import THOROUGH, at_most, emotion_ser, fails
from forked import APART
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_ser import clips, store
from emotion_ser.acoustic import AcousticEncoder
from emotion_ser.audio import AudioError, content_hash
from emotion_ser.core import silent
from emotion_ser.corpus import list_recordings, stretch_content
from emotion_ser.embed import Encoder, FrozenEncoder
from emotion_ser.own import load_corpus
from emotion_ser.preprocess import load_waveform
from emotion_ser.scale import RayWorker, ray_engine
from emotion_ser.store import (
    EmbeddingJob, StoreError, embed_corpus, local_engine, open_filesystem, read_store, save_manifest, stored_contents,
    write_shard)


def frozen(tiny, store=None):
    "The encoder of a folder; it notes the clips it is given. Its first process to have one when there is a shard in `store` gets a SIGKILL, and killed beside it says how many there were"
    class Noting(Encoder):
        encoded = []

        def layer_stats(self, waveforms):
            self.encoded.append(len(waveforms))
            there = [shard for shard in store.rglob("*.parquet") if not shard.parent.name.startswith(".")] if store else []
            if there:
                with suppress(FileExistsError), open(store.parent / "killed", "x") as note:
                    note.write(str(len(there)))
                    note.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().layer_stats(waveforms)
    return Noting.from_pretrained(tiny, "all", "mean+std+speech", device="cpu")


class Halting(io.FileIO):
    "A file, the last of `left`, in the midst of which the process gets a SIGKILL"
    left = 0

    def write(self, data):
        Halting.left -= 1
        if Halting.left: return super().write(data)
        super().write(data[:len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)


class Quota(io.FileIO):
    "A file on a disk where `left` bytes are free"
    left = 400 * 1024

    def write(self, data):
        if len(data) > Quota.left: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Quota.left -= len(data)
        return super().write(data)


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # Ray's own


def by_count(encoder, clips):
    "What `store` needs so that a shard holds so many clips, however fast the machine is"
    return dict(SHARD_BYTES=4 * clips * encoder.width * (encoder.top + 1) * len(encoder.statistics) - 1, fill_store=partial(store.fill_store, every=float("inf")))


def apart(talk, manifest, tiny, cache, clips, whole=0, half=0):
    "What a process of its own does: load, look into the store, say so, wait for the word, embed, send what came out. It gets a SIGKILL when it has `whole` shards, or half of shard `half`"
    encoder, written, known = frozen(tiny), [], store.stored_contents
    for name, value in by_count(encoder, clips).items(): setattr(store, name, value)

    def put(*what):
        put_bytes(*what)
        written.append(what[1])
        if len(written) == whole: os.kill(os.getpid(), signal.SIGKILL)

    def look(*what):
        store.stored_contents = known
        found = known(*what)
        talk.send("looked")
        talk.recv()
        return found

    put_bytes, store.put_bytes, store.stored_contents = store.put_bytes, put, look
    if half: Halting.left, store.open = half, Halting
    vectors = embed_corpus(manifest, encoder, cache, progress=False, workers=2).vectors
    talk.send((hashlib.sha256(vectors.tobytes()).hexdigest(), len(encoder.encoded)))


def start(*args):
    "A process that is about to embed, and the line to it"
    ours, theirs = APART.Pipe()
    process = APART.Process(target=apart, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def shards(cache):
    "The finished shards, and when each was written"
    return {shard: shard.stat().st_mtime_ns for shard in cache.rglob("*.parquet") if not shard.parent.name.startswith(".")}


def halves(cache): return set(cache.rglob(".writing-*/*.parquet"))


def kept(cache):
    "What is in the store, every byte of every shard checked"
    return {content for shard in shards(cache) for content in pq.read_table(shard, page_checksum_verification=True)["content"].to_pylist()}


@pytest.fixture(scope="module")
def manifest(small): return load_corpus(small, report=silent)


@pytest.fixture(scope="module")
def alone(manifest, tiny, tmp_path_factory):
    "The corpus as an undisturbed run embeds it"
    return embed_corpus(manifest, frozen(tiny), tmp_path_factory.mktemp("alone"), progress=False)


def same(one, other):
    assert np.array_equal(one.vectors, other.vectors) and not one.skipped
    pd.testing.assert_frame_equal(one.manifest, other.manifest)
    return True


def test_killed_again_and_again_it_gives_the_same(manifest, tiny, alone, tmp_path):
    moments, cache = random.Random(0), tmp_path / "store"
    for k in range(10 if THOROUGH else 4):
        whole, half, n = shards(cache), halves(cache), moments.randint(1, 3)
        process, talk = start(manifest, tiny, cache, 4, *((0, n) if k % 2 else (n,)))  # every other one dies while it writes
        talk.recv()
        talk.send("go")
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run ended before it was killed"
        assert whole.items() <= shards(cache).items() and len(shards(cache)) - len(whole) == n - k % 2 and len(halves(cache)) - len(half) == k % 2
    whole, half, had = shards(cache), halves(cache), kept(cache)
    assert all(left.stat().st_size for left in half) and len(had) == 4 * len(whole) < len(manifest)
    for left in (old := sorted(half)[::2]): os.utime(left.parent, (0, 0))
    again = embed_corpus(manifest, encoder := frozen(tiny), cache, progress=False)
    assert same(again, alone) and len(encoder.encoded) == len(manifest) - len(had)
    assert whole.items() <= shards(cache).items() and halves(cache) == half - set(old)


def test_two_processes_share_a_cache(manifest, tiny, alone, tmp_path):
    both = [start(manifest, tiny, tmp_path / "store", clips) for clips in (4, 7)]
    for _, talk in both: talk.recv()
    for _, talk in both: talk.send("go")
    answers = [talk.recv() for _, talk in both]
    for process, _ in both: process.join()
    assert [process.exitcode for process, _ in both] == [0, 0]
    assert answers == [(hashlib.sha256(alone.vectors.tobytes()).hexdigest(), len(manifest))] * 2  # each encoded them all: they did work side by side
    assert kept(tmp_path / "store") == set(manifest.content) and len(shards(tmp_path / "store")) > 2 and not halves(tmp_path / "store")
    assert same(embed_corpus(manifest, encoder := frozen(tiny), tmp_path / "store", progress=False), alone) and not encoder.encoded


def test_a_full_disk_is_reported_and_spoils_nothing(small, manifest, tiny, alone, tmp_path, monkeypatch):
    def mount(*options): return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(disk)], capture_output=True).returncode == 0
    (disk := tmp_path / "disk").mkdir()
    mounted = os.geteuid() == 0 and mount("size=400k")
    for name, value in by_count(frozen(tiny), 4).items(): monkeypatch.setattr(store, name, value)
    try:
        if not mounted: monkeypatch.setattr(store, "open", Quota, raising=False)
        with pytest.raises(StoreError, match=r"disk/.*: No space left on device; .* could not be kept, all before them are: make room, or name another place"):
            embed_corpus(manifest, frozen(tiny), disk, progress=False)
        whole, had = shards(disk), kept(disk)
        assert 0 < len(had) < len(manifest) and not halves(disk)
        if mounted: fails(emotion_ser("study", "--corpus", small, "--out", tmp_path / "A", EMOTION_SER_CACHE=str(disk)), "No space left on device", "make room")
        if mounted: assert mount("remount", "size=50m")
        else: monkeypatch.setattr(store, "open", open)
        assert same(embed_corpus(manifest, encoder := frozen(tiny), disk, progress=False), alone)
        assert len(encoder.encoded) == len(manifest) - len(had) and whole.items() <= shards(disk).items()
    finally:
        if mounted: subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="module")
def ray():
    "Ray on this machine, started once, however long it takes: Ray itself gives up when a process of its own needs more than 15 s to name its ports, so they are named beforehand"
    ray = pytest.importorskip("ray", reason="Ray is an extra: emotion_ser[ray]")
    from ray import _raylet
    from ray._private import services
    start, order = services.start_raylet, list(signature(services.start_raylet).parameters)

    def start_raylet(*args, **options):
        given = dict(zip(order, args))
        for name in ("METRICS_AGENT_PORT_NAME", "METRICS_EXPORT_PORT_NAME", "DASHBOARD_AGENT_LISTEN_PORT_NAME"):
            _raylet.persist_port(given["session_dir"], given["node_id"], getattr(_raylet, name), -1)  # not in use
        with socket.create_server(("127.0.0.1", 0)) as free: return start(*args, **options | dict(runtime_env_agent_port=free.getsockname()[1]))

    with pytest.MonkeyPatch.context() as patch:
        if hasattr(_raylet, "persist_port"): patch.setattr(services, "start_raylet", start_raylet)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def patience():
    "What hangs fails"
    with at_most(): yield


@pytest.mark.thorough("a cluster whose worker is killed; 20_scale compares the vectors of Ray to the bit")
def test_ray_gives_the_same_bits(manifest, tiny, alone, ray, patience, tmp_path):
    by_ray = partial(embed_corpus, manifest[:200], engine=ray_engine(), workers=2, progress=False)
    assert np.array_equal(by_ray(frozen(tiny, tmp_path / "store"), tmp_path / "store").vectors, alone.vectors[:200])
    whole = shards(tmp_path / "store")
    assert 0 < int((tmp_path / "killed").read_text()) < len(whole) - 2, "no worker died in the middle"
    assert np.array_equal(by_ray(frozen(tiny), tmp_path / "store").vectors, alone.vectors[:200]) and shards(tmp_path / "store") == whole


@pytest.mark.thorough("a second cluster; test_ray_gives_the_same_bits remains")
def test_ray_names_the_clips_that_cannot_be_read(manifest, ray, patience, tmp_path):
    (notes := tmp_path / "notes.wav").write_text("not a recording")
    rows = pd.concat([manifest[:8], pd.DataFrame([dict(path=str(notes), content="notes")]), manifest[8:40]], ignore_index=True)
    by_ray = partial(embed_corpus, rows, AcousticEncoder(), tmp_path / "store", engine=ray_engine(), workers=1, progress=False)
    with pytest.raises(AudioError, match=f"{notes}: not audio"): by_ray(on_error="raise")
    whole, found = shards(tmp_path / "store"), by_ray(on_error="skip")
    assert len(kept(tmp_path / "store")) == 40 and shards(tmp_path / "store") == whole  # the others were kept
    assert list(found.skipped) == [str(notes)] and f"{notes}: not audio" in found.skipped[str(notes)]
    here = embed_corpus(rows, AcousticEncoder(), tmp_path / "here", on_error="skip", progress=False)
    assert found.skipped == here.skipped and np.array_equal(found.vectors, here.vectors) and found.manifest.equals(here.manifest)


def test_a_worker_reports_a_full_disk(manifest, tmp_path, monkeypatch):
    def full(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(store, "put_bytes", full)
    batch = {name: manifest[name].to_numpy()[:2] for name in ("path", "content")}
    report = RayWorker(EmbeddingJob([], AcousticEncoder(), str(tmp_path / "store")))(batch)
    assert report["broken"].all()
    assert all("No space left on device; the last 2 embeddings could not be kept" in reason for reason in report["reason"])


CHANGED = "changed since the corpus was listed; run the same command again"


def replaced(folder, manifest):
    "A manifest of four copies, the second of which was then recorded anew"
    rows = manifest[:4].assign(path=[str(shutil.copy(path, folder / f"{i}.wav")) for i, path in enumerate(manifest.path[:4])])
    shutil.copy(manifest.path[9], folder / "1.wav")
    return rows


def test_a_file_that_changed_is_not_kept_under_what_it_was(manifest, tmp_path):
    rows, encoder = replaced(tmp_path, manifest), AcousticEncoder()
    with pytest.raises(AudioError, match=f"1.wav: {CHANGED}"): embed_corpus(rows, encoder, tmp_path / "store", progress=False, workers=1)
    found = embed_corpus(rows, encoder, tmp_path / "store", on_error="skip", progress=False)
    assert list(found.skipped) == [rows.path[1]] and rows.content[1] not in kept(tmp_path / "store")
    listed = list_recordings(tmp_path)  # the same command again
    again = embed_corpus(listed, encoder, tmp_path / "store", progress=False)
    assert not again.skipped and np.array_equal(again.vectors[1], encoder(load_waveform(manifest.path[9])))


def test_a_file_that_changes_while_it_is_decoded(manifest, tmp_path, monkeypatch):
    one, decode = manifest[:1].assign(path=shutil.copy(manifest.path[0], tmp_path / "0.wav")), clips.load_waveform

    def slow(file, **options):
        waveform = decode(file, **options)
        with open(tmp_path / "0.wav", "r+b") as other: other.seek(3000); other.write(b"other")
        return waveform
    monkeypatch.setattr(clips, "load_waveform", slow)
    with pytest.raises(AudioError, match=CHANGED): embed_corpus(one, AcousticEncoder(), tmp_path / "store", progress=False)


def test_a_store_is_asked_again(manifest, tmp_path):
    files = open_filesystem("memory://talks")[0]
    for i, path in enumerate(manifest.path[:3]): files.pipe_file(f"/talks{tmp_path}/{i}.wav", Path(path).read_bytes())
    listed = list_recordings(f"memory://talks{tmp_path}")
    files.pipe_file(f"/talks{tmp_path}/1.wav", Path(manifest.path[9]).read_bytes())
    found = embed_corpus(listed, AcousticEncoder(), tmp_path / "store", on_error="skip", progress=False)
    assert [(Path(path).name, CHANGED in reason) for path, reason in found.skipped.items()] == [("1.wav", True)]
    files.rm(f"/talks{tmp_path}", recursive=True)


def stretches(folder, manifest):
    "A dialogue of eight clips as a manifest of stretches, and the waveforms that they were"
    sounds = [sf.read(path, dtype="float32")[0] for path in manifest.path[:8]]
    sf.write(folder / "dialogue.wav", np.concatenate(sounds), 16000, subtype="FLOAT")
    with open(folder / "dialogue.wav", "rb") as file: whole = content_hash(file)
    ends = np.cumsum([len(sound) for sound in sounds]) / 16000
    starts = [np.nan, *ends[:-1]]
    contents = [stretch_content(whole, *times) for times in zip(starts, ends)]
    return pd.DataFrame(dict(path=str(folder / "dialogue.wav"), content=contents, start=starts, end=ends)), sounds


@pytest.mark.parametrize("engine", [local_engine, ray_engine()], ids=["local", "ray"])
def test_stretches_of_a_recording_have_embeddings_of_their_own(engine, manifest, tmp_path, request, monkeypatch):
    if engine is not local_engine: request.getfixturevalue("ray"), request.getfixturevalue("patience")
    (rows, sounds), encoder = stretches(tmp_path, manifest), AcousticEncoder()
    apart = pd.concat([rows, rows[:1].assign(start=500.0, end=501.0, content="beyond"), manifest[:1]], ignore_index=True)  # and one that is a file
    found = embed_corpus(apart, encoder, tmp_path / "store", on_error="skip", progress=False, engine=engine, workers=1)
    assert np.array_equal(found.vectors, np.stack([encoder(load_waveform((s, 16000))) for s in [*sounds, sounds[0]]]))
    assert list(found.skipped) == [f"{rows.path[0]}, 500 s to 501 s"] and "no stretch from 500 to 501 s" in str(found.skipped)
    table = pd.read_parquet(save_manifest(apart, found, tmp_path / "store"))
    assert table.problem.notna().tolist() == [False] * 8 + [True, False] and table.end[:8].tolist() == rows.end.tolist()


def test_a_recording_that_changed_spoils_its_stretches(manifest, tmp_path):
    (rows, _), encoder = stretches(tmp_path, manifest), AcousticEncoder()
    embed_corpus(rows[:4], encoder, tmp_path / "store", progress=False)
    os.utime(tmp_path / "dialogue.wav", (0, 0))  # an old file, as far as anybody can see
    with open(tmp_path / "dialogue.wav", "r+b") as file: file.seek(9000); file.write(b"cut again")
    os.utime(tmp_path / "dialogue.wav", (0, 0))
    with pytest.raises(AudioError, match=CHANGED): embed_corpus(rows, encoder, tmp_path / "store", progress=False)
    assert len(kept(tmp_path / "store")) == 4


def test_a_long_recording_is_not_hashed_for_each_stretch(manifest, tmp_path, monkeypatch):
    (rows, _), hashed, encoder = stretches(tmp_path, manifest), [], AcousticEncoder()
    real, written = clips.content_hash, (tmp_path / "dialogue.wav").stat().st_ctime
    monkeypatch.setattr(clips.time, "time", lambda: written + 1)
    monkeypatch.setattr(clips, "content_hash", lambda file: hashed.append(file.name) or real(file))
    embed_corpus(rows[:4], encoder, tmp_path / "store", progress=False)
    assert len(hashed) == 4  # just written: who knows what else happens to it
    monkeypatch.setattr(clips.time, "time", lambda: written + 60)
    embed_corpus(rows, encoder, tmp_path / "store", progress=False, workers=1)
    assert len(hashed) == 5


def test_ray_refuses_what_changed(manifest, ray, patience, tmp_path):
    rows = replaced(tmp_path, manifest)
    found = embed_corpus(rows, AcousticEncoder(), tmp_path / "store", engine=ray_engine(), workers=1, on_error="skip", progress=False)
    assert list(found.skipped) == [rows.path[1]] and CHANGED in found.skipped[rows.path[1]] and len(kept(tmp_path / "store")) == 3


def test_an_unknown_engine_or_place(manifest, tmp_path):
    few, encoder = manifest[:2], AcousticEncoder()
    with pytest.raises(ValueError, match="local_engine.*ray_engine.*not 'spark'"): embed_corpus(few, encoder, tmp_path / "store", engine="spark")
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="taken/below.*cannot be made.*choose another place"): embed_corpus(few, encoder, tmp_path / "taken/below", progress=False)
    assert not (tmp_path / "store").exists()


class Any(FrozenEncoder):
    statistics, poolings = Encoder.statistics, Encoder.poolings


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 3), st.integers(1, 5), st.integers(1, 6), st.sampled_from(Encoder.poolings), st.booleans(), st.integers(0, 2**16))
def test_a_store_gives_back_the_very_bits(data, n_layers, width, n_clips, pooling, folder, seed):
    layers = data.draw(st.lists(st.integers(0, n_layers), min_size=1, unique=True))
    rows = data.draw(st.lists(st.integers(0, n_clips - 1), min_size=1, max_size=9))
    encoder, rng = Any("any", n_layers, width, layers, pooling), np.random.default_rng(seed)
    stats = rng.integers(0, 2**32, (n_clips, encoder.top + 1, 4, width), np.uint32).view(np.float32)  # any bits at all, so NaNs of every kind
    stats[rng.random(stats.shape) < 0.3] = rng.choice(np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45]))
    with tempfile.TemporaryDirectory() as place:
        where, cut = place if folder else f"memory://{Path(place).name}", data.draw(st.integers(0, n_clips))
        for part in (range(cut), range(cut, n_clips)):
            if part: write_shard(where, {f"c{i}": (f"{i}.wav", stats[i]) for i in part}, encoder)
        index = stored_contents(where, encoder)
        assert sorted(index) == [f"c{i}" for i in range(n_clips)]
        assert read_store(index, [f"c{i}" for i in rows], encoder, where).tobytes() == encoder.select(stats)[rows].tobytes()
