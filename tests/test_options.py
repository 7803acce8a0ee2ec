"""What every command can be asked: help, version, completion, silence, a device, a file of options; and whose words its errors use."""
import json
import os
import struct
import subprocess
import sys

import pytest
import yaml
from conftest import emotion_ser, fails, metrics, run
from test_cli import HEAVY, imported

from emotion_ser import EmotionClassifier, __version__
from emotion_ser.core import silent
from emotion_ser.join import map_labels
from emotion_ser.own import load_corpus

COMMANDS = ("study", "evaluate", "compare", "robustness", "adaptation", "train", "predict", "export", "listen", "embed", "download", "version")
CONFIGURED = ("study", "evaluate", "train", "robustness", "adaptation", "predict", "embed")
FEW = ("--emotions", "happy,sad")


@pytest.fixture(scope="module")
def model(small, tiny, tmp_path_factory):
    "A classifier on a small network; the cache that it left"
    place = tmp_path_factory.mktemp("model")
    cache = dict(EMOTION_SER_CACHE=str(place / "cache"))
    emotion_ser("train", "--corpus", small, *FEW, "--encoder", tiny, "--layers", "1", "--pooling", "mean", "--out", place / "model", check=True, **cache)
    return place / "model", cache


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_the_short_help_and_can_be_quiet(command):
    short, long = (emotion_ser(*command, option, check=True, COLUMNS="80").stdout for option in ("-h", "--help"))
    assert short == long and "--quiet" in short and "-q" in short and "Usage: emotion_ser" in short
    assert ("--config" in short) == (command[:1] != () and command[0] in CONFIGURED)


def test_the_version_is_told_at_once():
    assert emotion_ser("--version", check=True).stdout == f"emotion_ser {__version__}\n"
    assert not imported("--version") & {*HEAVY, "numpy", "pandas", "torch", "soundfile", "yaml"}


@pytest.mark.parametrize("command", ["study", "evaluate", "train", "predict", "embed"])
def test_examples_stand_on_lines_of_their_own(command):
    "And can be copied: each names options that there are"
    lines = [line.strip() for line in emotion_ser(command, "--help", check=True, COLUMNS="80").stdout.splitlines() if line.strip()]
    given = lines[lines.index("Examples:") + 1:]
    assert 2 <= len(given) <= 3 and all(line.startswith("emotion_ser ") for line in given)
    for line in given:
        shown = emotion_ser(line.split()[1], "--help", check=True, COLUMNS="80").stdout
        assert all(word in shown for word in line.split() if word.startswith("--")), line


def completed(line):
    "What a shell is offered after these words"
    words = dict(COMP_WORDS=f"emotion_ser {line}", COMP_CWORD=str(len(line.split(" "))))
    return run(sys.executable, "-m", "emotion_ser", _EMOTION_SER_COMPLETE="complete_bash", **words).stdout.split()


def test_a_shell_completes_commands_options_and_choices():
    assert completed("e") == ["evaluate", "export", "embed"] and completed("study --reci") == ["--recipe"]
    assert completed("study --recipe ") == ["tuned", "baseline"] and completed("study --protocol actors --seed") == ["--seed"]
    script = run("bash", "-c", f"{sys.executable} -m emotion_ser --show-completion; exit").stdout  # bash stays its parent
    assert "_EMOTION_SER_COMPLETE=complete_bash" in script and script.rstrip().endswith("emotion_ser")


def test_completion_is_installed(tmp_path):
    done = run("bash", "-c", f"{sys.executable} -m emotion_ser --install-completion; exit", HOME=str(tmp_path))
    assert done.returncode == 0 and "completion installed" in done.stdout
    assert "_EMOTION_SER_COMPLETE" in (tmp_path / ".bash_completions/emotion_ser.sh").read_text()


def test_quiet_anywhere_on_the_line(small, own_cache):
    line = ("study", "--corpus", small, *FEW)
    loud = emotion_ser(*line, check=True)
    assert "embedded by" in loud.stderr
    for quiet in (("-q", *line), (*line, "--quiet"), ("study", "-q", *line[1:])):
        done = emotion_ser(*quiet, check=True)
        assert done.stderr == "" and done.stdout == loud.stdout
    fails(emotion_ser("-q", "study", "--corpus", own_cache / "nowhere"), "no such folder")
    fails(emotion_ser("study", "-q", "--seed", "x"), "--seed", status=2)


def test_quiet_names_what_could_not_be_answered(small, tmp_path):
    (tmp_path / "bad.wav").write_text("not a recording")
    done = emotion_ser("predict", "--quiet", next(small.rglob("*.wav")), tmp_path / "bad.wav", "--model", "acoustic")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "bad.wav" in done.stderr and len(done.stdout.splitlines()) == 1


