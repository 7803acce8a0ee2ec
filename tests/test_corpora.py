"""Corpora as people have them: folders, lists and files that are not what they seem. Nothing is lost without a word."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import PATIENCE_S, at_most, emotion_ser

import emotion_ser.curate as curate
from emotion_ser.core import read_table, silent, write_table
from emotion_ser.corpus import CorpusError, clip_facts, find_audio, list_recordings, report_left_out, stretch_content
from emotion_ser.data import RAVDESS_ARCHIVE, prepare_ravdess, ravdess_names
from emotion_ser.own import load_corpus
from emotion_ser.splits import Split, make_split, random_split
from emotion_ser.synthetic import make_sample_corpus

RATE = 16000
LABELS, SPEAKERS = ("happy", "sad", "angry"), ("s0", "s1", "s2")


def sound(seed, seconds=0.3):
    "Noise that no other seed gives, in steps that 16 bits hold exactly"
    return np.random.default_rng(seed).integers(-9000, 9000, int(seconds * RATE)) / 32768


def clip(path, seed, seconds=0.3, **how):
    "Write a clip, and the folders that it lies in"
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, sound(seed, seconds), RATE, **how)
    return path


def tree(folder, form="{label}/{speaker}/{n}.wav", labels=LABELS, speakers=SPEAKERS, clips=2):
    "Clips of some labels by some speakers, laid out by a form"
    each = [(label, speaker, k) for label in labels for speaker in speakers for k in range(clips)]
    for n, (label, speaker, k) in enumerate(each): clip(folder / form.format(label=label, speaker=speaker, n=n, k=k), n)
    return folder


def understood(corpus):
    "The manifest of a corpus, and all that is reported of it as one text"
    reports = []
    manifest = load_corpus(corpus, reports.append)
    assert reports[-1].startswith("understood: ")
    assert all(line.isprintable() for line in reports)
    return manifest, "\n".join(reports)


def refusal(corpus):
    "The sentence with which a corpus is refused"
    with pytest.raises(CorpusError) as refused: load_corpus(corpus, silent)
    assert str(refused.value).isprintable()
    return str(refused.value)


def a_list(folder, text, name="list.csv", encoding="utf-8"):
    "A list beside the clips"
    (folder / name).write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return folder / name


@pytest.fixture
def plain(tmp_path):
    "label/speaker/clip, 18 clips"
    return tree(tmp_path / "plain")


@pytest.fixture
def rows(tmp_path):
    "A list of 18 clips by three speakers, as rows of path, label and speaker"
    tree(tmp_path)
    return [(str(path.relative_to(tmp_path)), path.parts[-3], path.parts[-2]) for path in sorted(tmp_path.rglob("*.wav"))]


def lines(rows, head=("path", "label", "speaker"), by=","):
    "Rows as the text of a CSV"
    return "\n".join(by.join(row) for row in [head, *rows]) + "\n"


# What a path leads to

def test_paths_that_lead_to_no_file_are_reported_and_do_not_block(tmp_path, rows):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "nothing.wav").touch()
    with socket.socket(socket.AF_UNIX) as talk:
        talk.bind(str(tmp_path / "talk.wav"))
        odd = ["pipe.wav", "/dev/zero", "/dev/stdin", "folder.wav", "loop.wav", "nothing.wav", "talk.wav", "gone.wav"]
        a_list(tmp_path, lines(rows + [(path, "sad", "s0") for path in odd]))
        with at_most(): manifest, text = understood(tmp_path / "list.csv")
    assert len(manifest) == 18
    assert "left out, cannot be read: 8" in text and len(manifest.attrs["left_out"]) == 8
    for line, reason in enumerate(("a pipe", "a device", "", "a folder", "leads back", "empty", "a socket", "no such file"), 20):
        assert re.search(rf"line {line}: .*{reason}", text)


def test_a_pipe_in_a_folder_is_reported(plain):
    os.mkfifo(plain / "happy/s0/pipe.wav")
    assert "happy/s0/pipe.wav: a pipe" in understood(plain)[1]


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("nowhere")])
def test_a_list_that_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "list.csv")
    assert "neither a folder nor a file" in refusal(tmp_path / "list.csv")


@pytest.mark.parametrize("url", ["https://example.org/a.wav", "s3://bucket/a.wav", "file:///etc/passwd", "FTP://example.org/a.wav"])
def test_addresses_in_a_list_are_refused(tmp_path, rows, url):
    assert "line 20: an address" in refusal(a_list(tmp_path, lines([*rows, (url, "sad", "s0")])))


def test_a_file_that_may_not_be_read_is_not_called_not_audio(tmp_path, rows, monkeypatch):
    real = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("/0.wav"): raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    text = understood(a_list(tmp_path, lines(rows)))[1]
    assert "may not be read" in text and "not audio" not in text


# Names

def test_names_that_a_terminal_would_obey(tmp_path):
    tree(tmp_path / "c", labels=("\x1b[31mred", "b\x07lue", "two\nlines"), speakers=("a\x1b]0;b", "c", "d"))
    (tmp_path / "c/\x1b[2J.txt").touch()
    (tmp_path / "c/b\x07lue/\x1b[2J.wav").write_text("not a sound")
    os.mkfifo(tmp_path / "c/\x1b[2J.flac")
    manifest, text = understood(tmp_path / "c")  # which looks that all is printable
    assert all(text.isprintable() for text in [*manifest.emotion, *manifest.actor])
    assert text.count("[2J") == 2


def test_names_that_are_not_unicode(tmp_path):
    folder = tree(tmp_path / "plain", labels=("happy", "sad"), clips=4)
    for path in list(folder.rglob("*.wav")): os.rename(path, os.fsencode(path.parent) + b"/\xdc" + path.name.encode())
    os.rename(os.fsencode(folder) + b"/sad", os.fsencode(folder) + b"/tr\xfcb")
    (Path(os.fsdecode(os.fsencode(folder) + b"/not\xefz.txt"))).touch()
    manifest, text = understood(folder)
    assert len(manifest) == 24 and set(manifest.emotion) == {"happy", r"tr\udcfcb"} and "1 .txt" in text
    write_table(manifest, tmp_path / "manifest.csv")
    manifest.to_parquet(tmp_path / "manifest.parquet")
    assert pd.read_parquet(tmp_path / "manifest.parquet").path.tolist() == read_table(tmp_path / "manifest.csv").path.tolist() == manifest.path.tolist()
    assert understood(tmp_path / "manifest.csv")[0].content.tolist() == manifest.content.tolist()
    assert len(list_recordings(folder, silent)) == 24


def test_spellings_of_a_label_and_of_a_speaker_are_joined(tmp_path, rows):
    nfd = unicodedata.normalize("NFD", "fröhlich")
    written = {"happy": ["fröhlich", "fröhlich", nfd, "FRÖHLICH"], "sad": ["sad", "Sad", "sad "], "angry": ["angry"]}
    rows = [(path, written[label][i % len(written[label])], speaker.upper() if i % 2 else speaker) for i, (path, label, speaker) in enumerate(rows)]
    manifest, text = understood(a_list(tmp_path, lines(rows)))
    assert manifest.emotion.value_counts().to_dict() == {"fröhlich": 6, "sad": 6, "angry": 6} and set(manifest.actor) == {"s0", "s1", "s2"}
    assert "FRÖHLICH" in text and "Sad (2)" in text and text.count("one speaker, written in several ways") == 3
    make_split(manifest, "actor-holdout")


@pytest.mark.parametrize("label", ["None", "NA", "N/A", "nan", "NaN", "null", "NULL", "True", "1", "1.0", "-", "#N/A", "=1+1", "<NA>"])
def test_a_label_is_what_it_says(tmp_path, rows, label):
    rows = [(path, label if emotion == "angry" else emotion, speaker) for path, emotion, speaker in rows]
    manifest, text = understood(a_list(tmp_path, lines(rows)))
    assert manifest.emotion.value_counts().to_dict() == {"happy": 6, "sad": 6, label: 6} and f"{label} 6" in text


def test_a_label_with_a_comma_and_quotes(tmp_path, rows):
    rows = [(path, '"happy, ""very"""' if label == "happy" else label, speaker) for path, label, speaker in rows]
    assert set(understood(a_list(tmp_path, lines(rows)))[0].emotion) == {'happy, "very"', "sad", "angry"}


