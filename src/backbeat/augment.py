"""Making training spectrograms sound like other recordings: level, tone, bandwidth, pitch, tempo and noise.

Everything happens on log-mel spectrograms, a few milliseconds a batch, in the linear domain where a gain is a product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbeat.errors import ConfigError
from backbeat.features import LOG_GAIN


@dataclass(frozen=True)
class Augmentation:
    """How much to vary; zero switches a kind off.

    Parameters
    ----------
    stretch
        Largest change of tempo, as a factor above 1: 1.2 gives factors from 1/1.2 to 1.2.
    gain_db
        Largest change of level either way.
    tone_db
        Standard deviation of a smooth random curve over frequency.
    shift_bands
        Largest shift of the spectrum up or down, in mel bands.
    lowpass
        Share of windows that lose all above a random band.
    noise
        Share of windows that get a floor of noise with a random tone.
    masks
        Number of bands of frequencies masked (Park et al., "SpecAugment", Interspeech 2019), each up to a tenth.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    stretch: float = 1.0
    gain_db: float = 0.0
    tone_db: float = 0.0
    shift_bands: int = 0
    lowpass: float = 0.0
    noise: float = 0.0
    masks: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.lowpass <= 1 and 0 <= self.noise <= 1):
            raise ConfigError("lowpass and noise are shares, 0 to 1")
        if not min(self.stretch, self.gain_db, self.tone_db, self.shift_bands, self.masks) >= 0:
            raise ConfigError("how much training windows are varied must not be negative")

    def draw_stretch(self, rng: np.random.Generator) -> float:
        """Draw a factor by which time is stretched: above 1 is slower."""
        if self.stretch <= 1.0:
            return 1.0
        bound = math.log(self.stretch)
        return float(math.exp(rng.uniform(-bound, bound)))


def stretch_frames(frames: NDArray[np.float16], length: int) -> NDArray[np.float32]:
    """Resample a spectrogram, shape (frames, mel_bands), to `length` frames by linear interpolation."""
    source = frames.astype(np.float32)
    if source.shape[0] == length:
        return source
    places = np.linspace(0, source.shape[0] - 1, length, dtype=np.float32)
    left = np.minimum(places.astype(np.int64), source.shape[0] - 2)
    share = (places - left).astype(np.float32)[:, None]
    stretched: NDArray[np.float32] = source[left] * (1 - share) + source[left + 1] * share
    return stretched


def augment(log_mel: Tensor, params: Augmentation, rng: np.random.Generator) -> Tensor:
    """Vary a batch of spectrograms, shape (batch, frames, mel_bands), each window differently.

    Tempo is not changed here but when windows are cut, because labels move with it.
    """
    batch, _, bands = log_mel.shape
    if params.shift_bands:
        shifts = rng.integers(-params.shift_bands, params.shift_bands + 1, batch)
        log_mel = torch.stack([shifted(window, int(shift)) for window, shift in zip(log_mel, shifts, strict=True)])
    gain_db = rng.uniform(-params.gain_db, params.gain_db, (batch, 1)) + params.tone_db * _smooth_curves(
        batch, bands, rng
    )
    gain = np.power(10.0, gain_db / 20).astype(np.float32)
    for window in np.flatnonzero(rng.random(batch) < params.lowpass).tolist():
        # The edge falls over a few bands, as a codec's or a resampler's does.
        edge = rng.uniform(0.5, 1.0) * bands
        gain[window] *= 1 / (1 + np.exp(np.clip((np.arange(bands) - edge) * rng.uniform(1, 4), -30, 30)))
    for _ in range(params.masks):
        for window in range(batch):
            width = int(rng.integers(0, bands // 10 + 1))
            start = int(rng.integers(0, bands - width + 1))
            gain[window, start : start + width] = 0
    linear = torch.expm1(log_mel) * torch.from_numpy(gain)[:, None, :]
    noisy = np.flatnonzero(rng.random(batch) < params.noise)
    if noisy.size:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        level_db = rng.uniform(-75, -35, (noisy.size, 1)) + 6 * _smooth_curves(noisy.size, bands, rng)
        floor = torch.from_numpy((LOG_GAIN * np.power(10.0, level_db / 20)).astype(np.float32))[:, None, :]
        # The magnitude of noise in one bin is Rayleigh distributed.
        uniform = torch.rand(linear[noisy].shape, generator=generator).clamp(min=1e-6)
        linear[noisy] += floor * torch.sqrt(-2 * torch.log(uniform))
    return torch.log1p(linear)


def shifted(window: Tensor, bands: int) -> Tensor:
    """Move a spectrogram, shape (frames, mel_bands), up (positive) or down by whole bands, repeating the edge."""
    if bands == 0:
        return window
    if bands > 0:
        return torch.cat([window[:, :1].expand(-1, bands), window[:, :-bands]], dim=1)
    return torch.cat([window[:, -bands:], window[:, -1:].expand(-1, -bands)], dim=1)


def _smooth_curves(count: int, bands: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw random curves over frequency from a few low cosines; unit standard deviation, shape (count, bands)."""
    places = (np.arange(bands) + 0.5) / bands
    basis = np.stack([np.cos(math.pi * order * places) for order in range(1, 6)])
    weights = rng.standard_normal((count, basis.shape[0])) / np.arange(1, basis.shape[0] + 1)
    scale = math.sqrt(0.5 * np.sum(1 / np.arange(1, basis.shape[0] + 1) ** 2))
    curves: NDArray[np.float64] = (weights @ basis) / scale
    return curves
