"""Drums from nothing: random drum-machine kits by analogue-style synthesis.

The recipes are the classic ones (see Sound on Sound's "Synth Secrets", parts 32-41): a falling sine for kicks and toms,
two modes and noise for snares, repeated bursts of noise for claps, banks of inharmonic square waves or filtered noise
for cymbals. Every sound starts at full level on its first samples, so its attack is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Hit, Layer, SampledKit

_Signal = NDArray[np.float64]

#: Ratios of the six square-wave oscillators of a TR-808 cymbal (205.3, 304.4, 369.6, 522.7, 540 and 800 Hz).
_METAL = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0]) / 205.3


def time_axis_s(length_s: float) -> _Signal:
    """Return the time of each sample of a sound, at least one."""
    return np.arange(max(int(length_s * SYNTHESIS_RATE_HZ), 1)) / SYNTHESIS_RATE_HZ


def filtered(signal: _Signal, low_hz: float | None, high_hz: float | None, order: int = 2) -> _Signal:
    """Band-limit a signal with Butterworth filters (minimum phase: the attack stays where it is)."""
    from scipy.signal import butter, sosfilt

    top_hz = SYNTHESIS_RATE_HZ * 0.48
    if low_hz is not None:
        signal = sosfilt(butter(order, min(low_hz, top_hz), "highpass", fs=SYNTHESIS_RATE_HZ, output="sos"), signal)
    if high_hz is not None and high_hz < top_hz:
        signal = sosfilt(butter(order, high_hz, "lowpass", fs=SYNTHESIS_RATE_HZ, output="sos"), signal)
    return np.asarray(signal)


def scaled_hit(signal: _Signal, level: float) -> Hit:
    """Scale to the peak `level`, fade the last 5 ms, measure the attack."""
    peak = float(np.abs(signal).max())
    scaled = signal * (level / peak) if peak > 0 else signal
    tail = min(220, scaled.size)
    scaled[-tail:] *= np.linspace(1, 0, tail)
    return Hit.measured(scaled)


def _swept_sine(rng: np.random.Generator, base_hz: float, depth: float, sweep_s: float, decay_s: float) -> _Signal:
    """Return a sine that falls from `base_hz * (1 + depth)` to `base_hz`, dying away with `decay_s`."""
    time_s = time_axis_s(min(6 * decay_s, 2.5))
    phase = 2 * np.pi * base_hz * (time_s + depth * sweep_s * (1 - np.exp(-time_s / sweep_s)))
    return np.sin(phase + rng.uniform(0.2, 1.2)) * np.exp(-time_s / decay_s)


def kick(rng: np.random.Generator) -> Hit:
    """Draw a kick: short and clicking, or long and deep."""
    base_hz, decay_s = rng.uniform(38, 68), float(np.exp(rng.uniform(np.log(0.06), np.log(0.5))))
    body = _swept_sine(rng, base_hz, rng.uniform(0.8, 7), rng.uniform(0.006, 0.05), decay_s)
    drive = rng.choice([0.0, rng.uniform(0.5, 5)])
    if drive > 0:
        body = np.tanh(drive * body) / np.tanh(drive)
    time_s = np.arange(body.size) / SYNTHESIS_RATE_HZ
    click = rng.standard_normal(body.size) * np.exp(-time_s / rng.uniform(0.0008, 0.004))
    return scaled_hit(body + rng.uniform(0.02, 0.6) * filtered(click, 200, rng.uniform(2000, 12000)), 0.95)


def tom(rng: np.random.Generator, base_hz: float) -> Hit:
    """Draw a tom about `base_hz`."""
    body = _swept_sine(rng, base_hz, rng.uniform(0.15, 0.9), rng.uniform(0.02, 0.08), rng.uniform(0.08, 0.35))
    time_s = np.arange(body.size) / SYNTHESIS_RATE_HZ
    noise = filtered(rng.standard_normal(body.size), base_hz, rng.uniform(2000, 8000))
    return scaled_hit(body + rng.uniform(0.0, 0.25) * noise * np.exp(-time_s / rng.uniform(0.005, 0.05)), 0.8)


def snare(rng: np.random.Generator) -> Hit:
    """Draw a snare: two modes of the head and the rattle of the wires."""
    decay_s = float(np.exp(rng.uniform(np.log(0.035), np.log(0.25))))
    time_s = time_axis_s(min(7 * decay_s, 1.2))
    low_hz = rng.uniform(140, 260)
    bend = 1 + rng.uniform(0, 0.8) * np.exp(-time_s / 0.01)
    phase = 2 * np.pi * np.cumsum(low_hz * bend) / SYNTHESIS_RATE_HZ
    head_s = rng.uniform(0.02, 0.12)
    head = np.sin(phase + 0.5) + rng.uniform(0.2, 0.8) * np.sin(rng.uniform(1.5, 1.9) * phase + 0.5)
    noise = filtered(rng.standard_normal(time_s.size), rng.uniform(400, 2500), rng.uniform(6000, 18000))
    noise /= np.abs(noise).max()
    return scaled_hit(rng.uniform(0.1, 0.8) * head * np.exp(-time_s / head_s) + noise * np.exp(-time_s / decay_s), 0.85)


def clap(rng: np.random.Generator) -> Hit:
    """Draw a clap: three or four bursts a hundredth of a second apart, the first as loud as the rest."""
    decay_s, gap_s = rng.uniform(0.04, 0.2), rng.uniform(0.006, 0.014)
    time_s = time_axis_s(min(6 * decay_s + 0.05, 1.2))
    bursts = int(rng.integers(2, 5))
    envelope = np.exp(-time_s / decay_s) * rng.uniform(0.3, 0.8)
    for burst in range(bursts):
        since_s = time_s - burst * gap_s
        envelope = np.maximum(envelope, np.where(since_s >= 0, np.exp(-np.maximum(since_s, 0) / (gap_s * 0.4)), 0))
    noise = filtered(rng.standard_normal(time_s.size), rng.uniform(500, 1000), rng.uniform(2500, 9000))
    return scaled_hit(noise * envelope, 0.8)


def rim(rng: np.random.Generator) -> Hit:
    """Draw a side stick: two short high modes."""
    time_s = time_axis_s(0.12)
    high_hz = rng.uniform(1200, 2600)
    tone = np.sin(2 * np.pi * high_hz * time_s + 0.7) + np.sin(
        2 * np.pi * high_hz * rng.uniform(0.25, 0.7) * time_s + 0.7
    )
    return scaled_hit(tone * np.exp(-time_s / rng.uniform(0.006, 0.025)), 0.6)


def metal(rng: np.random.Generator, decay_s: float, low_hz: float, level: float, noisiness: float) -> Hit:
    """Draw a hi-hat or cymbal: squares in inharmonic ratios and noise above `low_hz`."""
    time_s = time_axis_s(min(5 * decay_s, 2.5))
    base_hz = rng.uniform(180, 420)
    ratios = _METAL * rng.uniform(0.97, 1.03, _METAL.size)
    squares = (
        np.sign(np.sin(2 * np.pi * base_hz * ratios[:, None] * time_s + rng.uniform(0, 6, (6, 1)))).sum(axis=0) / 6
    )
    mixed = noisiness * rng.standard_normal(time_s.size) * 0.5 + (1 - noisiness) * squares
    return scaled_hit(filtered(mixed, low_hz, rng.uniform(11000, 21000)) * np.exp(-time_s / decay_s), level)


def block(rng: np.random.Generator, base_hz: float, decay_s: float) -> Hit:
    """Draw a struck block, bell or hand drum about `base_hz`."""
    time_s = time_axis_s(min(6 * decay_s, 1.0))
    partials = np.array([1.0, rng.uniform(1.4, 1.6), rng.uniform(2.2, 2.9)])
    weights = np.array([1.0, rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.4)])
    tone = weights @ np.sin(2 * np.pi * base_hz * partials[:, None] * time_s + 0.6)
    return scaled_hit(tone * np.exp(-time_s / decay_s), 0.6)


def synthesised_kit(rng: np.random.Generator) -> SampledKit:
    """Draw a whole drum machine: every General MIDI drum of the ten classes, and common percussion.

    Each drum has one to three variants that stand in for one another.
    """
    variants = int(rng.choice([1, 1, 2, 3]))
    noisiness = float(rng.choice([0.0, rng.uniform(0, 1), 1.0], p=[0.25, 0.5, 0.25]))
    hat_low_hz, hat_s = rng.uniform(4000, 9000), rng.uniform(0.012, 0.06)
    cymbal_low_hz = rng.uniform(2000, 6000)
    tom_hz = rng.uniform(70, 120) * np.array([1.0, 1.35, 1.8]) * rng.uniform(0.92, 1.08, 3)
    seeds = rng.integers(2**63, size=24)

    recipes: dict[tuple[int, ...], Callable[[np.random.Generator], Hit]] = {
        (35, 36): kick,
        (38, 40): snare,
        (39,): clap,
        (37,): rim,
        (42, 22): lambda rng: metal(rng, hat_s, hat_low_hz, 0.5, noisiness),
        (44,): lambda rng: metal(rng, hat_s * 0.7, hat_low_hz * 0.9, 0.35, noisiness),
        (46, 26): lambda rng: metal(rng, rng.uniform(0.15, 0.6), hat_low_hz, 0.5, noisiness),
        (49, 57): lambda rng: metal(rng, rng.uniform(0.4, 1.0), cymbal_low_hz, 0.6, max(noisiness, 0.5)),
        (52, 55): lambda rng: metal(rng, rng.uniform(0.2, 0.6), cymbal_low_hz, 0.55, max(noisiness, 0.4)),
        (51, 59): lambda rng: metal(rng, rng.uniform(0.2, 0.7), cymbal_low_hz * 1.2, 0.4, noisiness * 0.6),
        (53,): lambda rng: block(rng, rng.uniform(900, 2200), rng.uniform(0.1, 0.3)),
        (41, 43, 58): lambda rng: tom(rng, float(tom_hz[0])),
        (45, 47): lambda rng: tom(rng, float(tom_hz[1])),
        (48, 50): lambda rng: tom(rng, float(tom_hz[2])),
        (56,): lambda rng: block(rng, rng.uniform(500, 900), rng.uniform(0.05, 0.2)),
        (54,): lambda rng: metal(rng, rng.uniform(0.04, 0.1), 6000, 0.4, 0.3),
        (69, 70, 82): lambda rng: metal(rng, rng.uniform(0.02, 0.05), 5000, 0.35, 1.0),
        (60, 62, 63, 61, 64): lambda rng: block(rng, rng.uniform(150, 420), rng.uniform(0.04, 0.15)),
        (75, 76, 77): lambda rng: block(rng, rng.uniform(900, 2600), rng.uniform(0.015, 0.05)),
    }
    drums: dict[int, tuple[Layer, ...]] = {}
    for index, (notes, draw) in enumerate(recipes.items()):
        # A generator a drum, so that changing one recipe leaves the other drums as they were.
        own = np.random.default_rng(int(seeds[index]))
        first = draw(own)
        hits = (first, *(_varied(first, own) for _ in range(1, variants)))
        drums.update(dict.fromkeys(notes, (Layer(127, hits),)))
    return SampledKit("synthesised", drums)


def _varied(hit: Hit, rng: np.random.Generator) -> Hit:
    """Return the hit a little duller or brighter and louder or softer, its attack where it was."""
    previous = np.concatenate([np.zeros(1, np.float32), hit.samples[:-1]])
    mixed = (hit.samples + rng.uniform(-0.25, 0.25) * previous) * rng.uniform(0.85, 1.1)
    return Hit(mixed.astype(np.float32), hit.attack)
