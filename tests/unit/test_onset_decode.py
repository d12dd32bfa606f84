"""The onset decoder against activations made by hand."""

from __future__ import annotations

import time
from dataclasses import asdict

import mir_eval
import numpy as np
import pytest

from backbeat.errors import ConfigError, ModelError
from backbeat.music import DRUMS, Onsets
from backbeat.onset.decode import OnsetDecoding, decode_onsets, merged_times_s, tune_thresholds
from backbeat.onset.matching import count_matches, count_matches_above

RATE_HZ = 100.0
FRAMES = 1001
KICK, SNARE, CLOSED, OPEN, RIDE = (DRUMS.index(n) for n in ("kick", "snare", "hihat_closed", "hihat_open", "ride"))


def bumps(times_s, peak=0.9, frames=FRAMES, width_frames=1.2):
    grid = np.arange(frames)
    activation = np.zeros(frames)
    for time_s, height in zip(times_s, np.broadcast_to(peak, len(times_s)), strict=True):
        activation = np.maximum(activation, height * np.exp(-0.5 * ((grid - time_s * RATE_HZ) / width_frames) ** 2))
    return activation


def decode(onset=None, drums=None, velocities=None, params=None):
    table = np.zeros((FRAMES, len(DRUMS)))
    for index, activation in (drums or {}).items():
        table[:, index] = activation
    hardness = np.full(table.shape, 0.5) if velocities is None else velocities
    return decode_onsets(
        np.zeros(FRAMES) if onset is None else onset, table, hardness, RATE_HZ, params or OnsetDecoding()
    )


def test_onsets_are_found_between_frames():
    times_s = np.arange(0.2, 9.8, 0.1237)
    onsets, drums = decode(bumps(times_s))
    np.testing.assert_allclose(onsets.times_s, times_s, atol=0.0015)
    assert set(onsets.classes) == {"note"}
    assert len(drums) == 0


def test_strength_is_the_activation():
    onsets, _ = decode(bumps([1.0, 2.0, 3.0], peak=[0.9, 0.6, 0.45]))
    np.testing.assert_allclose(onsets.velocities, [0.9, 0.6, 0.45])


def test_first_and_last_frame_and_none():
    onsets, _ = decode(bumps([0.0, 10.0]))
    np.testing.assert_allclose(onsets.times_s, [0.0, 10.0], atol=0.006)
    empty = decode_onsets(np.empty(0), np.empty((0, 10)), np.empty((0, 10)), RATE_HZ)
    assert [len(part) for part in empty] == [0, 0]
    one = decode_onsets([0.9], np.full((1, 10), 0.9), np.full((1, 10), 0.4), RATE_HZ)
    assert [len(part) for part in one] == [1, 8]  # ten drums, but one hi-hat of three
    assert [len(part) for part in decode(np.zeros(FRAMES))] == [0, 0]
    assert [len(part) for part in decode(np.full(FRAMES, 0.2))] == [0, 0]


def test_drums_together_each_with_its_velocity():
    times_s = np.array([1.003, 2.0, 3.5])
    velocities = np.full((FRAMES, len(DRUMS)), 0.05)
    for time_s, hardness in zip(times_s, (0.2, 0.6, 1.0), strict=True):
        velocities[round(time_s * RATE_HZ) - 2 : round(time_s * RATE_HZ) + 3, KICK] = hardness
        velocities[round(time_s * RATE_HZ) - 2 : round(time_s * RATE_HZ) + 3, RIDE] = hardness / 2
    _, drums = decode(drums={RIDE: bumps(times_s, 0.5), KICK: bumps(times_s)}, velocities=velocities)
    assert drums.classes == ("kick", "ride") * 3
    np.testing.assert_allclose(drums.of("kick").velocities, [0.2, 0.6, 1.0])
    np.testing.assert_allclose(drums.of("ride").velocities, [0.1, 0.3, 0.5])
    np.testing.assert_allclose(drums.of("kick").times_s, times_s, atol=0.0015)


