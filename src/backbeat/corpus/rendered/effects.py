"""What happens to music between the players and the listener: tone, room, dynamics, noise, bandwidth, level.

Every effect keeps times: filters are minimum phase, reverbs and choruses leave the direct sound where it is, and a
codec's delay is taken out. Signals are float32 of shape (channels, samples) at `SYNTHESIS_RATE_HZ`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Samples
from backbeat.errors import ConfigError

_CONTROL = 32  # Dynamics are computed at a rate lower by this factor; gains are interpolated back.
_FLOOR = 1e-9


@dataclass(frozen=True)
class EffectsParams:
    """How much is done to rendered music.

    Parameters
    ----------
    strength
        0 leaves everything as it was synthesised (but for level); 1 is meant for training.
    drums
        How far each drum of a kit is toned by itself, and how often the kit has a room of its own, 0..1.
    reverb, dynamics, noise, distractors, band_limit, codec
        Probabilities at full strength that a track gets them.
    codec_bitrates_bps
        Lowest and highest bit rate of lossy round trips.

    Raises
    ------
    ConfigError
        If a probability or the strength lies outside 0..1, or the bit rates make no range.
    """

    strength: float = 1.0
    drums: float = 0.0
    reverb: float = 0.75
    dynamics: float = 0.7
    noise: float = 0.35
    distractors: float = 0.35
    band_limit: float = 0.25
    codec: float = 0.2
    codec_bitrates_bps: tuple[int, int] = (48_000, 192_000)

    def __post_init__(self) -> None:
        for name in ("strength", "drums", "reverb", "dynamics", "noise", "distractors", "band_limit", "codec"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"effects.{name} must lie in 0..1, not {getattr(self, name)!r}")
        low, high = self.codec_bitrates_bps
        if not 8_000 <= low <= high:
            raise ConfigError(f"effects.codec_bitrates_bps {low}..{high} is no range of bit rates from 8000 up")


def _draws(rng: np.random.Generator, probability: float, params: EffectsParams) -> bool:
    return bool(rng.random() < probability * params.strength)


# --- tone ------------------------------------------------------------------------------------------------------------


def biquad(kind: str, frequency_hz: float, gain_db: float = 0.0, q: float = 0.707) -> NDArray[np.float32]:
    """Return one second-order section, shape (6,): "low_shelf", "high_shelf", "peak", "high_pass" or "low_pass".

    Formulas of R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """
    omega = 2 * np.pi * min(frequency_hz, 0.49 * SYNTHESIS_RATE_HZ) / SYNTHESIS_RATE_HZ
    cos, alpha, amp = np.cos(omega), np.sin(omega) / (2 * q), 10 ** (gain_db / 40)
    root = 2 * np.sqrt(amp) * alpha
    if kind == "peak":
        b = (1 + alpha * amp, -2 * cos, 1 - alpha * amp)
        a = (1 + alpha / amp, -2 * cos, 1 - alpha / amp)
    elif kind == "high_pass":
        b = ((1 + cos) / 2, -(1 + cos), (1 + cos) / 2)
        a = (1 + alpha, -2 * cos, 1 - alpha)
    elif kind == "low_pass":
        b = ((1 - cos) / 2, 1 - cos, (1 - cos) / 2)
        a = (1 + alpha, -2 * cos, 1 - alpha)
    elif kind in ("low_shelf", "high_shelf"):
        side = 1 if kind == "low_shelf" else -1
        plus, minus = amp + 1, amp - 1
        b = (
            amp * (plus - side * minus * cos + root),
            side * 2 * amp * (minus - side * plus * cos),
            amp * (plus - side * minus * cos - root),
        )
        a = (
            plus + side * minus * cos + root,
            -side * 2 * (minus + side * plus * cos),
            plus + side * minus * cos - root,
        )
    else:
        raise ConfigError(f"no filter is called {kind!r}")
    return np.array([*b, *a], dtype=np.float32) / np.float32(a[0])


def equalise(samples: Samples, sections: Sequence[NDArray[np.float32]]) -> Samples:
    """Filter with second-order sections, each of shape (6,)."""
    from scipy.signal import sosfilt

    if not sections:
        return samples
    return np.asarray(sosfilt(np.stack(sections), samples, axis=-1), dtype=np.float32)


def random_tone(rng: np.random.Generator, amount: float) -> list[NDArray[np.float32]]:
    """Draw an equaliser: two shelves and a peak, together about `amount` * 4 dB of standard deviation each."""
    gains_db = np.clip(rng.normal(0, 4 * amount, 3), -12, 9)
    return [
        biquad("low_shelf", float(rng.uniform(80, 350)), float(gains_db[0])),
        biquad("high_shelf", float(rng.uniform(2500, 9000)), float(gains_db[1])),
        biquad(
            "peak",
            float(np.exp(rng.uniform(np.log(200), np.log(6000)))),
            float(gains_db[2]),
            float(rng.uniform(0.5, 2)),
        ),
    ]


# --- dynamics --------------------------------------------------------------------------------------------------------


def _control_level(samples: Samples) -> NDArray[np.float64]:
    """Return the peak of each control block over all channels, shape (blocks,)."""
    count = samples.shape[1]
    padded = np.zeros(-(-count // _CONTROL) * _CONTROL, dtype=np.float32)
    np.abs(samples).max(axis=0, out=padded[:count])
    return np.asarray(padded.reshape(-1, _CONTROL).max(axis=1), dtype=np.float64)


def _followed(level: NDArray[np.float64], attack_s: float, release_s: float) -> NDArray[np.float64]:
    """Smooth a level at the control rate: the larger of a fast and a slow one-pole follower, which needs no loop."""
    from scipy.signal import lfilter

    rate_hz = SYNTHESIS_RATE_HZ / _CONTROL
    fast, slow = (1 - np.exp(-1 / (max(time_s, 1e-4) * rate_hz)) for time_s in (attack_s, release_s))
    quick, lasting = lfilter([fast], [1, fast - 1], level), lfilter([slow], [1, slow - 1], level)
    return np.asarray(np.maximum(quick, lasting), dtype=np.float64)


def _apply_gain(samples: Samples, gain: NDArray[np.float64]) -> Samples:
    """Multiply by a gain given at the centres of control blocks."""
    count = samples.shape[1]
    centres = (np.arange(gain.size) + 0.5) * _CONTROL
    return samples * np.interp(np.arange(count), centres, gain).astype(np.float32)


def compress(samples: Samples, *, threshold_db: float, ratio: float, attack_s: float, release_s: float) -> Samples:
    """Compress above `threshold_db` (of full scale), all channels by the same gain."""
    level_db = 20 * np.log10(_followed(_control_level(samples), attack_s, release_s) + _FLOOR)
    gain_db = -np.maximum(level_db - threshold_db, 0) * (1 - 1 / ratio)
    return _apply_gain(samples, 10 ** (gain_db / 20))


def limit(samples: Samples, ceiling: float = 0.98) -> Samples:
    """Hold peaks at `ceiling`: a gain that has fallen before the peak comes (2 ms), and a hard edge for the rest."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    wanted = np.minimum(1.0, ceiling / np.maximum(_control_level(samples), _FLOOR))
    held = minimum_filter1d(wanted, 7, mode="nearest")
    gain = uniform_filter1d(held, 5, mode="nearest")
    return np.asarray(np.clip(_apply_gain(samples, gain), -ceiling, ceiling), dtype=np.float32)


