"""The beat decoder against activations made by hand, whose beats are known."""

from __future__ import annotations

import time

import numpy as np
import pytest

from backbeat.beat.decode import (
    BeatDecoding,
    decode_beats,
    estimate_tempo_bpm,
    estimate_time_signature,
    peak_pick_beats,
)
from backbeat.beat.tune import tune_decoding
from backbeat.errors import ConfigError, ModelError
from backbeat.music import Beats, TimeSignature

RATE_HZ = 50.0


def bumps(times_s, duration_s=60.0, peak=0.9, rate_hz=RATE_HZ, floor=0.01, width_frames=1.0):
    """Gaussian bumps of the given heights at the given times."""
    frames = np.arange(int(duration_s * rate_hz) + 1)
    activation = np.full(frames.size, floor)
    for time_s, height in zip(times_s, np.broadcast_to(peak, len(times_s)), strict=True):
        bump = height * np.exp(-0.5 * ((frames - time_s * rate_hz) / width_frames) ** 2)
        activation = np.maximum(activation, bump)
    return activation


def steady(bpm=120.0, meter=4, first=1, start_s=0.4, end_s=59.0):
    times_s = np.arange(start_s, end_s, 60 / bpm)
    return times_s, (np.arange(times_s.size) + first - 1) % meter + 1


def assert_found(found: Beats, times_s, positions=None, within_ms=5.0):
    assert len(found) == len(times_s)
    error_ms = 1000 * np.abs(found.times_s - times_s)
    assert error_ms.max() < within_ms
    if positions is not None:
        np.testing.assert_array_equal(found.positions, positions)


@pytest.mark.parametrize("rate_hz", [50.0, 86.13, 100.0])
@pytest.mark.parametrize("bpm", [47, 60, 93.3, 120, 128, 174, 220])
def test_steady_tempo_is_found_to_a_millisecond(bpm, rate_hz):
    times_s, positions = steady(bpm, start_s=0.313)
    found = decode_beats(bumps(times_s, rate_hz=rate_hz), bumps(times_s[positions == 1], rate_hz=rate_hz), rate_hz)
    assert_found(found, times_s, positions, within_ms=1.0)
    assert estimate_tempo_bpm(found) == pytest.approx(bpm, rel=1e-3)


