"""Integrated loudness after ITU-R BS.1770-4 and its range after EBU Tech 3342, in one pass over blocks of any length.

The filters are those that the recommendation tabulates at 48 kHz, carried to other rates through the analogue
prototype that fits them (De Man, "Evaluation of Implementations of the EBU R128 Loudness Measurement", AES 145, 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.mixing import DEFAULT_LAYOUTS
from backbeat.errors import ConfigError

#: BS.1770-4, annex 1: blocks of 400 ms that overlap by 75%, so that power is summed in steps of 100 ms.
_STEPS_PER_SECOND = 10
_STEPS_PER_BLOCK = 4
#: Below, the filters have no room.
LOWEST_RATE_HZ = 4000
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_OFFSET_DB = -0.691
#: EBU Tech 3342, section 2: the range of the loudness of 3 s, between two percentiles of what is above both gates.
_STEPS_PER_SHORT_TERM = 30
_RANGE_GATE_LU = -20.0
_RANGE_PERCENTILES = (10.0, 95.0)

#: Samples filtered at a time: the float64 copies stay at a few megabytes whatever the length of the file.
_PIECE_SAMPLES = 1 << 17

#: Channels between 60 and 120 degrees to the side count 1.5 dB more, the LFE for nothing (BS.1770-4, annex 3, table 4).
_SIDE = 1.41


def channel_weights(channel_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the weight of each channel's power, by its name in WAVE files (`FL`, `FC`, `LFE`, `BL`...).

    The back pair of a layout without side loudspeakers stands where the surrounds of 5.1 stand, at 110 degrees.
    """
    sides = {"SL", "SR"} if {"SL", "SR"} & set(channel_names) else {"BL", "BR"}
    return np.array([0.0 if name.startswith("LFE") else _SIDE if name in sides else 1.0 for name in channel_names])


def k_weighting(sample_rate_hz: int) -> NDArray[np.float64]:
    """Return the K-weighting filter as second-order sections, shape (2, 6), for one sampling rate."""
    tan = float(np.tan(np.pi * 1681.974450955533 / sample_rate_hz))
    high, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    band = high**0.4996667741545416
    norm = 1 + tan / quality + tan**2
    shelf = [
        (high + band * tan / quality + tan**2) / norm,
        2 * (tan**2 - high) / norm,
        (high - band * tan / quality + tan**2) / norm,
        1.0,
        2 * (tan**2 - 1) / norm,
        (1 - tan / quality + tan**2) / norm,
    ]
    tan, quality = float(np.tan(np.pi * 38.13547087602444 / sample_rate_hz)), 0.5003270373238773
    norm = 1 + tan / quality + tan**2
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (tan**2 - 1) / norm, (1 - tan / quality + tan**2) / norm]
    return np.array([shelf, high_pass])


class LoudnessMeter:
    """Measures integrated loudness, and loudness range, of audio that arrives in blocks.

    Parameters
    ----------
    sample_rate_hz
        Of the audio.
    channel_names
        One a channel, as in `backbeat.audio.AudioInfo`.

    Raises
    ------
    ConfigError
        If there are no channels, or the rate leaves no room for the filters.
    """

    def __init__(self, sample_rate_hz: int, channel_names: Sequence[str]) -> None:
        if not channel_names or sample_rate_hz < LOWEST_RATE_HZ:
            raise ConfigError(f"loudness of {len(channel_names)} channels at {sample_rate_hz} Hz is not defined")
        self._rate_hz = sample_rate_hz
        self._weights = channel_weights(channel_names)
        self._filter = k_weighting(sample_rate_hz)
        self._state = np.zeros((2, len(channel_names), 2))
        self._samples = 0
        self._energies: list[float] = [0.0]  # of each step of 100 ms, the last one not yet full

    def _boundary(self, step: int) -> int:
        """First sample of a step; where 100 ms is not a whole number of samples, steps differ by one."""
        return round(step * self._rate_hz / _STEPS_PER_SECOND)

    def add(self, samples: NDArray[np.floating]) -> None:
        """Take the next samples, shape (channels, samples), full scale ±1."""
        if samples.ndim != 2 or samples.shape[0] != self._weights.size:
            raise ConfigError(f"a block of shape {samples.shape} does not have {self._weights.size} channels")
        for start in range(0, samples.shape[1], _PIECE_SAMPLES):
            self._add_piece(samples[:, start : start + _PIECE_SAMPLES])

    def _add_piece(self, samples: NDArray[np.floating]) -> None:
        from scipy.signal import sosfilt

        weighted, self._state = sosfilt(self._filter, samples.astype(np.float64), zi=self._state)
        power = self._weights @ np.square(weighted)
        first, end = len(self._energies) - 1, self._samples + power.size
        starts = [0]
        step = first + 1
        while self._boundary(step) < end:
            starts.append(self._boundary(step) - self._samples)
            step += 1
        sums = np.add.reduceat(power, starts)
        self._energies[-1] += float(sums[0])
        self._energies.extend(sums[1:].tolist())
        self._samples = end
        if self._boundary(len(self._energies)) == end:
            self._energies.append(0.0)

    def integrated_lufs(self) -> float | None:
        """Return the loudness of all that was added, in LUFS.

        None where it is not defined: shorter than one block of 400 ms, or no block above the gate of -70 LUFS.
        """
        loud = self._above_gate(_STEPS_PER_BLOCK, _RELATIVE_GATE_LU)
        return float(_lufs(np.mean(loud))) if loud.size else None

    def range_lu(self) -> float | None:
        """Return the loudness range of all that was added, in LU.

        None where it is not defined: shorter than 3 s, or nothing above the gate of -70 LUFS.
        """
        loud = self._above_gate(_STEPS_PER_SHORT_TERM, _RANGE_GATE_LU)
        if loud.size == 0:
            return None
        low, high = np.percentile(_lufs(loud), _RANGE_PERCENTILES, method="nearest")
        return float(high - low)

    def _above_gate(self, steps: int, relative_gate_lu: float) -> NDArray[np.float64]:
        """Return the mean power of each block of so many steps that is above the absolute and a relative gate."""
        whole = np.array(self._energies[:-1])  # the last step is never full
        if whole.size < steps:
            return np.empty(0)
        seconds = np.diff([self._boundary(step) for step in range(whole.size + 1)])
        ones = np.ones(steps)
        blocks = np.convolve(whole, ones, "valid") / np.convolve(seconds, ones, "valid")
        loud: NDArray[np.float64] = blocks[_lufs(blocks) > _ABSOLUTE_GATE_LUFS]
        if loud.size == 0:
            return loud
        gated: NDArray[np.float64] = loud[_lufs(loud) > _lufs(np.mean(loud)) + relative_gate_lu]
        return gated


def _lufs(power: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    return np.asarray(_OFFSET_DB + 10 * np.log10(np.maximum(power, 1e-30)))


def loudness_lufs(samples: NDArray[np.floating], sample_rate_hz: int) -> float | None:
    """Return the integrated loudness of samples, shape (channels, samples) or (samples,), in LUFS; None as above.

    Channels are taken to be in the order of WAVE files.
    """
    samples = np.atleast_2d(samples)
    channels = samples.shape[0]
    meter = LoudnessMeter(sample_rate_hz, DEFAULT_LAYOUTS.get(channels, ("FC",) * channels))
    meter.add(samples)
    return meter.integrated_lufs()
