"""How clear the pulse is, whether it swings, and how detached the notes are: from a spectrogram, beats and onsets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Lartillot, Eerola, Toiviainen and Fornari ("Multi-feature modeling of pulse clarity", ISMIR 2008, section 3) look for
#: the pulse between 40 and 200 beats a minute.
_SLOWEST_BPM, _FASTEST_BPM = 40.0, 200.0
#: Stretches within which the tempo hardly moves.
_STRETCH_S, _STRETCH_HOP_S = 8.0, 4.0

#: Where the second half of a beat may fall; beyond are sixteenths. Friberg and Sundström ("Swing ratios and ensemble
#: timing in jazz performance", Music Perception 19, 2002) measured ratios of 1:1 to 3.5:1 with most around 2:1.
_EARLIEST, _LATEST = 0.44, 0.72
#: Beats that must be halved by an onset for swing to be told: so many, and such a share.
_FEWEST_HALVES, _HALVED_SHARE = 8, 0.15
#: Onsets this near to a beat are on it.
_NEAR_S = 0.06
_SWING_BELL = 0.02


def onset_curve(log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return how much a log-mel spectrogram, shape (frames, bands), rises from frame to frame, shape (frames,)."""
    rise = np.zeros(log_mel.shape[0], np.float32)
    if log_mel.shape[0] > 1:
        rise[1:] = np.maximum(log_mel[1:] - log_mel[:-1], 0).mean(axis=1)
    return rise


def pulse_clarity(curve: NDArray[np.floating], rate_hz: float) -> float:
    """Return how clear and steady the pulse of an onset curve is, 0 (noise, or nothing) to 1 (a metronome).

    The highest peak of the autocorrelation of the curve, relative to its value at no lag, among the lags of a pulse:
    the first and best of the measures of Lartillot et al. (2008). It is taken of overlapping stretches of 8 s, so that
    a tempo may drift, and their mean weighed by what happens in them.

    Parameters
    ----------
    curve
        Shape (frames,), not negative.
    rate_hz
        Frames a second.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    length, hop = round(_STRETCH_S * rate_hz), round(_STRETCH_HOP_S * rate_hz)
    values = np.asarray(curve, dtype=np.float64)
    values = np.pad(values, (0, max(0, length - values.size)))
    stretches = np.lib.stride_tricks.sliding_window_view(values, length)[::hop]
    centred = stretches - stretches.mean(axis=1, keepdims=True)
    size = next_fast_len(2 * length, real=True)
    correlation = irfft(np.abs(rfft(centred, size, axis=1)) ** 2, size, axis=1)[:, :length]
    weight = correlation[:, 0]
    if not weight.sum() > 0:
        return 0.0
    # Longer lags leave less to correlate.
    lags = np.arange(length)
    first, last = int(60 / _FASTEST_BPM * rate_hz), int(np.ceil(60 / _SLOWEST_BPM * rate_hz))
    unbiased = correlation[:, first : last + 1] / (1 - lags[first : last + 1] / length)
    clear = unbiased.max(axis=1) / np.maximum(weight, 1e-12)
    return float(np.clip(np.average(clear, weights=weight), 0.0, 1.0))


def swing_of(
    beats_s: NDArray[np.float64], onsets_s: NDArray[np.float64], strengths: NDArray[np.float64]
) -> float | None:
    """Return where between two beats the second half of a beat is played; None where it cannot be told.

    Parameters
    ----------
    beats_s
        Shape (beats,), rising.
    onsets_s, strengths
        Shape (onsets,), rising, and how much each counts.

    Returns
    -------
    float or None
        0.5 for even halves, 0.67 for triplets: the mode, weighed by strength, of what lies near the middle of a beat.
        None where few beats have anything there.
    """
    if beats_s.size < 2 or onsets_s.size == 0:
        return None
    # Players and models are a little beside the beat: it is where the onset on it is.
    starts = snapped(beats_s, onsets_s)
    index = np.searchsorted(starts, onsets_s, side="right") - 1
    inside = (index >= 0) & (index < starts.size - 1)
    index, times_s, counts = index[inside], onsets_s[inside], strengths[inside]
    place = (times_s - starts[index]) / (starts[index + 1] - starts[index])
    middle = (place > _EARLIEST) & (place < _LATEST)
    halved = np.unique(index[middle]).size
    if halved < max(_FEWEST_HALVES, _HALVED_SHARE * (beats_s.size - 1)):
        return None
    grid = np.linspace(_EARLIEST, _LATEST, 141)
    density = counts[middle] @ np.exp(-0.5 * ((grid - place[middle, np.newaxis]) / _SWING_BELL) ** 2)
    return round(float(grid[np.argmax(density)]), 3)


def snapped(beats_s: NDArray[np.float64], onsets_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move each beat to the nearest onset, where one is near and their order stays."""
    after = np.clip(np.searchsorted(onsets_s, beats_s), 0, onsets_s.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(np.abs(onsets_s[after] - beats_s) < np.abs(onsets_s[before] - beats_s), after, before)
    near = np.abs(onsets_s[nearer] - beats_s) <= _NEAR_S
    moved = np.where(near, onsets_s[nearer], beats_s)
    return moved if np.all(np.diff(moved) > 0) else beats_s


def detachment(log_mel: NDArray[np.floating], onsets_s: NDArray[np.float64], rate_hz: float) -> float:
    """Return how far the sound falls between one onset and the next, 0 (legato) to 1 (staccato).

    The mean over all onsets of 1 less the lowest over the highest level until the next, of the mean over bands of a
    log-mel spectrogram, shape (frames, bands). 0 with fewer than two onsets.
    """
    if onsets_s.size < 2:
        return 0.0
    level = np.asarray(log_mel.mean(axis=1), dtype=np.float64)
    edges = np.unique(np.clip(np.round(onsets_s * rate_hz).astype(np.int64), 0, level.size - 1))
    if edges.size < 2:
        return 0.0
    highest = np.maximum.reduceat(level, edges)[:-1]
    lowest = np.minimum.reduceat(level, edges)[:-1]
    sounding = highest > 0
    return float(np.mean(1 - lowest[sounding] / highest[sounding])) if sounding.any() else 0.0
