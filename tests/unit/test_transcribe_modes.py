"""Ways of listening: what a rock drummer's habits sway, and the mean of several hearings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_models

from backbeat.charts.transcription.modes import listened
from backbeat.charts.transcription.modes_rock import COUNTS, lean_at, leaned, log_odds
from backbeat.features import LogMel, log_mel
from backbeat.music import DRUMS, Beats
from backbeat.onset.detector import OnsetDetector

SNARE, KICK = DRUMS.index("snare"), DRUMS.index("kick")


def bars_of(beats_per_bar: int, bars: int = 4, beat_s: float = 0.5) -> Beats:
    numbers = np.arange(beats_per_bar * bars)
    return Beats(1.0 + beat_s * numbers, numbers % beats_per_bar + 1)


def test_the_table_knows_the_backbeat() -> None:
    table = log_odds()
    assert table.shape == (16, len(DRUMS))
    assert set(COUNTS) == set(DRUMS)
    assert set(np.argsort(table[:, SNARE])[-2:]) == {4, 12}
    assert table[:, KICK].argmax() == 0
    assert np.exp(table).mean(axis=0) == pytest.approx(np.ones(len(DRUMS)))


def test_leaning_follows_the_bar() -> None:
    times_s = np.array([1.0, 1.5, 1.625, 3.5, 0.5, 99.0])
    leaning = lean_at(times_s, bars_of(4), weight=1.0)
    table = log_odds()
    np.testing.assert_allclose(leaning[0], table[0])
    np.testing.assert_allclose(leaning[1], table[4])
    np.testing.assert_allclose(leaning[2], table[5])
    np.testing.assert_allclose(leaning[3], table[4])
    assert not leaning[4:].any()


def test_other_meters_and_unknown_bars_are_left_alone() -> None:
    times_s = np.linspace(1, 4, 50)
    assert not lean_at(times_s, bars_of(3)).any()
    assert not lean_at(times_s, Beats(np.arange(9.0))).any()
    assert not lean_at(times_s, Beats(np.empty(0))).any()


def test_what_is_sure_stays_so_and_doubt_is_swayed() -> None:
    probabilities = np.full((2, len(DRUMS)), 0.5, dtype=np.float32)
    probabilities[:, KICK] = 0.0, 0.999
    swayed = leaned(probabilities, np.array([1.5, 1.625]), bars_of(4))
    assert swayed[0, SNARE] > 0.6 > 0.5 > swayed[1, SNARE]
    assert swayed[0, KICK] == 0
    assert swayed[1, KICK] > 0.99


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> OnsetDetector:
    return OnsetDetector.from_folder(save_tiny_models(tmp_path_factory.mktemp("models"))["onset"])


def test_plain_listening_is_the_model_itself(detector: OnsetDetector, tmp_path: Path) -> None:
    mono = np.random.default_rng(0).standard_normal(24000).astype(np.float32) * 0.1
    heard = log_mel(mono, LogMel(detector.spec.features))
    np.testing.assert_array_equal(listened(detector, mono, heard), detector.activations(heard))


@pytest.mark.parametrize("how", [{"ensemble": True}, {"multi_scale": True}, {"ensemble": True, "multi_scale": True}])
def test_hearings_are_averaged(detector: OnsetDetector, how: dict[str, bool]) -> None:
    mono = np.random.default_rng(0).standard_normal(24000).astype(np.float32) * 0.1
    heard = log_mel(mono, LogMel(detector.spec.features))
    plain, several = detector.activations(heard), listened(detector, mono, heard, **how)
    assert several.shape == plain.shape
    assert several.dtype == np.float32
    assert np.all((several > 0) & (several < 1))
    assert np.abs(several - plain).max() > 1e-3
