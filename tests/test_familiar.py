"""Is it speech, and like anything that was learned from? What is refused, what is said of it, and what old models go on saying."""
import json
from dataclasses import replace

import numpy as np
import pytest

from emotion_ser.card import model_card
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.core import silent
from emotion_ser.corpora import imitate_corpus
from emotion_ser.familiar import FAMILIAR_FILE, Familiarity, familiar_text, load_familiarity, no_speech_sounds
from emotion_ser.head import HeadError
from emotion_ser.listening import mean_of_windows, timeline_table, to_prediction
from emotion_ser.protocols import EvaluationConfig
from emotion_ser.refusals import NOTHING_SAID, UNLIKE, UNSURE
from emotion_ser.rows import prediction_row, row_writer
from emotion_ser.sounds import NO_SPEECH
from emotion_ser.training import train_classifier

QUIET = dict(report=silent, progress=False)


@pytest.fixture(scope="module")
def robust(tmp_path_factory):
    "A robust classifier that learned from three synthetic corpora, and the sentences that were said"
    folder, sentences = tmp_path_factory.mktemp("familiar"), []
    names = [f"{name}:{imitate_corpus(folder / name, name)}" for name in ("emodb", "emovo", "savee")]
    config = EvaluationConfig(corpus=",".join(names), head="robust", front="speech")
    found = train_classifier(config, cache_dir=folder / "cache", report=sentences.append, progress=False)
    clips = sorted((folder / "savee").rglob("*.wav"))
    return found, sentences, clips


def test_it_is_fitted_at_training_and_its_alarms_are_on_the_card(robust):
    found, sentences, _ = robust
    facts = found.info.familiar
    assert {*facts["false_alarms"]} == {"emodb", "emovo", "savee"} and max(facts["false_alarms"].values()) < 0.1
    assert {*facts["no_speech"]} == {name for name, sound in NO_SPEECH.items() if not sound.learned}
    assert facts["no_speech_trusted"] < 0.1
    assert any("nobody speaks" in sentence for sentence in sentences)
    assert familiar_text(facts).strip() in model_card(found.labels, found.info)


def test_what_was_learned_is_not_refused_and_sounds_are(robust):
    found, _, clips = robust
    answers = [found.predict(clip) for clip in clips[::3]]
    assert np.mean([answer.why in ("", UNSURE) for answer in answers]) > 0.95
    assert all(answer.trusted == (not answer.why) for answer in answers)
    sounds = [found.predict((wave, 16000)) for _, wave in no_speech_sounds(learned=False, each=1)]
    assert np.mean([sound.trusted for sound in sounds]) <= 0.1
    assert {NOTHING_SAID} <= {sound.why for sound in sounds} <= {NOTHING_SAID, UNLIKE, UNSURE, ""}


def test_it_is_saved_loaded_and_refused_if_damaged(robust, tmp_path):
    found, _, clips = robust
    folder = found.save_pretrained(tmp_path / "model")
    again = EmotionClassifier.from_pretrained(folder)
    assert again.predict(clips[0]) == found.predict(clips[0]) and again.info == found.info
    (folder / FAMILIAR_FILE).unlink()
    with pytest.raises(HeadError, match="no familiar.safetensors in it"): EmotionClassifier.from_pretrained(folder)
    (folder / FAMILIAR_FILE).write_bytes(b"no tensors")
    with pytest.raises(HeadError, match="damaged"): EmotionClassifier.from_pretrained(folder)
    forgetful = replace(found, familiar=None)
    folder = forgetful.save_pretrained(folder)
    assert EmotionClassifier.from_pretrained(folder).familiar is None
    config = json.loads((folder / "config.json").read_text())
    config["about"]["familiar"] = "with everything"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(HeadError, match="'with everything'"): EmotionClassifier.from_pretrained(folder)


def test_a_bundled_model_without_it_answers_as_before(robust):
    _, _, clips = robust
    old = EmotionClassifier.from_pretrained("ravdess-acoustic")
    assert old.familiar is None and EmotionClassifier.from_pretrained("acoustic").familiar is not None
    answer = old.predict(clips[0])
    assert answer.why == ("" if answer.confidence >= old.threshold else UNSURE) and answer.trusted == (not answer.why)
    assert old.predict((NO_SPEECH["white-noise"](np.random.default_rng(0)), 16000)).why == NOTHING_SAID


def test_checks_refuse_other_sizes_and_numbers_that_are_none(tmp_path):
    from emotion_ser.familiar import save_familiarity
    one = np.ones(4, np.float32)
    checks = Familiarity(0 * one, one, one, np.eye(2, 4, dtype=np.float32), one[:2], one[:3])
    with pytest.raises(HeadError, match="takes \\[n, 4\\]"): checks.reasons(np.zeros((1, 5)))
    save_familiarity(replace(checks, limits=np.float32([1, np.nan, 1])), tmp_path / FAMILIAR_FILE)
    with pytest.raises(HeadError, match="limits"): load_familiarity(tmp_path / FAMILIAR_FILE, 4, {})


def windows(*whys):
    rows = [dict(start=k, end=k + 3, speech=0.5, label="yes", confidence=0.9, trusted=not why, why=why, p_yes=0.9 - 0.4 * bool(why), p_no=0.1 + 0.4 * bool(why))
            for k, why in enumerate(whys)]
    return timeline_table(rows, ["yes", "no"])


@pytest.mark.parametrize("whys, counted, why", [
    ((UNLIKE, "", "", ""), 3, ""), ((UNLIKE, NOTHING_SAID, UNLIKE, ""), 1, UNLIKE),
    ((NOTHING_SAID,) * 3, 3, NOTHING_SAID), ((UNSURE, ""), 2, "")])
def test_strange_windows_do_not_count_unless_all_are(robust, whys, counted, why):
    found = replace(robust[0], threshold=0.5)
    found.labels = ["yes", "no"]
    answer = mean_of_windows(found, windows(*whys), 12.0, "talk.wav")
    assert (answer.windows, answer.why, answer.trusted) == (counted, why, not why)


def test_the_reason_stands_in_every_form(robust):
    found = robust[0]
    p = np.full(len(found.labels), 1 / len(found.labels))
    rows = [prediction_row("a.wav", to_prediction(found, p, 3.0, 0.5, doubt=doubt)) for doubt in ("", UNLIKE, NOTHING_SAID)]
    for row, why in zip(rows, (UNSURE, UNLIKE, NOTHING_SAID)):
        assert row["why"] == why and json.loads(row_writer("jsonl", found.labels)[1](row))["why"] == why
        assert row_writer("table", found.labels)[1](row).endswith(f"({why})")
        header, line = row_writer("csv", found.labels)
        assert dict(zip(header[0].split(","), line(row).split(",")))["why"] == why


def test_how_loud_a_clip_is_decides_only_where_no_checks_have_learned_what_speech_is(robust):
    "A faint recording is below the floor of silence, and may be speech all the same"
    found, p = robust[0], np.eye(len(robust[0].labels))[0]
    assert to_prediction(found, p, 3.0, 0.0).why == ""
    assert to_prediction(replace(found, familiar=None), p, 3.0, 0.0).why == NOTHING_SAID