# One sound in several files

FORMS = {"flac": dict(), "24 bits": dict(subtype="PCM_24"), "32 bits": dict(subtype="PCM_32"), "float": dict(subtype="FLOAT"), "double": dict(subtype="DOUBLE"),
         "aiff": dict(subtype="PCM_16"), "caf": dict(), "au": dict(), "w64": dict(), "rf64": dict(), "stereo": dict(), "six": dict(), "chunk": dict()}


def twin(path, seed, form):
    "The sound of a seed in another form"
    path = path.with_suffix({"aiff": ".aiff", "caf": ".caf", "au": ".au", "w64": ".w64", "rf64": ".rf64"}.get(form, ".flac" if form in ("flac", "six") else ".wav"))
    x = sound(seed)
    x = np.repeat(x[:, None], 2, axis=1) if form == "stereo" else np.repeat(x[:, None], 6, axis=1) if form == "six" else x
    with sf.SoundFile(path, "w", RATE, 1 if x.ndim == 1 else x.shape[1], **FORMS[form]) as file:
        if form == "chunk": file.title, file.comment = "another title", "and a comment"
        file.write(x)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_one_sound_in_two_forms_is_one_recording(tmp_path, form):
    folder = tree(tmp_path / "two", "{label}/{n}.wav")
    path = clip(tmp_path / "one.wav", 0)
    other = twin(tmp_path / "two/happy/again", 0, form)
    assert other.read_bytes() != path.read_bytes()
    manifest, text = understood(folder)
    assert len(manifest) == 18 and "left out, exact copies: 1" in text  # label and speaker are the same
    shutil.move(other, folder / "sad" / other.name)
    assert "one recording under two labels (happy and sad)" in refusal(folder)


