"""Up to where a recording has sound, and what lossy codec would have cut it off there.

Encoders drop what is above a frequency that they choose by the bit rate, with a filter so steep that music has no such
edge of itself (D'Alessandro and Shi, "MP3 bit rate quality detection through frequency spectrum analysis", ACM MM&Sec
2009, tell bit rates by it). The edges here are those that the encoders of `backbeat.audio.encode` leave in stereo at
44.1 kHz, LAME's for MP3 and libav's for AAC; one channel needs half the bits. Others cut a little elsewhere, and so
does resampling from a lower rate: what is told is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Edges are looked for from here up to a share of half the sampling rate: nearer to it, converters and resamplers cut,
#: and at rates below `_AUDIBLE_HZ` they begin to well within the audible band.
_LOWEST_EDGE_HZ, _HIGHEST_SHARE, _HIGHEST_SHARE_OF_LOW = 4000.0, 0.92, 0.8
_AUDIBLE_HZ = 40_000
#: An edge is where the spectrum falls by so much between the bands of a width on both sides of a gap.
_FALL_DB, _WIDTH_HZ, _GAP_HZ = 20.0, 400.0, 500.0
#: What is so much below the spectrum under the edge is beyond it.
_BEYOND_DB = 10.0
#: Sound is what is above this, for files of 16 bits have noise at -126 dB in each bin; and above the loudest less that.
_NOTHING_DB, _DEPTH_DB = -118.0, 100.0

#: Where encoders cut in Hz, and at which kilobits a second.
_EDGES: dict[str, tuple[tuple[float, int], ...]] = {
    "mp3": (
        (5700, 32), (7000, 40), (7700, 48), (10400, 56), (11200, 64), (13500, 80), (15200, 96), (16600, 128),
        (17300, 160), (18750, 192), (19400, 256), (20200, 320),
    ),
    "aac": ((7600, 48), (12400, 64), (16600, 96), (17250, 128), (19400, 192)),
    "vorbis": ((15200, 64), (16600, 96), (19200, 128)),
}  # fmt: skip
#: Opus keeps the audible band whatever the rate.
_OPUS_EDGE_HZ = 20050.0
#: Edges further up are a converter's.
_HIGHEST_EDGE_HZ = 20700.0


@dataclass(frozen=True)
class Band:
    """Up to where there is sound, and what cut it off there: "none" that shows, or a codec and its bit rate."""

    edge_hz: float
    history: str


def band_of(spectrum_db: NDArray[np.float64], sample_rate_hz: int, codec: str = "") -> Band:
    """Judge the mean power spectrum of a recording.

    Parameters
    ----------
    spectrum_db
        Shape (bins,), from 0 Hz to half the sampling rate, 0 dB being a sine at full scale.
    sample_rate_hz
        Of the recording.
    codec
        Of its file: a lossy one is taken to be what cut. MP3 is, the commonest, where it is another.
    """
    bin_hz = sample_rate_hz / 2 / (spectrum_db.size - 1)
    share = _HIGHEST_SHARE if sample_rate_hz >= _AUDIBLE_HZ else _HIGHEST_SHARE_OF_LOW
    edge = _steep_edge(spectrum_db, bin_hz, share * sample_rate_hz / 2)
    if edge is not None:
        return Band(edge * bin_hz, _history(edge * bin_hz, codec))
    sounding = np.flatnonzero(spectrum_db > max(float(spectrum_db.max()) - _DEPTH_DB, _NOTHING_DB))
    return Band(float(sounding[-1] * bin_hz) if sounding.size else 0.0, "none")


def _history(edge_hz: float, codec: str) -> str:
    """Guess at what cut a band off at an edge."""
    if edge_hz > _HIGHEST_EDGE_HZ:
        return "none"
    if codec == "opus":
        return codec if abs(edge_hz - _OPUS_EDGE_HZ) < 500 else _history(edge_hz, "mp3")
    name = codec if codec in _EDGES else "mp3"
    _, rate = min(_EDGES[name], key=lambda one: abs(one[0] - edge_hz))
    return f"{name} {rate} kbit/s"


def _steep_edge(spectrum_db: NDArray[np.float64], bin_hz: float, highest_hz: float) -> int | None:
    """Return the last bin below an edge too steep for music; None where there is none."""
    width, half_gap = max(1, round(_WIDTH_HZ / bin_hz)), round(_GAP_HZ / bin_hz / 2)
    first = max(round(_LOWEST_EDGE_HZ / bin_hz), width + half_gap)
    last = min(round(highest_hz / bin_hz), spectrum_db.size - width - half_gap)
    if last <= first:
        return None
    sums = np.concatenate([[0.0], np.cumsum(spectrum_db)])
    means = (sums[width:] - sums[:-width]) / width  # of the bins from each on
    at = np.arange(first, last)
    below, above = means[at - half_gap - width], means[at + half_gap]
    fall = below - above
    steepest = int(np.argmax(fall))
    level = below[steepest]
    beyond = means[at[steepest] + half_gap :]
    if fall[steepest] < _FALL_DB or level < _NOTHING_DB or beyond.max() > level - _FALL_DB / 2:
        return None
    start = at[steepest] - half_gap
    fallen = spectrum_db[start:] < level - _BEYOND_DB
    return max(0, int(start + np.argmax(fallen)) - 1)