def test_flams_are_two_strokes_and_ripples_one():
    flam_s = [1.0, 1.035]
    _, drums = decode(drums={SNARE: bumps(flam_s, width_frames=0.8)})
    np.testing.assert_allclose(drums.times_s, flam_s, atol=0.002)
    ripple = bumps([1.0], width_frames=4.0)
    ripple[[98, 103]] *= 1.04
    _, drums = decode(drums={SNARE: ripple})
    assert len(drums) == 1
    broad = np.zeros(FRAMES)
    broad[200:204] = 0.95
    onsets, _ = decode(broad)
    np.testing.assert_allclose(onsets.times_s, [2.015], atol=0.0051)


def test_of_two_peaks_too_near_the_stronger_stays():
    activation = np.zeros(FRAMES)
    activation[[300, 302]] = [0.5, 0.9]
    activation[[502, 500]] = [0.5, 0.9]
    onsets, _ = decode(activation)
    np.testing.assert_allclose(onsets.times_s, [3.02, 5.0], atol=0.003)


def test_a_raised_floor_asks_for_more():
    peak = bumps([5.0], 0.42)
    assert len(decode(peak)[0]) == 1
    assert len(decode(np.maximum(peak, 0.4))[0]) == 0
    steep = OnsetDecoding(average_weight=0.0, prominence=0.0)
    assert len(decode(np.maximum(peak, 0.4), params=steep)[0]) == 1


def test_one_hihat_at_a_time():
    drums = {CLOSED: bumps([1.0, 2.0], [0.9, 0.5]), OPEN: bumps([1.01, 2.0, 2.2], [0.6, 0.8, 0.8])}
    _, hits = decode(drums=drums)
    assert hits.classes == ("hihat_closed", "hihat_open", "hihat_open")
    np.testing.assert_allclose(hits.times_s, [1.0, 2.0, 2.2], atol=0.002)


def test_thresholds_are_of_each_class():
    params = OnsetDecoding(thresholds={"kick": 0.7})
    _, drums = decode(drums={KICK: bumps([1.0, 2.0], [0.6, 0.9]), SNARE: bumps([1.0], [0.5])}, params=params)
    assert drums.classes == ("snare", "kick")
    assert params.thresholds["snare"] == 0.3
    assert OnsetDecoding(**asdict(params)) == params


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_impossible_activations_are_refused(bad):
    onset = np.zeros(FRAMES)
    onset[7] = bad
    with pytest.raises(ModelError, match="onset activations"):
        decode(onset)
    with pytest.raises(ModelError, match="onset activations"):
        decode(drums={KICK: onset})


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="5 frames"):
        decode_onsets(np.zeros(5), np.zeros((4, 10)), np.zeros((4, 10)), RATE_HZ)
    with pytest.raises(ConfigError, match="unknown class 'gong'"):
        OnsetDecoding(thresholds={"gong": 0.5})
    with pytest.raises(ConfigError, match="between 0 and 1"):
        OnsetDecoding(thresholds={"kick": 1.0})
    with pytest.raises(ConfigError, match="negative"):
        OnsetDecoding(combine_s=-1.0)


def test_merged_times():
    np.testing.assert_allclose(merged_times_s(np.array([0.0, 0.01, 0.02, 0.031, 0.05, 1.0]), 0.03), [0.0, 0.031, 1.0])
    assert merged_times_s(np.empty(0), 0.03).size == 0


def test_counts_equal_the_bipartite_matching_of_mir_eval():
    random = np.random.default_rng(0)
    for _ in range(60):
        reference_s, estimate_s = (np.sort(random.uniform(0, 4, random.integers(1, 60))) for _ in range(2))
        expected = len(mir_eval.util.match_events(reference_s, estimate_s, 0.05))
        assert count_matches(reference_s, estimate_s, 0.05) == expected
        matched, kept = count_matches_above(
            reference_s, estimate_s, np.ones(estimate_s.size), np.array([0.5, 1.0, 1.5]), 0.05
        )
        np.testing.assert_array_equal(matched, [expected, expected, 0])
        np.testing.assert_array_equal(kept, [estimate_s.size, estimate_s.size, 0])