def seen_on_a_terminal(*line):
    "What a command shows on a stderr that is a terminal of 80 columns"
    import fcntl
    import termios
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "emotion_ser", *map(str, line)], stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536): shown += part
    except OSError: pass  # the other end is closed
    os.close(leader)
    assert process.wait() == 0, shown
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_quiet_shows_no_progress_bar(small, monkeypatch, tmp_path):
    line = ("evaluate", "--corpus", small, *FEW, "--layers", "all", "--pooling", "mean", "--protocol", "actor-holdout")
    assert "selecting" in seen_on_a_terminal(*line)
    monkeypatch.setenv("EMOTION_SER_CACHE", str(tmp_path / "another"))  # so that there is something to embed
    assert seen_on_a_terminal(*line, "-q") == ""


def test_every_command_with_an_encoder_takes_a_device(small, tiny, model, tmp_path):
    "An unknown one is refused with what there is, before a folder is made"
    folder, cache = model
    learn = ("--corpus", small, *FEW, "--encoder", tiny)
    for line in (("study", *learn), ("evaluate", *learn), ("train", *learn, "--out", tmp_path / "x"), ("study", *learn, "--finetune", "1"),
                 ("embed", small, "--encoder", tiny, "--out", tmp_path / "x"), ("predict", small, "--model", folder),
                 ("robustness", folder, "--corpus", small, "--out", tmp_path / "x"), ("listen", "--model", folder)):
        fails(emotion_ser(*line, "--device", "nowhere", **cache), "device 'nowhere' cannot be used here", "give cpu, or none")
    assert not (tmp_path / "x").exists()


def test_a_network_computes_where_it_is_told(small, tiny, model, tmp_path):
    "On the processor as by default, where there is no GPU; the record says what was asked"
    folder, cache = model
    learn = ("--corpus", small, *FEW, "--encoder", tiny, "--layers", "1", "--pooling", "mean")
    for out, device in dict(A=("--device", "cpu"), B=()).items():
        emotion_ser("study", *learn, *device, "--out", tmp_path / out, check=True, CUDA_VISIBLE_DEVICES="", **cache)
    told, plain = metrics(tmp_path / "A"), metrics(tmp_path / "B")
    assert told["config"].pop("device") == "cpu" and "--device cpu" in told["command"] and "device" not in plain["config"]
    told.pop("command"), plain.pop("command")
    assert told == plain and told["encoder_fingerprint"]["device"] == "cpu"
    ask = ("predict", next(small.rglob("*.wav")), "--model", folder, "--encoder-path", tiny)
    assert emotion_ser(*ask, "--device", "cpu", check=True).stdout == emotion_ser(*ask, check=True, CUDA_VISIBLE_DEVICES="").stdout


def test_what_was_evaluated_on_a_device_is_kept_and_cited(small, tmp_path):
    "A split that is there already is used, and a card cites the run, whatever device was named"
    line = ("--corpus", small, *FEW, "--layers", "all", "--pooling", "mean")
    emotion_ser("evaluate", *line, "--protocol", "actor-kfold", "--out", tmp_path / "run", check=True)
    again = emotion_ser("evaluate", *line, "--protocol", "actor-kfold", "--device", "cpu", "--out", tmp_path / "run", check=True)
    assert "splits were there already" in again.stderr
    emotion_ser("train", *line, "--measured", tmp_path / "run", "--out", tmp_path / "model", check=True)
    assert json.loads((tmp_path / "model/config.json").read_text())["about"]["measured"]


@pytest.mark.parametrize("line", ["study", "evaluate", "train --out OUT", "embed sample --out OUT", "predict x.wav --model acoustic", "robustness acoustic --out OUT",
                                  "adaptation --corpus a,b --out OUT", "listen --model acoustic"])
def test_the_acoustic_features_have_no_network(small, tmp_path, line):
    words = line.replace("OUT", str(tmp_path / "out")).replace("x.wav", str(next(small.rglob("*.wav")))).split()
    fails(emotion_ser(*words, "--device", "cuda"), "--device cuda: the acoustic encoder has neither weights nor a network; leave it out")
    assert not (tmp_path / "out").exists()


def test_the_microphone_has_an_option_of_its_own():
    shown = emotion_ser("listen", "--help", check=True).stdout
    assert "--microphone" in shown and "--device" in shown


@pytest.mark.parametrize("line", ["study --protocol actor-holdout --seed 3 --recipe baseline", "evaluate --layers all --pooling mean --channels 1 --repeats 2 --protocol random",
                                  "evaluate --head logistic --layers all --pooling mean --speaker-norm"])
def test_a_run_can_be_made_again_from_its_folder(small, tmp_path, line):
    command, *options = line.split()
    emotion_ser(command, "--corpus", small, *FEW, *options, "--out", tmp_path / "A", check=True)
    emotion_ser(command, "--config", tmp_path / "A/config.yaml", "--out", tmp_path / "B", check=True)
    assert metrics(tmp_path / "A") == metrics(tmp_path / "B")
    assert (tmp_path / "A/config.yaml").read_bytes() == (tmp_path / "B/config.yaml").read_bytes()
    assert (tmp_path / "A/predictions.csv").read_bytes() == (tmp_path / "B/predictions.csv").read_bytes()
    settings = yaml.safe_load((tmp_path / "A/config.yaml").read_text())
    assert settings["corpus"] == str(small) and settings.get("speaker-norm", False) == ("--speaker-norm" in options)


