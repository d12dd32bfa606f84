"""Measures of the spectrum over time, of the mono mix, each summed up by its mean and spread.

The usual ones of the field, defined as Peeters defines them ("A large set of audio features for sound description",
CUIDADO report, 2004, section 6): centroid, spread, roll-off and flatness, the flux as the rise of the spectrum, octave
contrast after Jiang et al. ("Music type classification by spectral contrast feature", ICME 2002), and mel-frequency
cepstral coefficients (Davis and Mermelstein, 1980) on Slaney's scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Spectrum
from backbeat.errors import ConfigError

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 1024
_MEL_BANDS = 128
_COEFFICIENTS = 20
_ROLLOFF_SHARE = 0.85
#: Octave bands begin at 200 Hz, and the highest ends with the spectrum; so much of each is its peaks, and its valleys.
_LOWEST_OCTAVE_HZ = 200.0
_OCTAVES = 6
_EDGE_SHARE = 0.02
#: Powers below are as good as none.
_LEAST = 1e-10
#: Coefficients hear no deeper than this below the loudest.
_DEPTH_DB = 80.0
#: Frames this far below the loudest frame tell of noise or nothing, and are left out.
_QUIET_DB = -60.0
_FRAMES_AT_ONCE = 256


def measure_spectrum(mono: NDArray[np.float32], sample_rate_hz: int) -> Spectrum:
    """Measure mono samples, shape (samples,); ConfigError where there are none.

    Frames are not padded: fewer samples than a window are heard as one frame, filled up with silence.
    """
    if mono.size == 0:
        raise ConfigError("there are no samples to measure the spectrum of")
    parts: list[NDArray[np.float32]] = []
    mels: list[NDArray[np.float32]] = []
    previous: NDArray[np.float32] | None = None
    for magnitude in _magnitudes(mono):
        before = magnitude[:1] if previous is None else previous
        power = np.square(magnitude)
        parts.append(_frame_measures(magnitude, power, before, sample_rate_hz))
        # Torch keeps to the threads that it was given, where numpy's library would wake all there are for little work.
        mels.append((torch.from_numpy(power) @ _mel_bank(sample_rate_hz)).numpy())
        previous = magnitude[-1:]
    frames, mel = np.concatenate(parts), np.concatenate(mels)
    level = mel.sum(axis=1)
    kept = level > 10 ** (_QUIET_DB / 10) * level.max()
    if not kept.any():
        kept[:] = True
    cepstrum = _cepstrum(mel[kept])
    centroid, spread, rolloff, flatness, flux = (_mean_and_spread(column) for column in frames[kept, :5].T)
    return Spectrum(
        centroid_hz=centroid,
        bandwidth_hz=spread,
        rolloff_hz=rolloff,
        flatness=flatness,
        flux=flux,
        contrast_db=_rounded(frames[kept, 5:].mean(axis=0)),
        mfcc_mean=_rounded(cepstrum.mean(axis=0)),
        mfcc_std=_rounded(cepstrum.std(axis=0)),
    )


def _magnitudes(mono: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Give the magnitudes of frames, shape (frames, bins), a good many at a time."""
    from scipy.fft import rfft

    samples = np.pad(mono, (0, max(0, WINDOW_SAMPLES - mono.size)))
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    slices = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    for first in range(0, slices.shape[0], _FRAMES_AT_ONCE):
        spectrum = rfft(slices[first : first + _FRAMES_AT_ONCE] * window, axis=1)
        yield np.sqrt(np.square(spectrum.real) + np.square(spectrum.imag))


def _frame_measures(
    magnitude: NDArray[np.float32], power: NDArray[np.float32], before: NDArray[np.float32], sample_rate_hz: int
) -> NDArray[np.float32]:
    """Measure frames, shape (frames, bins), of which `before` is the one before the first, shape (1, bins).

    Returns shape (frames, 5 + octave bands): centroid, spread and roll-off in Hz, flatness, flux, contrast in dB.
    """
    frequency_hz = np.linspace(0, sample_rate_hz / 2, magnitude.shape[1], dtype=np.float32)
    total = magnitude.sum(axis=1) + np.float32(1e-12)
    centroid = np.einsum("fb,b->f", magnitude, frequency_hz) / total
    square = np.einsum("fb,b->f", magnitude, np.square(frequency_hz)) / total
    spread = np.sqrt(np.maximum(square - np.square(centroid), 0.0))
    cumulative = np.cumsum(magnitude, axis=1)
    below = np.count_nonzero(cumulative < _ROLLOFF_SHARE * cumulative[:, -1:], axis=1)
    rolloff = frequency_hz[np.minimum(below, frequency_hz.size - 1)]
    some = np.maximum(power, np.float32(_LEAST))
    flatness = np.exp(np.log(some).mean(axis=1)) / some.mean(axis=1)
    rise = np.maximum(np.diff(np.concatenate([before, magnitude]), axis=0), 0).sum(axis=1) / total
    measures = np.stack([centroid, spread, rolloff, flatness, rise, *_contrast_db(magnitude, frequency_hz)], axis=1)
    return measures.astype(np.float32)


def _contrast_db(magnitude: NDArray[np.float32], frequency_hz: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return peaks over valleys of each octave band, shape (frames,) each."""
    edges_hz = [0.0, *(_LOWEST_OCTAVE_HZ * 2**octave for octave in range(_OCTAVES))]
    starts = [0, *(int(np.searchsorted(frequency_hz, edge)) - 1 for edge in edges_hz[1:])]
    ends = [*(int(np.searchsorted(frequency_hz, edge, side="right")) - 1 for edge in edges_hz[1:]), frequency_hz.size]
    found = []
    for start, end in zip(starts, ends, strict=True):
        band = magnitude[:, max(start, 0) : end]
        if band.shape[1] < 2:  # above all that there is
            found.append(np.zeros(len(magnitude), np.float32))
            continue
        count = max(1, round(_EDGE_SHARE * (band.shape[1] + 1)))
        ordered = np.partition(band, (count - 1, band.shape[1] - count), axis=1)
        valley, peak = ordered[:, :count].mean(axis=1), ordered[:, -count:].mean(axis=1)
        found.append(10 * np.log10(np.maximum(peak, _LEAST) / np.maximum(valley, _LEAST)))
    return found


@lru_cache(maxsize=4)
def _mel_bank(sample_rate_hz: int) -> torch.Tensor:
    """Return the weights of triangular mel bands of equal area, shape (bins, bands)."""
    from torchaudio.functional import melscale_fbanks

    bank: torch.Tensor = melscale_fbanks(
        WINDOW_SAMPLES // 2 + 1, 0.0, sample_rate_hz / 2, _MEL_BANDS, sample_rate_hz, norm="slaney", mel_scale="slaney"
    )
    return bank


def _cepstrum(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Map the power in mel bands, shape (frames, bands), to coefficients, shape (frames, coefficients)."""
    from scipy.fft import dct

    level_db = 10 * np.log10(np.maximum(mel, _LEAST))
    found: NDArray[np.float64] = dct(np.maximum(level_db, level_db.max() - _DEPTH_DB), axis=1, norm="ortho")
    return found[:, :_COEFFICIENTS]


def _mean_and_spread(values: NDArray[np.float32]) -> tuple[float, float]:
    mean, spread = _rounded(np.array([values.mean(dtype=np.float64), values.std(dtype=np.float64)]))
    return mean, spread


def _rounded(values: NDArray[np.floating]) -> tuple[float, ...]:
    """Return values to five digits: more would be noise."""
    return tuple(float(f"{value:.5g}") for value in values)
