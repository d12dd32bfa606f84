"""Tempo maps: one tempo for a click, a change where there is one, and no drift from rounding."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from backbeat.charts.quantising.tempo_map import TempoMap, as_written, fit_tempo_map
from backbeat.errors import ConfigError

RNG_SEED = 5


def heard(times_s: NDArray[np.float64], deviation_s: float, seed: int = RNG_SEED) -> NDArray[np.float64]:
    """Beats as a tracker has them: off by a Gaussian, at most by two deviations."""
    rng = np.random.default_rng(seed)
    noise_s = np.clip(rng.normal(0, deviation_s, times_s.size), -2 * deviation_s, 2 * deviation_s)
    return times_s + noise_s


def every_fourth(count: int) -> NDArray[np.bool_]:
    return np.arange(count) % 4 == 0


@pytest.mark.parametrize("bpm", [60.0, 97.3, 128.0, 174.0])
@pytest.mark.parametrize("deviation_s", [0.001, 0.005, 0.010])
def test_a_click_has_one_tempo_that_stays_true_for_five_minutes(bpm: float, deviation_s: float) -> None:
    quarters = np.arange(int(5 * bpm))
    times_s = 0.7 + quarters * 60 / bpm
    fitted = fit_tempo_map(quarters, heard(times_s, deviation_s), at_bar_line=every_fourth(quarters.size))
    assert fitted.bpm.size == 1
    assert np.abs(fitted.seconds(quarters) - times_s).max() < 0.003


@pytest.mark.parametrize("second_bpm", [60.0, 110.0, 121.0, 122.0, 180.0])
def test_a_change_of_tempo_is_found_at_its_bar_line(second_bpm: float) -> None:
    quarters = np.arange(400)
    times_s = np.concatenate([[0.0], np.cumsum(np.where(quarters < 200, 0.5, 60 / second_bpm))])[:-1]
    fitted = fit_tempo_map(quarters, heard(times_s, 0.005), at_bar_line=every_fourth(400))
    assert fitted.quarters[1:-1].tolist() == [200.0]
    assert np.abs(fitted.seconds(quarters) - times_s).max() < 0.003


def test_a_ritardando_is_followed_with_few_tempi() -> None:
    quarters = np.arange(400)
    beat_s = 0.5 * (1 + np.clip((quarters - 360) / 40, 0, 1))
    times_s = np.concatenate([[0.0], np.cumsum(beat_s)])[:-1]
    fitted = fit_tempo_map(quarters, heard(times_s, 0.004), at_bar_line=every_fourth(400))
    assert 4 <= fitted.bpm.size <= 20
    assert np.abs(fitted.seconds(quarters) - times_s).max() < 0.02
    assert np.all(np.diff(fitted.bpm) < 0.5)


def test_a_drifting_tempo_is_followed() -> None:
    quarters = np.arange(600)
    times_s = np.cumsum(0.5 * np.exp(0.01 * np.sin(quarters / 30)))
    fitted = fit_tempo_map(quarters, heard(times_s, 0.005), at_bar_line=every_fourth(600))
    off_s = np.abs(fitted.seconds(quarters) - times_s)
    assert np.median(off_s) < 0.004
    assert fitted.bpm.size < 40


@pytest.mark.parametrize("wrong", [[200], [200, 201], [100, 300], [50, 51, 350]])
def test_single_wrong_beats_leave_one_tempo(wrong: list[int]) -> None:
    quarters = np.arange(400)
    times_s = 0.5 * quarters
    beats_s = heard(times_s, 0.004)
    beats_s[wrong] += 0.07
    fitted = fit_tempo_map(quarters, beats_s, at_bar_line=every_fourth(400))
    assert fitted.bpm.size == 1
    assert np.abs(fitted.seconds(quarters) - times_s).max() < 0.002


def test_a_held_beat_is_one_slow_beat() -> None:
    quarters = np.arange(400)
    times_s = 0.5 * quarters + 0.2 * (quarters >= 201)
    fitted = fit_tempo_map(quarters, heard(times_s, 0.004), at_bar_line=every_fourth(400))
    assert fitted.bpm.size == 3
    assert np.abs(fitted.seconds(quarters) - times_s).max() < 0.005
    assert fitted.bpm[[0, 2]] == pytest.approx([120, 120], abs=0.1)


def test_places_and_seconds_are_inverse_and_go_on_beyond_the_ends() -> None:
    tempo_map = TempoMap(np.array([0.0, 4.0, 8.0]), np.array([1.0, 3.0, 4.0]))
    assert tempo_map.bpm.tolist() == [120.0, 240.0]
    assert tempo_map.seconds([-2.0, 2.0, 10.0]).tolist() == [0.0, 2.0, 4.5]
    quarters = np.linspace(-10, 20, 61)
    assert tempo_map.places(tempo_map.seconds(quarters)) == pytest.approx(quarters)


def test_rounded_tempi_do_not_drift() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        places = np.concatenate([[0.0], np.cumsum(rng.integers(1, 40, 60))])
        times_s = np.concatenate([[0.0], np.cumsum(np.diff(places) * rng.uniform(0.25, 1.2, 60))])
        written, tempi = as_written(TempoMap(places, times_s), places)
        assert np.array_equal(tempi, np.round(tempi, 4))
        # What is written is what times follow from.
        assert written.times_s == pytest.approx(np.r_[0, np.cumsum(np.diff(places) * 60 / tempi)], abs=1e-9)
        assert np.abs(written.times_s - times_s).max() < 0.0011


def test_a_tempo_near_a_round_one_is_written_as_that() -> None:
    _, tempi = as_written(TempoMap(np.array([0.0, 600.0]), np.array([0.0, 300.0001])), np.array([0.0, 600.0]))
    assert tempi.tolist() == [120.0]


def test_two_hours_of_beats_take_no_time() -> None:
    quarters = np.arange(14400)
    times_s = np.cumsum(0.5 * np.exp(0.01 * np.sin(quarters / 50)))
    noisy_s = heard(times_s, 0.004)
    began = time.perf_counter()
    fitted = fit_tempo_map(quarters, noisy_s, at_bar_line=every_fourth(quarters.size))
    assert time.perf_counter() - began < 6  # about 0.7 s where nothing else runs
    assert np.median(np.abs(fitted.seconds(quarters) - times_s)) < 0.004


@pytest.mark.parametrize(
    ("quarters", "times_s"), [([0.0], [1.0]), ([0.0, 1.0], [1.0, 1.0]), ([1.0, 0.0], [0.0, 1.0]), ([], [])]
)
def test_beats_that_make_no_map_are_refused(quarters: list[float], times_s: list[float]) -> None:
    with pytest.raises(ConfigError, match="two beats, increasing"):
        fit_tempo_map(quarters, times_s)


def test_two_beats_make_a_map() -> None:
    fitted = fit_tempo_map([0.0, 1.0], [0.5, 1.1])
    assert fitted.bpm == pytest.approx([100.0])


def test_chance_makes_no_changes_of_tempo() -> None:
    quarters = np.arange(600)
    tempi = []
    for seed in range(20):
        rng = np.random.default_rng([seed, 7])
        for off_s in (rng.normal(0, 0.005, 600), rng.uniform(-0.01, 0.01, 600), rng.standard_t(4, 600) * 0.004):
            fitted = fit_tempo_map(quarters, 1 + 0.5 * quarters + off_s, at_bar_line=every_fourth(600))
            tempi.append(fitted.bpm.size)
    assert np.mean(np.array(tempi) == 1) >= 0.9
    assert max(tempi) <= 4


def test_rubato_is_followed_within_what_the_beats_allow() -> None:
    rng = np.random.default_rng(3)
    beat_s = 0.6 * np.exp(0.05 * np.sin(np.arange(400) / 5) + np.cumsum(rng.normal(0, 0.004, 400)))
    times_s = np.cumsum(beat_s)
    quarters = np.arange(400)
    fitted = fit_tempo_map(quarters, heard(times_s, 0.004), at_bar_line=every_fourth(400))
    off_s = np.abs(fitted.seconds(quarters) - times_s)
    assert np.median(off_s) < 0.006
    assert np.percentile(off_s, 95) < 0.020
    assert fitted.bpm.size < 150
