"""Corpora in their own naming: each loader on a small tree, several together, labels mapped, and downloads that go wrong."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import emotion_ser, fails

from emotion_ser.corpora import CORPORA, download_corpus, find_corpus, imitate_corpus, prepare_named, recognise
from emotion_ser.core import read_table, silent, write_table
from emotion_ser.corpus import CorpusError
from emotion_ser.data import COLUMNS, EMOTIONS, download_ravdess, prepare_ravdess
from emotion_ser.join import SHARED, join_corpora, map_labels
from emotion_ser.own import load_corpus, prepare_folder
from emotion_ser.runs import RunConfig, corpus_digest, load_manifest

RATE = 16000
COMPARE = dict(check_dtype=False, check_column_type=False)


def clip(path, seed):
    "Write a tenth of a second of noise that no other seed gives, in the format of the suffix"
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-9000, 9000, 1600 + seed) / 32768
    sf.write(path, noise, RATE, format={".mp3": "MP3"}.get(path.suffix))
    return path


def tree(folder, names):
    "Clips of their own under these names"
    for seed, name in enumerate(names): clip(folder / name, seed)
    return folder


def heard(corpus, load=load_corpus, **how):
    "A manifest and all that was said of it"
    said = []
    manifest = load(corpus, report=said.append, **how)
    assert all(sentence.isprintable() for sentence in said)
    return manifest, "\n".join(said)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    "No corpus is on this machine, but for what a test says"
    for name in [*os.environ]:
        if name.startswith("EMOTION_SER_") and name not in ("EMOTION_SER_CACHE", "EMOTION_SER_ENCODER"): monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


# Each corpus in its own naming: names as they are released -> label, speaker, gender

TREES = dict(
    emodb={"wav/03a01Fa.wav": ("happy", "03", "male"), "wav/08a02Wb.wav": ("angry", "08", "female"), "wav/16b10Lb.wav": ("boredom", "16", "female"),
           "wav/15b03Ec.wav": ("disgust", "15", "male"), "wav/10a05Ad.wav": ("fearful", "10", "male"), "wav/14b09Td.wav": ("sad", "14", "female"),
           "wav/11a07Nd.wav": ("neutral", "11", "male")},
    emovo={"EMOVO/f1/dis-f1-b1.wav": ("disgust", "f1", "female"), "EMOVO/m3/gio-m3-l4.wav": ("happy", "m3", "male"), "EMOVO/m1/neu-m1-n5.wav": ("neutral", "m1", "male"),
           "EMOVO/f2/pau-f2-d2.wav": ("fearful", "f2", "female"), "EMOVO/f3/rab-f3-b3.wav": ("angry", "f3", "female"), "EMOVO/f3/sor-f3-b3.wav": ("surprised", "f3", "female"),
           "EMOVO/m2/tri-m2-l1.wav": ("sad", "m2", "male")},
    nemo={"samples/EB0_anger_1.wav": ("angry", "EB0", "female"), "samples/KS0_fear_90.wav": ("fearful", "KS0", "male"), "samples/WR0_happiness_12.wav": ("happy", "WR0", "male"),
          "samples/MK0_sadness_5.wav": ("sad", "MK0", "female"), "samples/SM0_surprised_7.wav": ("surprised", "SM0", "male"), "samples/IC0_neutral_3.wav": ("neutral", "IC0", "female")},
    tess={"OAF_Fear/OAF_back_fear.wav": ("fearful", "OAF", "female"), "YAF_angry/YAF_youth_angry.wav": ("angry", "YAF", "female"),
          "YAF_pleasant_surprised/YAF_dog_ps.wav": ("surprised", "YAF", "female"), "OAF_neutral/OAF_jar_neutral.wav": ("neutral", "OAF", "female"),
          "OAF_disgust/OAF_jar_disgust.wav": ("disgust", "OAF", "female"), "OAF_happy/OAF_jar_happy.wav": ("happy", "OAF", "female"), "OAF_Sad/OAF_jar_sad.wav": ("sad", "OAF", "female")},
    cremad={"AudioWAV/1001_DFA_ANG_XX.wav": ("angry", "1001", "male"), "AudioWAV/1002_IEO_HAP_HI.wav": ("happy", "1002", "female"), "AudioWAV/1091_WSI_NEU_XX.wav": ("neutral", "1091", "female"),
            "AudioWAV/1090_TAI_DIS_XX.wav": ("disgust", "1090", "male"), "AudioWAV/1040_ITH_SAD_X.wav": ("sad", "1040", "male"), "AudioWAV/1055_IEO_FEA_LO.wav": ("fearful", "1055", "female")},
    savee={"AudioData/DC/a01.wav": ("angry", "DC", "male"), "AudioData/JE/sa01.wav": ("sad", "JE", "male"), "AudioData/JK/su15.wav": ("surprised", "JK", "male"),
           "AudioData/KL/n30.wav": ("neutral", "KL", "male"), "AudioData/JE/a01.wav": ("angry", "JE", "male"), "ALL/KL_d03.wav": ("disgust", "KL", "male"),
           "ALL/DC_f03.wav": ("fearful", "DC", "male"), "ALL/DC_h03.wav": ("happy", "DC", "male")},
    cafe={"Colère/Fort/01-C-2-1.wav": ("angry", "01", "male"), "Joie/Faible/12-J-1-6.wav": ("happy", "12", "female"), "Neutre/02-N-1-3.wav": ("neutral", "02", "female"),
          "Peur/Fort/03-P-2-1.wav": ("fearful", "03", "male"), "Dégout/Fort/04-D-2-1.wav": ("disgust", "04", "female"), "Surprise/Fort/05-S-2-1.wav": ("surprised", "05", "male"),
          "Tristesse/Faible/06-T-1-1.wav": ("sad", "06", "female")},
    esd={"0001/Angry/train/0001_000371.wav": ("angry", "0001", "female"), "0011/Happy/0011_000701.wav": ("happy", "0011", "male"), "0020/Sad/test/0020_001071.wav": ("sad", "0020", "male"),
         "0015/Surprise/evaluation/0015_001401.wav": ("surprised", "0015", "female"), "0099/Neutral/0099_000001.wav": ("neutral", "0099", None)})


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
@pytest.mark.parametrize("nesting", ["", "a/b c/"])
@pytest.mark.parametrize("name", TREES)
def test_a_corpus_in_its_own_naming(tmp_path, name, nesting, suffix):
    names = {str(Path(path).with_suffix(suffix)): facts for path, facts in TREES[name].items()}
    folder = tree(tmp_path / "x", [nesting + path for path in names])
    manifest, text = heard(folder)
    found = {str(Path(row.path).relative_to(folder / nesting)): (row.emotion, row.actor, row.gender) for row in manifest.itertuples()}
    assert {path: tuple(None if pd.isna(fact) else fact for fact in facts) for path, facts in found.items()} == names
    assert [*manifest] == COLUMNS and {*manifest.corpus} == {name} and manifest.attrs["corpus"] == CORPORA[name].title and not manifest.attrs["left_out"]
    assert f"its names are those of {CORPORA[name].title}" in text and f"own:{folder}" in text and f"of {CORPORA[name].title}'s {CORPORA[name].clips} clips" in text
    assert {*CORPORA[name].labels.values()} == {facts[0] for facts in names.values()}  # every label is tried
    assert not [column for column in manifest if manifest[column].map(type).nunique() > 2]
    manifest.to_parquet(tmp_path / "m.parquet")


def test_strength_and_sentence_where_the_names_say_them(tmp_path):
    rows = lambda name: prepare_named(tree(tmp_path / name, TREES[name]), name, silent).set_index("path")
    said = lambda name, part: rows(name).loc[lambda table: table.index.str.contains(part, regex=False)].iloc[0]
    assert said("cremad", "_IEO_HAP_HI")["intensity"] == "strong" and said("cremad", "FEA_LO")["intensity"] == "weak" and pd.isna(said("cremad", "ANG_XX")["intensity"])
    assert said("cafe", "02-N-1-3")[["intensity", "statement"]].tolist() == ["normal", "3"] and said("cafe", "01-C-2-1")["intensity"] == "strong"
    assert said("emodb", "08a02Wb")[["statement", "repetition"]].tolist() == ["a02", "b"]


def test_ravdess_in_flac_and_as_it_was(tmp_path):
    names = [f"Actor_01/03-01-0{emotion}-01-0{n}-01-01.flac" for emotion in range(1, 9) for n in (1, 2)]
    manifest, text = heard(tree(tmp_path / "r", names))
    assert len(manifest) == 16 and {*manifest.corpus} == {"ravdess"} and manifest.attrs["corpus"] == "RAVDESS" and manifest.actor.dtype.kind == "i"
    assert "own:" not in text and text.splitlines()[-1].startswith("understood: 16 clips")
    digest = corpus_digest(manifest)
    assert digest == corpus_digest(manifest.drop(columns="corpus")) == corpus_digest(prepare_ravdess(tmp_path / "r", silent))


def test_genders_and_labels_of_the_table():
    for name, info in CORPORA.items():
        men, women = info.male.split(), info.female.split()
        assert not {*men} & {*women} and len({*men, *women}) == len(men + women), name
        assert {*info.labels.values()} <= {*EMOTIONS, "boredom"} and re.compile(info.rule).groupindex.keys() >= {"speaker", "emotion"} or name == "ravdess"
    assert {name: len(f"{info.male} {info.female}".split()) for name, info in CORPORA.items()} == dict(
        ravdess=24, emodb=10, emovo=6, nemo=9, tess=2, cremad=91, savee=4, cafe=12, esd=20)
    assert not CORPORA["tess"].shareable and CORPORA["emodb"].shareable


@pytest.mark.parametrize("name", CORPORA)
def test_imitations(tmp_path, name):
    manifest = load_corpus(imitate_corpus(tmp_path / "x", name), silent)
    assert manifest.attrs["corpus"] == f"{CORPORA[name].title} (synthetic)" and len(manifest) >= 20 and manifest.actor.nunique() == 2
    assert name == "ravdess" or {*manifest.corpus} == {name}


# Folders that are not as they should be

def test_what_does_not_follow_the_rule_is_listed(tmp_path):
    folder = tree(tmp_path / "e", [*TREES["emodb"], "wav/take two.wav", "wav/99x01Fa.wav", "f1/dis-f1-b1.wav", "f1/gio-f1-b1.wav"])
    (folder / "notes.txt").touch()
    manifest, text = heard(folder)
    assert len(manifest) == 7
    assert "left out, not named as in EmoDB: 2\n  wav/99x01Fa.wav\n  wav/take two.wav" in text and "named as in EMOVO, not EmoDB: 2 files" in text and "1 .txt" in text
    assert len(manifest.attrs["left_out"]) == 3


def test_a_clip_that_cannot_be_read_is_listed(tmp_path):
    folder = tree(tmp_path / "e", TREES["emodb"])
    (folder / "wav/09a01Wa.wav").write_bytes(b"not a sound")
    manifest, text = heard(folder)
    assert len(manifest) == 7 and "left out, cannot be read: 1" in text and "09a01Wa.wav" in manifest.attrs["left_out"][0]


def test_copies_are_taken_once_and_contradictions_refused(tmp_path):
    folder = tree(tmp_path / "t", TREES["tess"])
    shutil.copytree(folder, folder / "TESS again")
    manifest, text = heard(folder)
    assert len(manifest) == 7 and "14 files hold 7 clips; left out, copies: 7" in text
    shutil.copy(folder / "OAF_Sad/OAF_jar_sad.wav", folder / "OAF_jam_happy.wav")
    with pytest.raises(CorpusError, match="one recording under two labels"): load_corpus(folder, silent)


def test_speakers_in_folders_do_not_hide_one_another(tmp_path):
    assert len(prepare_named(tree(tmp_path / "s", [f"{who}/a0{n}.wav" for who in ("DC", "JE") for n in (1, 2)]), "savee", silent)) == 4
    assert len(load_corpus(tree(tmp_path / "DC", ["a01.wav", "sa02.wav", "su03.wav"]), silent)) == 3  # one speaker's folder alone


def test_a_recognised_naming_can_be_overridden(tmp_path):
    names = [f"{mine}/{Path(name).name}" for mine, name in zip(["yes", "no"] * 4, TREES["emodb"])]
    folder = tree(tmp_path / "mine", names)
    assert {*load_corpus(folder, silent).emotion} > {"angry", "boredom"}
    own, text = heard(f"own:{folder}")
    assert {*own.emotion} == {"yes", "no"} and {*own.corpus} == {"mine"} and "EmoDB" not in text
    pd.DataFrame(dict(path=names, label=[name.split("/")[0] for name in names])).to_csv(folder / "list.csv", index=False)
    assert {*load_corpus(folder / "list.csv", silent).emotion} == {"yes", "no"}  # a list says what it says
    with pytest.raises(CorpusError, match="no clip named as in CaFE, for example 01-C-1-1.wav, among 7 audio files"): load_corpus(f"CaFE:{folder}", silent)


def test_several_corpora_in_one_folder(tmp_path):
    folder = tmp_path / "all"
    for k, name in enumerate(("emodb", "emovo", "nemo")):
        for n, path in enumerate(TREES[name]): clip(folder / name / path, 100 * k + n)
    with pytest.raises(CorpusError) as refused: load_corpus(folder, silent)
    assert "EmoDB 7, EMOVO 7, nEMO 6" in str(refused.value)
    way_out = re.search(r"corpus='(\S+)', or", str(refused.value))[1]
    manifest, text = heard(way_out)
    assert manifest.groupby("corpus").size().to_dict() == dict(emodb=7, emovo=7, nemo=6) and len(manifest.attrs["left_out"]) == 6
    assert {*load_corpus(f"own:{folder}", silent).emotion} == {"emodb", "emovo", "nemo"}


def test_own_folders_are_own_as_before(tmp_path):
    folder = tree(tmp_path / "mine", [f"{label}/{who}/{n}.wav" for label in ("happy", "sad") for who in ("anna", "ben") for n in range(2)])
    assert recognise(folder) == ""
    manifest, text = heard(folder)
    assert {*manifest.corpus} == {"mine"} and {*manifest.actor} == {"anna", "ben"} and text.splitlines()[-1].startswith("understood: 8 clips; 2 labels")
    pd.testing.assert_frame_equal(manifest, prepare_folder(folder, silent))
    write_table(manifest, tmp_path / "m.csv")
    assert read_table(tmp_path / "m.csv").corpus.tolist() == ["mine"] * 8
    assert read_table(write_table(manifest.assign(corpus="007"), tmp_path / "m.csv")).corpus.tolist() == ["007"] * 8


# Where a corpus lies

def test_where_a_corpus_is_looked_for(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match="EmoDB is not on this machine; `emotion_ser download emodb` fetches it; or set EMOTION_SER_EMODB to its folder"): load_corpus("emodb")
    with pytest.raises(CorpusError, match="register at kahlan"): load_corpus("SAVEE")
    assert find_corpus("emodb") if (tree(tmp_path / "emodb", TREES["emodb"]),) else None
    assert find_corpus("emodb") == Path("emodb")  # in the current folder
    cache = Path(os.environ["EMOTION_SER_CACHE"]) / "emodb"
    tree(cache, TREES["emodb"])
    assert find_corpus("emodb") == Path("emodb")  # half a download is none
    (cache / "corpus.json").write_text(json.dumps(dict(corpus="EmoDB")))
    assert find_corpus("emodb") == cache
    tree(tmp_path / "kept/Emo-DB", TREES["emodb"])
    monkeypatch.setenv("EMOTION_SER_CORPORA", str(tmp_path / "kept"))
    assert find_corpus("emodb") == tmp_path / "kept/Emo-DB" and len(load_corpus("emodb", silent)) == 7
    monkeypatch.setenv("EMOTION_SER_EMODB", str(tmp_path / "gone"))
    with pytest.raises(CorpusError, match="gone: no such folder or file"): load_corpus("emodb", silent)
    monkeypatch.setenv("EMOTION_SER_EMODB", str(tmp_path / "emodb"))
    assert find_corpus("emodb") == tmp_path / "emodb"
    monkeypatch.setenv("EMOTION_SER_CORPORA", str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match="EMOTION_SER_CORPORA names no folder"): load_corpus("emovo", silent)


def test_a_folder_called_like_a_corpus_is_that_folder(tmp_path):
    tree(tmp_path / "TESS", [f"{label}/{n}.wav" for label in ("happy", "sad") for n in range(3)])
    assert {*load_corpus("TESS", silent).emotion} == {"happy", "sad"}
    assert len(load_corpus(Path("TESS"), silent)) == 6


# Several corpora

@pytest.fixture(scope="module")
def three(tmp_path_factory):
    "Three imitations"
    folder = tmp_path_factory.mktemp("three")
    return {name: imitate_corpus(folder / name, name) for name in ("ravdess", "emodb", "emovo")}


def test_several_corpora_become_one(three, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_SER_CORPORA", str(three["emodb"].parent))
    manifest, text = heard("emodb, emovo")
    assert {*manifest.actor} == {"emodb:03", "emodb:08", "emovo:m1", "emovo:f1"} and {*manifest.corpus} == {"emodb", "emovo"}
    assert manifest.groupby("actor").gender.first().to_dict() == {"emodb:03": "male", "emodb:08": "female", "emovo:m1": "male", "emovo:f1": "female"}
    assert manifest.attrs["corpus"] == "EmoDB (synthetic) + EMOVO (synthetic)" and [*manifest] == COLUMNS
    assert text.splitlines()[-1].startswith("understood: 56 clips; 8 labels") and "emodb: 28 clips, 2 speakers, neutral 4" in text
    manifest.to_parquet(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(manifest, load_corpus([three["emodb"], f"emovo:{three['emovo']}"], silent))
    everything = load_corpus([three["ravdess"], three["emodb"]], silent)
    assert everything.actor.map(type).eq(str).all() and everything.statement.str.contains(":").all()
    everything.to_parquet(tmp_path / "m.parquet")


def test_own_recordings_beside_a_corpus(three, tmp_path):
    own = tree(tmp_path / "mine", [f"{label}/{who}/{n}.wav" for label in ("happy", "sad") for who in ("anna", "ben") for n in range(2)])
    clip(own / "happy/loose.wav", 99)  # of nobody
    long = clip(tmp_path / "calls/call.wav", 4000)
    (long.parent / "list.csv").write_text("path,label,speaker,start,end\ncall.wav,happy,c,0,0.1\ncall.wav,sad,d,0.1,0.2\n")
    manifest = load_corpus([three["emodb"], own, long.parent / "list.csv"], silent)
    assert manifest.corpus.value_counts().to_dict() == {"emodb": 28, "mine": 9, "list.csv": 2} and manifest.actor.isna().sum() == 1
    assert manifest.start.notna().sum() == 2 and "mine:anna" in {*manifest.actor}


def test_folders_of_one_name_are_told_apart(tmp_path):
    for k, place in enumerate("ab"):
        for n, label in enumerate(("happy", "sad")): clip(tmp_path / place / f"data/{label}/s/{n}.wav", 10 * k + n)
    manifest = load_corpus([tmp_path / "a/data", tmp_path / "b/data"], silent)
    assert manifest.actor.tolist() == ["data:s"] * 2 + ["data 2:s"] * 2 and manifest.attrs["corpus"] == "data + data 2"


def test_one_recording_in_two_corpora_is_refused(three, tmp_path):
    shutil.copytree(three["emodb"], tmp_path / "again")
    with pytest.raises(CorpusError, match="one recording by two speakers"): load_corpus([three["emodb"], tmp_path / "again"], silent)


def test_names_with_commas(tmp_path, three):
    odd = shutil.copytree(three["emodb"], tmp_path / "a,b")
    assert len(load_corpus(str(odd), silent)) == 28
    assert len(load_corpus(f'"{odd}",{three["emovo"]}', silent)) == 56
    for wrong in ("emodb,", ",emodb", "emodb,,emovo"):
        with pytest.raises(CorpusError, match="a corpus without a name"): load_corpus(wrong, silent)


def test_one_corpus_is_as_it_was(small):
    manifest, text = heard(small)
    assert corpus_digest(manifest) == corpus_digest(prepare_ravdess(small, silent)) and {*manifest.corpus} == {"sample (synthetic)"}
    pd.testing.assert_frame_equal(manifest, load_manifest(small, report=silent))
    assert "map" not in text and "label" not in heard(small, load_manifest)[1].replace("labels:", "")


# Labels

@pytest.fixture
def joined(three): return join_corpora([load_corpus(folder, silent) for folder in three.values()], silent)


def test_the_preset_is_applied_to_several_and_said(joined, three):
    said = []
    mapped = map_labels(joined, report=said.append)
    assert {*mapped.emotion} == {*SHARED} and len(joined) - len(mapped) == 4
    text = "\n".join(said)
    for words in ("map='shared'", "label calm becomes neutral: 4 clips", "label boredom left out by the map: 4 clips", "emodb: 24 clips, 2 speakers"): assert words in text
    assert mapped.attrs["left_out"][-1] == "label boredom left out by the map: 4 clips" and mapped.attrs["map"] == {"calm": "neutral", "boredom": ""}
    assert mapped.attrs["corpus"] == joined.attrs["corpus"] and [*mapped.index] == [*range(len(mapped))]
    assert len(load_manifest([*three.values()], report=silent)) == len(mapped)
    assert {*load_manifest([*three.values()], "happy,neutral", silent, "none").emotion} == {"happy", "neutral"}


def test_maps_label_by_label(joined):
    assert {*map_labels(joined, "none", silent).emotion} == {*SHARED, "calm", "boredom"}
    mapped = map_labels(joined, "calm=neutral, boredom=sad, disgust=", silent)
    assert {*mapped.emotion} == {*SHARED} - {"disgust"} and (mapped.emotion == "sad").sum() == (joined.emotion == "sad").sum() + (joined.emotion == "boredom").sum()
    assert {*map_labels(joined, "calm=low arousal", silent).emotion} > {"low arousal"}
    swapped = map_labels(joined, "happy=sad,sad=happy", silent)
    assert (swapped.emotion == "sad").sum() == (joined.emotion == "happy").sum()


@pytest.mark.parametrize("text, reason", [("calm", "no label=label"), ("=neutral", "no label=label"), ("calm=neutral,,", "no label=label"), ("", "no label=label"),
                                          ("calm=neutral,calm=sad", "calm is mapped twice"), ("clam=neutral", "no clip is labelled clam; the labels are neutral, calm"),
                                          ("shared,calm=", "no label=label")])
def test_maps_that_are_refused(joined, text, reason):
    with pytest.raises(CorpusError, match=re.escape(reason)): map_labels(joined, text, silent)


def test_a_map_that_leaves_nothing_to_tell_apart(joined):
    with pytest.raises(CorpusError, match="fewer than two labels are left"): map_labels(joined, ",".join(f"{label}=" for label in {*joined.emotion}), silent)


def test_other_words_are_joined_by_the_preset(tmp_path):
    folder = tree(tmp_path / "mine", [f"{label}/{n}.wav" for label in ("Happiness", "joy", "anger", "ps", "excited") for n in range(2)])
    assert map_labels(load_corpus(folder, silent), "shared", silent).emotion.value_counts().to_dict() == dict(happy=4, angry=2, surprised=2)


def test_a_run_says_its_map():
    assert RunConfig(corpus="ravdess,emodb", map="calm=neutral").asked()["map"] == "calm=neutral"
    assert "map" not in RunConfig().command and "--map shared" in RunConfig(map="shared").command
    with pytest.raises(CorpusError, match="no label=label"): RunConfig(map="calm")


def test_several_corpora_at_the_shell(three, tmp_path):
    both = f"{three['emodb']},emovo:{three['emovo']}"
    done = emotion_ser("study", "--corpus", both, "--recipe", "baseline", "--protocol", "actor-holdout", "--out", tmp_path / "run")
    assert done.returncode == 0 and "labels mapped to those that the corpora share" in done.stderr, done.stderr
    run = json.loads((tmp_path / "run/metrics.json").read_text())
    assert run["corpus"] == "EmoDB (synthetic) + EMOVO (synthetic)" and run["labels"] == SHARED and run["left_out"] == ["label boredom left out by the map: 4 clips"]
    assert read_table(tmp_path / "run/predictions.csv").actor.str.match("emodb:|emovo:").all()
    done = emotion_ser("embed", both, "--map", "boredom=", "--out", tmp_path / "embedded")
    assert done.returncode == 0 and len(pd.read_parquet(tmp_path / "embedded/manifest.parquet")) == 52, done.stderr
    fails(emotion_ser("study", "--corpus", both, "--map", "calm=neutral"), "--map calm=neutral: no clip is labelled calm")
    fails(emotion_ser("evaluate", "--corpus", both, "--map", "calm"), "no label=label")
    fails(emotion_ser("train", "--corpus", "savee", "--out", tmp_path / "model"), "register at", "EMOTION_SER_SAVEE")
    assert not (tmp_path / "model").exists()


# Downloads

class Parts(BaseHTTPRequestHandler):
    "Serves `files`, from the byte that is asked for; breaks off after `most` bytes, slowly if `slow`"
    files: dict[str, bytes] = {}
    asked: list[str] = []
    most, knows_parts, slow, type = 10**9, True, False, None

    def do_GET(self):
        name = self.path[1:]
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.knows_parts else 0
        self.asked.append(f"{name} {start}")
        if name not in self.files: return self.send_error(404)
        data = self.files[name]
        if start >= len(data) > 0: return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:start + self.most])
        if self.slow: self.wfile.flush(); time.sleep(60)

    def log_message(self, *args): pass


@pytest.fixture
def host(tmp_path, monkeypatch):
    "A server with EmoDB's imitation and what Zenodo says of it; `corpus` is where the table looks for it"
    folder = tree(tmp_path / "made", TREES["emodb"])
    with zipfile.ZipFile(tmp_path / "emodb_2.0.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in folder.rglob("*.wav"): packed.write(path, path.relative_to(folder))
    whole = (tmp_path / "emodb_2.0.zip").read_bytes()
    record = dict(files=[dict(key="other.zip", checksum="md5:0"), dict(key="emodb_2.0.zip", checksum=f"md5:{hashlib.md5(whole).hexdigest()}")])
    kind = type("Server", (Parts,), dict(files={"emodb_2.0.zip": whole, "record": json.dumps(record).encode()}, asked=[]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kind.url, kind.whole = f"http://127.0.0.1:{server.server_port}/", whole
    monkeypatch.setitem(CORPORA, "emodb", replace(CORPORA["emodb"], archive=kind.url + "emodb_2.0.zip", record=kind.url + "record"))
    yield kind
    server.shutdown()
    server.server_close()


def fetch(retries=0, **how):
    "Download EmoDB; what was said"
    said = []
    return download_corpus("emodb", retries=retries, progress=False, report=said.append, **how), "\n".join(said)


def test_a_download_is_verified_unpacked_and_found(host):
    folder, text = fetch()
    assert len(load_corpus("emodb", silent)) == 7 and find_corpus("emodb") == folder
    assert "licence CC BY 4.0" in text and "could not be verified" not in text
    before = len(host.asked)
    assert fetch()[0] == folder and len(host.asked) == before  # not fetched twice
    assert sorted(path.name for path in folder.parent.iterdir()) == [".downloads", "emodb"]
    assert load_corpus("emodb", silent).attrs["corpus"] == "EmoDB"


def test_a_download_that_breaks_off_goes_on(host):
    host.most = 1024
    with pytest.raises(CorpusError, match="could not be fetched.*goes on where it ended"): fetch()
    host.most = 10**9
    folder, _ = fetch()
    assert host.asked[-1] == "emodb_2.0.zip 1024" and len(load_corpus("emodb", silent)) == 7
    assert not [*folder.parent.rglob("*.part")]


def test_a_download_goes_on_within_one_command(host):
    host.most = len(host.whole) // 2048 * 1024 + 1024
    assert len(prepare_named(fetch(retries=2)[0], "emodb", silent)) == 7
    assert [line for line in host.asked if line.startswith("emodb")] == ["emodb_2.0.zip 0", f"emodb_2.0.zip {host.most}"]


def test_a_server_without_parts_sends_all_again(host):
    host.most = 1024
    with pytest.raises(CorpusError): fetch()
    host.most, host.knows_parts = 10**9, False
    assert len(prepare_named(fetch()[0], "emodb", silent)) == 7


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_that_holds_all_or_too_much_is_fetched_anew(host, extra):
    downloads = Path(os.environ["EMOTION_SER_CACHE"]) / ".downloads"
    downloads.mkdir(parents=True)
    (downloads / "emodb_2.0.zip.part").write_bytes(host.whole + extra)
    assert len(prepare_named(fetch(retries=1)[0], "emodb", silent)) == 7


def test_what_arrives_damaged_is_refused_and_fetched_anew(host):
    host.files["emodb_2.0.zip"] = host.whole[:500] + b"\0" * 50 + host.whole[550:]
    with pytest.raises(CorpusError, match="MD5 differs"): fetch()
    assert not (Path(os.environ["EMOTION_SER_CACHE"]) / "emodb").exists() and not [*Path(os.environ["EMOTION_SER_CACHE"]).rglob("*.part")]
    with pytest.raises(CorpusError, match="not on this machine"): load_corpus("emodb", silent)
    host.files["emodb_2.0.zip"] = host.whole
    assert len(prepare_named(fetch()[0], "emodb", silent)) == 7


@pytest.mark.parametrize("record", [None, b"not JSON", b"[]", b'{"files": [{"key": "emodb_2.0.zip"}]}', b'{"files": null}'])
def test_without_a_checksum_it_is_said(host, record):
    if record is None: del host.files["record"]
    else: host.files["record"] = record
    folder, text = fetch()
    assert "no checksum of it is known, so it could not be verified" in text and len(prepare_named(folder, "emodb", silent)) == 7


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:400] + b"\0" * 300 + data[700:], lambda data: b"<html>not here</html>", lambda data: b""])
def test_without_a_checksum_a_damaged_zip_gives_itself_away(host, damage):
    del host.files["record"]
    host.files["emodb_2.0.zip"] = damage(host.whole)
    with pytest.raises(CorpusError, match="no whole zip.*run the same command again"): fetch()
    cache = Path(os.environ["EMOTION_SER_CACHE"])
    assert not (cache / "emodb").exists() and not [*cache.rglob("*.zip")]
    host.files["emodb_2.0.zip"] = host.whole
    assert len(prepare_named(fetch()[0], "emodb", silent)) == 7


@pytest.mark.parametrize("member", ["../escaped.wav", "/tmp/escaped-emotion-ser.wav", "a/../../escaped.wav"])
def test_a_member_that_climbs_out_is_refused(host, tmp_path, member):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as packed: packed.writestr(member, "out")
    host.files["emodb_2.0.zip"] = (tmp_path / "bad.zip").read_bytes()
    del host.files["record"]
    with pytest.raises(CorpusError, match="outside the folder; nothing was unpacked"): fetch()
    assert not [*tmp_path.rglob("escaped*")] and not Path("/tmp/escaped-emotion-ser.wav").exists()


def test_a_place_that_is_taken_is_left_alone(host, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/keep.txt").write_text("mine")
    with pytest.raises(CorpusError, match="holds something else"): fetch(folder=tmp_path / "mine")
    assert (tmp_path / "mine/keep.txt").read_text() == "mine"


def test_a_killed_download_goes_on(host, tmp_path):
    host.most, host.slow = 2048, True
    md5 = hashlib.md5(host.whole).hexdigest()
    place = tmp_path / "there/ravdess"
    code = f"from emotion_ser.data import download_archive; from pathlib import Path; download_archive(Path({str(place)!r}), 'EmoDB', '{host.url}emodb_2.0.zip', '{md5}', 0, False)"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "there/.downloads/emodb_2.0.zip.part"
    while not part.exists() or part.stat().st_size < 2048: assert process.poll() is None; time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    host.most, host.slow = 10**9, False
    subprocess.run([sys.executable, "-c", code], check=True)
    assert host.asked[-1] == "emodb_2.0.zip 2048" and len(prepare_named(place, "emodb", silent)) == 7


def test_downloads_at_the_shell(tmp_path):
    for name in CORPORA:
        if CORPORA[name].archive: continue
        fails(emotion_ser("download", name), CORPORA[name].title, "how it is had", f"EMOTION_SER_{name.upper()}")
    fails(emotion_ser("download", "librispeech"), "librispeech", status=2)
    text = emotion_ser("download", "--help", COLUMNS="200").stdout
    assert all(name in text for name in CORPORA)


def test_nobody_listens(monkeypatch):
    monkeypatch.setitem(CORPORA, "cafe", replace(CORPORA["cafe"], archive="http://127.0.0.1:9/CaFE_48k.zip", record="http://127.0.0.1:9/record"))
    with pytest.raises(CorpusError, match="could not be fetched.*run the same command again"): download_corpus("cafe", retries=0, progress=False, report=silent)
    with pytest.raises(CorpusError, match="no corpus 'librispeech' in the table"): download_corpus("librispeech")
    with pytest.raises(CorpusError, match="could not be fetched"): download_ravdess(base_url="http://127.0.0.1:9/", retries=0, progress=False)


# The real ones

REAL = os.environ.get("EMOTION_SER_CORPORA")


@pytest.mark.skipif(not REAL, reason="needs EMOTION_SER_CORPORA")
@pytest.mark.parametrize("name, clips, speakers, labels", [("emodb", 535, 10, 7), ("emovo", 294, 6, 7), ("nemo", 254, 9, 6), ("tess", 168, 2, 7)])
def test_real_corpora(monkeypatch, name, clips, speakers, labels):
    monkeypatch.setenv("EMOTION_SER_CORPORA", REAL)
    manifest = load_corpus(name, silent)
    assert (len(manifest), manifest.actor.nunique(), manifest.emotion.nunique()) == (clips, speakers, labels)
    assert manifest.gender.notna().all() and not manifest.attrs["left_out"] and {*manifest.corpus} == {name}


@pytest.mark.skipif(not REAL, reason="needs EMOTION_SER_CORPORA")
def test_real_corpora_together(monkeypatch):
    monkeypatch.setenv("EMOTION_SER_CORPORA", REAL)
    manifest = load_manifest("emodb,emovo,nemo,tess", report=silent)
    assert manifest.groupby("corpus").size().to_dict() == dict(emodb=454, emovo=294, nemo=254, tess=168)
    assert manifest.actor.nunique() == 27 and {*manifest.emotion} == {*SHARED}