def saturate(samples: Samples, drive_db: float) -> Samples:
    """Bend towards full scale as tape and valves do (tanh), with the gain of quiet sounds taken out again."""
    drive = np.float32(10 ** (drive_db / 20))
    return np.asarray(np.tanh(samples * drive) / drive, dtype=np.float32)


def pump(samples: Samples, kicks_s: Sequence[float], depth: float, recovery_s: float) -> Samples:
    """Duck under each kick by `depth` (0..1) and recover in `recovery_s`, as a side-chained compressor does."""
    gain = np.ones(samples.shape[1], dtype=np.float32)
    # The dip is quick but not instant, and begins with the kick, not before it.
    steps = np.arange(int(4 * recovery_s * SYNTHESIS_RATE_HZ)) / SYNTHESIS_RATE_HZ
    shape = (1 - depth * np.exp(-steps / recovery_s) * (1 - np.exp(-steps / 0.003))).astype(np.float32)
    for kick_s in kicks_s:
        start = round(kick_s * SYNTHESIS_RATE_HZ)
        if 0 <= start < gain.size:
            window = gain[start : start + shape.size]
            np.minimum(window, shape[: window.size], out=window)
    return samples * gain


# --- movement and room -----------------------------------------------------------------------------------------------


def tremolo(samples: Samples, rate_hz: float, depth: float, phase: float = 0.0) -> Samples:
    """Let the level swing by `depth` (0..1)."""
    time_s = np.arange(0, samples.shape[1] + _CONTROL, _CONTROL) / SYNTHESIS_RATE_HZ
    gain = 1 - depth * 0.5 * (1 + np.sin(2 * np.pi * rate_hz * time_s + phase))
    return _apply_gain(samples, gain)


