"""Sounds that are no music: hiss, crackle and hum of media, and voices that sing or talk over it.

Shapes are (samples,) float32 at `SYNTHESIS_RATE_HZ`, about unit RMS unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Samples

#: Formants of five vowels in Hz (Peterson and Barney 1952, adult voices, rounded) and their bandwidths.
_VOWELS = np.array([[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]])
_BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0])
_VOICE_RATE_HZ = 11025


def _unit(samples: NDArray[np.floating]) -> Samples:
    level = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
    return np.asarray(samples / level if level > 0 else samples, dtype=np.float32)


def hiss(rng: np.random.Generator, count: int) -> Samples:
    """Draw the noise of tape or a small microphone amplifier: white, tilted up or down."""
    from scipy.signal import lfilter

    noise = rng.standard_normal(count, dtype=np.float32)
    return _unit(lfilter([np.float32(1), np.float32(rng.uniform(-0.9, 0.9))], [np.float32(1)], noise))


def hum(rng: np.random.Generator, count: int) -> Samples:
    """Draw mains hum: 50 or 60 Hz with harmonics."""
    base_hz = float(rng.choice([50, 60]))
    phase = (2 * np.pi * base_hz / SYNTHESIS_RATE_HZ * np.arange(count)).astype(np.float32)
    weights = rng.uniform(0, 1, 3) / (1, 1.5, 2)
    tone = np.zeros(count, dtype=np.float32)
    for harmonic, weight in zip((1, 2, 3), weights, strict=True):
        tone += np.float32(weight) * np.sin(harmonic * phase + np.float32(rng.uniform(0, 6)))
    return _unit(tone)


def crackle(rng: np.random.Generator, count: int) -> Samples:
    """Draw the clicks of a record: sparse, each a few samples long, over faint hiss. Peaks near 1, not unit RMS."""
    from scipy.signal import lfilter

    clicks = np.zeros(count, dtype=np.float32)
    amount = int(rng.uniform(2, 25) * count / SYNTHESIS_RATE_HZ)
    clicks[rng.integers(0, count, amount)] = rng.standard_normal(amount) * rng.random(amount) ** 3
    rung = lfilter([np.float32(1)], np.array([1, -1.1, 0.5], dtype=np.float32), clicks)
    return np.asarray(np.clip(rung + 0.002 * rng.standard_normal(count), -1, 1), dtype=np.float32)


def voice(rng: np.random.Generator, count: int) -> Samples:
    """Draw one voice: a gliding harmonic source through changing vowels, in syllables and phrases of its own time.

    It sings or talks without regard to beats, so that a model learns that such sounds mean nothing to it.
    """
    from scipy.signal import lfilter, sosfilt
    from soxr import resample

    size = -(-count * _VOICE_RATE_HZ // SYNTHESIS_RATE_HZ) + 8
    length_s = size / _VOICE_RATE_HZ
    syllable_s = rng.uniform(0.12, 0.7)
    syllables = int(length_s / syllable_s * 1.6) + 4
    spans_s = syllable_s * np.exp(rng.normal(0, 0.4, syllables))
    edges = np.cumsum(spans_s) - spans_s[0]
    sung = rng.random() < 0.6
    steps = np.cumsum(rng.normal(0, 2.5, syllables))
    pitches = np.clip(steps - np.linspace(0, steps[-1], syllables), -9, 9)
    base_hz = rng.uniform(90, 330)
    frames_s = np.arange(0, size, 64) / _VOICE_RATE_HZ
    which = np.clip(np.searchsorted(edges, frames_s, side="right") - 1, 0, syllables - 1)
    glide = np.round(pitches) if sung else pitches
    contour = np.interp(frames_s, edges + 0.3 * spans_s, glide)
    contour += (0.3 if sung else 0.0) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * frames_s)
    frequency_hz = np.interp(np.arange(size) / _VOICE_RATE_HZ, frames_s, base_hz * 2 ** (contour / 12))
    phase = np.cumsum(frequency_hz / _VOICE_RATE_HZ) % 1
    # A falling ramp, its steps rounded by a one-pole filter, stands in for the glottal pulse.
    source = lfilter([0.4], [1, -0.6], 0.5 - phase) + 0.02 * rng.standard_normal(size)
    present = (rng.random(syllables) < 0.8) & (np.sin(edges / rng.uniform(1, 3)) > -0.5)
    within = (frames_s - edges[which]) / spans_s[which]
    level = present[which] * np.clip(within / 0.2, 0, 1) * np.clip((1 - within) / 0.25, 0, 1)
    scale = rng.uniform(0.95, 1.25)
    vowels = rng.integers(0, len(_VOWELS), syllables)[which]
    out = np.zeros(size)
    for vowel in range(len(_VOWELS)):
        gate = np.interp(np.arange(size) / _VOICE_RATE_HZ, frames_s, level * (vowels == vowel))
        if gate.any():
            out += sosfilt(_formants(_VOWELS[vowel] * scale), source * gate)
    return _unit(resample(out.astype(np.float32), _VOICE_RATE_HZ, SYNTHESIS_RATE_HZ)[:count])


def _formants(frequencies_hz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return resonators in series, shape (formants, 6), unit gain at 0 Hz."""
    radius = np.exp(-np.pi * _BANDWIDTHS_HZ / _VOICE_RATE_HZ)
    a1 = -2 * radius * np.cos(2 * np.pi * np.minimum(frequencies_hz, 5000) / _VOICE_RATE_HZ)
    a2 = radius**2
    zeros = np.zeros(3)
    return np.stack([1 + a1 + a2, zeros, zeros, np.ones(3), a1, a2], axis=1)


def babble(rng: np.random.Generator, count: int) -> Samples:
    """Draw a small crowd: four voices at once."""
    return _unit(np.sum([voice(rng, count) for _ in range(4)], axis=0))
