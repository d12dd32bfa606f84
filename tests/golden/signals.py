"""What goes through both programs: weights and signals made by formula, so that neither need be stored."""

from __future__ import annotations

import zlib

import numpy as np

RATE_HZ = 44100


def random_weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a variable of a U-Net by its name; of a size that keeps activations near 1, so that nothing saturates."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rsplit("/", 1)[-1]
    if kind == "kernel":
        height, width, first, second = shape
        # Transposed convolutions have outputs before inputs, and spread each input over a quarter of the taps.
        fan_in = height * width * (second / 4 if "transpose" in name else first)
        values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    elif kind in ("gamma", "moving_variance"):
        values = rng.uniform(0.6, 1.5, shape)
    else:
        values = rng.standard_normal(shape) * 0.15
    return values.astype(np.float32)


def signals(segment_s: float) -> dict[str, np.ndarray]:
    """Give the test signals by name, each of shape (samples, 1 or 2), for networks that hear `segment_s` at once."""
    rng = np.random.default_rng(7)

    def music(seconds: float, channels: int, peak: float) -> np.ndarray:
        time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        sides = []
        for channel in range(channels):
            tones = sum(
                np.sin(2 * np.pi * hz * (1 + 0.001 * channel) * time_s + channel) / (1 + index)
                for index, hz in enumerate((82.4, 220.0, 554.4, 1320.0, 5200.0))
            )
            strokes = rng.standard_normal(time_s.size) * np.exp(-30 * (time_s * 2.3 % 1))
            sides.append(tones * (1 + 0.5 * np.sin(2 * np.pi * 0.7 * time_s)) + strokes)
        table = np.stack(sides, axis=1)
        return (table * peak / np.abs(table).max()).astype(np.float32)

    return {
        "stereo": music(2.3 * segment_s, 2, 0.5),
        "mono": music(1.2 * segment_s, 1, 0.3),
        "short": music(0.02, 2, 0.4),
        "exact": music(segment_s, 2, 0.8),
        "silence": np.zeros((round(0.7 * segment_s * RATE_HZ), 2), np.float32),
        "full_scale": np.sign(music(0.8 * segment_s, 2, 1.0)).astype(np.float32),
    }