def test_twins_are_on_one_side_of_a_random_split(tmp_path):
    for i, name in enumerate(ravdess_names(1) + ravdess_names(2)): clip(tmp_path / f"{name}.wav", i)
    for i, name in list(enumerate(ravdess_names(1)))[1::4]:  # the second repetition, as another file of the first one's sound
        (tmp_path / f"{name}.wav").unlink()
        twin(tmp_path / name, i - 1, "flac")
    reports = []
    manifest = prepare_ravdess(tmp_path, reports.append)
    twins = manifest[manifest.duplicated("sound", keep=False)]
    assert len(twins) == 30 and not twins.duplicated("content").any() and len(manifest) == 120
    assert "recordings found more than once, kept on one side of every split: 15" in reports
    for seed in range(5): assert {*twins.index} <= {*random_split(manifest, seed).train}
    a, b = twins.index[twins["sound"] == twins["sound"].iloc[0]]
    with pytest.raises(CorpusError, match="share 1 values of sound"): Split("random", 0, np.array([a]), np.array([], int), np.array([b])).check(manifest)


def test_a_name_twice_in_two_formats_is_a_copy_in_ravdess(tmp_path):
    for i, name in enumerate(ravdess_names(1)): clip(tmp_path / "a" / f"{name}.wav", i)
    for i, name in enumerate(ravdess_names(1)): clip(tmp_path / "b" / f"{name}.flac", i)
    reports = []
    assert len(prepare_ravdess(tmp_path, reports.append)) == 60 and "120 files hold 60 clips; left out, copies: 60" in reports
    for name in ravdess_names(1)[:12]: clip(tmp_path / "b" / f"{name}.flac", 99)
    with pytest.raises(CorpusError) as refused: prepare_ravdess(tmp_path, reports.append)
    assert str(refused.value).count(" and ") == 10 + 1 and "12 in all" in str(refused.value)  # ten pairs, and how many more


def test_all_conflicts_are_reported(tmp_path, rows):
    twice = [(path, "sad" if label != "sad" else "happy", speaker) for path, label, speaker in rows[:12]]
    sentence = refusal(a_list(tmp_path, lines(rows + twice)))
    assert sentence.count("one recording under two labels") == 10 and "and 2 more, 12 in all" in sentence and "(line 2)" in sentence and "(line 20)" in sentence
    sentence = refusal(a_list(tmp_path, lines(rows + [(path, label, "s9") for path, label, _ in rows[:3]])))
    assert sentence.count("one recording by two speakers") == 3


def test_a_clip_that_cannot_be_decoded_while_comparing_is_reported(plain):
    damaged = plain / "happy/s0/bad.flac"
    sf.write(damaged, sound(77), RATE)
    whole = bytearray(damaged.read_bytes())
    whole[len(whole) // 4: len(whole) // 4 + 2000] = bytes(2000)
    damaged.write_bytes(whole)
    clip(plain / "happy/s0/fine.flac", 77)
    manifest, text = understood(plain)
    assert len(manifest) == 19 and "left out, cannot be read: 1" in text and "bad.flac" in text and "bad.flac" in manifest.attrs["left_out"][0]


def test_only_what_could_be_equal_is_decoded(tmp_path, monkeypatch):
    for i in range(20): clip(tmp_path / f"c/{LABELS[i % 2]}/{i}.wav", i, seconds=0.3 + 0.01 * i)  # no two of one length
    monkeypatch.setattr(curate, "sample_hash", lambda *args: pytest.fail("decoded"))
    assert (lambda manifest: (manifest["sound"] == manifest.content).all())(understood(tmp_path / "c")[0])


# Folders

def test_linked_folders_are_read_and_loops_cut(tmp_path, plain):
    before = understood(plain)[0]
    shutil.move(plain / "angry", tmp_path / "elsewhere")
    (plain / "angry").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    shutil.move(plain / "sad/s0/6.wav", tmp_path / "6.wav")
    (plain / "sad/s0/6.wav").symlink_to("../../../6.wav")
    (plain / "happy/back").symlink_to("../..", target_is_directory=True)
    (plain / "happy/again").symlink_to(plain, target_is_directory=True)
    (plain / "happy/s0/lost.wav").symlink_to("nowhere.wav")
    (plain / "self").symlink_to("self")
    manifest, text = understood(plain)
    assert sorted(manifest.content) == sorted(before.content)
    assert "left out, links to folders read already: 2" in text and "lost.wav: a link to nothing" in text and "self: " in text


def test_folders_that_link_to_one_another_are_read_once(tmp_path):
    tree(tmp_path / "c")
    for i in range(25): (tmp_path / f"d{i}").mkdir()
    for i in range(24):
        for name in "ab": (tmp_path / f"d{i}/{name}").symlink_to(f"../d{i + 1}", target_is_directory=True)
    (tmp_path / "c/happy/way").symlink_to("../../d0", target_is_directory=True)  # 2^24 ways through
    assert len(find_audio(tmp_path / "c")[0]) == 18


def test_a_folder_that_may_not_be_listed_is_reported(plain, monkeypatch):
    real = os.scandir

    def refuse(path):
        if str(path).endswith("angry"): raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    manifest, text = understood(plain)
    assert len(manifest) == 12 and "left out, cannot be listed: 1\n  angry: permission denied" in text


@pytest.mark.skipif(not shutil.which("setpriv") or os.getuid() != 0, reason="needs root and setpriv")
def test_a_folder_that_may_not_be_listed_as_another_user(plain):
    (plain / "angry").chmod(0)
    done = subprocess.run(["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", sys.executable, "-c",
                           f"from emotion_ser.own import load_corpus; load_corpus({str(plain)!r})"], capture_output=True, text=True)
    assert "left out, cannot be listed: 1\n  angry: permission denied" in done.stdout and "understood: 12 clips" in done.stdout


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".aiff", ".AIF", ".au", ".caf", ".opus"])
def test_other_formats_beside_wav_are_read(plain, suffix):
    for path in list((plain / "angry").rglob("*.wav")):
        x, _ = sf.read(path)
        sf.write(path.with_suffix(suffix), x, RATE, **dict(format="OGG", subtype="OPUS") if suffix == ".opus" else dict(format="AIFF") if suffix == ".AIF" else {})
        path.unlink()
    assert understood(plain)[0].emotion.value_counts().to_dict() == dict(happy=6, sad=6, angry=6)