def test_the_line_wins_over_the_file(small, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(dict(corpus=str(small), emotions=["happy", "sad"], seed=5, recipe="seed", out=str(tmp_path / "A"))))
    emotion_ser("study", "--config", file, "--seed", "6", check=True)
    found = metrics(tmp_path / "A")["config"]
    assert (found["seed"], found["recipe"], found["emotions"]) == (6, "baseline", "happy,sad")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")
def test_toml_says_the_same(small, tmp_path):
    (tmp_path / "a.toml").write_text(f"corpus = '{small}'\nemotions = ['happy', 'sad']\nspeaker_norm = true\nlayers = 'all'\npooling = 'mean'\nhead = 'lda'\n")
    (tmp_path / "a.yaml").write_text(f"corpus: {small}\nemotions: happy,sad\nspeaker-norm: true\nlayers: all\npooling: mean\nhead: lda\n")
    shown = [emotion_ser("evaluate", "--config", tmp_path / f"a.{kind}", check=True).stdout for kind in ("toml", "yaml")]
    assert shown[0] == shown[1] and "NORMALISED PER SPEAKER" in shown[0]


def test_required_options_and_arguments_may_come_from_a_file(small, imitated, tmp_path):
    clips = sorted(small.glob("Actor_01/*.wav"))[:2]
    both = f"emodb:{imitated['emodb']},emovo:{imitated['emovo']}"
    for command, settings in dict(
            train=dict(out="model", corpus=str(small), emotions="happy,sad"), embed=dict(corpus=str(small), out="numbers"),
            predict=dict(recordings=[str(clip) for clip in clips], model="acoustic", format="csv", out="rows.csv"),
            robustness=dict(model="ravdess-acoustic", out="robust", corpus=str(small), clips=8, nuisances=["click"]),
            adaptation=dict(corpus=both, out="curve", draws=1, front="as-is")).items():
        (tmp_path / f"{command}.yaml").write_text(yaml.safe_dump(settings))
        emotion_ser(command, "--config", tmp_path / f"{command}.yaml", cwd=tmp_path, check=True)
        assert (tmp_path / settings["out"]).exists()


def test_files_that_cannot_be_followed(small, tmp_path):
    def refused(text, *words, name="a.yaml", status=2):
        (tmp_path / name).write_text(text)
        fails(emotion_ser("study", "--corpus", small, "--config", tmp_path / name), *words, status=status)
    refused("sed: 1", "a.yaml", "study has no option 'sed'", "it has corpus, encoder, layers, pooling", "seed")
    refused("config: b.yaml", "no option 'config'")
    refused("seed: one", "'--seed'", "integer")
    refused("recipe: grandma", "'--recipe'", "'tuned', 'baseline'")
    refused("seed: {a: 1}", "a.yaml: seed: give one value")
    refused("out: ''", "out is empty")
    refused("seed: 1\nfinetune: [", "a.yaml: while parsing")
    refused("- seed", "holds no settings")
    refused("seed 1", "holds no settings")
    refused("seed = ", "a.toml", name="a.toml")
    refused("", "does not end in .yaml, .yml, .toml", name="a.json")
    fails(emotion_ser("study", "--config", tmp_path / "none.yaml"), "none.yaml: cannot be read", status=2)
    refused("device: cuda", "--device cuda: the acoustic encoder", status=1)


def test_errors_name_options_at_the_shell_and_parameters_in_python(small, tmp_path):
    corpus = load_corpus(small, silent)
    for mapping, python, shell in (("calm", "map='calm': 'calm' is no", "--map calm: 'calm' is no"), ("bored=sad", "map='bored=sad': no clip", "--map bored=sad: no clip")):
        with pytest.raises(ValueError) as refused: map_labels(corpus, mapping, silent)
        assert str(refused.value).startswith(python) and "--" not in str(refused.value)
        fails(emotion_ser("study", "--corpus", small, "--map", mapping), shell)
    info = tmp_path / "model"
    emotion_ser("train", "--corpus", small, *FEW, "--out", info, check=True)
    about = json.loads((info / "config.json").read_text())
    about["about"]["encoder"] = "/nowhere/at/all"
    (info / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError) as refused: EmotionClassifier.from_pretrained(info)
    assert str(refused.value).endswith("or give the folder of /nowhere/at/all: encoder=...")
    fails(emotion_ser("predict", next(small.rglob("*.wav")), "--model", info), "or give the folder of /nowhere/at/all: --encoder-path")


def test_remarks_name_options_at_the_shell_and_parameters_in_python(small):
    from emotion_ser.splits import default_protocol
    told = []
    default_protocol(load_corpus(small, silent), told.append)
    assert told[0].endswith("(protocol=... takes another)")
    assert "(--protocol takes another)" in emotion_ser("evaluate", "--corpus", small, *FEW, "--layers", "all", "--pooling", "mean", check=True).stderr
