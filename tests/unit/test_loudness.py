import numpy as np
import pyloudnorm
import pytest

from backbeat.audio.loudness import LoudnessMeter, channel_weights, k_weighting, loudness_lufs
from backbeat.audio.mixing import DEFAULT_LAYOUTS, resample
from backbeat.audio.true_peak import TruePeakMeter
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


def range_lu(samples: np.ndarray, rate_hz: int) -> float | None:
    meter = LoudnessMeter(rate_hz, DEFAULT_LAYOUTS[samples.shape[0]])
    meter.add(samples)
    return meter.range_lu()


@pytest.mark.parametrize(
    ("levels_db", "expected_lu"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_the_minimum_requirements(levels_db, expected_lu):
    # EBU Tech 3342, section 3, test cases 1 to 4: 20 s at each level, 1 LU allowed.
    signal = np.concatenate([sine(level_db, 20) for level_db in levels_db], axis=1)
    assert range_lu(signal, 48000) == pytest.approx(expected_lu, abs=0.5)


def test_loudness_range_agrees_with_pyloudnorm():
    rng = np.random.default_rng(5)
    rate_hz = 8000
    level = 10 ** (
        np.interp(np.arange(rate_hz * 90), np.arange(0, rate_hz * 91, rate_hz), rng.uniform(-45, -10, 91)) / 20
    )
    samples = level * rng.standard_normal((2, level.size))
    expected = pyloudnorm.Meter(rate_hz, filter_class="DeMan").loudness_range(samples.T)
    # It hears 1.5 s of silence at the end, and interpolates between percentiles.
    assert range_lu(samples, rate_hz) == pytest.approx(expected, abs=0.3)


def test_loudness_range_is_defined_from_three_seconds_on():
    assert range_lu(sine(-20, 2.99), 48000) is None
    assert range_lu(sine(-20, 3.0), 48000) == pytest.approx(0.0, abs=1e-9)
    assert range_lu(sine(-90, 5), 48000) is None


def true_peak_dbtp(samples: np.ndarray, rate_hz: int = 48000) -> float | None:
    samples = np.atleast_2d(samples)
    meter = TruePeakMeter(rate_hz, samples.shape[0])
    for start in range(0, samples.shape[1], 5000):
        meter.add(samples[:, start : start + 5000])
    return meter.dbtp()


@pytest.mark.parametrize(
    ("per_cycle", "phase_degrees", "amplitude", "expected_dbtp"),
    [(4, 0, 0.5, -6.0), (4, 45, 0.5, -6.0), (6, 60, 0.5, -6.0), (8, 67.5, 0.5, -6.0), (4, 45, 1.41, 3.0)],
)
def test_true_peak_of_the_minimum_requirements(per_cycle, phase_degrees, amplitude, expected_dbtp):
    # EBU Tech 3341, table 1, cases 15 to 19: sines at a fraction of the rate whose peaks lie between samples. Faded in
    # and out, as there; +0.2 and -0.4 dB are allowed.
    steps = np.arange(48000)
    signal = amplitude * np.sin(2 * np.pi * steps / per_cycle + np.radians(phase_degrees))
    signal *= np.minimum(1, np.minimum(steps, steps[::-1]) / 2000)
    assert -0.4 <= true_peak_dbtp(signal) - expected_dbtp <= 0.2


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_true_peak_of_a_burst_between_samples(offset):
    # EBU Tech 3341, table 1, cases 20 to 23: made at four times the rate with a peak of full scale, and decimated.
    steps = np.arange(4 * 48000)
    signal = 0.5 * np.sin(2 * np.pi * steps / 24)
    burst = (steps >= 96000) & (steps < 96000 + 24)
    signal = np.where(burst, 2 * signal, signal)
    spectrum = np.fft.rfft(np.roll(signal, offset))
    spectrum[len(spectrum) // 4 :] = 0
    decimated = np.fft.irfft(spectrum)[::4]
    band_limited_db = 20 * np.log10(np.abs(np.fft.irfft(spectrum)).max())
    assert -0.4 <= true_peak_dbtp(decimated) - band_limited_db <= 0.2


def test_true_peak_follows_what_oversampling_finds():
    samples = np.random.default_rng(6).normal(0, 0.1, (1, 44100)).astype(np.float32)
    samples = resample(samples, 30000, 44100)  # nothing in the octave where the short filter of the annex rolls off
    fine = 20 * np.log10(np.abs(resample(samples, 44100, 8 * 44100)).max())
    assert true_peak_dbtp(samples, 44100) == pytest.approx(fine, abs=0.3)
    assert true_peak_dbtp(np.vstack([0.1 * samples, samples]), 44100) == true_peak_dbtp(samples, 44100)


def test_true_peak_at_high_rates_and_in_silence():
    samples = np.random.default_rng(8).normal(0, 0.1, 20000)
    assert true_peak_dbtp(samples, 192000) == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=1e-4)
    assert true_peak_dbtp(samples, 96000) <= true_peak_dbtp(samples, 48000)
    assert true_peak_dbtp(np.zeros(100)) is None
