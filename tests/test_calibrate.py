"""What must hold of confidence and temperature for any answers, searched with hypothesis."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_ser.calibrate import apply_temperature, calibration_error, fit_temperature, negative_log_likelihood, reliability
from emotion_ser.data import EMOTIONS

temperatures = st.floats(-4, 4).map(np.exp)


@st.composite
def answers(draw):
    "Truth [n] and probabilities [n, n_labels], from shrugs to certainties, zeros, ties and bin edges among them"
    n_labels, n, seed = draw(st.integers(2, 8)), draw(st.integers(1, 120)), draw(st.integers(0, 2**16))
    kind = draw(st.sampled_from(["smooth", "peaked", "tenths", "certain", "float32"]))
    rng = np.random.default_rng(seed)
    if kind == "tenths": p = rng.multinomial(10, np.full(n_labels, 1 / n_labels), size=n) / 10
    elif kind == "certain": p = np.eye(n_labels)[rng.integers(0, n_labels, n)]
    else: p = rng.dirichlet(np.full(n_labels, 0.05 if kind == "peaked" else 1.0), n)
    if kind == "float32": p = p.astype(np.float32)
    labels = EMOTIONS[:n_labels]
    right = np.array(labels)[p.argmax(1)]
    return np.where(rng.random(n) < draw(st.floats(0, 1)), right, rng.choice(labels, n)), p, labels


def plain_ece(truth, p, labels, bins):
    "The definition in plain Python"
    total = 0
    for k in range(bins):
        inside = [(max(row), labels[row.index(max(row))] == t) for t, row in zip(truth, p.tolist())
                  if k / bins < max(row) <= (k + 1) / bins]
        total += abs(sum(r for _, r in inside) - sum(c for c, _ in inside)) / len(truth)
    return total


@settings(max_examples=100, deadline=None)
@given(answers(), st.integers(1, 40))
def test_the_error_is_the_definitions_and_lies_between_0_and_1(case, bins):
    truth, p, labels = case
    ece, table = calibration_error(truth, p, labels, bins), reliability(truth, p, labels, bins)
    assert 0 <= ece <= 1 and ece == pytest.approx(plain_ece(truth, p, labels, bins), abs=1e-9)
    assert len(table) == bins and table.clips.sum() == len(truth)
    filled = table[table.clips > 0]
    assert (filled.low < filled.confidence + 1e-12).all() and (filled.confidence <= filled.high + 1e-12).all()
    assert table[table.clips == 0][["confidence", "accuracy"]].isna().all(axis=None) and filled.notna().all(axis=None)
    assert np.average(filled.accuracy, weights=filled.clips) == pytest.approx((np.array(labels)[p.argmax(1)] == truth).mean())


@settings(max_examples=100, deadline=None)
@given(answers(), temperatures)
def test_a_temperature_never_changes_an_answer(case, temperature):
    _, p, _ = case
    warmed, rows = apply_temperature(p, temperature), np.arange(len(p))
    assert warmed.shape == p.shape and np.isfinite(warmed).all() and (warmed >= 0).all()
    assert warmed.sum(axis=1) == pytest.approx(1)
    assert warmed[rows, p.argmax(1)] == pytest.approx(warmed.max(1), rel=1e-12)
    second, first = np.sort(p, axis=1)[:, -2:].T
    clear = first - second > 1e-9  # ties have no order to keep
    assert (warmed.argmax(1) == p.argmax(1))[clear].all()
    # no pair of labels changes places
    order = np.take_along_axis(warmed, np.argsort(p, axis=1, kind="stable"), axis=1)
    assert (np.diff(order, axis=1) >= -1e-12).all()


@settings(max_examples=100, deadline=None)
@given(answers())
def test_fitting_never_makes_the_likelihood_worse(case):
    truth, p, labels = case
    temperature = fit_temperature(truth, p, labels)
    assert np.exp(-4) <= temperature <= np.exp(4) and temperature == fit_temperature(truth, p, labels)
    nll = lambda t: negative_log_likelihood(truth, apply_temperature(p, t), labels)
    assert nll(temperature) <= nll(1) + 1e-6
    assert nll(1) == pytest.approx(negative_log_likelihood(truth, p, labels), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 5), st.integers(0, 2**16))
def test_a_planted_temperature_is_found(planted, seed):
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet(np.full(4, 0.7), 4000)
    truth = np.array(EMOTIONS[:4])[(rng.random((4000, 1)) > honest.cumsum(1)).sum(1).clip(max=3)]
    found = fit_temperature(truth, apply_temperature(honest, 1 / planted), EMOTIONS[:4])
    assert found == pytest.approx(planted, rel=0.15)


@pytest.mark.parametrize("change, reason", [
    (lambda t, p: (t[:-1], p), "for 3 clips"), (lambda t, p: (t, p[:, :-1]), "do not sum to 1"), (lambda t, p: (t, p * 2), "do not sum to 1"),
    (lambda t, p: (t, p * np.nan), "not finite"), (lambda t, p: (t, p[0]), r"\[n, n_labels\] is needed"), (lambda t, p: (t, p * 12 - 2.75), "negative"),
    (lambda t, p: (t[:0], p[:0]), "no clips"), (lambda t, p: (["bored"] * 4, p), "bored"),
])
@pytest.mark.parametrize("function", [reliability, calibration_error, fit_temperature, negative_log_likelihood])
def test_what_are_no_probabilities_is_refused(function, change, reason):
    truth, p = change(np.array(EMOTIONS[:4]), np.full((4, 4), 0.25) + 0.1 * np.eye(4) - 0.025)
    with pytest.raises(ValueError, match=reason): function(truth, p, EMOTIONS[:4])


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_an_impossible_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="finite and above 0"): apply_temperature(np.full((1, 2), 0.5), temperature)
