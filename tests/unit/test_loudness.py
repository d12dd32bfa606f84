import numpy as np
import pyloudnorm
import pytest

from backbeat.audio.loudness import LoudnessMeter, channel_weights, k_weighting, loudness_lufs
from backbeat.audio.mixing import DEFAULT_LAYOUTS
from backbeat.errors import ConfigError


def sine(level_db: float, seconds: float, rate_hz: int = 48000, channels: int = 2, hz: float = 1000.0) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.tile(10 ** (level_db / 20) * np.sin(2 * np.pi * hz * time_s), (channels, 1)).astype(np.float32)


def test_filters_are_those_of_the_recommendation_at_48_khz():
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48000), [shelf, high_pass], atol=1e-8)


@pytest.mark.parametrize("level_db", [-23.0, -33.0])
def test_a_stereo_sine_measures_its_level(level_db):
    # EBU Tech 3341, test cases 1 and 2.
    assert loudness_lufs(sine(level_db, 20), 48000) == pytest.approx(level_db, abs=0.1)


def test_quiet_parts_fall_under_the_relative_gate():
    # EBU Tech 3341, test case 3: 10 s at -36, 60 s at -23, 10 s at -36 dBFS.
    signal = np.concatenate([sine(-36, 10), sine(-23, 60), sine(-36, 10)], axis=1)
    assert loudness_lufs(signal, 48000) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 96000])
def test_agrees_with_pyloudnorm_at_every_rate(rate_hz):
    rng = np.random.default_rng(3)
    samples = rng.normal(0, 0.1, (2, rate_hz * 6 + 77)) * np.linspace(0.01, 1, rate_hz * 6 + 77)
    expected = pyloudnorm.Meter(rate_hz, filter_class="DeMan").integrated_loudness(samples.T)
    assert loudness_lufs(samples.astype(np.float32), rate_hz) == pytest.approx(expected, abs=0.001)


def test_blocks_of_any_length_give_the_same_answer():
    rng = np.random.default_rng(4)
    samples = (rng.normal(0, 0.2, (2, 44100 * 5)) * np.linspace(0.1, 1, 44100 * 5)).astype(np.float32)
    meter = LoudnessMeter(44100, ("FL", "FR"))
    start = 0
    while start < samples.shape[1]:
        length = int(rng.integers(0, 9000))
        meter.add(samples[:, start : start + length])
        start += length
    assert meter.integrated_lufs() == pytest.approx(loudness_lufs(samples, 44100), abs=1e-9)


def test_measures_only_what_is_defined():
    assert loudness_lufs(sine(-20, 0.399), 48000) is None
    assert loudness_lufs(sine(-20, 0.4), 48000) is not None
    assert loudness_lufs(np.zeros((1, 48000)), 48000) is None
    assert loudness_lufs(sine(-90, 2), 48000) is None


def test_mono_counts_once_and_surrounds_count_more():
    mono = loudness_lufs(sine(-20, 2, channels=1)[0], 48000)
    assert mono == pytest.approx(loudness_lufs(sine(-20, 2), 48000) - 10 * np.log10(2), abs=0.01)
    assert channel_weights(DEFAULT_LAYOUTS[6]).tolist() == [1, 1, 1, 0, 1.41, 1.41]
    assert channel_weights(DEFAULT_LAYOUTS[8]).tolist() == [1, 1, 1, 0, 1, 1, 1.41, 1.41]


def test_refuses_what_it_cannot_measure():
    with pytest.raises(ConfigError, match="at 2000 Hz"):
        LoudnessMeter(2000, ("FC",))
    with pytest.raises(ConfigError, match="does not have 2 channels"):
        LoudnessMeter(48000, ("FL", "FR")).add(np.zeros((1, 10)))
