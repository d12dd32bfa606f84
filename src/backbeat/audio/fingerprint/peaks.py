"""Peaks of a spectrogram: the few points of a recording that survive codecs, noise and other levels.

A peak is a cell that no cell near it in time and frequency exceeds and that stands well above their mean. Peaks, and
pairs of them, are what A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003, finds recordings by. Both
coordinates are refined by a parabola through the neighbours, so that they do not hang on where a frame begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from backbeat.audio.mixing import resample
from backbeat.errors import ConfigError

#: Speech and telephones carry what lies below half of this, and so does every codec.
RATE_HZ = 8000
WINDOW_SAMPLES = 1024
HOP_SAMPLES = 128
FRAMES_PER_S = RATE_HZ / HOP_SAMPLES
#: Below, bins are too wide for the music; above, resampling has its edge.
_LOW_BIN, _HIGH_BIN = 20, 472
#: How far around a peak no other is, in frames and in bins.
_REACH = 16
#: How far a peak stands above the mean of its surroundings, in nepers (8.7 dB each).
_PROMINENCE = 1.8
#: Quieter than this in relation to a sine at the file's peak is nothing.
_FLOOR_DB = -90.0
#: Frames worked on at a time, so that hours of sound need little memory.
_PIECE_FRAMES = 4096


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks in the order of time.

    Parameters
    ----------
    frames
        Shape (peaks,), float64, increasing: time in frames of `HOP_SAMPLES` at `RATE_HZ`, from the first sample.
    bins
        Shape (peaks,), float64: frequency in bins of `RATE_HZ` / `WINDOW_SAMPLES` Hz.
    duration_frames
        Length of the recording.
    """

    frames: NDArray[np.float64]
    bins: NDArray[np.float64]
    duration_frames: float

    def __len__(self) -> int:
        return int(self.frames.size)

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.duration_frames / FRAMES_PER_S


def find_peaks(mono: NDArray[np.float32], sample_rate_hz: int) -> Peaks:
    """Return the peaks of a recording.

    Parameters
    ----------
    mono
        Shape (samples,); any level.
    sample_rate_hz
        Of `mono`, 8 kHz or more.

    Raises
    ------
    ConfigError
        If the samples are not one channel of finite numbers, or the rate is too low.
    """
    samples = np.asarray(mono, dtype=np.float32)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ConfigError(f"a fingerprint takes one channel of finite samples, not an array of shape {samples.shape}")
    if sample_rate_hz < RATE_HZ:
        raise ConfigError(f"a fingerprint needs {RATE_HZ} Hz or more, not {sample_rate_hz} Hz")
    low = samples if sample_rate_hz == RATE_HZ else resample(samples[np.newaxis], sample_rate_hz, RATE_HZ)[0]
    loudest = float(np.max(np.abs(low), initial=0.0))
    duration_frames = low.size / HOP_SAMPLES
    if loudest == 0.0:
        return Peaks(np.empty(0), np.empty(0), duration_frames)
    floor = loudest * WINDOW_SAMPLES / 4 * 10 ** (_FLOOR_DB / 20)
    padded = np.pad(low, WINDOW_SAMPLES // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    found = [_piece(windows, first, floor) for first in range(0, len(windows), _PIECE_FRAMES)]
    frames, bins = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(frames, kind="stable")
    return Peaks(frames[order], bins[order], duration_frames)


def _piece(windows: NDArray[np.float32], first: int, floor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frames and bins of the peaks in one piece; it sees beyond its ends, so cuts leave no trace."""
    begin, end = max(0, first - _REACH), min(len(windows), first + _PIECE_FRAMES + _REACH)
    taper = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    spectrum = np.abs(scipy.fft.rfft(windows[begin:end] * taper, axis=1))[:, _LOW_BIN - 1 : _HIGH_BIN + 2]
    level = np.log(np.maximum(spectrum, np.float32(floor)))
    width = 2 * _REACH + 1
    highest = maximum_filter1d(maximum_filter1d(level, width, axis=1, mode="nearest"), width, axis=0, mode="nearest")
    mean = uniform_filter1d(uniform_filter1d(level, width, axis=1, mode="nearest"), width, axis=0, mode="nearest")
    is_peak = (level == highest) & (level - mean > _PROMINENCE)
    is_peak[:, [0, -1]] = False
    is_peak[: first - begin] = is_peak[first - begin + _PIECE_FRAMES :] = False
    rows, columns = np.nonzero(is_peak)
    before, after = np.maximum(rows - 1, 0), np.minimum(rows + 1, len(level) - 1)
    at = level[rows, columns]
    frames = begin + rows + _vertex(level[before, columns], at, level[after, columns])
    bins = _LOW_BIN - 1 + columns + _vertex(level[rows, columns - 1], at, level[rows, columns + 1])
    return np.maximum(frames, 0.0), bins


def _vertex(left: NDArray[np.float32], middle: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return where the parabola through three equidistant points is highest, -0.5 to 0.5 from the middle one."""
    bend = (left - 2 * middle + right).astype(np.float64)
    flat = bend > -1e-6
    shift = 0.5 * (left - right) / np.where(flat, -1.0, bend)
    return np.where(flat, 0.0, np.clip(shift, -0.5, 0.5))
