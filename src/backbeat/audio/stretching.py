"""Music played faster, slower or at another pitch, with drums that stay crisp.

After Driedger, Müller and Ewert ("Improving Time-Scale Modification of Music Signals Using Harmonic-Percussive
Separation", IEEE Signal Processing Letters 21, 2014): what sounds on is stretched by a phase vocoder, what strikes is
cut and joined in time, and each method does what it does well. The parts are told apart by median filters (Fitzgerald,
"Harmonic/Percussive Separation Using Median Filtering", DAFx 2010). The phase vocoder locks the phases around each peak
to it (Laroche and Dolson, "Improved Phase Vocoder Time-Scale Modification of Audio", IEEE Transactions on Speech and
Audio Processing 7, 1999), the same for all channels so that the stereo image stays. Strokes are joined where waveforms
agree (WSOLA: Verhelst and Roelands, ICASSP 1993), never within a stroke: around each onset samples are copied as they
are. Only what sounds on is transposed; drums keep their pitch, as a drummer's do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.mixing import resample
from backbeat.errors import ConfigError

_SPECTRUM_S = 0.093
_HARMONIC_S, _PERCUSSIVE_HZ = 0.4, 500.0
_FRAMES_AT_ONCE = 256
_GRAIN_S, _SEARCH_S = 0.0232, 0.0058
#: What is copied as it is after an onset; onsets that follow sooner than twice this belong to the stroke.
_STROKE_S = 0.04
_MOST_SEMITONES = 12
#: Rates of the resampler are whole numbers: so many to the hertz make a pitch exact to 0.001 cents.
_RATE_STEPS = 64


@dataclass(frozen=True, eq=False)
class TimeMap:
    """Which moment of the input sounds at which moment of the output: lines between points.

    Parameters
    ----------
    output, input
        Shape (points,), samples, both strictly increasing, two points at least.

    Raises
    ------
    ConfigError
        If they are not so.
    """

    output: NDArray[np.float64]
    input: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.output.shape != self.input.shape or self.output.ndim != 1 or self.output.size < 2:
            raise ConfigError(f"a time map of {self.output.size} and {self.input.size} points maps nothing")
        if np.any(np.diff(self.output) <= 0) or np.any(np.diff(self.input) <= 0):
            raise ConfigError("a time map goes backwards")

    def __call__(self, output: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the moments of the input; the first and the last line go on for ever."""
        return _along(output, self.output, self.input)

    def inverse(self, input: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the moments of the output."""
        return _along(input, self.input, self.output)


def split(samples: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what sounds on and what strikes, which add up to the samples, shape (channels, samples) each."""
    from scipy.ndimage import median_filter

    size = _size(_SPECTRUM_S, sample_rate_hz)
    hop = size // 4
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    across = 1 + 2 * round(_HARMONIC_S * sample_rate_hz / hop / 2)
    up = 1 + 2 * round(_PERCUSSIVE_HZ * size / sample_rate_hz / 2)
    length = samples.shape[1]
    padded = np.pad(samples, ((0, 0), (size, size + hop)))
    frames = 1 + (padded.shape[1] - size) // hop
    harmonic = np.zeros_like(padded)
    for first in range(0, frames, _FRAMES_AT_ONCE):
        last = min(first + _FRAMES_AT_ONCE, frames)
        # Frames beside the block, so that the filter along time sees the same as without blocks.
        low, high = max(0, first - across // 2), min(frames, last + across // 2)
        spectra = _spectra(padded, np.arange(low, high) * hop, window)
        magnitude = np.abs(spectra).sum(axis=1)
        on = np.square(median_filter(magnitude, (across, 1), mode="nearest"))
        struck = np.square(median_filter(magnitude, (1, up), mode="nearest"))
        mask = on / np.maximum(on + struck, 1e-20)
        kept = slice(first - low, last - low)
        _add(harmonic, spectra[kept] * mask[kept, None], np.arange(first, last) * hop, window)
    sounding = harmonic[:, size : size + length] / 1.5  # the sum of squared Hann windows at a hop of a quarter
    return sounding, samples - sounding


def stretch(
    harmonic: NDArray[np.float32],
    percussive: NDArray[np.float32],
    sample_rate_hz: int,
    times: TimeMap,
    length: int,
    *,
    semitones: float = 0.0,
    onsets: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Return samples in another time, shape (channels, length).

    Parameters
    ----------
    harmonic, percussive
        Shape (channels, samples), as `split` gives them.
    sample_rate_hz
        Of both.
    times
        Which moment of them sounds when.
    length
        Of the result, samples.
    semitones
        By which what sounds on is transposed, -12 to 12.
    onsets
        Where strokes begin in the input, samples, increasing.

    Raises
    ------
    ConfigError
        If the shapes differ, there is nothing, or the transposition makes no sense.
    """
    if harmonic.shape != percussive.shape or harmonic.ndim != 2 or harmonic.shape[1] == 0 or length < 1:
        raise ConfigError(f"{harmonic.shape} and {percussive.shape} samples make no {length} stretched ones")
    if not abs(semitones) <= _MOST_SEMITONES:
        raise ConfigError(
            f"transposing by {semitones:g} semitones makes no sense: -{_MOST_SEMITONES} to {_MOST_SEMITONES}"
        )
    ratio = 2.0 ** (semitones / 12)
    slower = TimeMap(times.output * ratio, times.input)
    sounding = _vocoded(harmonic, sample_rate_hz, slower, int(np.ceil(length * ratio)) + 64)
    if semitones:
        sounding = resample(sounding, round(sample_rate_hz * ratio * _RATE_STEPS), sample_rate_hz * _RATE_STEPS)
    strokes = np.zeros(0) if onsets is None else onsets
    return sounding[:, :length] + _joined(percussive, sample_rate_hz, times, length, strokes)


def _vocoded(samples: NDArray[np.float32], sample_rate_hz: int, times: TimeMap, length: int) -> NDArray[np.float32]:
    """Stretch with a phase vocoder.

    Each frame is also analysed one synthesis hop earlier, so that the phase that passes in a hop is read off, whatever
    the map does between frames.
    """
    size = _size(_SPECTRUM_S, sample_rate_hz)
    hop = size // 4
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frames = 1 + -(-(length + size) // hop)
    starts = np.round(times(np.arange(frames, dtype=np.float64) * hop - size / 2)).astype(np.int64) - size // 2
    out = np.zeros((samples.shape[0], (frames - 1) * hop + size), np.float32)
    before: NDArray[np.complex64] | None = None
    for first in range(0, frames, _FRAMES_AT_ONCE):
        places = starts[first : first + _FRAMES_AT_ONCE]
        now, earlier = _spectra(samples, places, window), _spectra(samples, places - hop, window)
        peaks = _peak_of_bin(np.abs(now).sum(axis=1))
        for frame in range(len(places)):
            if before is not None:
                turn = (before * earlier[frame].conj()).sum(axis=0)
                size_of = np.abs(turn)
                turn = np.where(size_of > 1e-20, turn / np.maximum(size_of, 1e-20), 1)
                now[frame] *= turn[peaks[frame]]
            before = now[frame]
        _add(out, now, np.arange(first, first + len(places)) * hop, window)
    # The frame at k hops is centred on output k hops - size / 2.
    return out[:, size : size + length] / np.float32(1.5)


def _peak_of_bin(magnitude: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each bin of each frame, shape (frames, bins), the peak that it belongs to: the nearest one."""
    padded = np.pad(magnitude, ((0, 0), (2, 2)))
    middle = padded[:, 2:-2]
    peak = (
        (middle > padded[:, 1:-3]) & (middle >= padded[:, 3:-1]) & (middle > padded[:, :-4]) & (middle >= padded[:, 4:])
    )
    peak[:, 0] |= ~peak.any(axis=1)
    bins = magnitude.shape[1]
    number = np.arange(bins)
    left = np.maximum.accumulate(np.where(peak, number, -bins), axis=1)
    right = np.minimum.accumulate(np.where(peak, number, 2 * bins)[:, ::-1], axis=1)[:, ::-1]
    return np.where(number - left <= right - number, left, right)


def _joined(
    samples: NDArray[np.float32], sample_rate_hz: int, times: TimeMap, length: int, onsets: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Stretch by joining grains; those around an onset are copied from where they lie."""
    size = _size(_GRAIN_S, sample_rate_hz)
    hop, reach = size // 2, round(_SEARCH_S * sample_rate_hz)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    mono = samples.sum(axis=0)
    frames = 1 + -(-length // hop)
    places = np.arange(frames) * hop - hop
    ideal = times(places.astype(np.float64))
    shift = _stroke_shifts(onsets, times, places, size, round(_STROKE_S * sample_rate_hz))
    chosen = np.empty(frames, np.int64)
    natural = round(float(ideal[0]))
    for frame in range(frames):
        if not np.isnan(shift[frame]):
            chosen[frame] = places[frame] + round(float(shift[frame]))
        elif abs(natural - ideal[frame]) <= reach:
            chosen[frame] = natural
        else:
            chosen[frame] = _most_alike(mono, natural, round(float(ideal[frame])), size, reach)
        natural = int(chosen[frame]) + hop
    out = np.zeros((samples.shape[0], frames * hop + size), np.float32)
    for frame, grain in enumerate(_cut(samples, chosen, size)):
        out[:, frame * hop : frame * hop + size] += grain * window
    return out[:, hop : hop + length]


def _stroke_shifts(
    onsets: NDArray[np.float64], times: TimeMap, places: NDArray[np.int64], size: int, stroke: int
) -> NDArray[np.float64]:
    """Return by how much grains around onsets are shifted from output to input, NaN for grains that are free."""
    shift = np.full(places.size, np.nan)
    last = -np.inf
    for onset, at in zip(onsets, times.inverse(onsets), strict=True):
        if at - last < 2 * stroke:
            continue
        last = at
        shift[np.searchsorted(places, at - size) : np.searchsorted(places, at + stroke)] = onset - at
    return shift


def _most_alike(mono: NDArray[np.float32], natural: int, ideal: int, size: int, reach: int) -> int:
    """Return the place near `ideal` whose samples go on most like those at `natural`."""
    (wanted,) = _cut(mono[None], np.array([natural]), size)
    (around,) = _cut(mono[None], np.array([ideal - reach]), size + 2 * reach)
    alike = np.correlate(around[0], wanted[0], "valid")
    energy = np.cumsum(np.concatenate([[0.0], np.square(around[0], dtype=np.float64)]))
    alike = alike / np.sqrt(np.maximum(energy[size:] - energy[:-size], 1e-12))
    return ideal - reach + int(np.argmax(alike))


def _size(seconds: float, sample_rate_hz: int) -> int:
    """Return the power of two nearest to so many seconds."""
    return 1 << round(math.log2(seconds * sample_rate_hz))


def _cut(samples: NDArray[np.float32], places: NDArray[np.int64], size: int) -> Iterator[NDArray[np.float32]]:
    """Give stretches of (channels, size) from each place on; outside of the samples there is silence."""
    length = samples.shape[1]
    for place in places.tolist():
        low, high = max(place, 0), min(place + size, length)
        if high - low == size:
            yield samples[:, low:high]
            continue
        piece = np.zeros((samples.shape[0], size), np.float32)
        if low < high:
            piece[:, low - place : high - place] = samples[:, low:high]
        yield piece


def _spectra(
    samples: NDArray[np.float32], places: NDArray[np.int64], window: NDArray[np.float32]
) -> NDArray[np.complex64]:
    """Return spectra of windowed frames, shape (frames, channels, bins)."""
    from scipy.fft import rfft

    spectra: NDArray[np.complex64] = rfft(np.stack(list(_cut(samples, places, window.size))) * window, axis=-1)
    return spectra


def _add(
    out: NDArray[np.float32], spectra: NDArray[np.complex64], places: NDArray[np.int64], window: NDArray[np.float32]
) -> None:
    """Add windowed frames to `out`, in place."""
    from scipy.fft import irfft

    for place, frame in zip(places.tolist(), irfft(spectra, window.size, axis=-1) * window, strict=True):
        out[:, place : place + window.size] += frame


def _along(values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate along lines, of which the first and the last go on for ever."""
    found = np.interp(values, x, y)
    found = np.where(values < x[0], y[0] + (values - x[0]) * (y[1] - y[0]) / (x[1] - x[0]), found)
    beyond = y[-1] + (values - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.where(values > x[-1], beyond, found)