def chorus(samples: Samples, rate_hz: float, depth_s: float, mix: float) -> Samples:
    """Add a copy whose delay swings about 15 ms; the direct sound stays."""
    count = samples.shape[1]
    index = np.arange(count, dtype=np.float64)
    delay = (0.015 + depth_s * np.sin(2 * np.pi * rate_hz * index / SYNTHESIS_RATE_HZ)) * SYNTHESIS_RATE_HZ
    positions = index - delay
    whole = np.floor(positions).astype(np.int64)
    part = (positions - whole).astype(np.float32)
    # The first moments repeat sample 0: there is nothing before it.
    before, after = np.maximum(whole, 0), np.maximum(whole + 1, 0)
    copy = samples[:, before] * (1 - part) + samples[:, after] * part
    return np.asarray(samples + np.float32(mix) * copy, dtype=np.float32)


def room(rng: np.random.Generator, decay_s: float, predelay_s: float, damping_hz: float, channels: int) -> Samples:
    """Draw the response of a room without its direct sound: noise that dies away, the highs first.

    Parameters
    ----------
    decay_s
        Time to fall by 60 dB (RT60) at low frequencies.
    predelay_s
        Until the first reflection.
    damping_hz
        Where highs begin to be lost.
    channels
        Each gets noise of its own.

    Returns
    -------
    Shape (channels, samples), unit energy.
    """
    count = max(int(decay_s * SYNTHESIS_RATE_HZ), 64)
    time_s = np.arange(count) / SYNTHESIS_RATE_HZ
    noise = rng.standard_normal((channels, count), dtype=np.float32)
    bright = noise * np.exp(-6.9 * time_s / (0.35 * decay_s)).astype(np.float32)
    dark = equalise(noise * np.exp(-6.9 * time_s / decay_s).astype(np.float32), [biquad("low_pass", damping_hz)])
    response = np.pad(0.5 * bright + dark, ((0, 0), (round(predelay_s * SYNTHESIS_RATE_HZ), 0)))
    response = equalise(response, [biquad("high_pass", 120)])
    return np.asarray(response / np.sqrt(np.square(response).sum() / channels), dtype=np.float32)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Return what the room adds to `samples`: their convolution with the room's response, cut to their length."""
    from scipy.fft import irfft, next_fast_len, rfft

    count = samples.shape[1]
    size = next_fast_len(count + response.shape[1] - 1, real=True)
    wet = irfft(rfft(samples, size, axis=1) * rfft(response, size, axis=1), size, axis=1)[:, :count]
    return np.asarray(wet, dtype=np.float32)


def widen(samples: Samples, width: float) -> Samples:
    """Scale the side of a stereo signal by `width` (0 is mono); other channel counts are left alone."""
    if samples.shape[0] != 2:
        return samples
    middle, side = samples.mean(axis=0), (samples[0] - samples[1]) / 2 * np.float32(width)
    return np.stack([middle + side, middle - side])
