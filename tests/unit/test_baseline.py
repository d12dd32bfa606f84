"""The peers of the evaluation table hear clicks."""

from __future__ import annotations

import numpy as np
import pytest

from backbeat.errors import ConfigError
from backbeat.evaluation.baseline import librosa_beats, librosa_onsets


def clicks(times_s, duration_s=12.0, rate_hz=44100):
    samples = 1e-4 * np.random.default_rng(0).normal(size=int(duration_s * rate_hz))
    burst = np.random.default_rng(1).normal(size=2000) * np.exp(-np.arange(2000) / 400)
    for time_s in times_s:
        begin = round(time_s * rate_hz)
        samples[begin : begin + 2000] += 0.3 * burst
    return samples.astype(np.float32)


def test_beats_and_onsets_of_clicks():
    times_s = np.arange(0.5, 11.6, 0.5)
    samples = clicks(times_s)
    onsets = librosa_onsets(samples, 44100)
    assert np.abs(onsets.times_s[:, None] - times_s).min(axis=0).max() < 0.05
    beats = librosa_beats(samples, 44100)
    assert beats.tempo_bpm == pytest.approx(120, rel=0.03)
    assert np.abs(beats.times_s[:, None] - times_s).min(axis=1).max() < 0.07
    assert beats.positions is None


def test_silence_and_nothing():
    for samples in (np.zeros(44100, np.float32), np.zeros(0, np.float32)):
        assert len(librosa_beats(samples, 44100)) == len(librosa_onsets(samples, 44100)) == 0
    with pytest.raises(ConfigError, match="mono"):
        librosa_beats(np.zeros((2, 100), np.float32), 44100)