def test_what_is_not_read_is_reported_by_kind_and_number(plain, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # where no ffmpeg is
    for name in ("a.m4a", "b.M4A", "c.webm", "notes.txt", "b.txt", "README", ".hidden.wav", ".hidden.txt", ".git/x.flac", "__MACOSX/._y.wav"):
        (plain / name).parent.mkdir(exist_ok=True)
        (plain / name).write_bytes(b"something")
    text = understood(plain)[1]
    assert "not read: 2 .m4a (ffmpeg is not on the path; `ffmpeg -i in.m4a out.wav` converts one), 2 .txt, 1 .webm (ffmpeg" in text
    assert "1 without a suffix" in text and "left out, hidden: 3" in text
    files, left_out = find_audio(plain)
    reports = []
    report_left_out(left_out, reports.append, plain)
    assert len(files) == 18 and reports == text.split("\n")[:2]


def test_videos_of_ravdess_stay_left_out(tmp_path, monkeypatch):
    for i, name in enumerate(ravdess_names(1)): clip(tmp_path / f"{name}.wav", i)
    for name in ("01-01-01-01-01-01-01.mp4", "02-01-01-01-01-01-01.mp4", "holiday.avi", "notes.txt"): (tmp_path / name).write_bytes(b"film")
    for path in (os.environ["PATH"], "/nowhere"):
        monkeypatch.setenv("PATH", path)
        reports = []
        assert len(prepare_ravdess(tmp_path, reports.append)) == 60
        assert "left out, video: 2" in reports and not any("mp4" in sentence for sentence in reports)


def test_a_folder_of_which_nothing_is_read_says_what_is_there(tmp_path):
    (tmp_path / "c/happy").mkdir(parents=True)
    (tmp_path / "c/happy/a.xyz").touch()
    assert "no audio file in it (not read: 1 .xyz)" in refusal(tmp_path / "c")


def test_recordings_of_a_place_by_the_same_rules(plain):
    (plain / "linked").symlink_to(tree(plain.parent / "other", "{n}.flac"), target_is_directory=True)
    (plain / "notes.txt").touch()
    reports = []
    assert len(list_recordings(plain, reports.append)) == 36 and reports == ["not read: 1 .txt"]
    assert len(list_recordings(f"file://{plain}", reports.append)) == 36


# What was understood

@pytest.mark.parametrize("form, layout, speakers", [
    ("{label}/{n}.wav", "label/clip", "speakers: not known"),
    ("{label}/{speaker}/{n}.wav", "label/speaker/clip", "3 speakers (s0, s1, s2)"),
    ("{speaker}/{label}/{n}.wav", "speaker/label/clip", "3 speakers (s0, s1, s2)"),
    ("{speaker}/{label}/evaluation/{n}.wav", "speaker/label/clip", "3 speakers (s0, s1, s2)"),
    ("Emotion Speech Dataset/{speaker}/{label}/train/{n}.wav", "speaker/label/clip", "3 speakers (s0, s1, s2)"),
    ("{label}/train/{n}.wav", "label/clip", "speakers: not known"),
    ("data/{label}/{n}.wav", "label/clip", "speakers: not known")])
@pytest.mark.parametrize("labels", [LABELS, ("Happy", "SAD", "Angry")])
def test_layouts(tmp_path, form, layout, speakers, labels):
    manifest, text = understood(tree(tmp_path / "c", form, labels))
    assert manifest.emotion.value_counts().to_dict() == dict.fromkeys(labels, 6)
    assert text.endswith(f"read as {layout}") and speakers in text and "18 clips; 3 labels: " in text


def test_layouts_of_labels_that_are_in_no_dictionary(tmp_path):
    manifest, text = understood(tree(tmp_path / "c", "{label}/{speaker}/{n}.wav", ("up", "down"), ("anna", "ben")))
    assert text == "understood: 8 clips; 2 labels: down 4, up 4; 2 speakers (anna, ben); read as label/speaker/clip"


def test_esd_as_it_is(tmp_path):
    manifest, text = understood(tree(tmp_path / "c", "{speaker}/{label}/{n}.wav", ("Angry", "Happy", "Neutral", "Sad", "Surprise"), ("0001", "0002", "0011", "0020")))
    assert set(manifest.actor) == {"0001", "0002", "0011", "0020"} and set(manifest.emotion) == {"Angry", "Happy", "Neutral", "Sad", "Surprise"}
    assert "?" not in text


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Train", "VALID", "Test"), ("training", "dev", "evaluation"), ("train_set", "test-set"), ("fold1", "fold2", "fold3"),
                                   ("train", "test", "extra"), ("train_wav", "Test Clips", "dev_splits")])
