"""Ten drums to twelve lanes: sides of crashes are told where they are plain, and never made up."""

from __future__ import annotations

import numpy as np
import pytest

from backbeat.charts.transcription.lanes import attack_places, in_lanes, sides
from backbeat.music import Onsets

RATE_HZ = 24000


def test_two_plain_sides_are_told() -> None:
    places = np.array([-0.4, 0.35, -0.42, 0.3, 0.33, -0.38, -0.41, 0.31])
    assert sides(places).tolist() == [True, False, True, False, False, True, True, False]


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("count", [8, 12, 40, 300])
def test_one_cymbal_is_never_split_by_noise(spread: float, count: int) -> None:
    rng = np.random.default_rng(count)
    split = [sides(np.clip(rng.normal(0.2, spread, count), -1, 1)).any() for _ in range(200)]
    assert np.mean(split) <= 0.01


def test_few_sounds_and_unknown_places_make_no_side() -> None:
    assert not sides(np.array([-0.5, -0.5, -0.5, 0.5, 0.5, 0.5, 0.5])).any()
    assert not sides(np.full(20, np.nan)).any()
    known = np.array([-0.4] * 4 + [0.4] * 4 + [np.nan])
    assert sides(known).tolist() == [True] * 4 + [False] * 5


def noise_bursts(pans: list[float], background: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return stereo noise that dies away from the places given, a second apart, and when each begins."""
    rng = np.random.default_rng(0)
    times_s = 0.5 + np.arange(len(pans))
    samples = background * rng.standard_normal((2, round((len(pans) + 1) * RATE_HZ)))
    for time_s, pan in zip(times_s, pans, strict=True):
        begin = round(time_s * RATE_HZ)
        decay = rng.standard_normal(RATE_HZ // 2) * np.exp(-np.arange(RATE_HZ // 2) / 6000)
        angle = (pan + 1) * np.pi / 4
        samples[:, begin : begin + decay.size] += np.array([[np.cos(angle)], [np.sin(angle)]]) * decay
    return samples.astype(np.float32), times_s


def test_attack_places_follow_the_pan() -> None:
    samples, times_s = noise_bursts([-0.8, -0.3, 0.0, 0.3, 0.8], background=0.01)
    places = attack_places(samples, RATE_HZ, times_s)
    assert np.all(np.diff(places) > 0.1)
    assert places[2] == pytest.approx(0, abs=0.05)


def test_attack_places_of_nothing_and_at_the_edges_are_unknown() -> None:
    samples, _ = noise_bursts([0.0], background=0.05)
    places = attack_places(samples, RATE_HZ, np.array([0.0, 0.25, 1.999, 5.0]))
    assert np.isnan(places[1:]).all()


def test_lanes() -> None:
    hits = Onsets([0.0, 0.0, 0.5, 1.0], ["kick", "crash", "ride", "crash"], [0.9, 0.8, 0.7, 0.6])
    assert in_lanes(hits).lanes == ("kick", "crash_right", "ride", "crash_right")
    many = Onsets(np.arange(8.0), ["crash"] * 8)
    placed = in_lanes(many, np.array([-0.4, 0.4] * 4))
    assert placed.lanes == ("crash_left", "crash_right") * 4
    assert len(in_lanes(Onsets(np.empty(0)))) == 0
