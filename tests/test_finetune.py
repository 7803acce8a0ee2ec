"""Fine-tuning at the shell: what a kill must not change, what is stored, what is refused."""
import signal

import pytest
from conftest import emotion_ser, fails, metrics, signalled
from safetensors.torch import load_file

from emotion_ser.testing import tiny_checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    "A Whisper of two small blocks with random weights"
    return tiny_checkpoint(tmp_path_factory.mktemp("encoders") / "tiny", "whisper", width=32, n_layers=2)


@pytest.mark.thorough("the kill of test_cli and the resumption of 04b_finetune, once more together")
def test_a_killed_run_resumes(small, tiny, tmp_path, own_cache):
    "Killed while the frozen layers are computed, and again between epochs; the end is that of a run nobody disturbed"
    command = ("study", "--corpus", small, "--emotions", "happy,sad", "--encoder", tiny, "--finetune", "1", "--protocol", "actor-holdout", "--out")

    def killed_at(*point): assert signalled(*command, tmp_path / "A", number=signal.SIGKILL, at=[point]).returncode == -signal.SIGKILL

    computed = lambda: set(own_cache.rglob("*-below1/[!.]*.safetensors"))
    point = tmp_path / "A/tuning.safetensors"
    killed_at("os.rename", "*-below1/*.safetensors", 20)
    assert len(computed()) >= 20  # a second thread may have put another
    kept = {clip: clip.stat().st_mtime_ns for clip in computed()}
    killed_at("os.rename", "*/tuning.safetensors")
    assert point.exists()
    done = emotion_ser(*command, tmp_path / "A", check=True)
    assert "top 1 blocks fine-tuned" in done.stdout
    assert kept.items() <= {clip: clip.stat().st_mtime_ns for clip in computed()}.items()
    assert not point.exists()
    emotion_ser(*command, tmp_path / "B", check=True, EMOTION_SER_CACHE=str(tmp_path / "undisturbed"))
    assert metrics(tmp_path / "A") == metrics(tmp_path / "B")
    for name in ("history.csv", "predictions.csv", "model/model.safetensors", "model/encoder.safetensors"):
        assert (tmp_path / "A" / name).read_bytes() == (tmp_path / "B" / name).read_bytes(), name

    learned, whole = load_file(tmp_path / "A/model/encoder.safetensors"), load_file(tiny / "model.safetensors")
    blocks = {key.split("encoder.layers.")[1]: t for key, t in whole.items() if "encoder.layers." in key}
    assert {key for key in learned if key.startswith("blocks.")} == {f"blocks.0{key[1:]}" for key in blocks if key[0] == "1"}  # the upper one alone
    done = emotion_ser("predict", next(small.rglob("*.wav")), "--model", tmp_path / "A/model", "--encoder-path", tiny, "--format", "jsonl", check=True)
    assert '"label"' in done.stdout


def test_what_does_not_go_together(small, tiny):
    fails(emotion_ser("study", "--corpus", small, "--finetune", 1), "acoustic encoder has no blocks")
    fails(emotion_ser("study", "--corpus", small, "--encoder", tiny, "--finetune", 3), "has 1 to 2")
    fails(emotion_ser("evaluate", "--corpus", small, "--encoder", tiny, "--finetune", 1, "--head", "lda"), "tuned, ensemble")
    fails(emotion_ser("study", "--corpus", small, "--encoder", tiny, "--finetune", 0), "--finetune", status=2)