@pytest.mark.parametrize("form", ["{label}/{n}.wav", "{label}/happy/{n}.wav", "c/{label}/{speaker}/{n}.wav", "{label}/{speaker}/{n}.wav"])
def test_the_parts_of_a_corpus_are_no_labels(tmp_path, names, form):
    sentence = refusal(tree(tmp_path / "c", form, names))
    assert names[0] in sentence and ("parts of a corpus" in sentence or form.startswith("c/") and "one label only (c)" in sentence) and "give" in sentence


def test_the_parts_of_a_corpus_are_no_labels_in_a_list(tmp_path, rows):
    assert "parts of a corpus" in refusal(a_list(tmp_path, lines([(path, dict(happy="train", sad="test", angry="dev")[label], speaker) for path, label, speaker in rows])))


@pytest.mark.parametrize("form, labels, speakers, asked", [
    ("{label}/{k}{speaker}.wav", ("DC", "JE", "JK", "KL"), SPEAKERS, "clips of the same names"),  # SAVEE
    ("{label}/h{n}_happy_sad.wav", ("DC", "JE", "JK"), SPEAKERS, "names speak of emotions"),
    ("{label}/{n}.wav", ("0001", "0002", "0003"), SPEAKERS, "look like speakers"),
    ("{label}/{n}.wav", ("Actor_01", "Actor_02", "Actor_03"), SPEAKERS, "look like speakers"),
    ("{label}/{n}.wav", ("OAF_angry", "YAF_angry", "OAF_Fear", "YAF_fear"), SPEAKERS, "several labels speak of one emotion"),  # TESS
    ("{label}/x/{speaker}/{n}.wav", LABELS, SPEAKERS, "the tree is deeper"),
    ("{speaker}/{label}/{k}/{n}.wav", LABELS, ("emodb", "tess", "savee"), "names of corpora; are they the speakers?"),
    ("{speaker}/{label}/{k}/{n}.wav", LABELS, ("one corpus", "another"), "the tree is deeper"),
    ("{label}/{n}.wav", ("emodb", "tess", "savee"), SPEAKERS, "names of corpora; are they the labels?"),
    ("{label}/{speaker}/{n}.wav", LABELS, ("female", "male"), "how groups are called, not people"),
    ("{label}/{n}.wav", tuple(f"what {x} says" for x in "abcdefghijkl"), ("anna",), "24 clips have 12 labels")])
def test_questions(tmp_path, form, labels, speakers, asked):
    text = understood(tree(tmp_path / "c", form, labels, speakers))[1]
    assert any(asked in line and line.endswith("?") for line in text.split("\n"))


def test_a_tree_of_which_a_part_is_deeper_is_questioned(tmp_path):
    tree(tmp_path / "c")
    clip(tmp_path / "c/happy/alone.wav", 99)
    assert "happy/alone" not in (text := understood(tmp_path / "c")[1]) and "is that right?" in text and "not known of 1 clip" in text


def test_labels_of_one_speaker_are_warned_of(tmp_path):
    folder = tree(tmp_path / "c", labels=("up",), speakers=("anna",))
    clip(folder / "down/ben/x.wav", 90)
    assert "each label has one speaker only (down: ben, up: anna)" in understood(folder)[1]
    clip(folder / "up/ben/x.wav", 91)
    assert "some labels have one speaker only (down: ben)" in understood(folder)[1]


def test_a_label_without_a_recording_is_reported(plain):
    (plain / "calm/s0").mkdir(parents=True)
    (plain / "bored").mkdir()
    (plain / "bored/a.xyz").touch()
    text = understood(plain)[1]
    assert "folders without a recording that can be read: bored, calm" in text and "not read: 1 .xyz" in text


def test_one_label_is_refused_with_the_way_out(tmp_path):
    assert "one label only (up)" in (sentence := refusal(tree(tmp_path / "c", labels=("up",)))) and "give the folder inside it" in sentence