def tracks_with_distractors(count=6):
    """Kicks that reach 0.6 or more among false ones that reach 0.4 at most; a ride that is never more than 0.2."""
    random = np.random.default_rng(4)
    references, outputs = [], []
    for _ in range(count):
        kicks_s, rides_s = np.arange(0.5, 9.5, 0.5), np.arange(0.75, 9.5, 0.5)
        table = np.zeros((FRAMES, len(DRUMS)))
        table[:, KICK] = np.maximum(
            bumps(kicks_s, random.uniform(0.65, 0.9, kicks_s.size)), bumps(rides_s, random.uniform(0.2, 0.4, 18))
        )
        table[:, RIDE] = bumps(rides_s, random.uniform(0.12, 0.2, 18))
        onset = np.maximum(bumps(kicks_s), bumps(rides_s, 0.7))
        times_s = np.concatenate([kicks_s, rides_s])
        order = np.argsort(times_s)
        names = np.array(["kick"] * 18 + ["ride"] * 18)[order].tolist()
        references.append(Onsets(times_s[order], names))
        outputs.append((onset, table, np.full(table.shape, 0.5)))
    return references, outputs


def test_tuning_separates_what_can_be_separated():
    references, outputs = tracks_with_distractors()
    params, scores = tune_thresholds(references, outputs, RATE_HZ)
    assert scores == {"onset_f": 1.0, "kick_f": 1.0, "ride_f": 1.0}
    assert 0.36 < params.thresholds["kick"] < 0.62
    assert params.thresholds["ride"] < 0.12
    assert params.thresholds["snare"] == 0.3  # does not occur
    for reference, output in zip(references, outputs, strict=True):
        onsets, drums = decode_onsets(*output, RATE_HZ, params)
        assert drums.classes == reference.classes
        np.testing.assert_allclose(onsets.times_s, reference.times_s, atol=0.002)


def test_tuning_reports_the_f_measure_that_decoding_reaches():
    random = np.random.default_rng(8)
    reference = Onsets(np.arange(0.5, 9.5, 0.25), ["snare"] * 36)
    table = np.zeros((FRAMES, len(DRUMS)))
    table[:, SNARE] = np.maximum(
        bumps(reference.times_s, random.uniform(0.1, 0.9, 36)),
        bumps(random.uniform(0, 10, 30), random.uniform(0.05, 0.6, 30)),
    )
    output = (table[:, SNARE], table, np.full(table.shape, 0.5))
    params, scores = tune_thresholds([reference], [output], RATE_HZ)
    _, drums = decode_onsets(*output, RATE_HZ, params)
    f = mir_eval.onset.f_measure(reference.times_s, drums.times_s)[0]
    assert 0.5 < scores["snare_f"] < 1.0
    assert f == pytest.approx(scores["snare_f"])
    for threshold in (0.1, 0.2, 0.4, 0.6):
        _, other = decode_onsets(*output, RATE_HZ, OnsetDecoding(thresholds={"snare": threshold}))
        assert mir_eval.onset.f_measure(reference.times_s, other.times_s)[0] <= f + 1e-12


def test_tuning_needs_tracks():
    with pytest.raises(ConfigError, match="need tracks"):
        tune_thresholds([], [], RATE_HZ)


def test_speed():
    random = np.random.default_rng(0)
    onset, table = random.random(30000) ** 8, random.random((30000, 10)) ** 8
    best_s = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        decode_onsets(onset, table, table, RATE_HZ)
        best_s = min(best_s, time.perf_counter() - begin)
    assert best_s / 300 < 5e-3  # 0.5 ms for each second of music, this is noise
