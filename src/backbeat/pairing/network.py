"""The network that maps takes and beats to one space, where what belongs together lies close."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbeat.layers import SpectralStem, TemporalBlock

#: What the rows of the network's output are.
ROLES: tuple[str, ...] = ("take", "beat")


class StyleTower(nn.Module):
    """What a recording sounds like: a spectral stem, temporal blocks, and their mean and standard deviation over time.

    Parameters
    ----------
    mel_bands, channels, width, dropout
        As in `backbeat.layers.SpectralStem`.
    layers
        Number of temporal blocks.
    size
        Length of the vector going out.
    """

    #: Frames whose mean is heard as one, and how many of those become one: the rhythm is the other tower's to hear.
    pooled, time_stride = 4, 2

    def __init__(
        self, mel_bands: int, channels: Sequence[int], width: int, layers: int, size: int, dropout: float
    ) -> None:
        super().__init__()
        self.stem = SpectralStem(mel_bands, channels, width, self.time_stride, dropout)
        self.temporal = nn.Sequential(*(TemporalBlock(width, 3, 2**layer, dropout) for layer in range(layers)))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(2 * width, size)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to (batch, size)."""
        # By slices: a pooling layer exports with a length that is a multiple of what it merges.
        last = log_mel.shape[1] - self.pooled + 1
        slower = sum(log_mel[:, first : last + first : self.pooled] for first in range(self.pooled)) / self.pooled
        sequence = self.temporal(self.stem(slower))
        mean = sequence.mean(-1)
        variance = (sequence - mean[..., None]).square().mean(-1)
        vectors: Tensor = self.out(self.dropout(torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)))
        return vectors


class RhythmTower(nn.Module):
    """How a recording moves: the autocorrelation of a few learnt onset envelopes, at lags on a logarithmic scale.

    On that scale a change of tempo is a shift, so that convolutions over lags treat all tempi alike, and one over the
    lags an octave apart relates half and double time. After Grosche, Müller and Kurth, "Cyclic tempogram: a mid-level
    tempo representation for music signals" (ICASSP 2010), with envelopes and folding learnt.

    Parameters
    ----------
    mel_bands, frame_rate_hz
        Of the spectrogram.
    envelopes
        Number of onset envelopes.
    channels
        Channels of the convolutions over lags.
    slowest_bpm, fastest_bpm
        Range of lags, in repetitions a minute.
    steps
        Lags an octave.
    size
        Length of the vector going out.
    dropout
        Share of entries dropped in training.
    """

    sampling: Tensor
    counts: Tensor

    def __init__(
        self,
        mel_bands: int,
        frame_rate_hz: float,
        envelopes: int,
        channels: int,
        slowest_bpm: float,
        fastest_bpm: float,
        steps: int,
        size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.onsets = nn.Sequential(
            nn.Conv1d(mel_bands, 2 * envelopes, 3, padding=1, bias=False),
            nn.BatchNorm1d(2 * envelopes),
            nn.ReLU(),
            nn.Conv1d(2 * envelopes, envelopes, 5, padding=2),
        )
        octaves = math.log2(fastest_bpm / slowest_bpm)
        lags = 60 * frame_rate_hz / slowest_bpm / 2 ** (np.arange(round(octaves * steps) + 1) / steps)
        self.longest = math.ceil(lags.max() * 2 ** (1 / steps)) + 1
        self.register_buffer("sampling", torch.from_numpy(lag_weights(lags, self.longest, steps)), persistent=False)
        self.lags = nn.Sequential(
            nn.Conv1d(envelopes, channels, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=steps, dilation=steps),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 5, padding=2),
            nn.ReLU(),
            nn.AvgPool1d(2, ceil_mode=True),
        )
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(channels * -(-lags.size // 2), size)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to (batch, size)."""
        profile = self.lags(self.profile(log_mel))
        vectors: Tensor = self.out(self.dropout(profile.flatten(1)))
        return vectors

    def profile(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to autocorrelations (batch, envelopes, lags), from the slowest on."""
        bands = log_mel.transpose(1, 2)
        rises = F.relu(bands[..., 2:] - bands[..., :-2])
        envelopes = self.onsets(rises)
        envelopes = envelopes - envelopes.mean(-1, keepdim=True)
        frames = envelopes.shape[-1]
        # Padded by the longest lag, so that the end is not compared with the beginning.
        spectra = torch.fft.rfft(envelopes, n=2 * ((frames + self.longest + 1) // 2))
        power = spectra.real.square() + spectra.imag.square()
        likeness = torch.fft.irfft(power)[..., : self.longest]
        sampled: Tensor = (likeness / (likeness[..., :1] + 1e-3)) @ self.sampling
        return sampled


def lag_weights(lags: NDArray[np.float64], longest: int, steps: int) -> NDArray[np.float32]:
    """Return what samples a function of whole lags at given ones, shape (longest, lags).

    Each column is a triangle about its lag, as wide to either side as the step to the next lag is, or one frame where
    that is more; its weights sum to 1.
    """
    whole = np.arange(longest)[:, None]
    reach = np.maximum(1.0, lags * (2 ** (1 / steps) - 1))
    weights = np.clip(1 - np.abs(whole - lags) / reach, 0, None)
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float32)


class Tower(nn.Module):
    """Style and rhythm of one role, as one vector of length 1."""

    def __init__(self, style: StyleTower, rhythm: RhythmTower, size: int) -> None:
        super().__init__()
        self.style = style
        self.rhythm = rhythm
        # Without it all vectors begin alike, and the loss stays for long at that of guessing.
        self.norm = nn.BatchNorm1d(size)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to (batch, style + rhythm)."""
        return self.join(self.style(log_mel), self.rhythm(log_mel))

    def join(self, style: Tensor, rhythm: Tensor) -> Tensor:
        """Map (batch, style) and (batch, rhythm), as the towers give them, to (batch, style + rhythm)."""
        return F.normalize(self.norm(torch.cat([style, rhythm], dim=-1)), dim=-1)


class PairingNetwork(nn.Module):
    """A tower for takes and one for beats, whose vectors are compared by their inner product.

    Parameters
    ----------
    mel_bands, frame_rate_hz
        Of the spectrogram.
    channels, width, layers
        Of the style towers.
    envelopes, lag_channels, slowest_bpm, fastest_bpm, steps
        Of the rhythm towers.
    style, rhythm
        Lengths of the parts of the vectors.
    dropout
        Share dropped in training.
    """

    def __init__(
        self,
        mel_bands: int,
        frame_rate_hz: float,
        channels: Sequence[int] = (8, 16, 24),
        width: int = 48,
        layers: int = 1,
        envelopes: int = 8,
        lag_channels: int = 8,
        slowest_bpm: float = 20.0,
        fastest_bpm: float = 400.0,
        steps: int = 58,
        style: int = 48,
        rhythm: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.take, self.beat = (
            Tower(
                StyleTower(mel_bands, channels, width, layers, style, dropout),
                RhythmTower(
                    mel_bands,
                    frame_rate_hz,
                    envelopes,
                    lag_channels,
                    slowest_bpm,
                    fastest_bpm,
                    steps,
                    rhythm,
                    dropout,
                ),
                style + rhythm,
            )
            for _ in ROLES
        )
        self.size = style + rhythm

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to vectors (batch, 2, size): each as a take, and as a beat."""
        return torch.stack([self.take(log_mel), self.beat(log_mel)], dim=1)