@pytest.mark.parametrize("meter", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("first", [1, 2])
def test_meters_and_pick_ups(meter, first):
    times_s, positions = steady(meter=meter, first=first)
    found = decode_beats(bumps(times_s), bumps(times_s[positions == 1]), RATE_HZ)
    assert_found(found, times_s, positions)
    assert found.beats_per_bar == meter


@pytest.mark.parametrize(("slow", "fast"), [(80, 160), (60, 200)])
def test_tempo_ramp(slow, fast):
    times = [0.5]
    while times[-1] < 58:
        times.append(times[-1] + 60 / (slow + (fast - slow) * times[-1] / 60))
    times_s = np.array(times)
    found = decode_beats(bumps(times_s), bumps(times_s[::4]), RATE_HZ)
    assert_found(found, times_s, np.arange(times_s.size) % 4 + 1)


def test_rubato():
    random = np.random.default_rng(3)
    intervals_s = 0.6 * np.exp(0.12 * np.sin(np.arange(90) / 3) + 0.03 * random.normal(size=90))
    times_s = 0.4 + np.cumsum(intervals_s)
    found = decode_beats(bumps(times_s), bumps(times_s[::3]), RATE_HZ)
    assert_found(found, times_s, np.arange(90) % 3 + 1)


def test_ritardando_at_the_end():
    times_s = np.r_[np.arange(0.4, 30, 0.5), 29.9 + np.cumsum(0.5 * 1.08 ** np.arange(1, 6))]
    found = decode_beats(bumps(times_s), bumps(times_s[::4]), RATE_HZ)
    assert_found(found, times_s, np.arange(times_s.size) % 4 + 1)


def test_missing_beats_are_put_where_they_belong():
    times_s, positions = steady(93.0)
    heard = np.random.default_rng(0).random(times_s.size) > 0.3
    heard[[0, 1, -2, -1]] = True
    found = decode_beats(bumps(times_s[heard]), bumps(times_s[heard & (positions == 1)]), RATE_HZ)
    assert_found(found, times_s, positions)


def test_off_beats_do_not_double_the_tempo():
    times_s, positions = steady()
    beats = np.maximum(bumps(times_s), bumps(times_s + 0.25, peak=0.5))
    assert_found(decode_beats(beats, bumps(times_s[positions == 1]), RATE_HZ), times_s, positions)


def test_weak_second_and_fourth_beats_do_not_halve_the_tempo():
    times_s, positions = steady()
    beats = bumps(times_s, peak=np.where(positions % 2, 0.9, 0.3))
    assert_found(decode_beats(beats, bumps(times_s[positions == 1]), RATE_HZ), times_s, positions)


def test_a_network_that_is_unsure_of_everything_is_still_followed():
    times_s, positions = steady()
    found = decode_beats(bumps(times_s, peak=0.12), bumps(times_s[positions == 1], peak=0.08), RATE_HZ)
    assert_found(found, times_s, positions)


def test_noise():
    times_s, positions = steady(110.0)
    random = np.random.default_rng(1)
    beats = np.clip(bumps(times_s, peak=0.6) + random.normal(0, 0.15, 3001), 0, 1)
    downbeats = np.clip(bumps(times_s[positions == 1], peak=0.5) + random.normal(0, 0.1, 3001), 0, 1)
    found = decode_beats(beats, downbeats, RATE_HZ)
    assert len(found) == len(times_s)
    errors_ms = 1000 * np.abs(found.times_s - times_s)
    assert np.median(errors_ms) < 6
    assert errors_ms.max() < 45
    np.testing.assert_array_equal(found.positions, positions)


def test_positions_stay_through_passages_without_downbeats():
    times_s, positions = steady()
    sung = (times_s > 20) & (times_s < 40)
    found = decode_beats(bumps(times_s), bumps(times_s[(positions == 1) & ~sung]), RATE_HZ)
    assert_found(found, times_s, positions)


def test_false_downbeats_here_and_there_do_not_break_the_bars():
    times_s, positions = steady()
    downbeats = np.maximum(bumps(times_s[positions == 1]), bumps(times_s[[21, 46, 80]], peak=0.7))
    assert_found(decode_beats(bumps(times_s), downbeats, RATE_HZ), times_s, positions)


def test_one_bar_of_five_then_four_again():
    times_s, _ = steady()
    positions = np.r_[np.arange(48) % 4, 0, 1, 2, 3, 4, np.arange(times_s.size - 53) % 4] + 1
    found = decode_beats(bumps(times_s), bumps(times_s[positions == 1]), RATE_HZ)
    assert_found(found, times_s, positions)


def test_change_of_meter():
    times_s, _ = steady()
    positions = np.r_[np.arange(60) % 4, np.arange(times_s.size - 60) % 3] + 1
    assert_found(decode_beats(bumps(times_s), bumps(times_s[positions == 1]), RATE_HZ), times_s, positions)


def test_half_a_beat_too_much_is_a_jump():
    times_s = np.r_[np.arange(0.4, 30, 0.5), np.arange(30.15, 59, 0.5)]
    found = decode_beats(bumps(times_s), bumps(times_s[::4]), RATE_HZ)
    assert_found(found, times_s, np.arange(times_s.size) % 4 + 1)


def test_a_sudden_change_of_tempo_costs_two_beats_at_the_most():
    times_s = np.r_[np.arange(0.4, 30, 0.5), np.arange(30, 59, 0.4)]
    found = decode_beats(bumps(times_s), bumps(times_s[::4]), RATE_HZ)
    nearest_s = np.abs(times_s[:, None] - found.times_s).min(axis=1)
    assert np.count_nonzero(nearest_s > 0.02) <= 2
    assert abs(len(found) - times_s.size) <= 2


def test_no_beats_in_silence_at_the_ends_and_in_the_middle():
    times_s, _ = steady(start_s=6.0, end_s=50.0)
    times_s = times_s[(times_s < 20) | (times_s > 35)]
    found = decode_beats(bumps(times_s), bumps(times_s[::4]), RATE_HZ)
    assert_found(found, times_s)


def test_a_weak_passage_keeps_its_beats():
    times_s, positions = steady()
    weak = (times_s > 20) & (times_s < 35)
    beats = bumps(times_s, peak=np.where(weak, 0.07, 0.9))
    found = decode_beats(beats, bumps(times_s[(positions == 1) & ~weak]), RATE_HZ)
    assert_found(found, times_s, positions)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.04, 0.3, 1.0])