def test_what_was_understood_is_always_reported(tmp_path, rows, small):
    assert understood(a_list(tmp_path, lines(rows)))[1] == ("understood: 18 clips; 3 labels: happy 6, sad 6, angry 6; 3 speakers (s0, s1, s2); "
                                                            "read as a list (path, label, speaker)")
    assert "4 speakers (1, 2, 3, 4); read as RAVDESS's file names" in understood(small)[1]
    assert understood("sample")[1].startswith("understood: 1440 clips; 8 labels: neutral 96, calm 192")


# Lists

@pytest.mark.parametrize("head", [("path", "label", "speaker"), ("filename", "emotion", "speaker_id"), ("file", "Emotion", "actor"), ("wav", "label", "Speaker ID"),
                                  ("audio", "EMOTION", "subject"), ("File Name", "Emotion Label", "Participant"), ("audio_path", "class", "spk")])
@pytest.mark.parametrize("by", [",", ";", "\t", "|"])
def test_usual_headers_and_separators(tmp_path, rows, head, by):
    manifest, text = understood(a_list(tmp_path, lines(rows, head, by)))
    assert manifest.emotion.value_counts().to_dict() == dict(happy=6, sad=6, angry=6) and set(manifest.actor) == {*SPEAKERS}
    for role, name in zip(("path", "label", "speaker"), head): assert (role if role == name else f"{role} from `{name}`") in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_encodings(tmp_path, rows, encoding):
    rows = [(path, "fröhlich" if label == "happy" else label, speaker) for path, label, speaker in rows]
    text = lines(rows)
    if encoding == "utf-16-be": assert "not a text file" in refusal(a_list(tmp_path, text, encoding=encoding))
    else:
        manifest, text = understood(a_list(tmp_path, text, encoding=encoding))
        assert set(manifest.emotion) == {"fröhlich", "sad", "angry"} and ("not UTF-8, read as Windows-1252" in text) == (encoding in ("latin-1", "cp1252"))


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"), lambda text: text.replace("\n", ",\n"), lambda text: text.replace("\n", ",\n").replace("speaker,", "speaker"),
    lambda text: "sep=,\n" + text, lambda text: "\n" + text.replace("\n", "\n\n"), lambda text: text + ",,\n,,\n", lambda text: text.replace(",", " , "),
    lambda text: "".join(f'"{cell}"{end}' for cell, end in re.findall(r"([^,\n]*)([,\n])", text)), lambda text: text.replace("/", "\\")])
def test_lists_as_programs_write_them(tmp_path, rows, change):
    manifest = understood(a_list(tmp_path, change(lines(rows)).encode()))[0]
    assert manifest.emotion.value_counts().to_dict() == dict(happy=6, sad=6, angry=6) and set(manifest.actor) == {*SPEAKERS}


@pytest.mark.parametrize("text, reason", [
    ("name,mood of the day\na.wav,sad\n", "its first line has name, mood of the day; it needs path, label"),
    ("happy/s0/0.wav,happy\nsad/s0/6.wav,sad\n", "its first line has happy/s0/0.wav, happy"),
    ("filename\na.wav\n", "no column label; its first line has filename"),
    ("path,label\na.wav\nb.wav,sad\nc.wav,sad,s1\n", "line 2: 1 cell instead of 2; line 4: 3 cells instead of 2"),
    ("path,label\na.wav,joy, or so\n", "line 2: 3 cells instead of 2"),
    ("path,label\na.wav,\n,sad\n", "line 2: no label; line 3: no path"),
    ('path,label\na.wav,"sad\nb.wav,sad\n', "quotation mark"),
    ('path,label\na.wav,"sad\nb.wav,happy"\n', "quotation mark"),
    ("path,label\n" + "a.wav\n" * 12, "and 2 more, 12 in all"),
    ("", "empty"), ("\n\n", "empty"), ("path,label\n", "empty"),
    (b"PK\3\4\0\0\0\0" * 20, "not a text file"), (b"\x89PNG\r\n\x1a\n\0\0", "not a text file")])
def test_lists_that_cannot_be_understood_say_why(tmp_path, text, reason):
    assert reason in refusal(a_list(tmp_path, text))


def test_the_file_is_found_under_another_form_of_its_name(tmp_path, rows):
    os.rename(tmp_path / rows[0][0], tmp_path / unicodedata.normalize("NFD", "über.wav"))
    os.rename(tmp_path / rows[1][0], os.fsencode(tmp_path) + "süß.wav".encode("latin-1").join([b"/", b""]))
    rows[:2] = [("über.wav", "happy", "s0"), ("süß.wav", "happy", "s0")]
    assert len(understood(a_list(tmp_path, lines(rows)))[0]) == 18


# Stretches of recordings

@pytest.fixture
def calls(tmp_path):
    "Three long recordings of six stretches each, one speaker a recording: the table as audformat has it"
    for s in range(3): sf.write(tmp_path / f"call{s}.wav", np.concatenate([sound(10 * s + i) for i in range(6)]), RATE)
    return pd.DataFrame([dict(file=f"call{s}.wav", start=0.3 * i, end=0.3 * (i + 1), emotion=LABELS[i % 3], speaker=f"s{s}") for s in range(3) for i in range(6)])


