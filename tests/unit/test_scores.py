"""Scores of the three tasks, against mir_eval and scikit-learn and against values worked out by hand."""

from __future__ import annotations

import math

import mir_eval
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, recall_score

import backbeat.beat.score as beat
import backbeat.genre.score as genre
import backbeat.onset.score as onset
from backbeat.errors import ConfigError, ModelError
from backbeat.music import DRUMS, Beats, Onsets

NONE = Beats([])


def jittered(seed):
    """Beats with positions, and an estimate of them with errors of many kinds."""
    random = np.random.default_rng(seed)
    times_s = np.arange(0.5, 40, 0.5)
    found_s = times_s + random.normal(0, 0.05, times_s.size)
    found_s = np.unique(np.round(np.r_[found_s[random.random(found_s.size) > 0.1], random.uniform(0, 40, 5)], 4))
    reference = Beats(times_s, np.arange(times_s.size) % 4 + 1)
    return reference, Beats(np.abs(found_s), np.arange(found_s.size) % 4 + 1)


@pytest.mark.parametrize("seed", range(8))
def test_beat_measures_equal_mir_eval(seed):
    reference, estimate = jittered(seed)
    scores = beat.score_track(reference, estimate)
    true_s, found_s = (mir_eval.beat.trim_beats(beats.times_s) for beats in (reference, estimate))
    assert scores["beat_f"] == pytest.approx(mir_eval.beat.f_measure(true_s, found_s), abs=1e-12)
    expected = mir_eval.beat.continuity(true_s, found_s)
    assert [scores[name] for name in ("cmlc", "cmlt", "amlc", "amlt")] == pytest.approx(list(expected), abs=1e-12)
    downbeats = [mir_eval.beat.trim_beats(beats.downbeats_s) for beats in (reference, estimate)]
    assert scores["downbeat_f"] == pytest.approx(mir_eval.beat.f_measure(*downbeats), abs=1e-12)
    tp, fp, fn = (scores[f"beat_{count}"] for count in ("tp", "fp", "fn"))
    assert (tp + fn, tp + fp) == (true_s.size, found_s.size)
    assert scores["beat_f"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert scores["beat_precision"] == pytest.approx(tp / found_s.size)
    assert scores["beat_recall"] == pytest.approx(tp / true_s.size)


def test_perfect_beats():
    reference, _ = jittered(0)
    scores = beat.score_track(reference, reference)
    ones = ("beat_f", "cmlc", "cmlt", "amlc", "amlt", "downbeat_f", "position_accuracy", "meter_correct", "tempo_acc1")
    assert [scores[name] for name in ones] == [1.0] * len(ones)
    assert scores["beat_tp"] == 70  # 5.0 to 39.5 s


def test_beats_at_double_tempo():
    times_s = np.arange(5, 40, 0.5)
    scores = beat.score_track(Beats(times_s), Beats(np.arange(5, 39.6, 0.25)))
    assert scores["beat_recall"] == 1.0
    assert scores["beat_f"] == pytest.approx(2 * 70 / (70 + 139))
    assert (scores["cmlt"], scores["amlt"]) == (0.0, 1.0)
    assert (scores["tempo_acc1"], scores["tempo_acc2"]) == (0.0, 1.0)


def test_right_beats_with_bars_off_by_one():
    times_s = np.arange(5, 40, 0.5)
    reference, estimate = Beats(times_s, np.arange(70) % 4 + 1), Beats(times_s, (np.arange(70) + 1) % 4 + 1)
    scores = beat.score_track(reference, estimate)
    assert (scores["beat_f"], scores["downbeat_f"], scores["position_accuracy"]) == (1.0, 0.0, 0.0)
    assert scores["meter_correct"] == 1.0


def test_where_there_is_nothing_to_compare():
    reference, _ = jittered(0)
    both = beat.score_track(NONE, NONE)
    assert all(math.isnan(both[name]) for name in ("beat_f", "cmlt", "amlt", "downbeat_f", "tempo_acc1"))
    assert both["beat_tp"] == both["beat_fp"] == both["beat_fn"] == 0
    for first, second, counts in ((reference, NONE, (0, 0, 70)), (NONE, reference, (0, 70, 0))):
        scores = beat.score_track(first, second)
        assert [scores[name] for name in ("beat_f", "cmlc", "cmlt", "amlc", "amlt")] == [0.0] * 5
        assert tuple(scores[f"beat_{name}"] for name in ("tp", "fp", "fn")) == counts
    single = beat.score_track(Beats([6.0]), Beats([6.01]))
    assert (single["beat_f"], single["cmlt"]) == (1.0, 0.0)
    unknown = beat.score_track(Beats(reference.times_s), reference)
    assert math.isnan(unknown["downbeat_f"])
    assert math.isnan(unknown["meter_correct"])
    assert unknown["downbeat_fp"] == 0
    assert beat.score_track(reference, Beats(reference.times_s))["downbeat_f"] == 0.0


@pytest.mark.parametrize(
    ("found_bpm", "expected"),
    [
        *((120, (1, 1)), (124.8, (1, 1)), (125, (0, 0)), (60, (0, 1)), (62.3, (0, 1)), (62.5, (0, 0))),
        *((240, (0, 1)), (40, (0, 1)), (360, (0, 1)), (180, (0, 0)), (None, (0, 0))),
    ],
)
def test_tempo(found_bpm, expected):
    scores = beat.score_tempo(120.0, found_bpm)
    assert (scores["tempo_acc1"], scores["tempo_acc2"]) == expected


def test_tempo_that_is_given_counts_before_that_of_the_beats():
    reference, _ = jittered(0)
    assert beat.score_track(reference, reference, reference_tempo_bpm=100.0)["tempo_acc1"] == 0.0
    assert beat.score_track(reference, NONE, estimated_tempo_bpm=121.0)["tempo_acc1"] == 1.0


@pytest.mark.parametrize("seed", range(6))
def test_onset_measures_equal_mir_eval(seed):
    random = np.random.default_rng(seed)
    reference, estimate = (
        Onsets(np.cumsum(random.uniform(0.031, 0.2, 150)), random.choice(DRUMS, 150).tolist()) for _ in range(2)
    )
    scores = onset.score_track(reference, estimate, estimate)
    f, precision, recall = mir_eval.onset.f_measure(reference.times_s, estimate.times_s)
    assert [scores[f"onset_{name}"] for name in ("f", "precision", "recall")] == pytest.approx([f, precision, recall])
    for name, members in {**{drum: (drum,) for drum in DRUMS}, **onset.GROUPS}.items():
        true_s, found_s = reference.of(*members).times_s, estimate.of(*members).times_s
        assert scores[f"{name}_f"] == pytest.approx(mir_eval.onset.f_measure(true_s, found_s)[0])
    assert scores["drums_tp"] == sum(scores[f"{name}_tp"] for name in DRUMS)
    assert scores["drums_f"] == pytest.approx(2 * scores["drums_tp"] / 300)


def test_drums_by_hand():
    reference = Onsets([1, 1, 2, 3, 4], ["kick", "hihat_closed", "snare", "hihat_open", "note"], [0.5, 0.5, 0.8, 1, 1])
    found = Onsets([1.01, 1.02, 2.2, 3.0], ["kick", "hihat_open", "snare", "hihat_open"], [0.7, 0.5, 0.8, 0.9])
    scores = onset.score_track(reference, Onsets([1.0, 2.0, 3.0, 4.0, 5.0]), found)
    assert scores["onset_f"] == pytest.approx(8 / 9)
    assert (scores["kick_f"], scores["snare_f"], scores["hihat_closed_f"]) == (1.0, 0.0, 0.0)
    assert scores["hihat_open_f"] == pytest.approx(2 / 3)
    assert scores["hihat_f"] == 1.0
    assert math.isnan(scores["crash_f"])
    assert math.isnan(scores["toms_f"])
    assert scores["crash_tp"] == scores["crash_fp"] == scores["crash_fn"] == 0
    assert [scores[f"drums_{name}"] for name in ("tp", "fp", "fn")] == [2, 2, 2]
    assert scores["drums_macro_f"] == pytest.approx((1 + 0 + 0 + 2 / 3) / 4)
    assert scores["velocity_mae"] == pytest.approx((0.2 + 0.1) / 2)


def test_onsets_where_there_is_nothing():
    nothing, something = Onsets([]), Onsets([1.0], ["kick"])
    both = onset.score_track(nothing, nothing, nothing)
    assert all(math.isnan(both[name]) for name in ("onset_f", "kick_f", "drums_f", "drums_macro_f", "velocity_mae"))
    assert onset.score_track(something, nothing, nothing)["kick_f"] == 0.0
    assert onset.score_track(nothing, something, something)["onset_precision"] == 0.0
    assert not any(name.startswith("onset") for name in onset.score_track(something, None, something))
    assert set(onset.score_track(something, something, None)) == {
        f"onset_{name}" for name in ("f", "precision", "recall", "tp", "fp", "fn")
    }


def test_two_crashes_at_once_are_one():
    reference = Onsets([1.0, 1.001], ["crash", "crash"], [0.4, 0.8])
    scores = onset.score_track(reference, None, Onsets([1.0], ["crash"], [0.7]))
    assert scores["crash_f"] == 1.0
    assert scores["velocity_mae"] == pytest.approx(0.1)


def probabilities(seed=0, tracks=200):
    random = np.random.default_rng(seed)
    table = random.dirichlet([0.5] * 4, tracks)
    names = ("blues", "jazz", "metal", "pop")
    truth = [names[k] for k in np.array([random.choice(4, p=row) for row in table])]
    return names, table, truth


def test_genre_measures_equal_scikit_learn():
    names, table, truth = probabilities()
    score = genre.score_genres(truth, table, names)
    answers = [names[k] for k in table.argmax(axis=1)]
    assert score.accuracy == pytest.approx(accuracy_score(truth, answers))
    assert score.negative_log_likelihood == pytest.approx(log_loss(truth, table, labels=list(names)))
    assert score.brier == pytest.approx(brier_score_loss(truth, table, labels=list(names), scale_by_half=False))
    recalls = recall_score(truth, answers, labels=list(names), average=None)
    assert list(score.recalls.values()) == pytest.approx(recalls.tolist())
    assert score.confusion.sum() == 200
    assert np.trace(score.confusion) == round(200 * score.accuracy)
    assert score.calibration_error < 0.1  # truths were drawn from the probabilities
    per_track = [genre.score_track(t, row, names) for t, row in zip(truth, table, strict=True)]
    for whole, single in (("accuracy", "correct"), ("brier", "brier")):
        assert getattr(score, whole) == pytest.approx(np.mean([row[single] for row in per_track]))


def test_genre_by_hand():
    score = genre.score_genres(
        ["a", "a", "b", "b"], [[0.8, 0.2, 0], [0.4, 0.6, 0], [0.1, 0.9, 0], [0.3, 0.7, 0]], ("a", "b", "c")
    )
    assert score.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert score.accuracy == 0.75
    assert score.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)  # "c" occurs nowhere and is left out
    assert score.recalls == {"a": 0.5, "b": 1.0}
    assert score.brier == pytest.approx((2 * 0.04 + 2 * 0.36 + 2 * 0.01 + 2 * 0.09) / 4)
    assert score.calibration_error == pytest.approx((0.2 + 0.6 + 0.1 + 0.3) / 4)
    assert score.to_dict()["recall_a"] == 0.5


def test_calibration_error_by_hand():
    right = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    assert genre.expected_calibration_error([0.75] * 4 + [0.25] * 4, right, bins=10) == pytest.approx(0.0)
    assert genre.expected_calibration_error([1.0] * 4, [1, 0, 0, 0]) == pytest.approx(0.75)
    assert genre.expected_calibration_error([0.0], [False]) == 0.0


def test_genres_that_cannot_be_scored():
    with pytest.raises(ConfigError, match="'rock' is not one of"):
        genre.score_genres(["rock"], [[1.0]], ("a",))
    with pytest.raises(ConfigError, match="0 tracks"):
        genre.score_genres([], np.empty((0, 1)), ("a",))
    with pytest.raises(ConfigError, match="shape"):
        genre.score_genres(["a"], [[0.5, 0.5]], ("a",))
    for table in ([[np.nan, 1.0]], [[0.5, 0.1]], [[-0.5, 1.5]]):
        with pytest.raises(ModelError):
            genre.score_genres(["a"], table, ("a", "b"))