def test_flat_activations_have_no_beats(level):
    found = decode_beats(np.full(3000, level), np.full(3000, level / 2), RATE_HZ)
    assert len(found) == 0
    assert found.positions is not None


def test_no_downbeats_means_no_positions():
    times_s, _ = steady()
    found = decode_beats(bumps(times_s), np.zeros(3001), RATE_HZ)
    assert_found(found, times_s)
    assert found.positions is None
    assert estimate_time_signature(found) is None


def test_short_inputs():
    assert len(decode_beats([], [], RATE_HZ)) == 0
    assert len(decode_beats([0.0], [0.0], RATE_HZ)) == 0
    one = decode_beats(bumps([0.1], 0.3), bumps([0.1], 0.3), RATE_HZ)
    assert_found(one, [0.1], [1])
    two = decode_beats(bumps([0.1, 0.6], 0.8), bumps([0.1], 0.8), RATE_HZ)
    assert_found(two, [0.1, 0.6], [1, 2])


def test_any_activation_gives_valid_beats():
    random = np.random.default_rng(5)
    for frames in [*range(1, 60), 500, 3000]:
        for rate_hz in (8.0, 43.07, 100.0):
            beat = random.random(frames) ** random.integers(1, 20)
            found = decode_beats(beat, beat * random.random(frames), rate_hz)  # Beats checks the order of times
            assert found.times_s.max(initial=0.0) <= frames / rate_hz


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_impossible_activations_are_refused(bad):
    activation = np.full(100, 0.5)
    activation[50] = bad
    with pytest.raises(ModelError, match="beat activations"):
        decode_beats(activation, np.zeros(100), RATE_HZ)
    with pytest.raises(ModelError, match="downbeat activations"):
        decode_beats(np.zeros(100), activation, RATE_HZ)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="10 frames of beat activation, 9"):
        decode_beats(np.zeros(10), np.zeros(9), RATE_HZ)
    with pytest.raises(ConfigError, match="shape"):
        decode_beats(np.zeros((10, 2)), np.zeros(10), RATE_HZ)
    with pytest.raises(ConfigError, match="too few"):
        decode_beats(np.zeros(10), np.zeros(10), 5.0)
    with pytest.raises(ConfigError, match="BPM"):
        BeatDecoding(min_bpm=200, max_bpm=100)
    with pytest.raises(ConfigError, match="meters"):
        BeatDecoding(meters=(3, 4))


def test_parameters_come_back_from_json():
    assert BeatDecoding(meters=[3, 4], meter_costs=[1.0, 0.0]) == BeatDecoding(meters=(3, 4), meter_costs=(1.0, 0.0))


def test_tempo_range_decides_the_octave():
    times_s, positions = steady(140.0)
    beats, downbeats = bumps(times_s), bumps(times_s[positions == 1])
    slow = decode_beats(beats, downbeats, RATE_HZ, BeatDecoding(min_bpm=45, max_bpm=100))
    assert estimate_tempo_bpm(slow) == pytest.approx(70, rel=0.01)


def test_the_same_answer_twice_and_in_float32():
    random = np.random.default_rng(2)
    beat = random.random(2000).astype(np.float32) ** 6
    first = decode_beats(beat, beat * 0.5, RATE_HZ)
    second = decode_beats(beat.astype(np.float64), beat * np.float32(0.5), RATE_HZ)
    np.testing.assert_array_equal(first.times_s, second.times_s)


