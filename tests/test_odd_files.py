"""The odd files: decoded whole, or refused with the reason, by every way in alike. `python tests/odd_files.py OUT --table` asks all commands."""
import io
import os
import re
import tempfile
import zipfile

import pytest
from odd_commands import RAW, ask, by_cli_predict, classifier, command, faults
from odd_files import KINDS, make_odd_files, missing, sound

from emotion_ser.audio import AudioError

LIGHT = [k for k in KINDS if not k.heavy]


@pytest.fixture(scope="session")
def paths(tmp_path_factory): return make_odd_files(tmp_path_factory.mktemp("odd"), heavy=False)


def wrong(k, outcomes): return {name: text for name, text in faults(k, outcomes).items() if text}


@pytest.mark.parametrize("k", LIGHT, ids=lambda k: k.slug)
def test_accepted_or_refused(paths, k):
    if missing(k): pytest.skip(f"no {missing(k)} here")
    ways = ("load_waveform", "open_recording", "predict")[: 1 if k.needs == "ffmpeg" or k.rate > 100_000 else 3]  # these take longer
    assert not wrong(k, {name: ask(name, paths[k.slug]) for name in ways})


@pytest.mark.thorough("forty files at the shell; each is tested in Python")
def test_by_the_command_alike(paths):
    asked = {k.slug: paths[k.slug] for k in LIGHT if k.slug in paths and k.slug != "folder" and (k.slug != "may not be read" or os.geteuid())}
    found, ran = by_cli_predict(asked)
    assert not ran.crash and ran.status == 1 and not re.search(RAW, ran.out + ran.err)
    assert not {k.slug: bad for k in LIGHT if k.slug in asked and (bad := wrong(k, {"cli predict": found[k.slug]}))}


@pytest.mark.parametrize("slug", ["M4A AAC", "WEBM Opus", "AAC bare", "WMA"])
def test_without_ffmpeg_the_way_out_is_named(paths, slug, monkeypatch):
    if slug not in paths: pytest.skip("no ffmpeg here to make it with")
    monkeypatch.setenv("PATH", "/nowhere")
    refused = ask("predict", paths[slug])
    assert not refused.accepted and "ffmpeg" in refused.reason and "convert" in refused.reason, refused


@pytest.mark.parametrize("source", [
    "", ".", "/", "a\0b.wav", "n" * 5000 + ".wav", "n" * 300 + ".wav", __file__ + "/clip.wav", "file:///nowhere/clip.wav", "http://127.0.0.1:1/clip.wav", "nothing://clip.wav", "memory://nowhere.wav",
    b"RIFF", None, 5, object(), [], {}, io.StringIO("text"), io.BytesIO(), io.BytesIO(b"text")], ids=lambda source: re.sub(" at 0x.*", "", repr(source))[:30])
def test_what_is_no_recording_is_refused_in_a_sentence(source):
    with pytest.raises(AudioError) as refused: classifier().predict(source)
    assert "\n" not in str(refused.value) and "\0" not in str(refused.value) and len(str(refused.value)) < 5300


def test_open_files_of_every_sort(tmp_path):
    data, wanted = sound(), classifier().predict(io.BytesIO(sound()))
    (tmp_path / "clip.wav").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive: archive.writestr("clip.wav", data)
    with open(tmp_path / "clip.wav", "rb") as file:
        assert classifier().predict(file) == wanted == classifier().predict(file)  # from its beginning, wherever it was left
    with open(tmp_path / "clip.wav", "rb", buffering=0) as file: assert classifier().predict(file) == wanted
    with open(tmp_path / "clip.wav", "r+b") as file: assert classifier().predict(file) == wanted
    with zipfile.ZipFile(tmp_path / "clips.zip") as archive, archive.open("clip.wav") as file: assert classifier().predict(file) == wanted
    with tempfile.TemporaryFile() as file, tempfile.SpooledTemporaryFile() as small, tempfile.NamedTemporaryFile() as named:
        for place in (file, small, named):
            place.write(data)
            assert classifier().predict(place) == wanted


@pytest.mark.parametrize("form", [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("WAV", "PCM_16")])
def test_a_file_in_memory_behind_a_buffer(form):
    assert classifier().predict(io.BufferedReader(io.BytesIO(sound(*form)))) == classifier().predict(io.BytesIO(sound(*form)))


@pytest.mark.parametrize("opened", [lambda path: open(path, "rb"), lambda path: io.BytesIO(path.read_bytes()), lambda path: open(path, "rb", buffering=0)])
def test_closed_files_are_refused(opened, tmp_path):
    (tmp_path / "clip.wav").write_bytes(sound())
    file = opened(tmp_path / "clip.wav")
    file.close()
    with pytest.raises(AudioError): classifier().predict(file)


def test_a_pipe_that_breaks_off_is_refused():
    "What cannot be gone back in"
    reading, writing = os.pipe()
    os.write(writing, sound(seconds=1.0)[:32000])
    os.close(writing)
    with open(reading, "rb") as file, pytest.raises(AudioError): classifier().predict(file)


def test_files_opened_as_text_are_refused(tmp_path):
    (tmp_path / "clip.wav").write_bytes(sound())
    with open(tmp_path / "clip.wav", encoding="latin-1") as file, pytest.raises(AudioError): classifier().predict(file)


def test_names_are_harmless_in_every_form(tmp_path):
    names = {k.name: k for k in KINDS if k.slug.startswith("name: ") and not k.needs and k.slug != "name: no suffix"}
    for name, k in names.items(): (tmp_path / name).write_bytes(k.make())
    for form in ("jsonl", "csv", "table"):
        ran = command("predict", "--format", form, "--", *names, cwd=tmp_path)
        assert ran.status == 0 and f"{len(names)} of {len(names)} recordings" in ran.err, ran.err
        assert not re.search(RAW, ran.out + ran.err)
        if form != "csv": assert len(ran.out.splitlines()) == len(names)
        else: assert not re.search(r"^\"?[=@+-]", ran.out, re.M)
