"""A well-known program as a peer in the tables of evaluation: librosa's beat tracker and onset detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.music import Beats, Onsets

#: The rate for which librosa's defaults were chosen.
RATE_HZ = 22050


def librosa_beats(samples: NDArray[np.floating], sample_rate_hz: int) -> Beats:
    """Track beats with `librosa.beat.beat_track` (Ellis, "Beat tracking by dynamic programming", 2007).

    Parameters
    ----------
    samples
        Mono, shape (samples,).
    sample_rate_hz
        Resampled from this to 22.05 kHz.

    Returns
    -------
    Beats without positions, for it does not hear bars.

    Raises
    ------
    ConfigError
        If the samples are not mono.
    """
    from librosa.beat import beat_track

    mono = _resampled(samples, sample_rate_hz)
    if mono.size == 0 or not mono.any():
        return Beats(np.empty(0))
    times_s = beat_track(y=mono, sr=RATE_HZ, units="time")[1]
    return Beats(np.unique(np.asarray(times_s, dtype=np.float64)))


def librosa_onsets(samples: NDArray[np.floating], sample_rate_hz: int) -> Onsets:
    """Detect onsets with `librosa.onset.onset_detect` (spectral flux, peak picking).

    Parameters
    ----------
    samples
        Mono, shape (samples,).
    sample_rate_hz
        Resampled from this to 22.05 kHz.

    Returns
    -------
    Onsets of class "note", for it does not tell drums apart.

    Raises
    ------
    ConfigError
        If the samples are not mono.
    """
    from librosa.onset import onset_detect

    mono = _resampled(samples, sample_rate_hz)
    if mono.size == 0 or not mono.any():
        return Onsets(np.empty(0))
    return Onsets(np.asarray(onset_detect(y=mono, sr=RATE_HZ, units="time"), dtype=np.float64))


def _resampled(samples: NDArray[np.floating], sample_rate_hz: int) -> NDArray[np.float32]:
    if samples.ndim != 1:
        raise ConfigError(f"librosa's detectors take mono, not samples of shape {samples.shape}")
    import soxr

    mono: NDArray[np.float32] = soxr.resample(samples.astype(np.float32), sample_rate_hz, RATE_HZ)
    return mono