def test_speed():
    times_s, positions = steady(end_s=599.0)
    beats, downbeats = bumps(times_s, 600.0), bumps(times_s[positions == 1], 600.0)
    decode_beats(beats[:500], downbeats[:500], RATE_HZ)
    best_s = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        decode_beats(beats, downbeats, RATE_HZ)
        best_s = min(best_s, time.perf_counter() - begin)
    assert best_s / 600 < 0.5e-3  # 0.07 ms for each second of audio where it was written


def test_peak_picking_takes_what_stands_out():
    times_s, positions = steady()
    found = peak_pick_beats(bumps(times_s), bumps(times_s[positions == 1]), RATE_HZ)
    assert_found(found, times_s, positions, within_ms=10.1)
    weak = peak_pick_beats(bumps(times_s, peak=0.4), np.zeros(3001), RATE_HZ)
    assert len(weak) == 0


def test_peak_picking_counts_a_pick_up_back_from_the_first_downbeat():
    times_s, positions = steady(first=3)
    found = peak_pick_beats(bumps(times_s), bumps(times_s[positions == 1]), RATE_HZ)
    np.testing.assert_array_equal(found.positions, positions)


def test_tempo_of_few_beats():
    assert estimate_tempo_bpm(Beats([])) is None
    assert estimate_tempo_bpm(Beats([1.0])) is None
    assert estimate_tempo_bpm(Beats([1.0, 1.5])) == pytest.approx(120)


def test_tempo_is_not_moved_by_swung_beats():
    uneven = np.cumsum(np.tile([0.45, 0.55], 30))
    assert estimate_tempo_bpm(Beats(uneven)) == pytest.approx(120, rel=1e-6)


@pytest.mark.parametrize(
    ("meter", "written"), [(2, "2/4"), (3, "3/4"), (4, "4/4"), (5, "5/4"), (6, "6/8"), (7, "7/8"), (9, "9/4")]
)
def test_time_signatures(meter, written):
    positions = np.arange(40) % meter + 1
    assert estimate_time_signature(Beats(np.arange(40) * 0.5, positions)) == TimeSignature.parse(written)


def test_time_signature_where_bars_are_not_known():
    assert estimate_time_signature(Beats([0.0, 1.0], [1, 2])) is None
    muddle = np.concatenate([np.arange(length) + 1 for length in (3, 4, 5, 2, 7, 6, 4)])
    assert estimate_time_signature(Beats(np.arange(muddle.size), muddle)) is None


def test_two_beats_in_thirds_are_six_eight():
    beats_s = np.arange(40) * 0.6
    beats = Beats(beats_s, np.arange(40) % 2 + 1)
    thirds = np.sort(np.r_[beats_s, beats_s + 0.2, beats_s + 0.4])
    halves = np.sort(np.r_[beats_s, beats_s + 0.3])
    shuffle = np.sort(np.r_[beats_s, beats_s + 0.4])
    assert estimate_time_signature(beats, thirds) == TimeSignature(6, 8)
    assert estimate_time_signature(beats, halves) == TimeSignature(2, 4)
    assert estimate_time_signature(beats, shuffle) == TimeSignature(2, 4)


def test_tuning_finds_the_octave_that_the_annotation_means():
    references, outputs = [], []
    for bpm in (100.0, 112.0, 120.0):
        times_s, positions = steady(bpm)
        weak = bumps(times_s, peak=np.where(positions % 2, 0.9, 0.2))
        references.append(Beats(times_s, positions))
        outputs.append(np.stack([weak, bumps(times_s[positions == 1])], axis=1))
    start = BeatDecoding(threshold=0.6)
    assert len(decode_beats(*outputs[0].T, RATE_HZ, start)) < 60
    tuned, scores = tune_decoding(references, outputs, RATE_HZ, start)
    assert tuned.threshold < 0.3
    assert scores["beat_f"] == 1.0
    assert scores["downbeat_f"] == 1.0
    assert tuned.downbeat_threshold == start.downbeat_threshold  # nothing was to be gained


def test_tuning_needs_tracks():
    with pytest.raises(ConfigError, match="need tracks"):
        tune_decoding([], [], RATE_HZ)