TIMES = {"seconds": lambda s: s.round(6), "timedeltas": lambda s: pd.to_timedelta(s, unit="s"), "clock": lambda s: [f"00:00:{t:09.6f}" for t in s],
         "minutes": lambda s: [f"0:{t:06.3f}" for t in s], "ISO": lambda s: [f"PT{t:.3f}S" for t in s]}


@pytest.mark.parametrize("form", TIMES)
def test_stretches(tmp_path, calls, form):
    calls.assign(start=TIMES[form](calls.start), end=TIMES[form](calls.end)).to_csv(tmp_path / "calls.csv", index=False)
    manifest, text = understood(tmp_path / "calls.csv")
    assert len(manifest) == 18 and manifest.content.nunique() == manifest["sound"].nunique() == 18 and "copies" not in text
    assert np.allclose(manifest.duration, 0.3) and np.allclose(manifest.start, 0.3 * np.tile(range(6), 3)) and "18 of them stretches, from 3 files" in text
    whole = clip_facts(tmp_path / "call0.wav")["content"]
    assert manifest.content[1] == stretch_content(whole, manifest.start[1], manifest.end[1]) != whole
    for i, row in enumerate(manifest.itertuples()):
        samples, _ = sf.read(row.path, start=round(row.start * RATE), stop=round(row.end * RATE))
        assert np.array_equal(samples, sound(10 * (i // 6) + i % 6))


def test_milliseconds_durations_and_open_ends(tmp_path, calls):
    table = calls.assign(start_ms=(calls.start * 1000).round(), end_ms=(calls.end * 1000).round()).drop(columns=["start", "end"])
    table.to_csv(tmp_path / "ms.csv", index=False)
    offsets = calls.assign(offset=calls.start, duration=0.3).drop(columns=["start", "end"])
    offsets.to_csv(tmp_path / "offsets.csv", index=False)
    for name in ("ms.csv", "offsets.csv"):
        manifest = understood(tmp_path / name)[0]
        assert len(manifest) == 18 and np.allclose(manifest.duration, 0.3)
    a_list(tmp_path, "file,start,end,emotion\ncall0.wav,,0.3,sad\ncall0.wav,1.5,,happy\ncall1.wav,0,NaT,happy\ncall2.wav,0 days,0 days 00:00:01.8,sad\n")
    manifest = understood(tmp_path / "list.csv")[0]
    assert np.allclose(manifest.duration, [0.3, 0.3, 1.8, 1.8])
    assert manifest.content[2:].tolist() == [clip_facts(tmp_path / f"call{s}.wav")["content"] for s in (1, 2)]  # all of it is the file


def test_stretches_with_decimal_commas(tmp_path):
    sf.write(tmp_path / "a.wav", sound(0, 2), RATE)
    assert np.allclose(understood(a_list(tmp_path, "file;start;end;emotion\na.wav;0,1;0,6;sad\na.wav;1;1,5;happy\n"))[0].duration, 0.5)


def test_stretches_that_are_none_are_named_by_their_row(tmp_path, calls):
    head = "path,label,start,end\ncall0.wav,sad,0,0.3\ncall0.wav,happy,0.3,0.6\n"
    sentence = refusal(a_list(tmp_path, head + "call0.wav,sad,0.9,0.6\ncall0.wav,sad,soon,1\ncall0.wav,sad,-1,1\ncall0.wav,sad,1,inf\ncall0.wav,sad,1,1\n"))
    for line in range(4, 9): assert f"line {line}: " in sentence
    manifest, text = understood(a_list(tmp_path, head + "call0.wav,sad,0.9,7\ncall0.wav,sad,5,6\n"))
    assert len(manifest) == 2 and "left out, cannot be read: 2" in text and "line 4: " in text and "line 5: " in text and "it lasts 1.800 s" in text


def test_overlapping_stretches_are_on_one_side(tmp_path, calls):
    wide = calls.assign(end=calls.end + 0.1)[calls.end < 1.7]  # each reaches into the next
    wide.to_csv(tmp_path / "wide.csv", index=False)
    manifest, text = understood(tmp_path / "wide.csv")
    assert len(manifest) == 15 and manifest["sound"].nunique() == 3 and manifest.content.nunique() == 15
    assert "stretches that overlap, kept on one side of every split: 15" in text
    with pytest.raises(CorpusError, match="share 1 values of sound"): Split("random", 0, np.array([0]), np.array([], int), np.array([1])).check(manifest)
    make_split(manifest, "actor-holdout")
    with pytest.raises(CorpusError, match="15 of them share sound"): make_split(manifest, "random")


def test_one_recording_in_two_formats_cut_into_stretches(tmp_path, calls):
    x, _ = sf.read(tmp_path / "call0.wav")
    sf.write(tmp_path / "call0.flac", x, RATE, subtype="PCM_24")
    one = calls[calls.file == "call0.wav"]
    copy = one.assign(file="call0.flac", start=one.start + 0.01, end=one.end + 0.01)[:-1]
    pd.concat([calls, copy]).to_csv(tmp_path / "both.csv", index=False)
    manifest = understood(tmp_path / "both.csv")[0]
    assert manifest["sound"].nunique() == 1 + 12
    sf.write(tmp_path / "cut.wav", sound(11), RATE)  # a stretch of another recording, as a file of its own
    pd.concat([calls, calls[7:8].assign(file="cut.wav", start=None, end=None)]).to_csv(tmp_path / "cut.csv", index=False)
    assert "left out, exact copies: 1" in understood(tmp_path / "cut.csv")[1]


def test_stretches_are_not_compared_with_one_another(tmp_path, calls, monkeypatch):
    sf.write(tmp_path / "still.wav", np.zeros(2 * RATE), RATE)
    a_list(tmp_path, "file,start,end,emotion\nstill.wav,0,0.5,sad\nstill.wav,0.5,1,happy\n")
    assert len(understood(tmp_path / "list.csv")[0]) == 2  # silence is no contradiction
    calls.to_csv(tmp_path / "calls.csv", index=False)
    real, decoded = curate.sample_hash, []
    monkeypatch.setattr(curate, "sample_hash", lambda *args: decoded.append(args[0]) or real(*args))
    understood(tmp_path / "calls.csv")
    assert len(decoded) <= 3 * 3  # the three recordings, which are of one length


def test_speakers_who_talk_at_once_are_reported(tmp_path, calls):
    calls.assign(file="call0.wav", end=calls.end + 0.05)[calls.end < 1.7].to_csv(tmp_path / "wide.csv", index=False)
    calls.assign(file="call0.wav", start=calls.start + 0.02 * (calls.speaker == "s1") + 0.04 * (calls.speaker == "s2"))[calls.end < 1.7].to_csv(tmp_path / "crowd.csv", index=False)
    assert "one recording by 3 speakers" in refusal(tmp_path / "wide.csv")
    manifest, text = understood(tmp_path / "crowd.csv")
    assert "stretches of several speakers overlap in 5 places" in text
    with pytest.raises(CorpusError, match="values of sound"): make_split(manifest, "actor-holdout")


def test_the_study_refuses_such_a_list(tmp_path, rows):
    done = emotion_ser("study", "--corpus", a_list(tmp_path, "a;b\n1;2\n"), "--out", tmp_path / "run")
    assert done.returncode == 1 and "its first line has a, b" in done.stderr and "Traceback" not in done.stderr


# Downloads that are killed

class Slow(BaseHTTPRequestHandler):
    "Serves an archive, the second half of it when `go` is set"
    archive, go, sent = b"", threading.Event(), 0

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.archive)))
        self.end_headers()
        try:
            self.wfile.write(self.archive[: len(self.archive) // 2])
            Slow.sent += 1
            self.go.wait(PATIENCE_S)
            self.wfile.write(self.archive[len(self.archive) // 2:])
        except OSError: pass

    def log_message(self, *args): pass


def test_killed_downloads_do_not_pile_up(tmp_path):
    import hashlib
    with zipfile.ZipFile(tmp_path / "served.zip", "w") as packed:
        for i, name in enumerate(ravdess_names(1)): packed.write(clip(tmp_path / "made" / f"{name}.wav", i), f"Actor_01/{name}.wav")
    Slow.archive, Slow.go = (tmp_path / "served.zip").read_bytes(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place, md5 = tmp_path / "cache/ravdess", hashlib.md5(Slow.archive).hexdigest()
    code = f"from emotion_ser.data import download_ravdess; download_ravdess({str(place)!r}, 'http://127.0.0.1:{server.server_port}/', {md5!r}, 0, False)"
    halves = lambda: [*(place.parent / ".downloads").glob("*.part")]
    try:
        for _ in range(3):
            sent = Slow.sent
            process = subprocess.Popen([sys.executable, "-c", code])
            while Slow.sent == sent or not halves():  # the server keeps the rest back
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert len(halves()) == 1
        (place.parent / ".unpacking-killed").mkdir()
        Slow.go.set()
        two = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
        assert [process.wait(PATIENCE_S) for process in two] == [0, 0]
    finally:
        Slow.go.set()
        server.shutdown()
        server.server_close()
    assert len(list(place.rglob("*.wav"))) == 60 and not halves()
    assert sorted(path.name for path in place.parent.iterdir()) == [".downloads", "ravdess"]
    assert sorted(path.name for path in (place.parent / ".downloads").iterdir()) == [RAVDESS_ARCHIVE, "lock"]


def test_what_a_killed_synthesis_left_is_swept_after_an_hour(tmp_path):
    for name, age in ((".making-old", 4000), (".making-new", 100)):
        (tmp_path / name / "Actor_01").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    make_sample_corpus(tmp_path / "sample", actors=1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".making")) == [".making-new"]
